"""The program ``xlt_jax.train`` as users run it: repeatable, killable, resumable."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import runs
from runs import ENVIRONMENT, ROOT, losses, wait_for_step

from xlt_jax.convert import restore

STEPS = 24
SMALL = {
    "LOCAL_STEPS": STEPS,
    "BATCH_SIZE": 4,
    "SAVE_PERIOD": 4,
    "KEEP_CHECKPOINTS": 2,
    "EVAL_PERIOD": 12,
    "EVAL_STEPS": 1,
    "DROPOUT_RATE": 0.1,
    "mt5.T5Config.emb_dim": 32,
    "mt5.T5Config.mlp_dim": 32,
    "STATS_PERIOD": 1,
}


def command(model_dir, **changes):
    return runs.command(model_dir, SMALL | changes)


def run(model_dir, environment=ENVIRONMENT, **changes):
    return subprocess.run(
        command(model_dir, **changes),
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def start(model_dir):
    return runs.start(command(model_dir))


def final_state(model_dir):
    return runs.state_of(model_dir, STEPS)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nobody disturbed."""
    model_dir = tmp_path_factory.mktemp("whole")
    result = run(model_dir)
    assert result.returncode == 0, result.stdout + result.stderr
    return model_dir


def assert_equal_runs(left, right):
    assert losses(left) == losses(right)
    expected, found = final_state(left), final_state(right)
    assert expected.keys() == found.keys()
    for name in expected:
        np.testing.assert_array_equal(expected[name], found[name], err_msg=name)
    data = [(d / "training_data.json").read_text() for d in (left, right)]
    assert data[0] == data[1]


def test_two_runs_are_equal_bit_for_bit(whole, tmp_path):
    assert run(tmp_path).returncode == 0
    assert len(losses(whole)) == STEPS
    assert_equal_runs(whole, tmp_path)


@pytest.mark.parametrize("seed", [1])
def test_run_killed_at_a_random_step_resumes_to_the_same_bits(whole, tmp_path, seed):
    generator = np.random.default_rng(seed)
    process = start(tmp_path)
    wait_for_step(process, int(generator.integers(5, STEPS - 6)))
    process.kill()
    process.wait()
    assert not (tmp_path / f"checkpoint_{STEPS}").exists()
    result = run(tmp_path)
    assert result.returncode == 0, result.stderr
    assert "Resuming" in result.stdout
    assert_equal_runs(whole, tmp_path)


def test_sigterm_saves_and_the_same_command_resumes(whole, tmp_path):
    process = start(tmp_path)
    wait_for_step(process, 5)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    stopped_at = int(re.search(r"at step (\d+), saved", output)[1])
    assert (tmp_path / f"checkpoint_{stopped_at}").exists()
    assert run(tmp_path).returncode == 0
    assert_equal_runs(whole, tmp_path)


def test_finished_run_does_nothing(whole):
    before = time.time()
    result = run(whole)
    assert result.returncode == 0
    newest = max(p.stat().st_mtime for p in whole.rglob("checkpoint_*/**/*"))
    assert newest < before


def test_examples_per_task_and_files(whole):
    data = json.loads((whole / "training_data.json").read_text())
    assert data["steps"] == STEPS
    assert sum(task["examples"] for task in data["tasks"].values()) > STEPS * 4
    assert {task["labelled"] for task in data["tasks"].values()} == {False}
    assert "train_script.train.model_dir" in (whole / "config.gin").read_text()
    assert "total" in (whole / "parameters.txt").read_text()
    kept = sorted(int(path.name.split("_")[1]) for path in whole.glob("checkpoint_*"))
    assert kept == [STEPS - 4, STEPS]


def test_other_shape_is_refused_and_the_checkpoint_stays(whole, tmp_path):
    before = final_state(whole)
    for changes in (
        {"mt5.T5Config.emb_dim": 16},
        {"mt5.T5Config.num_encoder_layers": 1},
    ):
        result = run(whole, **changes)
        assert result.returncode == 2
        assert "does not fit" in result.stderr
    result = run(tmp_path, INITIAL_CHECKPOINT_PATH=str(whole), **{"mt5.T5Config.mlp_dim": 16})
    assert result.returncode == 2
    assert "mlp/wi_0/kernel: 32x32 in the checkpoint, 32x16 in this run" in result.stderr
    after = final_state(whole)
    for name in before:
        np.testing.assert_array_equal(before[name], after[name])


def test_other_data_is_refused(whole):
    result = run(whole, LOCAL_STEPS=STEPS + 8, BATCH_SIZE=8)
    assert result.returncode == 2
    assert "another mixture" in result.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_model_dir(tmp_path):
    tmp_path.chmod(0o500)
    result = run(tmp_path / "run")
    assert result.returncode == 2
    assert "not writable" in result.stderr


@pytest.mark.parametrize("scan_layers", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_hugging_face_folder_is_as_good_a_start_as_the_run_itself(whole, tmp_path, scan_layers):
    folder = tmp_path / "exported"
    export = [sys.executable, "-m", "xlt_jax.convert", "export", str(whole), str(folder)]
    subprocess.run(export, cwd=ROOT, env=ENVIRONMENT, check=True, capture_output=True)
    found = {}
    for name, path in (("run", whole), ("folder", folder)):
        result = run(
            tmp_path / name,
            INITIAL_CHECKPOINT_PATH=str(path),
            LOCAL_STEPS=2,
            DROPOUT_RATE=0.0,  # its draws depend on the step, which the folder does not say
            **{"mt5.T5Config.scan_layers": scan_layers},
        )
        assert result.returncode == 0, result.stderr
        found[name] = [loss for _, *loss in losses(tmp_path / name)]
    assert "Hugging Face mt5" in result.stdout
    assert found["folder"] == found["run"]


SELECT = runs.SMALL | {
    "INFER_EVAL": "@infer_eval/engine.DatasetConfig()",
    "EVAL_MIXTURE": "cldr_kind.en",
    "KEEP_BEST_METRIC": "mean/english",
    "EARLY_STOP": 2,
    "EVAL_PERIOD": 2,
    "SAVE_PERIOD": 2,
    "STATS_PERIOD": 5,
}


def test_early_stop_ends_where_nothing_gets_better_and_the_folder_means_the_best(tmp_path):
    """Without learning all evaluations are equal: two after the first end the run."""
    options = SELECT | {"LEARNING_RATE": 0.0}
    result = run(tmp_path, **options)
    assert result.returncode == 0, result.stderr
    assert "Stopped at step 6 of 24: 2 evaluations without a mean/english better" in result.stdout
    assert [step for step, *_ in losses(tmp_path)] == [5, 6]  # every 5 and at the end
    chosen = tmp_path / "chosen_checkpoint.json"
    assert json.loads(chosen.read_text()) == {"step": 6, "best": "mean/english"}
    before = losses(tmp_path)
    again = run(tmp_path, **options)
    assert again.returncode == 0, again.stderr
    assert losses(tmp_path) == before
    chosen.write_text('{"step": 4}')
    assert restore.find(tmp_path).name == "checkpoint_4"
    assert restore.find(tmp_path, "latest").name == "checkpoint_6"
    chosen.write_text('{"step": 2}')
    with pytest.raises(ValueError, match=r"names step 2, but .* has only 4, 6"):
        restore.find(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"KEEP_BEST_METRIC": None}, "EARLY_STOP is 2, but nothing says what is better"),
        ({"INFER_EVAL": None}, "nothing is evaluated: set INFER_EVAL"),
        ({"KEEP_BEST_METRIC": "mean/xnli"}, "EVAL_MIXTURE gives cldr_kind.en/accuracy, mean/cldr"),
        ({"EARLY_STOP": 0}, "EARLY_STOP is 0; give evaluations, 1 or more"),
    ],
)
def test_a_selection_that_cannot_be_made_is_refused(tmp_path, changes, message):
    result = run(tmp_path, **(SELECT | changes))
    assert result.returncode == 2
    assert message in result.stderr
    assert not list(tmp_path.glob("checkpoint_*"))


def test_rows_that_repeat_too_often_are_named(tmp_path):
    for name, batch_size in (("few", 4), ("many", 128)):
        result = run(tmp_path / name, **runs.SMALL | {"BATCH_SIZE": batch_size}, LOCAL_STEPS=16)
        assert result.returncode == 0, result.stderr
        warned = "the rows of 1 of 1 tasks are repeated more than 4 times: cldr_kind.sw"
        assert (warned in result.stdout) is (name == "many")


def test_what_is_forgotten_is_measured_before_and_after(tmp_path):
    options = runs.SMALL | {"FORGETTING": ("cldr_kind.en", "cldr_same.en")}
    result = run(tmp_path, LOCAL_STEPS=3, **options)
    assert result.returncode == 0, result.stderr
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    found = [
        (line["step"], key)
        for line in lines
        for key in line
        if key.startswith("forgetting/") and line[key] > 0
    ]
    names = ["forgetting/cldr_kind.en/nll", "forgetting/cldr_same.en/nll"]
    assert found == [(step, name) for step in (0, 3) for name in names]
    assert all(line["flops_per_step"] > 0 for line in lines if "loss" in line)


def test_forgetting_needs_batches(tmp_path):
    result = run(tmp_path, FORGETTING=("cldr_kind.en",), EVAL_STEPS=0, TRAIN_EVAL=None)
    assert result.returncode == 2 and "EVAL_STEPS batches, which is 0" in result.stderr


def test_the_program_on_eight_devices_has_the_losses_of_one(tmp_path):
    """Four replicas of a model that is split over two devices."""
    options = runs.SMALL | {"LOCAL_STEPS": 3, "BATCH_SIZE": 8, "DROPOUT_RATE": 0.0}
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}
    found = []
    for name, environment, partitions in (("1", {}, 1), ("8", flags, 2)):
        folder = tmp_path / name
        result = run(folder, ENVIRONMENT | environment, NUM_PARTITIONS=partitions, **options)
        assert result.returncode == 0, result.stderr
        assert f"{name} cpu device(s)" in result.stdout
        found.append([loss for _, loss, _ in losses(folder)])
    np.testing.assert_allclose(*found, rtol=1e-4)
