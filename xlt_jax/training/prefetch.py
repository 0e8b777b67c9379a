"""Batches made and sent to the devices in a thread, while the step before them computes."""

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np


def batches(
    stream: Any, shard_batch: Callable, count: int, ahead: int = 2
) -> Iterator[tuple[dict[str, jax.Array], dict, np.ndarray]]:
    """(batch on the device, stream state after it, examples per task), made in a thread.

    Args:
        stream: A ``data.features.BatchStream``.
        shard_batch: Sends arrays to the devices.
        count: How many batches.
        ahead: How many may wait.
    """
    ready: queue.Queue = queue.Queue(ahead)
    ended = threading.Event()

    def produce() -> None:
        try:
            for _ in range(count):
                made = next(stream)
                item = (shard_batch(made.arrays), stream.state(), made.examples)
                while not ended.is_set():
                    try:
                        ready.put(item, timeout=0.1)
                        break
                    except queue.Full:
                        continue
                if ended.is_set():
                    return
            ready.put(None)
        except BaseException as error:
            ready.put(error)

    threading.Thread(target=produce, daemon=True).start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        ended.set()
