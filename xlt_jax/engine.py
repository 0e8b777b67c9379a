"""The names that gin files bind: our engine's, or T5X's when the program that runs is T5X.

Chosen by the program and not by what is installed, so that both can be compared on one machine.
"""

import sys

_spec = getattr(sys.modules["__main__"], "__spec__", None)
RUNNING_T5X = _spec is not None and _spec.name.split(".")[0] == "t5x"

if RUNNING_T5X:
    from xlt_jax.t5x_adapter import (
        Adafactor,
        CheckpointConfig,
        DatasetConfig,
        EncoderDecoderModel,
        Evaluator,
        Initializer,
        PjitPartitioner,
        RestoreCheckpointConfig,
        SaveCheckpointConfig,
        Trainer,
        create_learning_rate_scheduler,
        first_step,
        relative_steps,
        summarize_config,
        total_steps,
    )
else:
    from xlt_jax.configuration import summarize_config
    from xlt_jax.convert.restore import restore_params as Initializer
    from xlt_jax.evaluation.zero_shot import of_mixture as Evaluator
    from xlt_jax.training.config import (
        CheckpointConfig,
        DatasetConfig,
        RestoreCheckpointConfig,
        SaveCheckpointConfig,
    )
    from xlt_jax.training.model import (
        EncoderDecoderModel,
        Trainer,
        first_step,
        relative_steps,
        total_steps,
    )
    from xlt_jax.training.model import adafactor_def as Adafactor
    from xlt_jax.training.optim import create_learning_rate_scheduler
    from xlt_jax.training.partition import Partitioner as PjitPartitioner

__all__ = [
    "Adafactor",
    "CheckpointConfig",
    "DatasetConfig",
    "EncoderDecoderModel",
    "Evaluator",
    "Initializer",
    "PjitPartitioner",
    "RestoreCheckpointConfig",
    "SaveCheckpointConfig",
    "Trainer",
    "create_learning_rate_scheduler",
    "first_step",
    "relative_steps",
    "summarize_config",
    "total_steps",
]
