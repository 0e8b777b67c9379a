"""T5X's own test data, read by T5X and by us."""

import pathlib

import flax
import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

pytest.importorskip("t5x.models")  # not tests/t5x itself
import t5x
from t5x import checkpoints

from xlt_jax.convert import __main__ as convert
from xlt_jax.convert import restore

pytestmark = pytest.mark.t5x

TEST_DATA = pathlib.Path(t5x.__path__[0]) / "testdata"


def test_every_array_of_t5x_test_data_equals_what_t5x_reads():
    path = TEST_DATA / "test_t5_tiny.checkpoint_0"
    theirs = flax.traverse_util.flatten_dict(
        checkpoints.load_t5x_checkpoint(str(path))["target"], sep="/"
    )
    opened = restore.open_weights(path)
    assert opened.tensors.keys() == theirs.keys() and len(theirs) > 50
    for name, array in theirs.items():
        np.testing.assert_array_equal(opened.tensors[name].whole(), np.asarray(array), name)


def test_t5x_to_ours_to_t5x_is_bit_equal(tmp_path):
    """What T5X's Orbax reader finds in an imported checkpoint is what its legacy loader read."""
    path = TEST_DATA / "test_t5_tiny.checkpoint_0"
    theirs = checkpoints.load_t5x_checkpoint(str(path))["target"]
    for stacked in (False, True):
        folder = tmp_path / str(stacked)
        convert.main(["import", str(path), str(folder)] + ["--scan_layers"] * stacked)
        state = ocp.Checkpointer(ocp.PyTreeCheckpointHandler()).restore(
            folder / "checkpoint_0" / "state"
        )
        target = state["target"]
        if stacked:
            for stack in ("encoder", "decoder"):
                layers = target[stack].pop(stack)
                for n in range(2):
                    target[stack][f"layers_{n}"] = jax.tree.map(
                        lambda leaf, n=n: leaf[:, n], layers
                    )
        jax.tree.map(np.testing.assert_array_equal, target, theirs)
