"""T5X's layouts: what we write and read, stacked or not, and faults."""

import jax
import ml_dtypes
import numpy as np
import pytest
import random_folders
from etils import epath
from flax import serialization

from xlt_jax.convert import restore, t5x, weights


def flat(tree):
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


@pytest.fixture(scope="module")
def arrays(describe_params):
    rng = np.random.default_rng(0)
    return {
        name: rng.normal(size=leaf.shape).astype(np.float32)
        for name, leaf in {
            jax.tree_util.keystr(path, simple=True, separator="/"): leaf
            for path, leaf in jax.tree_util.tree_leaves_with_path(describe_params())
        }.items()
    }


def load(path, params):
    return flat(jax.device_get(restore.restore_params(restore.open_weights(path), params)))


def assert_equal(actual, expected):
    assert actual.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(actual[name], array, err_msg=name)


@pytest.mark.parametrize("path", ["", "checkpoint", "../legacy"])
def test_legacy_checkpoints_are_read(path, arrays, tmp_path, describe_params):
    folder = random_folders.write_legacy(tmp_path / "legacy", arrays)
    opened = restore.open_weights(folder / path)
    assert opened.step == 7 and "legacy" in opened.format
    assert_equal(load(folder / path, describe_params()), arrays)


def test_a_single_file_holds_everything(arrays, tmp_path, describe_params):
    folder = random_folders.write_legacy(tmp_path / "x", arrays, inline=tuple(arrays))
    file = tmp_path / "model.checkpoint_3"
    (folder / "checkpoint").rename(file)
    assert_equal(load(file, describe_params()), arrays)


def test_bfloat16_as_bits_in_integers(arrays, tmp_path, describe_params):
    folder = random_folders.write_legacy(tmp_path / "x", arrays, inline=(), dtype="uint16")
    rounded = {k: v.astype(ml_dtypes.bfloat16).astype(np.float32) for k, v in arrays.items()}
    assert_equal(load(folder, describe_params()), rounded)


def write(tmp_path, arrays, **options):
    tensors = {name: weights.of_array(array, "memory") for name, array in arrays.items()}
    return t5x.write_orbax(epath.Path(tmp_path / "run"), tensors, 5, **options)


def test_what_is_written_is_what_is_read(arrays, tmp_path, describe_params):
    path = write(tmp_path, arrays)
    assert path.name == "checkpoint_5"
    for place in (path, path.parent):
        opened = restore.open_weights(place)
        assert opened.step == 5
        assert_equal(load(place, describe_params()), arrays)


def test_saved_as_bfloat16(arrays, tmp_path, describe_params):
    path = write(tmp_path, arrays, dtype="bfloat16")
    assert {t.dtype for t in restore.open_weights(path).tensors.values()} == {
        np.dtype(ml_dtypes.bfloat16)
    }
    rounded = {k: v.astype(ml_dtypes.bfloat16).astype(np.float32) for k, v in arrays.items()}
    assert_equal(load(path, describe_params()), rounded)


def test_stacked_and_unstacked_read_each_other(arrays, tmp_path):
    tensors = {name: weights.of_array(array, "memory") for name, array in arrays.items()}
    stacks = {name: tensor.whole() for name, tensor in weights.stacks(tensors).items()}
    kernel = stacks["decoder/decoder/mlp/wo/kernel"]
    assert kernel.shape == (24, 3, 16)
    np.testing.assert_array_equal(kernel[:, 2], arrays["decoder/layers_2/mlp/wo/kernel"])
    saved = restore.open_weights(write(tmp_path, stacks))
    for wanted in (arrays, stacks):
        got = {k: t.whole() for k, t in weights.arranged(saved.tensors, wanted).items()}
        assert_equal(got, wanted)
    part = (slice(2, 7), slice(1, 3), slice(0, 16))
    again = weights.stacks(weights.unstacked(saved.tensors))["decoder/decoder/mlp/wo/kernel"]
    np.testing.assert_array_equal(again.read(part), kernel[part])


@pytest.mark.parametrize("layers", [(), (5,)])
def test_kernels_with_an_axis_of_heads(layers):
    """Their joined forms, by einsum's definition of a projection into and out of heads."""
    rng = np.random.default_rng(0)
    stack, n = ("encoder/encoder/attention", "n") if layers else ("encoder/layers_0/attention", "")
    into = rng.normal(size=(16, *layers, 3, 4))
    out = rng.normal(size=(3, *layers, 4, 16))
    tensors = {
        f"{stack}/query/kernel": weights.of_array(into, ""),
        f"{stack}/out/kernel": weights.of_array(out, ""),
    }
    joined = weights.heads_joined(tensors)
    query, back = joined[f"{stack}/query/kernel"], joined[f"{stack}/out/kernel"]
    assert query.shape == (16, *layers, 12) and back.shape == (12, *layers, 16)
    x = rng.normal(size=(2, 16))
    heads = np.einsum(f"bd,d{n}hk->b{n}hk", x, into)
    np.testing.assert_allclose(
        np.einsum(f"bd,d{n}j->b{n}j", x, query.whole()), heads.reshape(2, *layers, 12)
    )
    np.testing.assert_allclose(
        np.einsum(f"b{n}j,j{n}d->b{n}d", heads.reshape(2, *layers, 12), back.whole()),
        np.einsum(f"b{n}hk,h{n}kd->b{n}d", heads, out),
    )


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("cut index", "cannot be read: it is damaged or cut short"),
        ("lost array", r"wi_0.* cannot be read: it is damaged"),
        ("cut array", r"wi_0.* cannot be read: it is damaged"),
        ("leads out", r"is said to lie in '\.\./secret'"),
        ("shape", r"wi_0.* cannot be read: .*shape"),
        ("pickle", "is a zip or a pickle and no T5X checkpoint"),
        ("zip", "is a zip or a pickle and no T5X checkpoint"),
        ("mesh tensorflow", "is a TensorFlow checkpoint"),
    ],
)
def test_a_fault_of_a_legacy_checkpoint_is_named(how, words, arrays, tmp_path, describe_params):
    folder = random_folders.write_legacy(tmp_path / "x", arrays)
    index = folder / "checkpoint"
    zarr = folder / "target.encoder.layers_0.mlp.wi_0.kernel"
    if how == "cut index":
        random_folders.cut(index, 0.9)
    elif how == "lost array":
        (zarr / "0.0").unlink()
    elif how == "cut array":
        random_folders.cut(zarr / "0.0")
    elif how in ("leads out", "shape"):
        content = serialization.msgpack_restore(index.read_bytes())
        leaf = content["optimizer"]["target"]["encoder"]["layers_0"]["mlp"]["wi_0"]["kernel"]
        if how == "leads out":
            leaf["kvstore"]["path"] = "../secret"
        else:
            leaf["metadata"]["shape"] = [16, 23]
        index.write_bytes(serialization.msgpack_serialize(content))
    else:
        index.write_bytes(
            {
                "pickle": b"\x80\x04",
                "zip": b"PK\x03\x04",
                "mesh tensorflow": b"model_checkpoint_path",
            }[how]
        )
    with pytest.raises(ValueError, match=words):
        opened = restore.open_weights(folder)
        for tensor in opened.tensors.values():
            tensor.whole()
