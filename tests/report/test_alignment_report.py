"""Alignment of languages in the report: means by hand, paired differences, table and figure."""

import numpy as np
import pytest
from synthetic import write_experiment

from xlt_jax.evaluation import measures
from xlt_jax.evaluation.measures import Measure
from xlt_jax.report import __main__ as report
from xlt_jax.report import alignment, groups, runs
from xlt_jax.report.tables import Results, is_pair, language_name

CODES, SEEDS = ("en", "de", "sw", "th"), (0, 1)
OFFSET = {"none": 0.0, "english": 0.02, "multitask": 0.1}


def value(arm, seed, code, layer):
    return 0.2 + OFFSET[arm] + 0.05 * seed + 0.03 * layer + 0.01 * CODES.index(code)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Every arm's and seed's measures at three layers."""
    root = write_experiment(
        tmp_path_factory.mktemp("run") / "x",
        codes=CODES,
        score=lambda arm, benchmark, code, seed: 0.5 + OFFSET[arm],
        benchmarks=("cldr_choice", "cldr_pairs"),
        seeds=SEEDS,
    )
    for arm in OFFSET:
        for seed in SEEDS:
            measures.write(
                root / f"{arm}_zero_shot.seed{seed}" / "inference_eval",
                [
                    Measure(f"cldr_parallel.{code}", code, layer, name, at, 200)
                    for code in CODES[1:]
                    for layer in range(3)
                    for name, at in (
                        ("cka", value(arm, seed, code, layer)),
                        ("aer", 1 - value(arm, seed, code, layer)),
                    )
                ],
            )
    return root


@pytest.fixture(scope="module")
def results(folder):
    return Results(runs.read([folder]))


def test_means_are_over_languages_and_seeds(results):
    rows = {(row.arm, row.layer): row.values for row in alignment.rows(results)}
    assert set(rows) == {(arm, layer) for arm in OFFSET for layer in range(3)}
    for (arm, layer), values in rows.items():
        every = [value(arm, seed, code, layer) for seed in SEEDS for code in CODES[1:]]
        assert values["cka"].value == pytest.approx(np.mean(every))
        assert min(every) <= values["cka"].low < values["cka"].high <= max(every)
        assert set(values) == {"cka", "aer"}


def test_differences_are_paired_at_the_last_layer(results):
    (first, values), *rest = alignment.differences(results)
    assert first == "multitask − english" and len(rest) == 2
    for name, expected in (("cka", 0.08), ("aer", -0.08)):
        found = values[name]  # the same in each language and seed: no uncertainty is left
        assert (found.value, found.low, found.high) == pytest.approx((expected,) * 3)


def test_points_join_scores_and_alignment_by_seed(results):
    points = alignment.beside_scores(results)["cka"]
    assert len(points) == len(OFFSET) * len(SEEDS)
    for point in points:
        assert point.score == pytest.approx(0.5 + OFFSET[point.arm])
    assert {round(point.value - OFFSET[point.arm], 9) for point in points} == {0.28, 0.33}


def test_report_has_table_and_figure(folder, tmp_path):
    assert report.main([str(folder), "--out", str(tmp_path)]) == 0
    table = (tmp_path / "tables" / "alignment.md").read_text()
    mean = np.mean([value("english", seed, code, 2) for seed in SEEDS for code in CODES[1:]])
    assert f"| english | 2 | {100 * mean:.1f} (" in table
    assert "+8.0" in (tmp_path / "tables" / "alignment_differences.md").read_text()
    assert (tmp_path / "figures" / "alignment.pdf").stat().st_size > 5_000
    assert 'id="alignment"' in (tmp_path / "index.html").read_text()


def test_without_measures_there_is_no_section(tmp_path):
    root = write_experiment(tmp_path / "x", codes=CODES, benchmarks=("cldr_choice",))
    assert report.main([str(root)]) == 0
    assert 'id="alignment"' not in (root / "report" / "index.html").read_text()
    assert not (root / "report" / "tables" / "alignment.md").exists()


@pytest.mark.parametrize("codes", [("en", "sw", "en-sw", "sw-th"), ("en-sw", "sw-th", "th-de")])
def test_pairs_of_languages_have_names_a_group_and_no_place_on_maps(tmp_path, codes):
    root = write_experiment(tmp_path / "x", codes=codes, benchmarks=("cldr_choice",))
    found = Results(runs.read([root]))
    assert language_name("en-sw") == "English – Swahili"
    assert is_pair("en-sw") and not is_pair("sw") and not is_pair("zh-Hant")
    members = {row.group: row.codes for row in groups.groups(found) if row.criterion == "family"}
    assert set(members["two languages"]) == {code for code in codes if "-" in code}
    assert report.main([str(root)]) == 0
    assert "English – Swahili" in (root / "report" / "index.html").read_text()
