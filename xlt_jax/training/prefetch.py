"""Batches made and sent to the devices in a thread, while the step before them computes."""

import functools
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from xlt_jax import files

_POLL_S = 1.0  # between looks whether the thread still lives


@dataclass(frozen=True)
class Ready:
    """A batch on the devices; the other fields are those of ``data.features``.

    Attributes:
        arrays: The batch.
        position: State of the stream after it.
        examples: How many of each task.
        sources: Task and row of the examples of each of its rows.
    """

    arrays: dict[str, jax.Array]
    position: Mapping[str, Any]
    examples: np.ndarray
    sources: list[list[tuple[int, int]]]


class Batches:
    """The next ``count`` batches of a stream, made in a thread; to be iterated once.

    Reading is repeated after errors that pass, see ``files.retried``.
    """

    def __init__(self, stream: Any, shard_batch: Callable, count: int, ahead: int = 2):
        """Nothing is read yet.

        Args:
            stream: A ``data.features.BatchStream``.
            shard_batch: Sends arrays to the devices.
            count: How many batches.
            ahead: How many may wait.
        """
        self._stream, self._shard_batch, self._count = stream, shard_batch, count
        self._ready: queue.Queue = queue.Queue(ahead)
        self._ended = threading.Event()
        self.waited_s = 0.0  # that the training waited for batches

    def __iter__(self) -> Iterator[Ready]:
        """The batches.

        Raises:
            OSError: The data could not be read, however often it was tried.
        """
        thread = threading.Thread(target=self._produce, daemon=True)
        thread.start()
        try:
            while (item := self._next(thread)) is not None:
                if isinstance(item, OSError):
                    raise OSError(
                        item.errno,
                        f"The training data cannot be read ({item}): see whether its disk or "
                        "network is there, then start the same command again.",
                    ) from item
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            self._ended.set()

    def _next(self, thread: threading.Thread) -> Any:
        start = time.monotonic()
        while True:
            try:
                item = self._ready.get(timeout=_POLL_S)
                break
            except queue.Empty:
                if not thread.is_alive() and self._ready.empty():
                    item = OSError("its thread has died")
                    break
        self.waited_s += time.monotonic() - start
        return item

    def _produce(self) -> None:
        try:
            position = self._stream.state()
            for _ in range(self._count):
                read = functools.partial(self._read, position)
                made = files.retried("Reading the training data", read)
                position = self._stream.state()
                arrays = self._shard_batch(made.arrays)
                item = Ready(arrays, position, made.examples, made.sources)
                while not self._ended.is_set():
                    try:
                        self._ready.put(item, timeout=0.1)
                        break
                    except queue.Full:
                        continue
                if self._ended.is_set():
                    return
            self._ready.put(None)
        except BaseException as error:
            self._ready.put(error)

    def _read(self, before: Mapping[str, Any]) -> Any:
        try:
            return next(self._stream)
        except OSError:
            self._stream.restore(before)  # half a batch may have been taken
            raise
