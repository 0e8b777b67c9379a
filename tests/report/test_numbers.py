"""Scores, means, intervals and sentences against known values and closed forms."""

import csv
import math

import numpy as np
import pytest
from scipy import stats
from synthetic import ARMS, BENCHMARKS, write_experiment, write_task

from xlt_jax.report import cost, intervals, runs, words
from xlt_jax.report.tables import CSV_COLUMNS, Results

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
    lines = list(csv.reader(results.csv_text().splitlines()))
    assert tuple(lines[0]) == CSV_COLUMNS
    found = {tuple(line[:3]): line[3:] for line in lines[1:]}
    assert len(lines) - 1 == len(found) == len(ARMS) * len(BENCHMARKS) * len(CODES)
    for (arm, benchmark, code), (metric, value, chance, n) in found.items():
        assert metric == BENCHMARKS[benchmark][0]  # not the other metric in the file
        assert float(value) == pytest.approx(known(arm, benchmark, code))
        assert float(chance) == pytest.approx(BENCHMARKS[benchmark][1], abs=1e-6)
        assert n == "200"


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


def test_bootstrap_agrees_with_scipy():
    rng = np.random.default_rng(1)
    one = rng.beta(2, 3, 150)  # partial credit, as F1 of answers
    other = np.clip(one + rng.normal(0.05, 0.2, 150), 0, 1)
    rows = {name: dict(enumerate(x)) for name, x in (("one", one), ("other", other))}
    rows = {arm: {str(i): (v, 1.0) for i, v in scores.items()} for arm, scores in rows.items()}
    means = intervals.resample_rows(rows, "key")
    mine = intervals.estimate(np.mean(other - one), means["other"] - means["one"])
    theirs = stats.bootstrap(
        (other - one,), np.mean, method="percentile", n_resamples=5000, rng=0
    ).confidence_interval
    assert mine.low == pytest.approx(theirs.low, abs=0.003)
    assert mine.high == pytest.approx(theirs.high, abs=0.003)


def test_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(300):
        rows = {"arm": {str(i): (float(x), 1.0) for i, x in enumerate(rng.random(200) < 0.4)}}
        found = intervals.estimate(0.4, intervals.resample_rows(rows, str(trial))["arm"])
        covered += found.low <= 0.4 <= found.high
    assert 0.91 <= covered / 300 <= 0.98


def test_pairing_makes_equal_arms_differ_by_exactly_zero():
    scores = {str(i): (float(i % 3 == 0), 1.0) for i in range(100)}
    means = intervals.resample_rows({"a": scores, "b": dict(scores)}, "key")
    assert np.array_equal(means["a"], means["b"])
    assert means["a"].std() > 0


def test_f1_over_all_rows_is_resampled_as_a_ratio_of_sums():
    rng = np.random.default_rng(5)
    right, wrong, lost = rng.integers(0, 4, (3, 80))
    counts = np.stack([2.0 * right, 2.0 * right + wrong + lost], axis=1)
    rows = {"arm": {str(i): tuple(pair) for i, pair in enumerate(counts)}}
    f1 = counts[:, 0].sum() / counts[:, 1].sum()
    mine = intervals.estimate(f1, intervals.resample_rows(rows, "key")["arm"])
    theirs = stats.bootstrap(
        tuple(counts.T),
        lambda share, weight, axis: share.sum(axis) / weight.sum(axis),
        paired=True,
        method="percentile",
        n_resamples=5000,
        rng=0,
    ).confidence_interval
    assert mine.low == pytest.approx(theirs.low, abs=0.004)
    assert mine.high == pytest.approx(theirs.high, abs=0.004)


def test_rows_that_an_arm_lacks_do_not_count_as_wrong():
    full = {str(i): (1.0, 1.0) for i in range(50)}
    half = {str(i): (1.0, 1.0) for i in range(25)}
    means = intervals.resample_rows({"a": full, "b": half, "c": {}}, "key")
    assert np.allclose(means["a"], 1) and np.allclose(means["b"], 1)
    assert np.isnan(means["c"]).all()


def test_language_interval_is_that_of_a_sample_of_languages():
    values = np.random.default_rng(3).normal(0.5, 0.1, 40)
    table = {f"l{i}": value for i, value in enumerate(values)}
    found = intervals.estimate(values.mean(), intervals.resample_languages([table]))
    half = 1.96 * values.std() / math.sqrt(40)
    assert found.high - found.low == pytest.approx(2 * half, rel=0.1)


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
    half = 1.96 * math.sqrt(0.1 * 0.9 / 200)
    assert cell.high - cell.low == pytest.approx(2 * half, rel=0.15)


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
    rows = {(row.criterion, row.group): row for row in results.groups()}
    assert rows["script", "Latin"].codes == ("de", "sw", "yo")
    assert rows["family", "Tai-Kadai"].codes == ("th",)
    assert rows["labels in the language", "in arm multitask"].codes == ("de", "sw")
    found = rows["script", "Latin"].arms["none"].value
    assert found == pytest.approx(
        np.mean([[known("none", b, c) for c in ("de", "sw", "yo")] for b in BENCHMARKS])
    )
    assert all(row.difference.value == pytest.approx(0.1) for row in rows.values())


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
