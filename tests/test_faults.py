"""What goes wrong in long runs: kills, bad steps, hanging and lost processes, restarts."""

import json
import signal
import subprocess
import sys
import textwrap
import time

import jax
import numpy as np
import pytest
import runs

import tasks  # noqa: F401
from tasks.cldr import text
from xlt_jax.data import record, vocab
from xlt_jax.data.tokens import tokens
from xlt_jax.training import distributed, goodput, monitor, watchdog

STEPS = 24
SMALL = runs.SMALL | {
    "LOCAL_STEPS": STEPS,
    "KEEP_CHECKPOINTS": 3,
    "BAD_STEPS": "skip",
    "SPIKE_FACTOR": 1.05,  # after 16 steps many are: the norms of earlier ones have to be kept
    "MAX_BAD_STEPS": None,
    "STATS_PERIOD": 5,  # checkpoints lie between the lines of the log
}


def ended(process, code=0, timeout=240):
    output, _ = process.communicate(timeout=timeout)
    assert process.returncode == code, output
    return output


def start(model_dir, *flags, environment=runs.ENVIRONMENT, gin_files=(), **changes):
    files = ("gin/pretrain.gin", "gin/local.gin", *gin_files)
    command = runs.command(model_dir, SMALL | changes, *flags, gin_files=files)
    return runs.start(command, environment)


def checkpoints(model_dir):
    """Steps of the complete ones."""
    names = [path.name.partition("_")[2] for path in model_dir.glob("checkpoint_*")]
    return sorted(int(name) for name in names if name.isdecimal())


def restarts(model_dir):
    path = model_dir / "restarts.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nobody disturbed, with a profile."""
    model_dir = tmp_path_factory.mktemp("whole")
    output = ended(start(model_dir, "--profile=3"))
    assert "The profile is in" in output
    return model_dir


def kill_at(model_dir, moment):
    """Starts the run and kills it: while it saves, or so many seconds after its first step."""
    starts = len(restarts(model_dir))
    process = start(model_dir)
    if moment == "saving":
        while process.poll() is None and len(restarts(model_dir)) == starts:
            time.sleep(0.01)  # until then there may be leftovers of an earlier kill
        before = set(checkpoints(model_dir))
        while process.poll() is None:
            unfinished = [p for p in model_dir.glob("checkpoint_*") if "tmp" in p.name]
            if unfinished or set(checkpoints(model_dir)) - before:
                break
            time.sleep(0.002)
    else:
        runs.wait_for_step(process, 1)
        time.sleep(moment)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def check_kills(whole, model_dir, moments):
    expected_starts = []
    for moment in moments:
        newest = max(checkpoints(model_dir), default=0)
        if newest == STEPS:
            break
        expected_starts.append(newest)
        kill_at(model_dir, moment)
    if record.finished_step(model_dir) != STEPS:
        expected_starts.append(max(checkpoints(model_dir), default=0))
    ended(start(model_dir))
    assert [line["step"] for line in restarts(model_dir)] == expected_starts, moments
    assert runs.losses(model_dir) == runs.losses(whole)
    expected, found = (runs.state_of(folder, STEPS) for folder in (whole, model_dir))
    assert expected.keys() == found.keys()
    for name in expected:
        np.testing.assert_array_equal(expected[name], found[name], err_msg=name)


def test_killed_runs_lose_no_step_beyond_the_last_save_and_end_equal(whole, tmp_path):
    check_kills(whole, tmp_path, ["saving", 0.05, "saving"])
    assert [line.get("previous_end") for line in restarts(tmp_path)][:2] == [None, "unknown"]


@pytest.mark.slow
def test_twenty_kills(whole, tmp_path):
    generator = np.random.default_rng(0)
    for attempt in range(5):
        moments = ["saving" if x < 0.4 else 2 * (x - 0.4) for x in generator.random(4)]
        check_kills(whole, tmp_path / str(attempt), moments)


def test_speed_is_logged_and_a_profile_written(whole):
    lines = runs.metrics(whole)
    for line in lines:
        assert line["tokens_per_s"] == pytest.approx(line["tokens_per_s_per_chip"])
        assert line["step_s"] * line["steps_per_s"] == pytest.approx(1)
        assert 0 <= line["input_wait"] <= 1
        assert "flops_utilisation" not in line  # of a CPU nobody knows the peak
    assert {line["step"] for line in lines if line["bad_steps"]} <= set(range(17, STEPS + 1))
    assert sum(line["bad_steps"] for line in lines) > 0
    assert list((whole / "profile").rglob("*.xplane.pb"))
    (only,) = restarts(whole)
    assert only["step"] == 0 and only["end"]["reason"] == "finished"
    assert only["end"]["step"] == STEPS


OBJECTIVE = """
    import jax.numpy as jnp
    from xlt_jax.objectives import lm

    def objective(forward, params, batch, rng):
        loss = lm.objective(forward, params, batch, rng)
        is_bad = batch["encoder_input_tokens"].sum() % {every} == 0
        return loss.replace(total=jnp.where(is_bad, jnp.nan, loss.total))
"""
GIN = """
    from __gin__ import dynamic_registration
    import breaking
    OBJECTIVE = @breaking.objective
"""


@pytest.fixture
def breaking(tmp_path):
    """``breaking(every)``: arguments of ``start`` for a loss that is NaN on some batches."""

    def make(every):
        (tmp_path / "breaking.py").write_text(textwrap.dedent(OBJECTIVE.format(every=every)))
        (tmp_path / "breaking.gin").write_text(textwrap.dedent(GIN))
        paths = f"{tmp_path}:{runs.ENVIRONMENT.get('PYTHONPATH', '')}"
        return {
            "gin_files": (str(tmp_path / "breaking.gin"),),
            "environment": runs.ENVIRONMENT | {"PYTHONPATH": paths},
            "PACK": False,
        }

    return make


def bad_batches(model_dir):
    lines = (model_dir / "bad_batches.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_a_bad_step_ends_the_run_which_may_then_skip_it_and_others(breaking, tmp_path):
    arguments, folder = breaking(3) | {"LOCAL_STEPS": 12, "SAVE_PERIOD": 1}, tmp_path / "run"
    output = ended(start(folder, **arguments | {"BAD_STEPS": "stop"}), 2)
    assert "is bad: loss nan" in output and "set BAD_STEPS to 'skip'" in output
    (first,) = bad_batches(folder)
    assert max(checkpoints(folder), default=0) == first["step"] - 1  # its state is not saved
    assert restarts(folder)[-1]["end"]["reason"] == "bad step"
    if first["step"] > 1:  # what was good before it is in the log
        *_, line = runs.metrics(folder)
        assert line["step"] == first["step"] - 1 and line["bad_steps"] == 0

    arguments["STATS_PERIOD"] = 1
    output = ended(start(folder, **arguments))
    assert "1 of the 1 steps up to" in output
    bad = bad_batches(folder)
    assert bad[0] == first and 1 < len(bad) < 10
    table = tokens("cldr_kind.sw", "train", vocab.trained(text.corpus, 8192))
    for line in bad:
        rows = [row for ((task, row),) in line["rows"] if task == "cldr_kind.sw"]
        assert len(rows) == SMALL["BATCH_SIZE"] and line["loss"] == "nan"
        assert sum(int(table.inputs[row][:64].sum()) for row in rows) % 3 == 0
    skipped = {line["step"] for line in bad}
    assert skipped == {m["step"] for m in runs.metrics(folder) if m["bad_steps"]}
    state = runs.state_of(folder, 12)
    assert all(np.isfinite(leaf).all() for leaf in state.values() if leaf.dtype == np.float32)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"BAD_STEPS": "jump"}, "BAD_STEPS is 'jump'; allowed: 'stop', 'skip', 'ignore'"),
        ({"SPIKE_FACTOR": 1.0}, "SPIKE_FACTOR is 1.0; give a factor above 1"),
    ],
)
def test_wrong_settings_are_refused(tmp_path, changes, message):
    assert message in ended(start(tmp_path, **changes), 2)


@pytest.mark.parametrize("at", [1, 2])
def test_a_signal_during_an_evaluation_saves_and_the_evaluation_comes_first_later(tmp_path, at):
    evaluated = {
        "STATS_PERIOD": 1,
        "FORGETTING": ("cldr_kind.de",),
        "EVAL_STEPS": 1,
        "INFER_EVAL": "@infer_eval/engine.DatasetConfig()",
        "EVAL_MIXTURE": "cldr_kind.en",
        "EVAL_PERIOD": 1,
        "LOCAL_STEPS": 2,
    }
    process = start(tmp_path, **evaluated)
    runs.wait_for_step(process, at)  # the line comes before the evaluation
    process.send_signal(signal.SIGTERM)
    output = ended(process, 128 + signal.SIGTERM)
    assert f"Stopped by SIGTERM at step {at}, saved" in output and "s later" in output
    assert checkpoints(tmp_path) == [at]
    for _ in range(2):  # the second time there is nothing to do
        ended(start(tmp_path, **evaluated))
        (path,) = tmp_path.rglob("*-metrics.jsonl")
        assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 2]
        assert [line.get("previous_end") for line in restarts(tmp_path)] == [None, "SIGTERM"]
        lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
        forgotten = [json.loads(line)["step"] for line in lines if "forgetting" in line]
        assert forgotten == [0, 2]


def test_a_signal_before_the_first_step_is_no_progress():
    """Slurm and the watch start a run again that ended with 128 and the signal's number."""
    code = "import os; from xlt_jax.train import StopSignal; StopSignal(); os.kill(os.getpid(), 15)"
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=runs.ROOT)
    assert result.returncode == 1 and "SIGTERM before the first step" in result.stdout


def test_a_hanging_process_shows_where_it_is_and_ends():
    code = """
        import time
        from xlt_jax.training.watchdog import Watchdog
        dog = Watchdog(0.5)
        dog.beat()
        time.sleep(1.0)  # before the first step nothing is asked
        dog.step()
        for _ in range(4):
            dog.beat()
            time.sleep(0.3)
        def waits_for_ever():
            time.sleep(60)
        waits_for_ever()
    """
    begin = time.monotonic()
    command = [sys.executable, "-c", textwrap.dedent(code)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=runs.ROOT)
    assert result.returncode == watchdog.HANGS and time.monotonic() - begin < 30
    assert "No step was finished for" in result.stderr and "waits_for_ever" in result.stderr


@pytest.mark.slow
def test_a_dead_process_ends_the_others_within_a_minute(tmp_path):
    processes = runs.start_processes(2, tmp_path, SMALL | {"LOCAL_STEPS": 5000})
    runs.wait_for_step(processes[0], 4)
    processes[1].kill()
    begin = time.monotonic()
    output, _ = processes[0].communicate(timeout=90)
    assert time.monotonic() - begin < 60
    assert processes[0].returncode == distributed.PEER_LOST, output
    assert "another one has ended or cannot be reached" in output
    processes[1].communicate()


@pytest.mark.slow
def test_a_stopped_process_is_noticed_by_the_hang_limit(tmp_path):
    changes = {"LOCAL_STEPS": 5000, "HANG_LIMIT_S": 8}
    processes = runs.start_processes(2, tmp_path, SMALL | changes)
    runs.wait_for_step(processes[0], 4)
    processes[1].send_signal(signal.SIGSTOP)
    output, _ = processes[0].communicate(timeout=90)
    processes[1].kill()
    processes[1].communicate()
    assert processes[0].returncode in (watchdog.HANGS, distributed.PEER_LOST), output


def test_goodput_counts_only_steps_that_were_kept():
    curve = [{"step": 10, "step_s": 2.0, "time": 130.0}, {"step": 30, "step_s": 1.0, "time": 190.0}]
    starts = [{"time": 100.0, "step": 0}, {"time": 160.0, "step": 10}]
    assert goodput.share(starts, curve) == pytest.approx((10 * 2 + 20 * 1) / 90)
    ends = [starts[0], starts[1] | {"end": {"time": 200.0, "step": 30, "reason": "finished"}}]
    assert goodput.share(ends, curve) == pytest.approx(0.4)
    assert goodput.share(starts, curve, first_step=5) == pytest.approx(30 / 90)
    assert goodput.share(starts[:1], curve) is None
    assert goodput.share(starts, [{"step": 10}]) is None


def test_a_chip_may_be_two_devices(monkeypatch):
    kinds = {"TPU v3": 4, "TPU v5 lite": 8, "cpu": 8}
    for kind, expected in kinds.items():
        device = type("Device", (), {"device_kind": kind})()
        monkeypatch.setattr(jax, "devices", lambda device=device: [device] * 8)
        monkeypatch.setattr(jax, "device_count", lambda: 8)
        assert monitor.num_chips() == expected


def test_one_device_knows_no_utilisation_and_a_chip_does(monkeypatch):
    assert monitor.utilisation(1e12, 1.0) == {}
    kind = type("Device", (), {"device_kind": "TPU v4"})
    monkeypatch.setattr(jax, "devices", lambda: [kind] * 2)
    monkeypatch.setattr(jax, "device_count", lambda: 2)
    assert monitor.utilisation(275e12, 1.0) == {"flops_utilisation": pytest.approx(0.5)}
