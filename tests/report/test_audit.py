"""'Zero-shot' is checked through the links between checkpoints."""

import json

import numpy as np
import pytest
from synthetic import write_experiment

from xlt_jax.report import page, plots, runs, sheets, stages, words
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


def test_labels_of_a_translated_training_set_are_labels_of_its_task(root):
    plant(root, "pretrain", "cldr_pairs_translate_train.th", trains=["cldr_pairs"])
    assert exposures(root)["th"] == "task-language seen"
    results = Results(runs.read([root]))
    assert results.exposure("multitask", "cldr_qa", "th") is Exposure.LANGUAGE_SEEN


@pytest.mark.parametrize("language", ["sw", "swh_Latn"], ids=["code", "alias"])
@pytest.mark.parametrize("link", ["runs/gone/pretrain", "runs/gone/pretrain/checkpoint_100"])
def test_a_leak_two_links_back_is_found_and_in_no_mean(root, language, link):
    plant(root, "pretrain", f"cldr_pairs.{language}")
    edit(
        root / "multitask_intermediate" / "training_data.json",
        lambda record: record.update(initial_checkpoint=link),
    )
    results = Results(runs.read([root]))
    (audit,) = results.audits["multitask"]
    chain = [stage.name for stage in audit.chain]
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
    assert "start from each other" in results.gap("none")


# --------------------------------------------------------------------------------- shared texts
def share(root, stage, task, **shared):
    """``stage``'s task shares rows with cldr_pairs' test split, by declaration."""
    entry = {"benchmark": "cldr_pairs", "splits": ["test"], "note": "The same rows.", "texts": True}
    plant(root, stage, task, shared=[entry | shared])


def set_split(root, benchmark, split):
    for path in root.glob(f"*/inference_eval/{benchmark}.*-metrics.jsonl"):
        lines = [json.loads(line) | {"split": split} for line in path.read_text().splitlines()]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_declared_shared_texts_are_in_no_zero_shot_mean(root):
    set_split(root, "cldr_pairs", "test")
    share(root, "multitask_intermediate", "other.de")
    results = Results(runs.read([root]))
    assert results.exposure("multitask", "cldr_pairs", "th") is Exposure.TEXT_SEEN
    assert results.exposure("multitask", "cldr_pairs", "en") is Exposure.TASK_SEEN
    assert results.exposure("none", "cldr_pairs", "th") is Exposure.ZERO_SHOT
    assert results.zero_shot_codes["cldr_pairs"] == ()
    assert results.comparable == ("cldr_qa",)
    assert any("rows that share texts with cldr_pairs.de" in note for note in results.left_out())
    (row,) = sheets.shared_texts(results).rows
    assert row == (
        "multitask", "cldr_pairs", "The same rows.", "multitask_intermediate", "other.de",
        "de en sw th",
    )  # fmt: skip


@pytest.mark.parametrize(
    "change", [{"splits": ["train"]}, {"texts": False}, {"benchmark": "cldr_other"}], ids=str
)
def test_other_splits_and_shared_sources_are_no_leak(root, change):
    set_split(root, "cldr_pairs", "test")
    share(root, "multitask_intermediate", "other.de", **change)
    results = Results(runs.read([root]))
    assert results.exposure("multitask", "cldr_pairs", "th") is Exposure.ZERO_SHOT
    noted = sheets.shared_sources(results).rows
    assert len(noted) == ("texts" in change)


def test_without_labels_shared_texts_are_no_leak(root):
    share(root, "pretrain", "other.de")
    plant(root, "pretrain", "other.de", labelled=False)
    assert exposures(root)["th"] == "zero-shot"


def hashed(root, scored, benchmark, code, texts):
    """Writes these hashes beside the first rows of a scored task."""
    path = next((root / scored / "inference_eval").glob(f"{benchmark}.{code}-0*.jsonl"))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line, mine in zip(lines, texts):
        line["texts"] = [f"{value:016x}" for value in mine]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def train_on(root, stage, **tasks):
    """Writes the training texts of a stage; ``tasks``: name -> hashes."""
    pairs = sorted((value, number) for number, name in enumerate(tasks) for value in tasks[name])
    np.savez(
        root / stage / "training_texts.npz",
        hashes=np.array([value for value, _ in pairs], np.uint64),
        tasks=np.array([number for _, number in pairs], np.int32),
        names=np.array([name.replace("__", ".") for name in tasks]),
    )


def test_rows_found_by_their_hashes_are_counted_and_refused(root):
    big = 2**64 - 5  # more than a signed number holds
    train_on(root, "pretrain", far__de=[7, big])
    train_on(root, "multitask_intermediate", near__en=[1, 2, 9], far__de=[2, 3])
    hashed(root, "multitask_zero_shot", "cldr_pairs", "th", [[1, 2], [2], [50], [big, 60]])
    hashed(root, "multitask_zero_shot", "cldr_pairs", "de", [[50], [60]])
    hashed(root, "none_zero_shot", "cldr_pairs", "de", [[1], [2]])  # another arm's training
    results = Results(runs.read([root]))
    assert results.exposure("multitask", "cldr_pairs", "th") is Exposure.TEXT_SEEN
    assert results.exposure("multitask", "cldr_pairs", "de") is Exposure.LANGUAGE_SEEN
    assert results.exposure("none", "cldr_pairs", "de") is Exposure.ZERO_SHOT
    assert results.zero_shot_codes["cldr_pairs"] == ("de", "sw")
    said = (
        "share texts with cldr_pairs.th (2 of 200 rows of th in multitask_intermediate): not zero"
    )
    assert any(said in note for note in results.left_out())
    assert set(sheets.shared_texts(results).rows) == {
        ("multitask", "cldr_pairs", f"{n} of 200 rows, by their hashes", stage, task, "th")
        for n, stage, task in (
            (1, "pretrain", "far.de"),
            (2, "multitask_intermediate", "near.en"),
            (2, "multitask_intermediate", "far.de"),
        )
    }


def test_one_leaked_row_in_one_seed_is_enough(tmp_path):
    root = write_experiment(
        tmp_path / "x", codes=CODES, seeds=(0, 1), score=lambda *_: 0.5, benchmarks=("cldr_qa",)
    )
    train_on(root, "english_intermediate.seed1", kind__de=[1])
    for seed in (0, 1):
        hashed(root, f"english_zero_shot.seed{seed}", "cldr_qa", "sw", [[1]])
    results = Results(runs.read([root]))
    assert results.exposure("english", "cldr_qa", "sw") is Exposure.TEXT_SEEN
    ((*_, what, stage, _task, _),) = sheets.shared_texts(results).rows
    assert (what, stage) == ("1 of 200 rows, by their hashes", "english_intermediate")
    assert "english_finetune" in page_text(results)  # kept no hashes


def page_text(results):
    return page.html(results, plots.figures(results), sheets.sheets(results))


def test_hashes_that_cannot_be_read_are_an_error_that_says_so(root):
    (root / "pretrain" / "training_texts.npz").write_bytes(b"no archive")
    with pytest.raises(ValueError, match=r"training_texts\.npz cannot be read"):
        Results(runs.read([root]))


def test_the_writer_of_training_texts_and_the_reader_agree(tmp_path):
    record = pytest.importorskip("xlt_jax.data.record")
    hashes = {"b.en": np.array([5, 3], np.uint64), "a.de": np.array([3], np.uint64)}
    (tmp_path / "training_texts.npz").write_bytes(record._texts(hashes))
    (tmp_path / "done.json").write_text("{}")
    found = stages.read_stage(tmp_path, {}).texts()
    assert found.hashes.tolist() == [3, 3, 5]
    assert [found.names[task] for task in found.tasks] == ["b.en", "a.de", "b.en"]
