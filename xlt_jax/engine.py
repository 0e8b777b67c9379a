"""The names that gin files bind: our engine's classes under the names of T5X's."""

from xlt_jax.training.config import (
    CheckpointConfig,
    DatasetConfig,
    RestoreCheckpointConfig,
    SaveCheckpointConfig,
)
from xlt_jax.training.model import EncoderDecoderModel, Trainer
from xlt_jax.training.model import adafactor_def as Adafactor
from xlt_jax.training.optim import create_learning_rate_scheduler
from xlt_jax.training.partition import Partitioner as PjitPartitioner

__all__ = [
    "Adafactor",
    "CheckpointConfig",
    "DatasetConfig",
    "EncoderDecoderModel",
    "PjitPartitioner",
    "RestoreCheckpointConfig",
    "SaveCheckpointConfig",
    "Trainer",
    "create_learning_rate_scheduler",
]
