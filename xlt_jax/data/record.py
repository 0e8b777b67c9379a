"""What a run was trained on, kept in its folder: the report's zero-shot audit reads it.

``training_data.json``: the checkpoint it started from, its steps, and each task with its examples.
``training_texts.npz``: hashes of the texts of all labelled rows that the run could draw.
"""

import io
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from etils import epath

from xlt_jax import files
from xlt_jax.registry import benchmarks

DATA_FILE = "training_data.json"
TEXTS_FILE = "training_texts.npz"


@dataclass(frozen=True)
class TrainedTask:
    """One task of a run.

    Attributes:
        name: ``benchmark.language``.
        split: That was trained on.
        examples: Number of those drawn; None where the engine does not count.
        hashes: Of the texts of all its rows (``data/leaks.py``), uint64.
    """

    name: str
    split: str
    examples: int | None
    hashes: np.ndarray


def write(
    folder: str | os.PathLike,
    tasks: Iterable[TrainedTask],
    *,
    initial_checkpoint: str | None,
    first_step: int,
    steps: int,
    finished: bool = False,
) -> None:
    """Writes both files.

    Args:
        folder: Of the run.
        tasks: All of its mixture.
        initial_checkpoint: What the run started from; None for random weights.
        first_step: Of the run.
        steps: Number of the last step.
        finished: Whether all was done that belongs to the run, its last evaluation included.
    """
    tasks = list(tasks)
    folder = epath.Path(folder)
    data = {
        "initial_checkpoint": initial_checkpoint,
        "first_step": first_step,
        "steps": steps,
        "finished": finished,
        "tasks": {
            task.name: benchmarks.training_record(task.name, task.split, task.examples)
            for task in tasks
        },
    }
    labelled = [task for task in tasks if data["tasks"][task.name]["labelled"]]
    files.write_bytes(folder / TEXTS_FILE, _texts({task.name: task.hashes for task in labelled}))
    files.write_text(folder / DATA_FILE, json.dumps(data, indent=1))


def finished_step(folder: str | os.PathLike) -> int | None:
    """The last step of a run that has finished; None of any other."""
    path = epath.Path(folder) / DATA_FILE
    if not path.exists():
        return None
    data = json.loads(files.read_text(path))
    return data["steps"] if data.get("finished") else None


def _texts(hashes: Mapping[str, np.ndarray]) -> bytes:
    """``hashes`` (uint64, sorted), of each the number of its task in ``names``: an .npz file."""
    unique = [np.unique(values) for values in hashes.values()]
    numbers = [np.full(len(values), number, np.int32) for number, values in enumerate(unique)]
    together = np.concatenate([np.empty(0, np.uint64), *unique])
    order = np.argsort(together, kind="stable")
    file = io.BytesIO()
    np.savez_compressed(
        file,
        hashes=together[order],
        tasks=np.concatenate([np.empty(0, np.int32), *numbers])[order],
        names=np.array(list(hashes), dtype=str),
    )
    return file.getvalue()
