import errno
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import textwrap

import jax
import numpy as np
import pytest

from xlt_jax import files
from xlt_jax.convert import restore
from xlt_jax.training import checkpoint, optim, state
from xlt_jax.training.checkpoint import Checkpointer
from xlt_jax.training.config import SaveCheckpointConfig
from xlt_jax.training.partition import Partitioner


def assert_equal(actual, expected):
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(actual), jax.device_get(expected))


@pytest.fixture
def run(make_run):
    return make_run(devices=8, num_partitions=2)


@pytest.fixture
def saved(run, tmp_path):
    """A run's folder with steps 1 and 2."""
    checkpointer = Checkpointer(tmp_path, SaveCheckpointConfig())
    current = run.create()
    for step in (1, 2):
        checkpointer.save(step, current.replace(step=current.step + step), {"row": step})
    checkpointer.close()
    return tmp_path


def test_the_next_step_after_restoring_is_the_same_bit_for_bit(run, tmp_path):
    straight, straight_metrics = run.train(4)
    half, _ = run.train(2)
    snapshot = jax.tree.map(np.copy, jax.device_get(half))
    checkpointer = Checkpointer(tmp_path, SaveCheckpointConfig())
    assert checkpointer.save(2, half, {"row": 32, "epoch": [1, 2]})
    run.train(1, start=half)  # donates the state while it is being written
    checkpointer.close()
    restored, data_state = Checkpointer(tmp_path, SaveCheckpointConfig()).restore(run.described)
    assert_equal(restored, snapshot)
    assert data_state == {"row": 32, "epoch": [1, 2]}
    for leaf, described in zip(jax.tree.leaves(restored), jax.tree.leaves(run.described)):
        assert leaf.sharding == described.sharding
    final, metrics = run.train(2, start=restored, first=2)
    assert_equal(final, straight)
    assert_equal(metrics, straight_metrics[2:])


def test_another_mesh_restores_the_same_values(run, saved, make_run):
    one = make_run()
    restored, _ = Checkpointer(saved, SaveCheckpointConfig()).restore(one.described, step=1)
    assert_equal(restored.params, run.create().params)


def test_the_latest_and_the_best_are_kept(run, tmp_path):
    config = SaveCheckpointConfig(keep=2, keep_best_metric="mean", keep_best=1)
    checkpointer = Checkpointer(tmp_path, config)
    current = run.create()
    for step, mean in enumerate([0.1, 0.9, float("nan"), 0.3, 0.2], start=1):
        checkpointer.save(step, current, metrics={"mean": mean, "other": 1.0 - mean})
    checkpointer.save(6, current, metrics={"other": 5.0})
    checkpointer.save(7, current)
    checkpointer.wait()
    assert checkpointer.all_steps() == (2, 6, 7) and checkpointer.best_step() == 2
    reopened = Checkpointer(tmp_path, config)
    assert reopened.latest_step() == 7 and reopened.best_step() == 2


def test_smallest_metric_can_be_best(run, tmp_path):
    config = SaveCheckpointConfig(keep=1, keep_best_metric="loss", keep_best_mode="min")
    checkpointer = Checkpointer(tmp_path, config)
    for step, loss in enumerate([3.0, 1.0, 2.0], start=1):
        checkpointer.save(step, run.create(), metrics={"loss": loss})
    checkpointer.wait()
    assert checkpointer.all_steps() == (2, 3) and checkpointer.best_step() == 2


def test_a_step_is_saved_once_and_the_position_in_the_data_only_if_wanted(run, tmp_path):
    checkpointer = Checkpointer(tmp_path, SaveCheckpointConfig(save_dataset=False))
    assert checkpointer.save(3, run.create(), {"row": 1})
    assert not checkpointer.save(3, run.create(), {"row": 2})
    assert checkpointer.restore(run.described)[1] == {}


def test_bfloat16_halves_parameters_but_not_the_optimizer(run, tmp_path):
    current, _ = run.train(1)
    checkpointer = Checkpointer(tmp_path, SaveCheckpointConfig(dtype="bfloat16"))
    checkpointer.save(1, current)
    restored, _ = checkpointer.restore(run.described)
    assert_equal(restored.opt_state, current.opt_state)
    rounded = jax.tree.map(
        lambda x: np.float32(x.astype("bfloat16")), jax.device_get(current.params)
    )
    assert_equal(restored.params, rounded)
    assert jax.tree.leaves(restored.params)[0].dtype == np.float32


def describe(network):
    return state.describe(network, optim.adafactor(0.1, min_dim_size_to_factor=16), Partitioner(2))


def test_another_shape_is_named_with_both_sizes(saved, make_network):
    wider = describe(make_network(vocab_size=128))
    expected = r"target/token_embedder/embedding: 64x32 in the checkpoint, 128x32 in this run"
    with pytest.raises(ValueError, match=expected):
        Checkpointer(saved, SaveCheckpointConfig()).restore(wider)


def test_a_step_that_is_not_there(run, saved):
    with pytest.raises(ValueError, match=r"no checkpoint of step 9; it has: 1, 2"):
        Checkpointer(saved, SaveCheckpointConfig()).restore(run.described, step=9)


@pytest.mark.parametrize("how", ["cut", "lost"])
def test_damaged_files_are_reported_and_the_step_before_still_works(run, saved, how):
    newest = saved / "checkpoint_2"
    for file in newest.rglob("*"):
        if file.parent.name == "d":
            if how == "cut":
                os.truncate(file, file.stat().st_size // 2)
            else:
                file.unlink()
    checkpointer = Checkpointer(saved, SaveCheckpointConfig())
    message = r"checkpoint_2 cannot be read: .*damaged or cut short; move .* go on from step 1"
    with pytest.raises(ValueError, match=message):
        checkpointer.restore(run.described)
    assert_equal(checkpointer.restore(run.described, step=1)[0].params, run.create().params)


@pytest.mark.parametrize("name", ["_METADATA", "manifest.ocdbt"])
def test_damaged_descriptions_are_reported(run, saved, name):
    (saved / "checkpoint_2" / "state" / name).write_bytes(b"{")
    with pytest.raises(ValueError, match="cannot be read: it is damaged"):
        Checkpointer(saved, SaveCheckpointConfig()).restore(run.described)


@pytest.mark.parametrize(
    "name", ["state/manifest.ocdbt", "state/_METADATA", "data/metadata", "state"]
)
def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_restored(run, saved, name):
    path, said = saved / "checkpoint_2" / name, []
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.write_bytes(b"{")
    checkpointer = Checkpointer(saved, SaveCheckpointConfig())
    restored, position = checkpointer.restore_newest(run.described, said.append)
    assert int(restored.step) == 1 and position == {"row": 1}
    assert "checkpoint_2 cannot be read" in said[0] and "going on from step 1" in said[0]
    assert len(said) == 1 and (saved / "checkpoint_2.damaged").is_dir()
    assert checkpointer.latest_step() == 1 and restore.find(saved).name == "checkpoint_1"
    assert checkpointer.save(2, restored, {"row": 2})
    checkpointer.close()
    reopened = Checkpointer(saved, SaveCheckpointConfig())
    assert reopened.restore_newest(run.described, said.append)[1] == {"row": 2}
    assert len(said) == 1


def test_with_no_readable_checkpoint_all_stay_and_nothing_begins_anew(run, saved, make_network):
    for step in (1, 2):
        (saved / f"checkpoint_{step}" / "state" / "manifest.ocdbt").unlink()
    checkpointer = Checkpointer(saved, SaveCheckpointConfig())
    for _ in range(2):
        with pytest.raises(checkpoint.DamagedCheckpointError, match="checkpoint_2 cannot be read"):
            checkpointer.restore_newest(run.described, pytest.fail)
    assert checkpointer.all_steps() == (1, 2)


def failing(monkeypatch, error, times):
    """Reading the position of any checkpoint raises the error so many times."""
    read, left = checkpoint.ocp.JsonCheckpointHandler.restore, [times]

    def restore(*arguments, **options):
        if left[0]:
            left[0] -= 1
            raise error
        return read(*arguments, **options)

    monkeypatch.setattr(checkpoint.ocp.JsonCheckpointHandler, "restore", restore)
    monkeypatch.setattr(files, "WAITS_S", (0, 0))


def test_an_error_that_passes_is_no_damage(run, saved, monkeypatch):
    checkpointer = Checkpointer(saved, SaveCheckpointConfig())
    failing(monkeypatch, OSError(errno.ESTALE, "Stale file handle"), times=2)
    assert checkpointer.restore_newest(run.described, pytest.fail)[1] == {"row": 2}


@pytest.mark.parametrize(
    "error",
    [
        ConnectionError("reset by peer"),
        PermissionError(errno.EACCES, "Permission denied"),
        ValueError("UNAUTHENTICATED: the token has expired [source locations='http.cc']"),
    ],
)
def test_a_place_that_does_not_answer_leaves_the_checkpoints_as_they_are(
    run, saved, monkeypatch, error
):
    checkpointer = Checkpointer(saved, SaveCheckpointConfig())
    failing(monkeypatch, error, times=100)
    with pytest.raises(OSError, match="checkpoint_2 cannot be read now; it stays as it is"):
        checkpointer.restore_newest(run.described, pytest.fail)
    assert checkpointer.all_steps() == (1, 2)


def test_scores_that_were_cut_short_do_not_keep_a_run_from_going_on(run, tmp_path):
    config = SaveCheckpointConfig(keep=5, keep_best_metric="mean", keep_best=2)
    checkpointer = Checkpointer(tmp_path, config)
    for step, score in ((1, 0.5), (2, 0.9), (3, 0.7)):
        checkpointer.save(step, run.create(), {"row": step}, {"mean": score})
    checkpointer.close()
    (scores,) = (tmp_path / "checkpoint_2" / "metrics").glob("metrics")
    scores.write_text("")
    reopened = Checkpointer(tmp_path, config)
    assert reopened.restore_newest(run.described, pytest.fail)[1] == {"row": 3}
    assert reopened.restore(run.described, 2) and reopened.best_step() == 3


def test_no_checkpoint_at_all_is_none(run, tmp_path):
    assert (
        Checkpointer(tmp_path, SaveCheckpointConfig()).restore_newest(run.described, print) is None
    )


def test_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"The folder .* is not writable"):
        Checkpointer(tmp_path / "file" / "run", SaveCheckpointConfig())


def test_full_disk_is_found_before_writing(run, saved, monkeypatch):
    checkpointer = Checkpointer(saved, SaveCheckpointConfig())
    free = checkpoint.shutil.disk_usage(saved)._replace(free=1000)
    monkeypatch.setattr(checkpoint.shutil, "disk_usage", lambda _: free)
    with pytest.raises(
        OSError, match=r"disk is full. Complete steps there: 1, 2, untouched"
    ) as error:
        checkpointer.save(3, run.create())
    assert error.value.errno == errno.ENOSPC
    assert Checkpointer(saved, SaveCheckpointConfig()).latest_step() == 2


WRITER = """
    import os, resource, sys
    import jax.numpy as jnp
    import numpy as np
    from xlt_jax.training.checkpoint import Checkpointer
    from xlt_jax.training.config import SaveCheckpointConfig
    from xlt_jax.training.state import TrainState

    folder, mode = sys.argv[1:]
    values = jnp.asarray(np.random.default_rng(0).normal(size=(16, 1 << 20)).astype(np.float32))
    checkpointer = Checkpointer(folder, SaveCheckpointConfig())
    checkpointer.save(1, TrainState(jnp.asarray(1), {"w": values}, ()))
    checkpointer.wait()
    if mode == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
    print("saving", flush=True)
    try:
        checkpointer.save(2, TrainState(jnp.asarray(2), {"w": values + 1}, ()))
        checkpointer.wait()
    except OSError as error:
        print("error:", error)
    print("done", flush=True)
"""


def start_writer(folder, mode):
    command = [sys.executable, "-c", textwrap.dedent(WRITER), str(folder), mode]
    root = pathlib.Path(checkpoint.__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": str(root), "XLA_FLAGS": ""}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def written(folder):
    described = state.TrainState(
        *(
            jax.ShapeDtypeStruct(shape, dtype, sharding=Partitioner(1).replicated)
            for shape, dtype in (((), np.int32), ((16, 1 << 20), np.float32))
        ),
        (),
    )
    described = described.replace(params={"w": described.params})
    restored, _ = Checkpointer(folder, SaveCheckpointConfig()).restore(described)
    return int(restored.step)


def test_a_process_killed_while_saving_leaves_the_step_before(tmp_path):
    writer = start_writer(tmp_path, "kill")
    assert writer.stdout.readline() == "saving\n"
    while not list(tmp_path.glob("checkpoint_2*")):
        assert writer.poll() is None
    os.kill(writer.pid, signal.SIGKILL)
    writer.wait()
    unfinished = list(tmp_path.glob("checkpoint_2.*"))
    assert unfinished or (tmp_path / "checkpoint_2").exists()
    assert written(tmp_path) == (1 if unfinished else 2)
    assert not list(tmp_path.glob("*.*")), "leftovers stay"


def test_a_write_that_fails_is_an_error_and_leaves_the_step_before(tmp_path):
    output, _ = start_writer(tmp_path, "limit").communicate(timeout=120)
    assert "error:" in output and "complete steps there: 1" in output, output
    assert written(tmp_path) == 1


def test_metrics_of_a_checkpoint_are_plain_json(run, tmp_path):
    checkpointer = Checkpointer(tmp_path, SaveCheckpointConfig(keep_best_metric="mean"))
    checkpointer.save(1, run.create(), metrics={"mean": 0.25})
    checkpointer.close()
    stored = json.loads((tmp_path / "checkpoint_1" / "metrics" / "metrics").read_text())
    assert stored == {"mean": 0.25}
