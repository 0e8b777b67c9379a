"""Ends a process that hangs, so that whoever started it can start it again."""

import faulthandler
import os
import sys
import threading
import time

HANGS = 75  # exit code: start the run again


class Watchdog:
    """Looks, in a thread, whether something still happens.

    A step that waits for ever for another process, a device or a file cannot end itself.
    """

    def __init__(self, limit_s: float | None):
        """Nothing is looked at before the first ``step``: compilation takes what it takes.

        Args:
            limit_s: Seconds without ``step`` and ``beat`` after which all stacks of Python go to
                stderr and the process ends with the code ``HANGS``; None never does.
        """
        self._limit_s, self._beaten, self._looks = limit_s, 0.0, False
        self._ended = threading.Event()

    def step(self) -> None:
        """A step was finished; from the first one on the thread looks."""
        self.beat()
        if self._limit_s is not None and not self._looks:
            self._looks = True
            threading.Thread(target=self._look, daemon=True).start()

    def beat(self) -> None:
        """Something else happened, such as a batch of an evaluation."""
        self._beaten = time.monotonic()

    def close(self) -> None:
        """Looks no more."""
        self._ended.set()

    def _look(self) -> None:
        while not self._ended.wait(min(1.0, self._limit_s / 4)):
            silent_s = time.monotonic() - self._beaten
            if silent_s > self._limit_s:
                print(
                    f"\nerror: No step was finished for {silent_s:.0f} s, more than HANG_LIMIT_S: "
                    f"this process ends with code {HANGS}. Where its threads are:",
                    file=sys.stderr,
                    flush=True,
                )
                faulthandler.dump_traceback(all_threads=True)
                sys.stdout.flush()
                os._exit(HANGS)
