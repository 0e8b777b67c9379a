"""A study with several seeds: what is read, paired, drawn, and left out."""

import csv
import json
import shutil

import numpy as np
import pytest
from synthetic import ARMS, stage, write_experiment, write_task, write_training

from xlt_jax.report import cost, exports, runs, words
from xlt_jax.report.__main__ import build
from xlt_jax.report.tables import Results

CODES = ("en", "de", "sw", "th")
SEEDS = (0, 1, 2)
OF_SEED = {0: 0.0, 1: 0.04, 2: 0.11}


def level(arm, benchmark, code, seed):
    """multitask over english by 10 points in every seed; seeds differ, alike in all arms."""
    return 0.4 + OF_SEED[seed] + 0.1 * (arm == "multitask")


def write(root, score=level, **options):
    options = {"codes": CODES, "seeds": SEEDS, "benchmarks": ("cldr_pairs", "cldr_qa")} | options
    return write_experiment(root, score=score, **options)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return Results(runs.read([write(tmp_path_factory.mktemp("run") / "x")]))


def test_a_cell_is_the_mean_over_seeds(results):
    assert results.study.seeds == SEEDS and results.num_seeds == 3
    assert set(results.study.scored) == {(arm, seed) for arm in ARMS for seed in SEEDS}
    mean = 0.4 + np.mean([*OF_SEED.values()])
    assert results.value("none", "cldr_qa", "th") == pytest.approx(mean)
    row = next(r for r in results.summary if r.arm == "none" and r.benchmark == "cldr_qa")
    assert row.others.value == pytest.approx(mean)
    assert row.by_seed == pytest.approx({s: 0.4 + x for s, x in OF_SEED.items()})
    assert row.seed_deviation == pytest.approx(np.std([*OF_SEED.values()], ddof=1))


def test_scores_vary_with_seeds_and_paired_differences_do_not(results):
    row = next(r for r in results.summary if r.arm == "none" and r.benchmark is None)
    of_seeds = np.var([*OF_SEED.values()]) / 3
    rows = 0.45 * 0.55 / 200 / 6  # two benchmarks of three languages
    width = 2 * 1.96 * np.sqrt(of_seeds + rows)
    assert row.others.high - row.others.low == pytest.approx(width, rel=0.15)
    comparison = results.comparisons[0]
    assert comparison.by_seed == pytest.approx(dict.fromkeys(SEEDS, 0.1))
    assert comparison.seed_deviation == pytest.approx(0, abs=1e-9)
    assert comparison.overall.value == pytest.approx(0.1)
    assert comparison.overall.high - comparison.overall.low < width / 2


def test_csv_has_a_line_for_each_seed(results):
    lines = list(csv.DictReader(exports.scores_csv(results).splitlines()))
    assert len(lines) == 3 * len(ARMS) * 2 * len(CODES)
    for line in lines:
        expected = level(line["arm"], line["benchmark"], line["language"], int(line["seed"]))
        assert float(line["value"]) == pytest.approx(expected)


def test_answer_says_seeds_and_that_few_are_narrow(results):
    text = words.answer(results)
    assert "multitask scores 10.0 points above english" in text
    assert "1,200 test rows in each arm and 3 seeds, both resampled" in text
    assert "Seed by seed the difference is +10.0, +10.0, +10.0 (standard deviation 0.0)" in text
    assert "the bootstrap over 3 seeds is narrow" in text
    assert "A bootstrap over 3 seeds is narrow" in words.interval_sentence(results)


def test_one_seed_is_said_not_to_cover_seeds(tmp_path):
    results = Results(runs.read([write(tmp_path, seeds=(0,))]))
    assert "With one seed" in words.answer(results)
    assert "test rows only" in words.interval_sentence(results)


def test_noise_between_seeds_widens_the_interval_of_a_difference(tmp_path):
    def noisy(arm, benchmark, code, seed):
        return 0.4 + (0.1 + (seed - 1) * 0.08) * (arm == "multitask")

    found = Results(runs.read([write(tmp_path, noisy)])).comparisons[0]
    assert found.seed_deviation == pytest.approx(0.08)
    error = np.sqrt(np.var([0.02, 0.10, 0.18]) / 3)
    assert found.overall.high - found.overall.low > 2 * 1.9 * error


def test_a_seed_that_an_arm_lacks_is_left_out_of_all_and_named(tmp_path):
    root = write(tmp_path)
    shutil.rmtree(root / "english_zero_shot.seed2")
    results = Results(runs.read([root]))
    notes = " ".join(results.left_out())
    assert "Arm english, seed 2, has no results: english_zero_shot.seed2 is not run." in notes
    assert "Seed 2 of cldr_qa is left out of every arm: no scores of it from english." in notes
    assert results.study.seeds == (0, 1)
    assert results.value("none", "cldr_qa", "th") == pytest.approx(0.42)
    assert results.comparisons[0].overall.value == pytest.approx(0.1)


def test_a_task_that_one_seed_lacks_is_left_out_and_named(tmp_path):
    root = write(tmp_path)
    (root / "english_zero_shot.seed1/inference_eval/cldr_qa.th-metrics.jsonl").unlink()
    results = Results(runs.read([root]))
    notes = " ".join(results.left_out())
    assert "english lacks cldr_qa.th in seed 1: it is left out." in notes
    assert "Arm english lacks cldr_qa.th" in notes
    assert results.zero_shot_codes["cldr_qa"] == ("de", "sw")


def test_an_arm_that_failed_in_every_seed_still_gives_a_report(tmp_path):
    root = write(tmp_path / "x", arms=("none", "multitask"), curves=True)
    shutil.rmtree(root / "english_finetune.seed0")
    curve = root / "english_finetune.seed1" / "metrics.jsonl"
    curve.write_text(curve.read_text() + '{"step": 105, "lo')  # it was killed while it wrote
    (root / "english_finetune.seed1" / "done.json").rename(
        root / "english_finetune.seed1" / "stage.json"
    )
    text = build([root], tmp_path / "out")
    assert "No results from english." in text
    assert "english_finetune.seed0 is not run" in text
    assert "english_finetune.seed1 is not finished" in text
    assert "Arm english has no results" in (tmp_path / "out" / "index.html").read_text()


def test_an_arm_without_seeds_is_the_same_in_every_seed(tmp_path):
    root = write(tmp_path)
    for seed in (1, 2):
        shutil.rmtree(root / f"none_zero_shot.seed{seed}")
    (root / "none_zero_shot.seed0").rename(root / "none_zero_shot")
    recipe = json.loads((root / "recipe.json").read_text())
    stages = [s for s in recipe["stages"] if not s["name"].startswith("none_zero_shot")]
    shared = stage("none_zero_shot", "none", "evaluate", "none_finetune.seed0") | {"seed": None}
    stages.append(shared)
    (root / "recipe.json").write_text(json.dumps(recipe | {"stages": stages}))
    results = Results(runs.read([root]))
    assert results.study.seeds == SEEDS
    assert results.value("none", "cldr_qa", "th") == pytest.approx(0.4)
    assert results.value("english", "cldr_qa", "th") == pytest.approx(0.45)
    against_none = results.comparisons[1]
    assert against_none.by_seed == pytest.approx({s: 0.1 + x for s, x in OF_SEED.items()})


def test_arms_without_a_common_seed_are_compared_unpaired_and_it_is_said(tmp_path):
    root = write(tmp_path)
    shutil.rmtree(root / "english_zero_shot.seed0")
    for arm in ("none", "multitask"):
        for seed in (1, 2):
            shutil.rmtree(root / f"{arm}_zero_shot.seed{seed}")
    results = Results(runs.read([root]))
    assert "its seeds are not paired between arms" in " ".join(results.left_out())
    assert results.comparisons[0].overall.value == pytest.approx(0.5 - 0.475)
    words.answer(results)


def test_several_evaluations_of_an_arm_are_merged_each_with_its_own_chain(tmp_path):
    """Fine-tuning for each task: the exposure is asked of the stage that scored the cell."""
    root = write(tmp_path, benchmarks=("cldr_pairs",))
    recipe = json.loads((root / "recipe.json").read_text())
    for arm in ARMS:
        for seed in SEEDS:
            start = f"{arm}_intermediate.seed{seed}" if arm != "none" else "pretrain"
            trained, scored = f"{arm}_tune_qa.seed{seed}", f"{arm}_score_qa.seed{seed}"
            tasks = {"cldr_qa.en": True, "cldr_pairs.sw": True}  # labels for qa's chain alone
            write_training(root / trained, start, tasks)
            for code in CODES:
                write_task(root / scored, "cldr_qa", code, [1.0] * 20 + [0.0] * 30)
            recipe["stages"] += [
                stage(trained, arm, "train", start, seed),
                stage(scored, arm, "evaluate", trained, seed),
            ]
    (root / "recipe.json").write_text(json.dumps(recipe))
    results = Results(runs.read([root]))
    assert len(results.study.scored["none", 0]) == 2 and len(results.audits["none"]) == 6
    assert results.exposure("none", "cldr_pairs", "sw").value == "zero-shot"
    assert results.exposure("none", "cldr_qa", "sw").value == "language seen"
    assert results.value("none", "cldr_qa", "sw") == pytest.approx(0.4)
    assert results.comparable == ("cldr_pairs", "cldr_qa")
    (row,) = [row for row in cost.arm_costs(results) if row.arm == "english"]
    # pretrain, intermediate and two fine-tunings; what both go back to counts once.
    assert (row.steps, row.seeds) == (400, 3)


def test_a_task_scored_twice_is_said(tmp_path):
    root = write(tmp_path)
    recipe = json.loads((root / "recipe.json").read_text())
    write_task(root / "again", "cldr_qa", "th", [1.0] * 4)
    recipe["stages"].append(stage("again", "none", "evaluate", "none_finetune.seed0", 0))
    (root / "recipe.json").write_text(json.dumps(recipe))
    study = runs.read([root])
    assert "cldr_qa.th: scored more than once; again counts." in study.notes
    assert study.cells["none"]["cldr_qa", "th"].seeds[0].value == 1.0


def test_folders_without_recipe_are_seeds_by_their_names(tmp_path):
    for name, right in (("a.seed0", 1), ("a.seed1", 3), ("b.seed0", 2), ("b.seed1", 2)):
        write_task(tmp_path / name, "cldr_qa", "de", [1.0] * right + [0.0] * (4 - right))
    study = runs.read([tmp_path])
    assert list(study.arms) == ["a", "b"] and study.seeds == (0, 1)
    assert study.cells["a"]["cldr_qa", "de"].value == 0.5


def test_costs_are_of_one_seed(results):
    rows = {row.arm: row for row in cost.arm_costs(results)}
    assert {arm: row.steps for arm, row in rows.items()} == {
        "none": 200, "english": 300, "multitask": 300,
    }  # fmt: skip
    assert rows["none"].name == "pretrain → none_finetune → none_zero_shot"
