"""Scores, means, intervals and sentences against known values and closed forms."""

import csv
import math

import numpy as np
import pytest
from scipy import stats
from synthetic import ARMS, BENCHMARKS, write_experiment, write_task

from xlt_jax.report import cost, exports, groups, runs, tables, words
from xlt_jax.report.tables import Results

CODES = ("en", "de", "sw", "th", "yo")


def known(arm, benchmark, code):
    """multitask over english by 10 points outside English; everything in steps of 0.005."""
    base = 0.3 + 0.02 * sorted(BENCHMARKS).index(benchmark) + 0.01 * CODES.index(code)
    if code == "en":
        return base + 0.3
    return base + {"none": 0.05, "english": 0.0, "multitask": 0.1}[arm]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    root = write_experiment(tmp_path_factory.mktemp("run") / "x", codes=CODES, score=known)
    return Results(runs.read([root]))


def test_csv_has_every_score_exactly(results):
    lines = list(csv.DictReader(exports.scores_csv(results).splitlines()))
    assert len({(line["arm"], line["benchmark"], line["language"]) for line in lines}) == len(lines)
    assert len(lines) == len(ARMS) * len(BENCHMARKS) * len(CODES)
    for line in lines:
        arm, benchmark, code = line["arm"], line["benchmark"], line["language"]
        assert line["metric"] == BENCHMARKS[benchmark][0]  # not the other metric in the file
        assert float(line["value"]) == pytest.approx(known(arm, benchmark, code))
        assert float(line["chance"]) == pytest.approx(BENCHMARKS[benchmark][1], abs=1e-6)
        assert (line["n"], line["seed"]) == ("200", "")
        assert line["exposure"] == results.exposure(arm, benchmark, code).value


def test_means_are_over_other_languages_then_benchmarks(results):
    for row in results.summary:
        benchmarks = [row.benchmark] if row.benchmark else sorted(BENCHMARKS)
        values = [[known(row.arm, b, code) for code in CODES[1:]] for b in benchmarks]
        assert row.others.value == pytest.approx(np.mean(values))
        assert row.source.value == pytest.approx(
            np.mean([known(row.arm, b, "en") for b in benchmarks])
        )
        assert row.chance == pytest.approx(np.mean([BENCHMARKS[b][1] for b in benchmarks]))
        assert row.gap.value == pytest.approx(row.source.value - row.others.value)
        assert row.above_chance.value == pytest.approx(row.others.value - row.chance)
        assert row.num_languages == 4
        assert row.num_rows == 4 * 200 * len(benchmarks)


def test_row_interval_of_a_score_is_the_normal_one(results):
    for arm in results.arms:
        found = results.cell(arm, "cldr_pairs", "th")
        half = stats.norm.ppf(0.975) * math.sqrt(found.value * (1 - found.value) / 200)
        assert found.low == pytest.approx(found.value - half, abs=0.012)
        assert found.high == pytest.approx(found.value + half, abs=0.012)


def test_interval_of_a_mean_over_languages_adds_their_variances(results):
    row = next(row for row in results.summary if row.benchmark == "cldr_qa")
    values = [known(row.arm, "cldr_qa", code) for code in CODES[1:]]
    half = 1.96 * math.sqrt(sum(v * (1 - v) / 200 for v in values)) / len(values)
    assert row.others.high - row.others.low == pytest.approx(2 * half, rel=0.1)


def test_differences_have_sign_size_and_interval(results):
    ten, five, minus = results.comparisons
    assert (ten.arm, ten.baseline) == ("multitask", "english")
    assert ten.overall.value == pytest.approx(0.10)
    assert five.overall.value == pytest.approx(0.05)
    assert minus.overall.value == pytest.approx(-0.05)
    assert [c.overall.sign for c in results.comparisons] == [1, 1, -1]
    for comparison in results.comparisons:
        assert set(comparison.benchmarks) == set(BENCHMARKS)
        assert all(found.value == pytest.approx(0) for found in comparison.source.values())
    # Rows are nested (what one arm gets right the better one does too): difference of Bernoullis.
    cell = ten.cells["cldr_qa", "th"]
    error = math.sqrt(0.1 * 0.9 / 200)
    widths = (cell.high - cell.low) / 2 / error
    # 25 cells tested together: wider than one alone, no wider than Bonferroni's correction.
    assert 1.96 < widths < stats.norm.ppf(1 - 0.025 / 25) * 1.08
    assert len(ten.cells) == 25 and set(ten.holding(1)) == {k for k in ten.cells if k[1] != "en"}


def test_answer_says_better_and_worse(results):
    text = words.answer(results)
    assert "multitask scores 10.0 points above english, 95% interval +" in text
    assert "english scores 5.0 points below none" in text
    assert "over 4 languages other than English, 4,000 test rows in each arm" in text


def test_answer_says_no_difference_and_no_chance(tmp_path):
    def level(arm, benchmark, code):
        return round(200 * BENCHMARKS[benchmark][1]) / 200

    results = Results(runs.read([write_experiment(tmp_path, codes=CODES, score=level)]))
    text = words.answer(results)
    assert "no difference is found between multitask and english: 0.0 points" in text
    assert "on 0 of 5 benchmarks" in text
    statements = words.chance_statements(results)
    assert len(statements) == 5
    assert all("does not differ from chance" in statement for statement in statements)


def test_groups_follow_the_registry(results):
    rows = {(row.criterion, row.group): row for row in groups.groups(results)}
    assert rows["script", "Latin"].codes == ("de", "sw", "yo")
    assert rows["family", "Tai-Kadai"].codes == ("th",)
    assert rows["labels in the language", "in arm multitask"].codes == ("de", "sw")
    found = rows["script", "Latin"].arms["none"].value
    assert found == pytest.approx(
        np.mean([[known("none", b, c) for c in ("de", "sw", "yo")] for b in BENCHMARKS])
    )
    assert rows["genus", "Kam-Tai"].codes == ("th",)
    assert rows[groups.IN_MT5, "yes"].codes == ("de", "sw", "th", "yo")
    assert all(row.differences[0].value == pytest.approx(0.1) for row in rows.values())


def test_missing_task_is_named_and_left_out_of_every_arm(tmp_path):
    root = write_experiment(tmp_path, codes=CODES, score=known)
    (root / "english_zero_shot/inference_eval/cldr_qa.th-metrics.jsonl").unlink()
    results = Results(runs.read([root]))
    assert any("english lacks cldr_qa.th." in note for note in results.left_out())
    for row in results.summary:
        if row.benchmark == "cldr_qa":
            assert row.num_languages == 3
            values = [known(row.arm, "cldr_qa", code) for code in ("de", "sw", "yo")]
            assert row.others.value == pytest.approx(np.mean(values))
    assert results.comparisons[0].overall.value == pytest.approx(0.10)


def test_missing_arm_and_missing_benchmark_are_named(tmp_path):
    root = write_experiment(tmp_path, codes=CODES, score=known, arms=("none", "multitask"))
    for path in root.glob("multitask_zero_shot/inference_eval/cldr_tags.*"):
        path.unlink()
    results = Results(runs.read([root]))
    notes = " ".join(results.left_out())
    assert "Arm english has no results: english_zero_shot is not run" in notes
    assert "Arm multitask has no scores of cldr_tags" in notes
    assert "cldr_tags" not in results.comparable and len(results.comparable) == 4
    assert [(c.arm, c.baseline) for c in results.comparisons] == [("multitask", "none")]
    assert "No results from english." in words.answer(results)


def test_scores_without_predictions_have_no_interval_and_say_so(tmp_path):
    root = write_experiment(tmp_path, codes=("en", "de"), score=known, benchmarks=("cldr_qa",))
    for path in root.glob("*/inference_eval/cldr_qa.de-000300.jsonl"):
        path.unlink()
    results = Results(runs.read([root]))
    found = results.cell("none", "cldr_qa", "de")
    assert found.value == pytest.approx(known("none", "cldr_qa", "de"))
    assert math.isnan(found.low) and found.sign == 0
    assert any("no predictions, so no interval: cldr_qa.de" in n for n in results.left_out())


def test_main_metric_is_the_mean_of_the_rows_or_what_the_file_says(tmp_path):
    write_task(tmp_path / "a", "cldr_qa", "de", [1.0, 0.0, 0.5, 0.0])
    study = runs.read([tmp_path / "a"])
    assert study.cells["a"]["cldr_qa", "de"].metric == "f1"
    assert study.cells["a"]["cldr_qa", "de"].value == 0.375


def test_costs_add_up_and_unequal_budgets_are_stated(results):
    rows = cost.arm_costs(results)
    assert {row.arm: row.steps for row in rows} == {"none": 200, "english": 300, "multitask": 300}
    assert "not equal: the largest is 300 training steps, none has 200" in cost.budget_sentence(
        rows
    )
    assert "same budget: 300" in cost.budget_sentence(rows[1:])


def test_tokens_come_from_the_curve(tmp_path):
    write_experiment(tmp_path, codes=CODES, score=known, curves=True)
    stage = next(s for s in runs.read([tmp_path]).stages if s.name == "pretrain")
    assert stage.tokens == 100 * 500  # 1,000 tokens/s at 2 steps/s


def test_folders_without_recipe_are_arms_and_several_are_joined(tmp_path):
    for name in ("one", "two"):
        write_task(tmp_path / name / "scored", "cldr_qa", "de", [1.0, 0.0])
    study = runs.read([tmp_path / "one" / "scored"])
    assert list(study.arms) == ["scored"]
    study = runs.read([tmp_path / "one", tmp_path / "two"])
    assert list(study.arms) == ["one/scored", "two/scored"]
    assert study.comparisons == (("two/scored", "one/scored"),)


@pytest.mark.parametrize("make", [False, True], ids=["no folder", "empty folder"])
def test_nothing_to_report_is_an_error(tmp_path, make):
    if make:
        (tmp_path / "x").mkdir()
    with pytest.raises(ValueError, match="holds no scores" if make else "is not a folder"):
        runs.read([tmp_path / "x"])


def test_languages_of_pairs_are_counted_once():
    assert tables.num_languages(["en", "de", "sw", "de-sw", "en-yo", "my-pair"]) == 4
