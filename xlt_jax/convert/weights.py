"""Parameters of a checkpoint, whatever its format: named, described, and read piece by piece."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import ml_dtypes
import numpy as np

from xlt_jax.models.stacks import LAYER_AXIS

Index = tuple[slice, ...]  # one slice for each axis

DTYPES = tuple(map(np.dtype, (np.float32, ml_dtypes.bfloat16, np.float16)))

# encoder/layers_3/mlp/wo/kernel, and encoder/encoder/mlp/wo/kernel of all layers stacked.
_UNSTACKED = re.compile(r"(encoder|decoder)/layers_(\d+)/(.+)")
_STACKED = re.compile(r"(encoder|decoder)/\1/(.+)")


@dataclass(frozen=True)
class Tensor:
    """One parameter on disk.

    Attributes:
        shape: Of the whole parameter.
        dtype: As stored.
        read: Gives a part of it; only that part need be in memory.
        file: Where it lies, for errors.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[Index], np.ndarray]
    file: str

    def whole(self) -> np.ndarray:
        """The whole parameter."""
        return self.read(tuple(slice(0, size) for size in self.shape))


@dataclass(frozen=True)
class Weights:
    """The parameters of one checkpoint under T5X's names.

    Attributes:
        path: Of the checkpoint.
        format: In words.
        step: Number of training steps behind it; 0 where the format does not say.
        tensors: ``encoder/layers_0/attention/query/kernel`` -> parameter, or stacked ones.
        note: What a reader should know when a parameter is missing; may be empty.
    """

    path: str
    format: str
    step: int
    tensors: Mapping[str, Tensor]
    note: str = ""


def of_array(array: np.ndarray, file: str) -> Tensor:
    """A parameter that is in memory already."""
    return Tensor(array.shape, array.dtype, lambda index: array[index], file)


def transposed(tensor: Tensor) -> Tensor:
    """The matrix with its axes exchanged."""
    return Tensor(
        tensor.shape[::-1], tensor.dtype, lambda index: tensor.read(index[::-1]).T, tensor.file
    )


def layer(stack: Tensor, number: int) -> Tensor:
    """One layer of a stacked parameter."""
    shape = stack.shape[:LAYER_AXIS] + stack.shape[LAYER_AXIS + 1 :]

    def read(index: Index) -> np.ndarray:
        whole = (*index[:LAYER_AXIS], slice(number, number + 1), *index[LAYER_AXIS:])
        return stack.read(whole).squeeze(LAYER_AXIS)

    return Tensor(shape, stack.dtype, read, stack.file)


def stacked(layers: Sequence[Tensor]) -> Tensor:
    """Equal parameters of all layers as one."""
    first = layers[0]
    shape = (*first.shape[:LAYER_AXIS], len(layers), *first.shape[LAYER_AXIS:])

    def read(index: Index) -> np.ndarray:
        rest = index[:LAYER_AXIS] + index[LAYER_AXIS + 1 :]
        parts = [tensor.read(rest) for tensor in layers[index[LAYER_AXIS]]]
        return np.stack(parts, axis=LAYER_AXIS)

    return Tensor(shape, first.dtype, read, first.file)


def heads_joined(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Attention kernels with an axis of heads and one of their width, both made one.

    T5X's public umT5 checkpoints have (embed, layers, heads, width) for query, key and value, and
    (heads, layers, width, embed) for out.
    """
    return {name: _join(name, tensor) for name, tensor in tensors.items()}


def _join(name: str, tensor: Tensor) -> Tensor:
    match = re.search(r"/(query|key|value|out)/kernel$", name)
    is_stacked = bool(_STACKED.fullmatch(name))
    if not match or len(tensor.shape) != (4 if is_stacked else 3):
        return tensor

    def join(array: np.ndarray) -> np.ndarray:
        if match[1] == "out" and is_stacked:  # heads, layers, width, embed
            array = array.swapaxes(0, 1)  # layers first: then heads and width stand together
            return array.reshape(array.shape[0], -1, array.shape[-1]).swapaxes(0, 1)
        if match[1] == "out":
            return array.reshape(-1, array.shape[-1])
        return array.reshape(*array.shape[:-2], -1)

    shape = join(np.broadcast_to(np.int8(0), tensor.shape)).shape
    return Tensor(shape, tensor.dtype, lambda index: join(tensor.whole())[index], tensor.file)


def unstacked(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same parameters with one entry for each layer."""
    result = {}
    for name, tensor in tensors.items():
        match = _STACKED.fullmatch(name)
        if not match:
            result[name] = tensor
            continue
        for number in range(tensor.shape[LAYER_AXIS]):
            result[f"{match[1]}/layers_{number}/{match[2]}"] = layer(tensor, number)
    return result


def arranged(tensors: Mapping[str, Tensor], wanted: Iterable[str]) -> dict[str, Tensor]:
    """The parameters stacked, or one for each layer, as the ``wanted`` names are."""
    wanted = list(wanted)
    wants_stacks = any(_STACKED.fullmatch(name) for name in wanted)
    has_stacks = any(_STACKED.fullmatch(name) for name in tensors)
    if wants_stacks == has_stacks:
        return dict(tensors)
    return stacks(tensors) if wants_stacks else unstacked(tensors)


def stacks(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same parameters with those of a stack's layers as one."""
    result, groups = {}, {}
    for name, tensor in tensors.items():
        match = _UNSTACKED.fullmatch(name)
        if match:
            groups.setdefault(f"{match[1]}/{match[1]}/{match[3]}", {})[int(match[2])] = tensor
        else:
            result[name] = tensor
    for name, layers in groups.items():
        result[name] = stacked([layers[number] for number in sorted(layers)])
    return result


def checked(name: str, values: np.ndarray, file: str) -> np.ndarray:
    """``values``, unless one of them is not finite.

    Raises:
        ValueError: NaN or infinity.
    """
    if not np.isfinite(values).all():
        raise ValueError(f"Parameter {name} in {file} has values that are NaN or infinite.")
    return values


def check_dtypes(tensors: Mapping[str, Tensor]) -> None:
    """Raises ValueError for a parameter whose type is not one of ``DTYPES``."""
    for name, tensor in tensors.items():
        if tensor.dtype not in DTYPES:
            raise ValueError(
                f"Parameter {name} in {tensor.file} is of type {tensor.dtype}; parameters are "
                f"{', '.join(map(str, DTYPES))}. Quantised weights cannot be read."
            )
