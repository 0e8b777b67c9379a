"""T5X's checkpoints: Orbax's layout, which ours is too, and the legacy one (msgpack and zarr)."""

import json
import posixpath
import re
from collections.abc import Mapping
from typing import Any

import jax
import ml_dtypes
import numpy as np
import orbax.checkpoint as ocp
import tensorstore
from etils import epath
from flax import serialization, traverse_util

from xlt_jax.convert import weights
from xlt_jax.convert.weights import Tensor, Weights

STATE = "state"  # the folder of an Orbax checkpoint that holds parameters and optimizer state
INDEX = "checkpoint"  # the file of a legacy checkpoint that names its arrays
_PARAMETERS = "target"


def is_orbax(path: epath.Path) -> bool:
    """Whether the folder is one checkpoint that Orbax wrote."""
    return (path / STATE / "_METADATA").exists()


def is_legacy(path: epath.Path) -> bool:
    """Whether it is a legacy checkpoint's folder, or its index, or a single file of everything."""
    if path.is_dir():
        return (path / INDEX).exists()
    return path.is_file() and bool(re.search(r"checkpoint(_\d+)?$", path.name))


def read_orbax(path: epath.Path) -> Weights:
    """Parameters of a checkpoint that our engine, T5X or ``convert import`` wrote.

    Raises:
        ValueError: Damaged, or without parameters.
    """
    folder = path / STATE
    try:
        names = ocp.PyTreeCheckpointHandler().metadata(folder)
        tree = names.tree if hasattr(names, "tree") else names
        description = json.loads((folder / "_METADATA").read_text())
        leaves = traverse_util.flatten_dict(tree.get(_PARAMETERS, {}))
    except Exception as error:  # Orbax and tensorstore raise whatever they like
        raise damaged(path, error) from error
    if not leaves:
        raise ValueError(
            f"{path} holds no parameters: its {STATE}/ has no {_PARAMETERS!r} (it has "
            f"{', '.join(map(str, tree)) or 'nothing'})."
        )
    driver = "zarr3" if description.get("use_zarr3") else "zarr"
    in_one_store = (folder / "manifest.ocdbt").exists()

    def tensor(name: tuple[str, ...], leaf: Any) -> Tensor:
        file = ".".join((_PARAMETERS, *name))
        if in_one_store:
            kvstore = {"driver": "ocdbt", "base": _store_url(folder), "path": f"{file}/"}
        else:
            kvstore = _store_url(folder / file)
        spec = {"driver": driver, "kvstore": kvstore}
        return _lazy(spec, tuple(leaf.shape), np.dtype(leaf.dtype), str(path))

    return Weights(
        path=str(path),
        format="Orbax (xlt_jax or T5X)",
        step=step_in_name(path),
        tensors=weights.heads_joined(
            {"/".join(name): tensor(name, leaf) for name, leaf in leaves.items()}
        ),
    )


def read_legacy(path: epath.Path) -> Weights:
    """Parameters of a T5X checkpoint from before Orbax: arrays in the index, or in zarr folders.

    Raises:
        ValueError: Damaged, of another kind, or naming a file outside its folder.
    """
    file = path / INDEX if path.is_dir() else path
    content = file.read_bytes()
    if content.startswith(b"model_checkpoint_path"):
        raise ValueError(
            f"{file} is a TensorFlow checkpoint of Mesh TensorFlow. Convert it with T5X first."
        )
    if content[:2] in (b"PK", b"\x80\x04", b"\x80\x02"):
        raise ValueError(f"{file} is a zip or a pickle and no T5X checkpoint: it is not opened.")
    try:
        tree = serialization.msgpack_restore(content)
        version = tree.get("version", 0)
        tree = tree["optimizer"] if version else tree
        leaves = traverse_util.flatten_dict(
            tree[_PARAMETERS],
            is_leaf=lambda _, node: {"driver", "kvstore", "metadata"} <= set(node),
        )
        step = tree.get("state", {}).get("step", 0)
    except Exception as error:  # msgpack raises whatever it meets
        raise damaged(path, error) from error
    if not leaves:
        raise ValueError(f"{path} holds no parameters: {_PARAMETERS!r} is empty in {file.name}.")
    tensors = {
        "/".join(name): _legacy_tensor(file, name, leaf, tensors_folder=file.parent)
        for name, leaf in leaves.items()
    }
    return Weights(
        path=str(path),
        format=f"T5X's legacy format, version {version}",
        step=int(np.asarray(step).max()) if not isinstance(step, Mapping) else step_in_name(path),
        tensors=weights.heads_joined(tensors),
    )


def step_in_name(path: epath.Path) -> int:
    """The number at the end of ``checkpoint_1000``, or 0."""
    match = re.search(r"(?:^|_)(\d+)$", path.name)
    return int(match[1]) if match else 0


def damaged(path: epath.Path, error: BaseException) -> ValueError:
    """The error for files that cannot be read."""
    return ValueError(
        f"The checkpoint {path} cannot be read: it is damaged or cut short. "
        f"Cause: {messages(error)}"
    )


def messages(error: BaseException | None) -> str:
    """First lines of an error and of those that caused it."""
    lines = []
    while error is not None:
        text = str(error).strip().splitlines()
        lines.append(f"{type(error).__name__}: {text[0] if text else ''}"[:300])
        error = error.__cause__ or error.__context__
    return " | ".join(lines)


def _legacy_tensor(
    file: epath.Path, name: tuple[str, ...], leaf: Any, tensors_folder: epath.Path
) -> Tensor:
    if not isinstance(leaf, Mapping):
        return weights.of_array(np.asarray(leaf), str(file))
    relative = leaf["kvstore"].get("path") or leaf.get("path") or ""
    normal = posixpath.normpath(relative)
    if not relative or normal.startswith(("/", "..")) or leaf["driver"] != "zarr":
        raise ValueError(
            f"{file}: parameter {'/'.join(name)} is said to lie in {relative!r} (driver "
            f"{leaf['driver']!r}); it must be a zarr folder beside the index."
        )
    stored = leaf["metadata"]["dtype"]
    # Version 2 kept the bits of bfloat16 in 16-bit integers.
    as_bits = stored == "<u2"
    dtype = np.dtype(ml_dtypes.bfloat16 if as_bits or "bfloat16" in stored else stored)
    folder = tensors_folder / normal
    spec = {"driver": "zarr", "kvstore": _store_url(folder)}
    shape = tuple(leaf["metadata"]["shape"])
    return _lazy(spec, shape, dtype, str(folder), as_bits=as_bits)


def _lazy(
    spec: dict, shape: tuple[int, ...], dtype: np.dtype, file: str, as_bits: bool = False
) -> Tensor:
    spec = spec | {"fill_missing_data_reads": False}  # what is missing is an error, not zeros

    def read(index: weights.Index) -> np.ndarray:
        try:
            array = tensorstore.open(spec, open=True, read=True).result()
            if tuple(array.shape) != shape:
                raise ValueError(f"shape {tuple(array.shape)} on disk, {shape} in the index")
            values = array[index].read().result() if shape else np.asarray(array.read().result())
        except Exception as error:  # tensorstore raises ValueError, OSError and its own
            raise damaged(epath.Path(file), error) from error
        return values.view(dtype) if as_bits else values

    return Tensor(shape, dtype, read, file)


def _store_url(folder: epath.Path) -> str:
    text = str(folder)
    return f"{text}/" if "://" in text else f"file://{folder.absolute()}/"


class _TensorHandler(ocp.type_handlers.NumpyHandler):
    """Lets Orbax write parameters one after the other, so that only one need be in memory."""

    def __init__(self):
        super().__init__(deepcopy_host_arrays=False)

    async def serialize(self, values, infos, args=None):
        args = args or [ocp.SaveArgs()] * len(values)
        for value, info, arg in zip(values, infos, args, strict=True):
            array = np.ascontiguousarray(value.whole())
            for commit in await super().serialize([array], [info], [arg]):
                commit.result()
        return []


def write_orbax(
    model_dir: epath.Path, tensors: Mapping[str, Tensor], step: int, dtype: str = "float32"
) -> epath.Path:
    """``model_dir/checkpoint_<step>`` with these parameters and no optimizer state; its path.

    T5X and our engine start from it. It appears when it is whole.
    """
    step_tensor = weights.of_array(np.asarray(step, np.int32), "")
    params = traverse_util.unflatten_dict(tensors, sep="/")
    tree = {_PARAMETERS: params, "state": {"step": step_tensor}}
    params_args = ocp.SaveArgs(dtype=np.dtype(dtype))
    save_args = {
        _PARAMETERS: jax.tree.map(lambda _: params_args, params),
        "state": {"step": ocp.SaveArgs()},
    }
    options = ocp.CheckpointManagerOptions(
        step_prefix="checkpoint", enable_async_checkpointing=False, cleanup_tmp_directories=True
    )
    registry = ocp.type_handlers.create_type_handler_registry((Tensor, _TensorHandler()))
    handlers = {STATE: ocp.PyTreeCheckpointHandler(type_handler_registry=registry)}
    item = ocp.args.PyTreeSave(tree, save_args=save_args)
    try:
        with ocp.CheckpointManager(model_dir, item_handlers=handlers, options=options) as manager:
            manager.save(step, args=ocp.args.Composite(**{STATE: item}), force=True)
    except BaseException:
        for unfinished in model_dir.glob(f"checkpoint_{step}.*"):
            unfinished.rmtree()
        raise
    return model_dir / f"checkpoint_{step}"
