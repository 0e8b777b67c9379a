"""Differences of checkpoints: pruned, written, and added again."""

import numpy as np
import pytest
import random_folders

from xlt_jax.convert import __main__ as convert
from xlt_jax.convert import restore, vectors, weights
from xlt_jax.convert.weights import Weights

SHAPES = {
    "token_embedder/embedding": (30, 8),
    "encoder/layers_0/mlp/wo/kernel": (12, 8),
    "encoder/layers_1/mlp/wo/kernel": (12, 8),
    "encoder/encoder_norm/scale": (8,),
}


def checkpoint(seed, like=None, change=1.0):
    generator = np.random.default_rng(seed)
    arrays = {name: generator.normal(size=shape) for name, shape in SHAPES.items()}
    if like:
        arrays = {name: like.tensors[name].whole() + change * x for name, x in arrays.items()}
    tensors = {
        name: weights.of_array(array.astype(np.float32), "memory") for name, array in arrays.items()
    }
    return Weights(f"seed {seed}", "memory", 0, tensors)


def wholes(tensors):
    return {name: tensor.whole() for name, tensor in tensors.items()}


BASE = checkpoint(0)
TUNED = checkpoint(1, BASE, 0.1)
CHANGE = {name: TUNED.tensors[name].whole() - BASE.tensors[name].whole() for name in SHAPES}


def dense(vector):
    found = {name: np.zeros(np.prod(shape), np.float32) for name, shape in vector.shapes.items()}
    for name, places in vector.places.items():
        found[name][places] = vector.values[name]
    return {name: found[name].reshape(shape) for name, shape in vector.shapes.items()}


def test_the_whole_difference_leads_back_to_the_tuned_checkpoint():
    vector = vectors.difference(BASE, TUNED, keep=1.0)
    assert vector.share == 1.0
    for name, array in wholes(vectors.added(BASE, [(vector, 1.0)])).items():
        np.testing.assert_allclose(array, TUNED.tensors[name].whole(), rtol=1e-6, atol=1e-7)
    half = wholes(vectors.added(BASE, [(vector, 0.5)]))
    for name, array in half.items():
        middle = BASE.tensors[name].whole() + 0.5 * CHANGE[name]
        np.testing.assert_allclose(array, middle, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("scope", vectors.SCOPES)
@pytest.mark.parametrize("keep", [0.01, 0.1, 0.5])
def test_the_largest_changes_are_kept(scope, keep):
    found = dense(vectors.difference(BASE, TUNED, keep=keep, scope=scope))
    groups = [list(SHAPES)] if scope == "global" else [[name] for name in SHAPES]
    for names in groups:
        wanted = np.concatenate([CHANGE[name].ravel() for name in names])
        kept = np.concatenate([found[name].ravel() for name in names])
        count = max(1, round(keep * len(wanted)))
        largest = np.argsort(-np.abs(wanted))[:count]
        expected = np.zeros_like(wanted)
        expected[largest] = wanted[largest]
        np.testing.assert_array_equal(kept, expected)


def test_denoising_keeps_the_first_components_whole():
    """Of a difference of rank 1 nothing is lost, however little is kept of the rest."""
    generator = np.random.default_rng(3)
    tensors = dict(BASE.tensors)
    outer = {}
    for name, shape in SHAPES.items():
        if len(shape) == 2:
            outer[name] = np.outer(generator.normal(size=shape[0]), generator.normal(size=shape[1]))
            after = BASE.tensors[name].whole() + outer[name].astype(np.float32)
            tensors[name] = weights.of_array(after.astype(np.float32), "memory")
    tuned = Weights("tuned", "memory", 0, tensors)
    for name, found in dense(vectors.difference(BASE, tuned, keep=1.0, rank=1)).items():
        np.testing.assert_allclose(found, outer.get(name, 0.0), atol=1e-5)


def test_denoising_prunes_the_rest_and_then_the_sum():
    """By another decomposition: of D'D, whose eigenvectors are the right singular vectors."""
    vector = vectors.difference(BASE, TUNED, keep=0.2, rank=2, scope="parameter")
    for name, found in dense(vector).items():
        expected = CHANGE[name].astype(np.float64)
        if expected.ndim == 2:
            _, right = np.linalg.eigh(expected.T @ expected)
            low = expected @ right[:, -2:] @ right[:, -2:].T
            expected = low + pruned(expected - low, 0.2)
        np.testing.assert_allclose(found, pruned(expected, 0.2), atol=1e-5)


def pruned(values, keep):
    order = np.argsort(-np.abs(values), axis=None)[: max(1, round(keep * values.size))]
    kept = np.zeros(values.size)
    kept[order] = values.ravel()[order]
    return kept.reshape(values.shape)


def test_vectors_add_up_and_sparse_ones_leave_the_rest_alone(tmp_path):
    task = vectors.difference(BASE, TUNED, keep=0.05)
    language = vectors.difference(BASE, checkpoint(2, BASE, 0.3), keep=0.05)
    for number, vector in enumerate((task, language)):
        vectors.write(str(tmp_path / f"{number}.safetensors"), vector)
    read = [vectors.read(str(tmp_path / f"{number}.safetensors")) for number in range(2)]
    found = wholes(vectors.added(BASE, [(read[0], 1.0), (read[1], 2.0)]))
    parts = dense(task), dense(language)
    for name, array in found.items():
        expected = BASE.tensors[name].whole() + parts[0][name] + 2 * parts[1][name]
        np.testing.assert_allclose(array, expected, rtol=1e-6, atol=1e-7)
        untouched = (parts[0][name] == 0) & (parts[1][name] == 0)
        np.testing.assert_array_equal(array[untouched], BASE.tensors[name].whole()[untouched])
    assert 0.04 < task.share < 0.06


def test_checkpoints_of_other_networks_are_refused():
    fewer = {name: tensor for name, tensor in BASE.tensors.items() if "norm" not in name}
    other = Weights("other", "memory", 0, fewer)
    with pytest.raises(ValueError, match="of different networks: 1 parameters differ"):
        vectors.difference(BASE, other)
    with pytest.raises(ValueError, match="encoder_norm/scale, missing"):
        vectors.added(other, [(vectors.difference(BASE, TUNED), 1.0)])


@pytest.mark.parametrize("options", [{"keep": 0.0}, {"scope": "layer"}, {"rank": -1}], ids=str)
def test_impossible_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        vectors.difference(BASE, TUNED, **options)


def test_commands(tmp_path, capsys):
    first, second = (
        random_folders.write_safetensors(tmp_path / f"hf{n}", random_folders.pytorch_arrays(seed=n))
        for n in range(2)
    )
    file, run = str(tmp_path / "task.safetensors"), tmp_path / "run"
    convert.main(["subtract", str(first), str(second), file, "--keep", "0.25"])
    assert "25.0" in capsys.readouterr().out
    convert.main(["add", str(first), f"{file}*0.5", str(run), "--step", "3"])
    opened = restore.open_weights(run)
    assert opened.step == 3
    before, after = (wholes(restore.open_weights(folder).tensors) for folder in (first, second))
    moved, values = 0, 0
    for name, array in wholes(opened.tensors).items():
        change = array - before[name]
        is_moved = change != 0
        half = 0.5 * (after[name] - before[name])
        np.testing.assert_allclose(change[is_moved], half[is_moved], rtol=1e-4, atol=1e-6)
        moved, values = moved + is_moved.sum(), values + array.size
    assert 0.24 < moved / values < 0.26
    for arguments, message in (
        (["subtract", str(first), str(second), file], "exists"),
        (["add", str(first), f"{file}*half", str(tmp_path / "x")], "FILE*FACTOR"),
        (["add", str(first), str(tmp_path / "none"), str(tmp_path / "x")], "There is no vector"),
        (["add", str(first), str(first / "model.safetensors"), str(tmp_path / "x")], "none of"),
        (["add", str(first), file, str(run), "--step", "3"], "exists"),
    ):
        with pytest.raises(SystemExit):
            convert.main(arguments)
        assert message in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
