"""Records that gin fills for a run: T5X's names for the fields that our engine honours."""

import dataclasses
import importlib
import types
from collections.abc import Mapping

SAVE_DTYPES = ("float32", "bfloat16")
RESTORE_MODES = ("specific", "latest")
METRIC_MODES = ("max", "min")


@dataclasses.dataclass(frozen=True)
class DatasetConfig:
    """Which examples a run reads, and how they become batches.

    Attributes:
        mixture_or_task_name: A registered seqio mixture or task.
        task_feature_lengths: Feature -> tokens per row; longer examples are cut.
        split: "train", "validation" or "test"; of several joined by commas ("test,validation") each
            task has the first that is on this machine.
        batch_size: Rows per step over all hosts.
        shuffle: Whether training rows are drawn in random order.
        seed: Seed of the order; None: one that follows from the run's MODEL_DIR.
        pack: Put several short examples into one row.
        module: A module or its name, which is then imported, for its registrations.
    """

    mixture_or_task_name: str
    task_feature_lengths: Mapping[str, int]
    split: str
    batch_size: int
    shuffle: bool = False
    seed: int | None = None
    pack: bool = False
    module: str | types.ModuleType | None = None

    def __post_init__(self):
        if isinstance(self.module, str):
            importlib.import_module(self.module)
        if not self.mixture_or_task_name:
            raise ValueError("DatasetConfig.mixture_or_task_name is empty: name a task or mixture.")
        if not self.task_feature_lengths:
            raise ValueError(
                "DatasetConfig.task_feature_lengths is empty: give for example "
                "{'inputs': 128, 'targets': 32}."
            )
        for feature, length in self.task_feature_lengths.items():
            _require_positive(f"DatasetConfig.task_feature_lengths[{feature!r}]", length, "tokens")
        _require_positive("DatasetConfig.batch_size", self.batch_size, "rows")


@dataclasses.dataclass(frozen=True)
class SaveCheckpointConfig:
    """When checkpoints are written and which are kept.

    Attributes:
        dtype: Of the saved parameters. "bfloat16" halves the files, and a resumed run is then no
            longer bit-equal to one that was never stopped; optimizer state keeps its own type.
        period: Steps between checkpoints; None saves only at the end.
        keep: Number of most recent checkpoints to keep; None keeps all.
        save_dataset: Also save the position in the training data, which an exact resume needs.
        keep_best_metric: Name of an evaluation metric; the checkpoints with its best values are
            kept beside the most recent ones.
        keep_best_mode: "max" or "min": which values are best.
        keep_best: Number of best checkpoints to keep when ``keep_best_metric`` is set.
    """

    dtype: str = "float32"
    period: int | None = None
    keep: int | None = None
    save_dataset: bool = True
    keep_best_metric: str | None = None
    keep_best_mode: str = "max"
    keep_best: int = 1

    def __post_init__(self):
        _require_member("SaveCheckpointConfig.dtype", self.dtype, SAVE_DTYPES)
        _require_member("SaveCheckpointConfig.keep_best_mode", self.keep_best_mode, METRIC_MODES)
        if self.period is not None:
            _require_positive("SaveCheckpointConfig.period", self.period, "steps")
        if self.keep is not None:
            _require_positive("SaveCheckpointConfig.keep", self.keep, "checkpoints")
        _require_positive("SaveCheckpointConfig.keep_best", self.keep_best, "checkpoints")


@dataclasses.dataclass(frozen=True)
class RestoreCheckpointConfig:
    """The checkpoint whose parameters a new run starts from.

    Attributes:
        path: A checkpoint (MODEL_DIR/checkpoint_1000), a run's MODEL_DIR, meaning its best where
            it kept that, else its latest, a T5X checkpoint or a Hugging Face folder; ``[]`` starts
            from random weights, as in T5X.
        mode: "specific" takes either; "latest" insists on a MODEL_DIR and takes its latest.
        strict: Fail if the checkpoint has parameters that the network lacks.
        fallback_to_scratch: Parameters that the checkpoint lacks keep their random initial values
            instead of being an error.
    """

    path: str | list
    mode: str = "specific"
    strict: bool = True
    fallback_to_scratch: bool = False

    def __post_init__(self):
        if self.path != [] and not (self.path and isinstance(self.path, str)):
            raise ValueError(
                f"RestoreCheckpointConfig.path is {self.path!r}: give a checkpoint's folder, or [] "
                "to start from random weights."
            )
        _require_member("RestoreCheckpointConfig.mode", self.mode, RESTORE_MODES)


@dataclasses.dataclass(frozen=True)
class CheckpointConfig:
    """How a run saves, and what it starts from."""

    save: SaveCheckpointConfig = dataclasses.field(default_factory=SaveCheckpointConfig)
    restore: RestoreCheckpointConfig | None = None


def _require_positive(name: str, value: int, unit: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise ValueError(f"{name} is {value!r}: give a positive whole number of {unit}.")


def _require_member(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}; allowed: {', '.join(map(repr, allowed))}.")
