"""'Zero-shot' is checked through the links between checkpoints."""

import json

import numpy as np
import pytest
from synthetic import write_experiment

from xlt_jax.report import runs, words
from xlt_jax.report.audit import Exposure
from xlt_jax.report.tables import Results

CODES = ("en", "de", "sw", "th")


def level(arm, benchmark, code):
    return 0.9 if code == "sw" else 0.5


def edit(path, change):
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


def plant(root, stage, task, **fields):
    """Adds a task to what ``stage`` says it was trained on."""
    benchmark, language = task.split(".")
    entry = {"examples": 5, "labelled": True, "benchmark": benchmark, "language": language}
    edit(root / stage / "training_data.json", lambda r: r["tasks"].update({task: entry | fields}))


@pytest.fixture
def root(tmp_path):
    return write_experiment(
        tmp_path / "x", codes=CODES, score=level, benchmarks=("cldr_pairs", "cldr_qa")
    )


def exposures(root, arm="multitask"):
    results = Results(runs.read([root]))
    return {code: results.exposure(arm, "cldr_pairs", code).value for code in CODES}


def test_labels_of_other_benchmarks_and_of_the_task_are_told_apart(root):
    assert exposures(root) == {
        "en": "task-language seen",
        "de": "language seen",
        "sw": "language seen",
        "th": "zero-shot",
    }
    assert set(exposures(root, "none").values()) == {"task-language seen", "zero-shot"}


@pytest.mark.parametrize("language", ["sw", "swh_Latn"], ids=["code", "alias"])
@pytest.mark.parametrize("link", ["runs/gone/pretrain", "runs/gone/pretrain/checkpoint_100"])
def test_a_leak_two_links_back_is_found_and_in_no_mean(root, language, link):
    plant(root, "pretrain", f"cldr_pairs.{language}")
    edit(
        root / "multitask_intermediate" / "training_data.json",
        lambda record: record.update(initial_checkpoint=link),
    )
    results = Results(runs.read([root]))
    chain = [stage.name for stage in results.audits["multitask"].chain]
    assert chain[:2] == ["pretrain", "multitask_intermediate"]
    assert results.exposure("multitask", "cldr_pairs", "sw") is Exposure.TASK_SEEN
    assert results.zero_shot_codes["cldr_pairs"] == ("de", "th")
    assert results.zero_shot_codes["cldr_qa"] == ("de", "sw", "th")
    for row in results.summary:
        if row.benchmark == "cldr_pairs":
            assert row.others.value == pytest.approx(0.5)
    assert any("multitask was trained on labels of cldr_pairs.sw" in n for n in results.left_out())


def test_a_leak_in_one_arm_leaves_the_language_out_of_all(root):
    plant(root, "multitask_intermediate", "cldr_pairs.sw")
    results = Results(runs.read([root]))
    assert results.exposure("none", "cldr_pairs", "sw") is Exposure.ZERO_SHOT
    assert results.exposure("multitask", "cldr_pairs", "sw") is Exposure.TASK_SEEN
    means = {row.arm: row.others.value for row in results.summary if row.benchmark == "cldr_pairs"}
    assert np.allclose(list(means.values()), 0.5)


@pytest.mark.parametrize("fields", [{"labelled": False}, {"examples": 0}])
def test_unlabelled_and_unused_data_are_no_leak(root, fields):
    plant(root, "pretrain", "cldr_pairs.th", **fields)
    assert exposures(root)["th"] == "zero-shot"


def test_a_broken_link_is_said_and_not_called_zero_shot(root):
    (root / "pretrain" / "training_data.json").unlink()
    results = Results(runs.read([root]))
    assert results.exposure("none", "cldr_pairs", "th") is Exposure.UNCHECKED
    assert results.exposure("none", "cldr_pairs", "en") is Exposure.TASK_SEEN
    assert any("pretrain, which has no training_data.json" in n for n in results.left_out())
    text = words.answer(results)
    assert "Zero-shot is not checked for none, english, multitask" in text
    assert "Zero-shot, " not in text


def test_the_checkpoint_that_the_evaluation_loaded_counts_not_the_recipe(root):
    path = root / "none_zero_shot" / "evaluation.json"
    path.write_text(json.dumps({"checkpoint": "runs/x/multitask_finetune/checkpoint_100"}))
    assert exposures(root, "none")["sw"] == "language seen"


def test_runs_that_start_from_each_other_end_the_search(root):
    edit(
        root / "pretrain" / "training_data.json",
        lambda record: record.update(initial_checkpoint="runs/x/none_finetune"),
    )
    results = Results(runs.read([root]))
    assert "start from each other" in results.audits["none"].gap
