"""What is done about steps whose loss or gradient is not finite, or whose gradient is a spike."""

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from xlt_jax import files

# End the run; keep the parameters and go on; take the step whatever comes of it.
POLICIES = ("stop", "skip", "ignore")
FILE = "bad_batches.jsonl"


def check_policy(policy: str) -> None:
    """Raises ValueError for what is no policy."""
    if policy not in POLICIES:
        raise ValueError(f"BAD_STEPS is {policy!r}; allowed: {', '.join(map(repr, POLICIES))}.")


class BadSteps:
    """Counts bad steps, and notes in MODEL_DIR/bad_batches.jsonl which rows made them."""

    def __init__(
        self,
        policy: str,
        limit: int | None,
        model_dir: str | os.PathLike,
        names: Sequence[str],
        writes: bool,
    ):
        """Nothing is read or written yet.

        Args:
            policy: One of ``POLICIES``; with "ignore" nothing is noted.
            limit: Bad steps in a row that "skip" bears; None: any number.
            model_dir: Of the run.
            names: Of the tasks, as ``data.features.Features`` numbers them.
            writes: Whether this process writes.
        """
        self._policy, self._limit, self._writes = policy, limit, writes
        self._path, self._names = epath.Path(model_dir) / FILE, names
        self.in_a_row = 0

    def take(
        self, number: int, metrics: Mapping[str, Any], sources: Sequence[Sequence[tuple[int, int]]]
    ) -> str | None:
        """Counts a step; why the run has to end, or None.

        Args:
            number: Of the step, from 1.
            metrics: Of the training step, on the host.
            sources: ``data.features.Features.sources`` of its batch.
        """
        if not metrics["bad"]:
            self.in_a_row = 0
            return None
        self.in_a_row += 1
        if self._policy == "ignore":
            return None
        loss, norm = float(metrics["loss"]), float(metrics["grad_norm"])
        self._note(number, loss, norm, sources)
        what = f"Step {number:,} is bad: loss {loss:.4g}, gradient norm {norm:.4g}"
        if self._policy == "stop":
            return (
                f"{what}. Its rows are named in {self._path}; nothing was saved since. Lower "
                "LEARNING_RATE, set CLIP_NORM, look at the rows, or set BAD_STEPS to 'skip'."
            )
        if self._limit is not None and self.in_a_row > self._limit:
            return (
                f"{what}, and so were the {self.in_a_row - 1} before it, more than MAX_BAD_STEPS. "
                f"Their rows are named in {self._path}. Lower LEARNING_RATE or set CLIP_NORM: "
                "this does not pass by itself."
            )
        return None

    def _note(self, number: int, loss: float, norm: float, sources) -> None:
        if not self._writes:
            return
        old = self._path.read_text().splitlines() if self._path.exists() else []
        kept = [line for line in old if json.loads(line)["step"] < number]  # others: taken again
        rows = [[[self._names[task], row] for task, row in examples] for examples in sources]
        line = {"step": number, "loss": _json(loss), "grad_norm": _json(norm), "rows": rows}
        files.write_text(self._path, "".join(f"{x}\n" for x in [*kept, json.dumps(line)]))


def _json(value: float) -> float | str:
    """The number; as text where JSON has none such."""
    return value if abs(value) < float("inf") else str(value)
