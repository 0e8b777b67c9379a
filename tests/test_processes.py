"""Several processes compute what one computes, stop together, and resume as any other number."""

import concurrent.futures
import re
import shutil
import signal

import numpy as np
import pytest
import runs

from xlt_jax.training import distributed

STEPS = 8
SMALL = runs.SMALL | {"LOCAL_STEPS": STEPS}


def ended(processes, codes, timeout=240):
    outputs = [process.communicate(timeout=timeout)[0] for process in processes]
    assert [process.returncode for process in processes] == codes, "\n".join(outputs)
    return outputs


def alone(model_dir, **changes):
    return ended([runs.start(runs.command(model_dir, SMALL | changes))], [0])[0]


def together(count, model_dir, **changes):
    return ended(runs.start_processes(count, model_dir, SMALL | changes), [0] * count)


def assert_same_losses(left, right, steps=STEPS):
    expected, found = np.asarray(runs.losses(left)), np.asarray(runs.losses(right))
    assert len(expected) == steps
    np.testing.assert_array_equal(expected[:, 0], found[:, 0])
    np.testing.assert_allclose(found[:, 1], expected[:, 1], rtol=1e-6)


def test_a_signal_to_one_of_two_stops_both_and_one_process_goes_on(tmp_path):
    alone(tmp_path / "one")
    processes = runs.start_processes(2, tmp_path / "two", SMALL | {"LOCAL_STEPS": 2000})
    runs.wait_for_step(processes[0], 2)
    processes[1].send_signal(signal.SIGTERM)
    output, _ = ended(processes, [128 + signal.SIGTERM] * 2)
    step = int(re.search(r"Stopped by SIGTERM at step (\d+), saved", output)[1])
    assert (tmp_path / "two" / f"checkpoint_{step}").is_dir()
    assert "Resuming" in alone(tmp_path / "two", LOCAL_STEPS=step + 2)
    shared = min(step + 2, STEPS)
    assert step >= 2
    found = runs.losses(tmp_path / "two")
    assert [number for number, *_ in found] == [*range(1, step + 3)]
    np.testing.assert_allclose(
        [loss for _, loss, _ in found][:shared],
        [loss for _, loss, _ in runs.losses(tmp_path / "one")][:shared],
        rtol=1e-6,
    )


@pytest.mark.slow
def test_fifty_steps_of_two_and_four_processes_killed_and_on_other_meshes(tmp_path):
    """Runs of 1, 2 and 4 processes, the model over 1 or 2 devices, go on from each other."""
    many = {"LOCAL_STEPS": 50, "SAVE_PERIOD": 10, "STATS_PERIOD": 1}
    alone(tmp_path / "one", **many)
    for count in (2, 4):
        together(count, tmp_path / f"{count}", **many)
        assert_same_losses(tmp_path / "one", tmp_path / f"{count}", 50)

    killed = runs.start_processes(4, tmp_path / "killed", SMALL | many)
    runs.wait_for_step(killed[0], 23)
    for process in killed:
        process.kill()
    ended(killed, [-signal.SIGKILL] * 4)
    processes = runs.start_processes(2, tmp_path / "killed", SMALL | many | {"NUM_PARTITIONS": 2})
    runs.wait_for_step(processes[0], 33)
    processes[0].send_signal(signal.SIGTERM)
    outputs = ended(processes, [128 + signal.SIGTERM] * 2)
    assert "Stopped by SIGTERM" in outputs[0]
    assert "Resuming" in together(2, tmp_path / "killed", **many)[0]
    assert_same_losses(tmp_path / "one", tmp_path / "killed", 50)


@pytest.mark.slow
def test_two_processes_agree_that_a_checkpoint_is_damaged(tmp_path):
    alone(tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    (tmp_path / "two" / "checkpoint_8" / "state" / "manifest.ocdbt").unlink()
    outputs = together(2, tmp_path / "two")
    assert "It is now called checkpoint_8.damaged; going on from step 4." in outputs[0]
    assert "damaged" not in outputs[1]
    names = {path.name for path in (tmp_path / "two").glob("checkpoint_*")}
    assert names == {"checkpoint_4", "checkpoint_8", "checkpoint_8.damaged"}
    assert_same_losses(tmp_path / "one", tmp_path / "two")


@pytest.mark.slow
def test_scores_and_early_stop_are_those_of_one_process(tmp_path):
    evaluated = {
        "INFER_EVAL": "@infer_eval/engine.DatasetConfig()",
        "EVAL_MIXTURE": "cldr_kind.en",
        "KEEP_BEST_METRIC": "mean/english",
        "EARLY_STOP": 2,
        "EVAL_PERIOD": 2,
        "SAVE_PERIOD": 2,
        "LEARNING_RATE": 0.0,
    }
    outputs = [alone(tmp_path / "1", **evaluated), *together(2, tmp_path / "2", **evaluated)]
    for output in outputs[:2]:
        assert "Stopped at step 6 of 8: 2 evaluations without a mean/english better" in output
    lines = [
        (tmp_path / name / "inference_eval" / "cldr_kind.en-metrics.jsonl").read_text()
        for name in "12"
    ]
    assert lines[0] == lines[1]

    sizes = {name: value for name, value in SMALL.items() if name.startswith("mt5.")}
    scored = sizes | {
        "CHECKPOINT_PATH": str(tmp_path / "1"),
        "MIXTURE_OR_TASK_NAME": "cldr_kind.sw",
    }
    options = {
        "gin_files": ("gin/zero_shot_eval.gin", "gin/local.gin"),
        "program": "evaluate",
    }
    ended([runs.start(runs.command(tmp_path / "e1", scored, **options))], [0])
    for name, partitions in (("e2", 1), ("e3", 2)):
        more = scored | {"NUM_PARTITIONS": partitions}
        ended(runs.start_processes(2, tmp_path / name, more, **options), [0, 0])
    files = ("cldr_kind.sw-metrics.jsonl", "cldr_kind.sw-000006.jsonl")
    for file in files:
        texts = {
            (tmp_path / name / "inference_eval" / file).read_text() for name in ("e1", "e2", "e3")
        }
        assert len(texts) == 1, file


@pytest.mark.slow
def test_a_signal_to_one_process_ends_an_evaluation_of_both(tmp_path):
    changes = {
        "INFER_EVAL": "@infer_eval/engine.DatasetConfig()",
        "EVAL_MIXTURE": "cldr_kind.zero_shot",
        "EVAL_PERIOD": 3,
        "LOCAL_STEPS": 3,
    }
    processes = runs.start_processes(2, tmp_path, SMALL | changes)
    runs.wait_for_step(processes[0], 3)  # the line comes before the evaluation
    processes[1].send_signal(signal.SIGTERM)
    output, _ = ended(processes, [128 + signal.SIGTERM] * 2)
    assert "Stopped by SIGTERM at step 3, saved" in output
    assert not list(tmp_path.rglob("*-metrics.jsonl"))
    alone(tmp_path, **changes)
    scored = list(tmp_path.rglob("*-metrics.jsonl"))
    assert len(scored) > 10
    assert all(path.read_text().count("\n") == 1 for path in scored)


def test_a_coordinator_that_does_not_answer_is_named(tmp_path):
    (environment := dict(runs.ENVIRONMENT))["XLT_START_LIMIT_S"] = "1"
    flags = ("--coordinator_address=127.0.0.1:9", "--process_count=2", "--process_index=1")
    process = runs.start(runs.command(tmp_path, SMALL, *flags), environment)
    (output,) = ended([process], [1], timeout=60)  # 1: another start may help
    assert "The coordinator 127.0.0.1:9 did not answer within 1 s" in output


def roll(*indices, count, limit_s=2):
    """What each process of a roll call at one address ends with: an error's text or None."""
    address = f"127.0.0.1:{runs.free_port()}"

    def call(index):
        meet = distributed._answer if index else distributed._call_roll
        try:
            meet(distributed.Place(address, count, index), limit_s=limit_s)
        except (OSError, ValueError) as error:
            return str(error)

    with concurrent.futures.ThreadPoolExecutor() as executor:
        return list(executor.map(call, indices))


def test_processes_meet_and_those_that_do_not_come_are_named():
    assert roll(2, 0, 1, count=3) == [None] * 3
    late, first = roll(2, 0, count=4)
    assert "Of 4 processes number 1, 3 did not come to 127.0.0.1:" in first
    assert "did not answer within 2 s" in late
    assert "say that they are number 1 of 4" in roll(1, 0, 1, count=4, limit_s=8)[1]


SLURM = {"SLURM_JOB_NODELIST": "tpu[003-007,9],gpu1", "SLURM_NTASKS": "4", "SLURM_PROCID": "2"}
JOB = {"XLT_COORDINATOR": "train-0.train", "JOB_COMPLETION_INDEX": "1", "JOB_COMPLETIONS": "2"}


@pytest.mark.parametrize(
    ("method", "environment", "place"),
    [
        (None, SLURM | JOB, None),
        ("slurm", SLURM, distributed.Place("tpu003:8476", 4, 2)),
        ("auto", SLURM, distributed.Place("tpu003:8476", 4, 2)),
        ("auto", JOB, distributed.Place("train-0.train:8476", 2, 1)),
        ("kubernetes", JOB | {"XLT_COORDINATOR": "a:1"}, distributed.Place("a:1", 2, 1)),
        (
            "kubernetes",
            {name: JOB[name] for name in list(JOB)[:2]} | {"XLT_PROCESS_COUNT": "3"},
            distributed.Place("train-0.train:8476", 3, 1),
        ),
        ("auto", {"TPU_WORKER_HOSTNAMES": "a,b"}, distributed.Place()),
        ("auto", {"TPU_WORKER_HOSTNAMES": "a,b", "JAX_PLATFORMS": "cpu"}, None),
        ("auto", {"JAX_PLATFORMS": "cpu"}, None),
        ("tpu", {}, distributed.Place()),
    ],
)
def test_a_process_finds_its_place(method, environment, place):
    assert distributed.find(method, None, None, None, environment) == place


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (("mpi", None, None, None), {}, "--distributed is 'mpi'; allowed: auto, tpu"),
        (("slurm", None, None, None), {}, "needs SLURM_JOB_NODELIST, SLURM_NTASKS, SLURM_PROCID"),
        (("kubernetes", None, None, None), {}, "needs XLT_COORDINATOR, XLT_PROCESS_COUNT"),
        (("auto", "a:1", None, None), {}, "leave out --coordinator_address, or --distributed"),
        ((None, "a:1", "2", None), {}, "needs --process_index, which is not set"),
        ((None, "a:1", "2", "2"), {}, "--process_index is 2 and --process_count 2"),
        ((None, "a:1", "two", "0"), {}, "--process_count is 'two'; give a whole number"),
        ((None, "a:b", "2", "0"), {}, "--coordinator_address is 'a:b'; give HOST or HOST:PORT"),
    ],
)
def test_a_place_that_cannot_be_is_refused(arguments, environment, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        distributed.find(*arguments, environment)


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("a", "a"),
        ("a,b", "a"),
        ("node[001-003,007]-ib,gpu5", "node001-ib"),
        ("r[2,4]n[7-9]", "r2n7"),
        ("node[5,7-9]", "node5"),
    ],
)
def test_first_host_of_slurm(nodes, first):
    assert distributed.first_host(nodes) == first
