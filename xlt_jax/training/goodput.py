"""MODEL_DIR/restarts.jsonl: when a run was started and ended, and what of its time was progress."""

import json
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from xlt_jax import files

FILE = "restarts.jsonl"
UNKNOWN = "unknown"  # killed, crashed, or the machine went away


class Restarts:
    """One line for each start; an end that was not sudden is noted in the line of its start."""

    def __init__(self, model_dir: str | os.PathLike, writes: bool):
        self._path, self._writes = epath.Path(model_dir) / FILE, writes
        self._lines: list[dict[str, Any]] = []

    def started(self, step: int) -> None:
        """Notes a start that goes on from ``step``."""
        if not self._writes:
            return
        if self._path.exists():
            self._lines = [json.loads(line) for line in files.read_text(self._path).splitlines()]
        line = {"time": time.time(), "step": step}
        if self._lines:
            line["previous_end"] = self._lines[-1].get("end", {}).get("reason", UNKNOWN)
        self._lines.append(line)
        self._write()

    def ended(self, step: int, reason: str) -> None:
        """Notes why and where this start came to its end; nothing where none was noted."""
        if self._lines:
            self._lines[-1]["end"] = {"time": time.time(), "step": step, "reason": reason}
            self._write()

    def _write(self) -> None:
        files.write_text(self._path, "".join(f"{json.dumps(line)}\n" for line in self._lines))


def share(
    restarts: Sequence[Mapping[str, Any]], curve: Sequence[Mapping[str, Any]], first_step: int = 0
) -> float | None:
    """The share of a run's time, 0 to 1, in which steps were computed that it still has.

    All else is lost: compilation, evaluation and saving, steps that had to be taken again, and the
    time between an end and the next start. None for a run that was never started again, or that
    did not note its times.

    Args:
        restarts: Lines of restarts.jsonl.
        curve: Lines of metrics.jsonl, which forgets steps that were lost.
        first_step: Of the run.
    """
    lines = [line for line in curve if line.get("step_s") and line.get("time")]
    if len(restarts) < 2 or not lines:
        return None
    progress_s, before = 0.0, first_step
    for line in lines:
        progress_s += line["step_s"] * (line["step"] - before)
        before = line["step"]
    end = restarts[-1].get("end", {}).get("time") or lines[-1]["time"]
    return min(1.0, progress_s / max(end - restarts[0]["time"], 1e-9))
