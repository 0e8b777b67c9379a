"""Task and language vectors: differences of checkpoints, pruned, and added to another one."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from etils import epath
from safetensors import numpy as safetensors

from xlt_jax import files
from xlt_jax.convert import weights
from xlt_jax.convert.weights import Tensor, Weights

SCOPES = ("global", "parameter")
_FORMAT = "xlt_jax vector 1"


@dataclass(frozen=True)
class Vector:
    """A sparse difference of two checkpoints.

    Attributes:
        shapes: Of every parameter, T5X's names.
        places: Of each changed parameter the flat places of the changes, increasing, int64.
        values: Float32, of the same places.
    """

    shapes: Mapping[str, tuple[int, ...]]
    places: Mapping[str, np.ndarray]
    values: Mapping[str, np.ndarray]

    @property
    def share(self) -> float:
        """Of all values those that change."""
        kept = sum(map(len, self.places.values()))
        return kept / sum(int(np.prod(shape)) for shape in self.shapes.values())


def difference(
    base: Weights, tuned: Weights, *, keep: float = 0.1, scope: str = "global", rank: int = 0
) -> Vector:
    """What training changed, without the smallest changes.

    Args:
        base: Before.
        tuned: After.
        keep: Share of the values that is kept, the largest in magnitude; ties are all kept.
        scope: "global": the share of all values together, as in LT-SFT; "parameter": of each.
        rank: Above 0 each matrix is denoised first: its difference's first ``rank`` singular
            components stay whole, and of the rest only the share ``keep``, as in DeFT-X; then the
            sum is pruned.

    Raises:
        ValueError: An option is out of range, or the checkpoints differ in their parameters.

    Source: Ansell et al. 2022, arXiv:2110.07560 (LT-SFT), whose second training of the kept values
        alone is not done here; Simon and Jyothi 2025, arXiv:2505.15090 (DeFT-X), of which it is not
        known here whether the decomposition is that of the difference.
    """
    if not 0 < keep <= 1 or scope not in SCOPES or rank < 0:
        raise ValueError(
            f"keep is {keep}, scope {scope!r}, rank {rank}; give a share up to 1, one of {SCOPES}, "
            "and a rank from 0."
        )
    before, after = (weights.unstacked(one.tensors) for one in (base, tuned))
    _check_alike(base.path, _shapes(before), tuned.path, _shapes(after))
    changes = {}
    for name in sorted(before):
        change = _read(name, after[name]) - _read(name, before[name])
        changes[name] = _denoised(change, rank, keep) if rank and change.ndim == 2 else change
    sizes = {name: np.abs(change).ravel() for name, change in changes.items()}
    if scope == "global":
        limits = dict.fromkeys(sizes, _limit(np.concatenate(list(sizes.values())), keep))
    else:
        limits = {name: _limit(size, keep) for name, size in sizes.items()}
    places = {
        name: np.flatnonzero((size >= limits[name]) & (size > 0)) for name, size in sizes.items()
    }
    places = {name: found for name, found in places.items() if len(found)}
    values = {name: changes[name].ravel()[found] for name, found in places.items()}
    return Vector(_shapes(before), places, values)


def added(base: Weights, vectors: Sequence[tuple[Vector, float]]) -> dict[str, Tensor]:
    """The parameters of ``base`` with each vector times its factor added, in float32.

    Raises:
        ValueError: A vector belongs to another network.
    """
    plain = weights.unstacked(base.tensors)
    for vector, _ in vectors:
        _check_alike(base.path, _shapes(plain), "the vector", vector.shapes)
    return {name: _added(name, tensor, vectors) for name, tensor in plain.items()}


def write(path: str, vector: Vector) -> None:
    """One safetensors file; see ``read``."""
    tensors = {}
    for name, places in vector.places.items():
        tensors[f"{name}:places"], tensors[f"{name}:values"] = places, vector.values[name]
    metadata = {"format": _FORMAT, "shapes": json.dumps(vector.shapes)}
    files.write_bytes(epath.Path(path), safetensors.save(tensors, metadata))


def read(path: str) -> Vector:
    """The vector that ``write`` wrote.

    Raises:
        ValueError: No such file, or another one.
    """
    file = epath.Path(path)
    if not file.is_file():
        raise ValueError(f"There is no vector {path}. Make it: python -m xlt_jax.convert subtract.")
    data = file.read_bytes()
    try:
        size = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + size]).get("__metadata__", {})
        tensors = safetensors.load(data)
    except Exception as error:  # each layer of the format raises its own
        raise ValueError(f"{path} is no safetensors file ({error}).") from error
    if metadata.get("format") != _FORMAT:
        raise ValueError(f"{path} is a safetensors file, but none of xlt_jax.convert subtract.")
    shapes = {name: tuple(shape) for name, shape in json.loads(metadata["shapes"]).items()}
    names = [name.removesuffix(":places") for name in tensors if name.endswith(":places")]
    return Vector(
        shapes,
        {name: tensors[f"{name}:places"] for name in names},
        {name: tensors[f"{name}:values"] for name in names},
    )


def _added(name: str, tensor: Tensor, vectors: Sequence[tuple[Vector, float]]) -> Tensor:
    if not any(name in vector.places for vector, _ in vectors):
        return tensor

    def read(index: weights.Index) -> np.ndarray:
        whole = _read(name, tensor)
        for vector, factor in vectors:
            if name in vector.places:
                whole.ravel()[vector.places[name]] += np.float32(factor) * vector.values[name]
        return whole[index]

    return Tensor(tensor.shape, np.dtype(np.float32), read, tensor.file)


def _read(name: str, tensor: Tensor) -> np.ndarray:
    """A float32 copy."""
    whole = weights.checked(name, tensor.whole(), tensor.file)
    return np.array(whole, np.float32, order="C")


def _denoised(change_IO: np.ndarray, rank: int, keep: float) -> np.ndarray:
    """The first singular components, and of the rest the largest values alone."""
    u, s, v = np.linalg.svd(change_IO, full_matrices=False)
    low = (u[:, :rank] * s[:rank]) @ v[:rank]
    high = change_IO - low
    size = np.abs(high)
    return low + np.where(size >= _limit(size.ravel(), keep), high, 0)


def _limit(sizes: np.ndarray, keep: float) -> float:
    """The smallest of the ``keep`` largest."""
    count = max(1, round(keep * len(sizes)))
    return np.partition(sizes, len(sizes) - count)[len(sizes) - count]


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def _check_alike(one: str, shapes: Mapping, other: str, other_shapes: Mapping) -> None:
    different = sorted(
        name
        for name in shapes.keys() | other_shapes.keys()
        if shapes.get(name) != other_shapes.get(name)
    )
    if different:
        name = different[0]
        found = [known.get(name, "missing") for known in (shapes, other_shapes)]
        raise ValueError(
            f"{one} and {other} are of different networks: {len(different)} parameters differ, "
            f"such as {name}, {found[0]} and {found[1]}."
        )
