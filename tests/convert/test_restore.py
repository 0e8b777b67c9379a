"""Parameters of a run's checkpoint in another network, and paths that are none."""

import jax
import numpy as np
import optax
import pytest

from xlt_jax.convert import restore
from xlt_jax.models import mt5
from xlt_jax.training import state
from xlt_jax.training.checkpoint import Checkpointer
from xlt_jax.training.config import SaveCheckpointConfig
from xlt_jax.training.partition import Partitioner

SIZES = dict(
    vocab_size=64,
    emb_dim=32,
    num_heads=8,
    num_encoder_layers=1,
    num_decoder_layers=1,
    head_dim=4,
    mlp_dim=64,
    mlp_activations=("gelu", "linear"),
)


def make(partitions=2, **changes):
    network = mt5.Transformer(mt5.T5Config(**(SIZES | changes)))
    partitioner = Partitioner(partitions, devices=jax.devices()[:8])
    return network, optax.identity(), partitioner


@pytest.fixture(scope="module")
def created():
    return state.create(*make(), jax.random.key(0))


@pytest.fixture(scope="module")
def saved(created, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    checkpointer = Checkpointer(folder, SaveCheckpointConfig())
    for step in (9, 10):
        checkpointer.save(step, created.replace(step=created.step + step))
    checkpointer.close()
    return folder


def restored(path, params, **options):
    return restore.restore_params(restore.open_weights(path), params, **options)


def assert_equal(actual, expected):
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(actual), jax.device_get(expected))


@pytest.mark.parametrize("partitions", [1, 2, 8])
def test_parameters_can_start_another_run(partitions, created, saved):
    described = state.describe(*make(partitions)).params
    for path in (saved, saved / "checkpoint_9"):
        params = restored(path, described)
        assert_equal(params, created.params)
        for leaf, wanted in zip(jax.tree.leaves(params), jax.tree.leaves(described), strict=True):
            assert leaf.sharding == wanted.sharding
    assert restore.open_weights(saved).step == 10
    with pytest.raises(ValueError, match="single checkpoint"):
        restore.find(saved / "checkpoint_9", mode="latest")


def test_another_shape_is_named_with_both_sizes(saved):
    wider = state.describe(*make(vocab_size=128)).params
    expected = r"token_embedder/embedding: 64x32 in the checkpoint, 128x32 in this run"
    with pytest.raises(ValueError, match=expected):
        restored(saved, wider)


def test_missing_and_unexpected_parameters(created, saved):
    deeper = state.describe(*make(num_encoder_layers=2)).params
    with pytest.raises(ValueError, match=r"encoder/layers_1/.*: missing in the checkpoint"):
        restored(saved, deeper)
    shallower = state.describe(*make()).params
    del shallower["decoder"]["layers_0"]
    with pytest.raises(ValueError, match=r"decoder/layers_0/.*: unknown to this run"):
        restored(saved, shallower)
    kept = restored(saved, shallower, strict=False)
    assert_equal(kept["encoder"], created.params["encoder"])
    assert "layers_0" not in kept["decoder"]

    more = jax.tree.map(lambda leaf: leaf, created.params)
    more["encoder"]["layers_1"] = {"new": jax.numpy.full((3,), 7.0)}
    mixed = restored(saved, more, fallback_to_scratch=True)
    assert (mixed["encoder"]["layers_1"]["new"] == 7.0).all()
    assert_equal(mixed["encoder"]["layers_0"], created.params["encoder"]["layers_0"])


def test_paths_that_are_no_checkpoint(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere.* does not exist"):
        restore.open_weights(tmp_path / "nowhere" / "x")
    other = tmp_path / "other"
    other.mkdir()
    (other / "notes.txt").write_text("hello")
    for path in (other, other / "notes.txt"):
        with pytest.raises(ValueError, match="is not a checkpoint"):
            restore.open_weights(path)


@pytest.mark.parametrize("how", ["cut", "lost", "description"])
def test_damaged_files_are_reported(how, created, tmp_path):
    checkpointer = Checkpointer(tmp_path, SaveCheckpointConfig())
    checkpointer.save(1, created)
    checkpointer.close()
    for file in (tmp_path / "checkpoint_1").rglob("*"):
        if how == "description" and file.name == "_METADATA" and file.is_file():
            file.write_bytes(b"{")
        elif how != "description" and file.parent.name == "d":
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
            if how == "lost":
                file.unlink()
    with pytest.raises(ValueError, match="checkpoint_1 cannot be read: it is damaged"):
        restored(tmp_path, created.params)
