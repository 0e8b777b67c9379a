"""T5X's own test data, read by T5X and by us."""

import pathlib

import flax
import numpy as np
import pytest

pytest.importorskip("t5x.models")  # not tests/t5x itself
import t5x
from t5x import checkpoints

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
