"""Outputs of an evaluation as they come, in files: what resumes a killed one and joins several.

One folder belongs to one evaluation. Every process adds files of finished batches; a batch that is
in any file is not computed again.
"""

import os
import time
from collections.abc import Mapping

import numpy as np
from etils import epath

FLUSH_S = 10.0  # a killed evaluation loses at most what it computed in so many seconds


class Parts:
    """Finished batches of one evaluation, by number."""

    def __init__(self, folder: str | os.PathLike, shard: tuple[int, int] = (0, 1)):
        """Nothing is read or written yet.

        Args:
            folder: Of this evaluation alone: its name has to change with all that its outputs
                depend on.
            shard: (number, count): this process computes batches of ``number`` modulo ``count``.

        Raises:
            ValueError: The number is not below the count.
        """
        self.number, self.count = shard
        if not 0 <= self.number < self.count:
            raise ValueError(f"Shard {self.number} of {self.count}: give a number from 0 to below.")
        self._folder = epath.Path(folder)
        self._waiting: dict[str, np.ndarray] = {}
        self._read: set[str] = set()
        self._flushed = time.monotonic()

    def is_own(self, batch: int) -> bool:
        """Whether this process computes the batch."""
        return batch % self.count == self.number

    def new(self) -> dict[int, np.ndarray]:
        """Batches of files that have appeared since the last call: number -> outputs."""
        found: dict[int, np.ndarray] = {}
        if not self._folder.exists():
            return found
        for path in sorted(self._folder.glob("*.npz")):
            if path.name in self._read:
                continue
            self._read.add(path.name)
            with path.open("rb") as file, np.load(file) as arrays:
                found |= {int(name): arrays[name] for name in arrays.files}
        return found

    def add(self, batch: int, outputs: np.ndarray) -> None:
        """Keeps the outputs of a batch; they are on disk within ``FLUSH_S`` seconds of work."""
        self._waiting[str(batch)] = outputs
        if time.monotonic() - self._flushed > FLUSH_S:
            self.flush()

    def flush(self) -> None:
        """Writes what is kept, under a temporary name first."""
        if self._waiting:
            self._folder.mkdir(parents=True, exist_ok=True)
            name = f"{self.number}-of-{self.count}-{next(iter(self._waiting))}.npz"
            unfinished = self._folder / f".{name}.tmp"
            with unfinished.open("wb") as file:
                np.savez(file, **self._waiting)
            unfinished.replace(self._folder / name)
            self._read.add(name)
        self._waiting, self._flushed = {}, time.monotonic()

    def remove(self) -> None:
        """Deletes the folder, when results are written."""
        if self._folder.exists():
            self._folder.rmtree()


def shard_of(environment: Mapping[str, str]) -> tuple[int, int]:
    """(number, count) of ``XLT_EVAL_SHARD``, such as ``1/4``; (0, 1) without it.

    Raises:
        ValueError: Not two whole numbers, or the first not below the second.
    """
    text = environment.get("XLT_EVAL_SHARD", "0/1")
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and int(number) < int(count)):
        raise ValueError(
            f"XLT_EVAL_SHARD is {text!r}; give this process's number from 0 and their count: '0/4'."
        )
    return int(number), int(count)
