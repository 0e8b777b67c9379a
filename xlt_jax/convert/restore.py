"""Parameters of any checkpoint into a network: which format a path holds, and the reading."""

import concurrent.futures
import json
import os
import re
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from etils import epath

from xlt_jax.arrays import Params
from xlt_jax.convert import huggingface, t5x, weights
from xlt_jax.convert.weights import Tensor, Weights

_CHOSEN_FILE = "chosen_checkpoint.json"  # as training/checkpoint.py writes it
_READING_AT_ONCE = 8  # parameters; each is in memory only while it is put on the devices


def find(path: str | os.PathLike, mode: str = "specific") -> epath.Path:
    """The path of one complete checkpoint.

    Args:
        path: MODEL_DIR/checkpoint_STEP; MODEL_DIR, meaning the one that ``chosen_checkpoint.json``
            in it names (the best of a run that kept it) or else its latest; a Hugging Face folder;
            or the file of a legacy T5X checkpoint.
        mode: "specific" takes each of them, "latest" the latest of a MODEL_DIR only.

    Raises:
        ValueError: Nothing there, or no checkpoint.
        OSError: The place cannot be looked at.
    """
    path = epath.Path(path)
    path = path if "://" in str(path) else path.absolute()
    try:
        exists = path.exists()
    except Exception as error:  # every file system raises its own
        raise OSError(
            f"The checkpoint {path} cannot be read ({type(error).__name__}: "
            f"{str(error).strip()[:300]}). Without network add --gin_file=gin/local.gin, which "
            "uses embedded data and a tiny model."
        ) from error
    if not exists:
        near = next((parent for parent in path.parents if parent.exists()), path)
        raise ValueError(
            f"The checkpoint {path} does not exist ({near} does). Give a run's MODEL_DIR, or one "
            "of its MODEL_DIR/checkpoint_STEP."
        )
    if _format(path):
        if mode == "latest":
            raise ValueError(
                f"{path} is a single checkpoint: with mode 'latest' give its run's MODEL_DIR, "
                "or use mode 'specific'."
            )
        return path
    found = {}
    if path.is_dir():
        # Others, such as checkpoint_1000.damaged, are no checkpoints.
        candidates = (c for c in path.iterdir() if re.fullmatch(r"checkpoint_\d+", c.name))
        found = {t5x.step_in_name(child): child for child in candidates if _format(child)}
    if found:
        chosen = path / _CHOSEN_FILE
        if mode == "specific" and chosen.exists():
            step = json.loads(chosen.read_text())["step"]
            if step not in found:
                raise ValueError(
                    f"{chosen} names step {step}, but {path} has only "
                    f"{', '.join(map(str, sorted(found)))}. Delete the file to take the latest."
                )
            return found[step]
        return found[max(found)]
    content = (
        ", ".join(sorted(child.name for child in path.iterdir())[:8]) if path.is_dir() else "a file"
    )
    raise ValueError(
        f"{path} is not a checkpoint (it holds: {content or 'nothing'}). Give a run's MODEL_DIR, "
        "one of its checkpoint_STEP folders, a T5X checkpoint, or a Hugging Face folder with its "
        "config.json."
    )


def _format(path: epath.Path) -> str | None:
    if t5x.is_orbax(path):
        return "orbax"
    if huggingface.is_folder(path):
        return "huggingface"
    return "legacy" if t5x.is_legacy(path) else None


_READERS = {
    "orbax": t5x.read_orbax,
    "legacy": t5x.read_legacy,
    "huggingface": huggingface.read,
}


def open_weights(path: str | os.PathLike, mode: str = "specific") -> Weights:
    """Names, shapes and types of a checkpoint's parameters; their values are read when needed.

    Raises:
        ValueError: No checkpoint, a damaged one, or one whose parameters are no floats.
    """
    path = find(path, mode)
    opened = _READERS[_format(path)](path)
    weights.check_dtypes(opened.tensors)
    return opened


def restore_params(
    opened: Weights, params: Params, *, strict: bool = True, fallback_to_scratch: bool = False
) -> Params:
    """The checkpoint's parameters, cast to the types and laid out as ``params``.

    Each process reads only the parts that its devices hold.

    Args:
        opened: From ``open_weights``.
        params: Shapes, types and shardings; with ``fallback_to_scratch`` arrays.
        strict: Whether parameters that only the checkpoint has are an error, or are left out.
        fallback_to_scratch: Whether parameters that the checkpoint lacks keep the values in
            ``params``, or are an error.

    Raises:
        ValueError: A parameter of another shape, one missing or unexpected, one that is not
            finite, or damaged files.
    """
    wanted = {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
    }
    saved = weights.arranged(opened.tensors, wanted)
    _check(opened, saved, wanted, strict=strict, fallback_to_scratch=fallback_to_scratch)
    with concurrent.futures.ThreadPoolExecutor(_READING_AT_ONCE) as executor:
        reading = {
            name: executor.submit(_read, name, saved[name], leaf)
            for name, leaf in wanted.items()
            if name in saved
        }
        leaves = [
            reading[name].result() if name in reading else leaf for name, leaf in wanted.items()
        ]
    return jax.tree.unflatten(jax.tree.structure(params), leaves)


def _read(name: str, tensor: Tensor, wanted: Any) -> jax.Array:
    parts: dict[tuple, np.ndarray] = {}  # copies of a part on several devices are read once

    def part(index: tuple[slice, ...]) -> np.ndarray:
        bounds = tuple(s.indices(size)[:2] for s, size in zip(index, tensor.shape, strict=True))
        if bounds not in parts:
            values = tensor.read(tuple(slice(*bound) for bound in bounds))
            parts[bounds] = weights.checked(name, values, tensor.file).astype(wanted.dtype)
        return parts[bounds]

    return jax.make_array_from_callback(tensor.shape, wanted.sharding, part)


def _check(
    opened: Weights,
    saved: Mapping[str, Tensor],
    wanted: Mapping[str, Any],
    *,
    strict: bool,
    fallback_to_scratch: bool,
) -> None:
    """Compares names and shapes before anything is read."""
    problems = [
        f"{name}: {_shape(saved[name])} in the checkpoint, {_shape(leaf)} in this run"
        for name, leaf in wanted.items()
        if name in saved and tuple(saved[name].shape) != tuple(leaf.shape)
    ]
    missing = [name for name in wanted if name not in saved]
    if not fallback_to_scratch:
        problems += [f"{name}: missing in the checkpoint" for name in missing]
    if strict:
        problems += [f"{name}: unknown to this run" for name in saved if name not in wanted]
    if problems:
        more = f"\n  and {len(problems) - 5} more" if len(problems) > 5 else ""
        note = f"\n{opened.note}" if missing and opened.note else ""
        raise ValueError(
            f"The checkpoint {opened.path} ({opened.format}) does not fit:\n  "
            + "\n  ".join(problems[:5])
            + more
            + note
            + "\nUse the model's gin file and vocabulary that the checkpoint was made with, or "
            "another MODEL_DIR."
        )


def _shape(leaf: Any) -> str:
    return "x".join(map(str, leaf.shape)) or "a scalar"
