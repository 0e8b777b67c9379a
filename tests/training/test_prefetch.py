"""Batches from a thread: the same ones after errors that pass, and no waiting for a dead thread."""

import errno
import threading

import numpy as np
import pytest

from xlt_jax import files
from xlt_jax.data.features import Features
from xlt_jax.training import prefetch


class Stream:
    """Counts; fails at some reads, after it has moved on."""

    def __init__(self, failures=(), error=None):
        self.number, self.reads, self.failures = 0, 0, set(failures)
        self.error = error or OSError(errno.EIO, "disk")

    def state(self):
        return {"number": self.number}

    def restore(self, state):
        self.number = state["number"]

    def __next__(self):
        self.number += 1
        self.reads += 1
        if self.reads in self.failures:
            raise self.error
        return Features({"x": np.asarray([self.number])}, np.asarray([1]), [[(0, self.number)]])


@pytest.fixture(autouse=True)
def waits(monkeypatch):
    waited = []
    monkeypatch.setattr(files.time, "sleep", waited.append)
    return waited


def test_a_read_that_fails_twice_changes_no_batch(waits):
    batches = prefetch.Batches(Stream(failures=(3, 4)), dict, 6)
    found = list(batches)
    assert [int(ready.arrays["x"][0]) for ready in found] == [1, 2, 3, 4, 5, 6]
    assert [ready.position["number"] for ready in found] == [1, 2, 3, 4, 5, 6]
    assert [ready.sources for ready in found][2] == [[(0, 3)]]
    assert waits == [1, 2] and batches.waited_s >= 0


def test_a_shard_that_stays_unreadable_is_a_clear_error(waits):
    stream = Stream(failures=range(3, 100))
    batches = iter(prefetch.Batches(stream, dict, 6))
    next(batches), next(batches)
    with pytest.raises(OSError, match=r"training data cannot be read .*disk.*same command again"):
        next(batches)
    assert stream.reads == 8 and stream.number == 2


def test_our_own_errors_come_as_they_are(waits):
    stream = Stream(failures=(1,), error=ValueError("ours"))
    with pytest.raises(ValueError, match="ours"):
        next(iter(prefetch.Batches(stream, dict, 6)))
    assert stream.reads == 1 and not waits


def test_a_dead_thread_is_noticed(monkeypatch):
    monkeypatch.setattr(prefetch.Batches, "_produce", lambda self: None)
    monkeypatch.setattr(prefetch, "_POLL_S", 0.05)
    with pytest.raises(OSError, match="its thread has died"):
        next(iter(prefetch.Batches(Stream(), dict, 6)))


def test_the_thread_ends_with_the_iteration():
    batches = iter(prefetch.Batches(Stream(), dict, 1000))
    next(batches)
    batches.close()
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and "_produce" in thread.name:
            thread.join(5)
            assert not thread.is_alive()
