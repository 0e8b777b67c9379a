"""Which checkpoint is best, and when waiting for a better one ends the training."""

from collections.abc import Mapping
from typing import Any

from xlt_jax.evaluation import predictions, zero_shot
from xlt_jax.training.config import SaveCheckpointConfig
from xlt_jax.training.model import Trainer


class Patience:
    """Counts evaluations without a better score; its state goes into checkpoints."""

    def __init__(self, save: SaveCheckpointConfig, evaluations: int | None):
        self._metric, self._evaluations = save.keep_best_metric, evaluations
        self._sign = 1 if save.keep_best_mode == "max" else -1
        self._best: float | None = None
        self._waited = 0

    def state(self) -> dict:
        """JSON; see ``restore``."""
        return {"best": self._best, "waited": self._waited}

    def restore(self, state: Mapping[str, Any] | None) -> None:
        """Goes on from ``state()``; None in checkpoints of older versions."""
        if state:
            self._best, self._waited = state["best"], state["waited"]

    def take(self, scores: Mapping[str, float]) -> None:
        """Counts one evaluation."""
        if self._metric is None:
            return
        if self._metric not in scores:
            raise ValueError(
                f"KEEP_BEST_METRIC is {self._metric!r}; the evaluation gives {', '.join(scores)}."
            )
        value = scores[self._metric]
        if self._best is None or self._sign * (value - self._best) > 0:
            self._best, self._waited = value, 0
        else:
            self._waited += 1

    @property
    def spent(self) -> bool:
        """Whether training should end."""
        return self._evaluations is not None and self._waited >= self._evaluations

    @property
    def words(self) -> str:
        """Why."""
        return f"{self._waited} evaluations without a {self._metric} better than {self._best:.4f}"


def check(
    save: SaveCheckpointConfig, trainer: Trainer, evaluator: zero_shot.Evaluator | None
) -> None:
    """Refuses a selection of checkpoints that no evaluation serves.

    Raises:
        ValueError: There is no metric or evaluation to select by, or it has no such metric.
    """
    if trainer.early_stop is not None and save.keep_best_metric is None:
        raise ValueError(
            f"EARLY_STOP is {trainer.early_stop}, but nothing says what is better: set "
            "KEEP_BEST_METRIC, such as 'mean/english'."
        )
    if save.keep_best_metric is None:
        return
    if evaluator is None:
        raise ValueError(
            f"KEEP_BEST_METRIC is {save.keep_best_metric!r}, but nothing is evaluated: set "
            "INFER_EVAL = @infer_eval/engine.DatasetConfig()."
        )
    blank = {}
    for task, table in evaluator.tables.items():
        main = table.benchmark.main_metric
        blank[task] = predictions.TaskResult({main: 0.0}, main, 0, None, 0, ())
    names = predictions.scalars(blank)
    if save.keep_best_metric not in names and (
        save.keep_best_metric.rpartition("/")[0] not in evaluator.tables
    ):
        raise ValueError(
            f"KEEP_BEST_METRIC is {save.keep_best_metric!r}; EVAL_MIXTURE gives "
            f"{', '.join(sorted(names))}."
        )
