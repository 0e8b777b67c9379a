"""What gin assembles into a model and a trainer: records of T5X's names and arguments."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import optax
from flax import linen as nn

from xlt_jax.arrays import Batch, Objective
from xlt_jax.models import mt5
from xlt_jax.training import bad_steps, optim, step
from xlt_jax.training.optim import Schedule
from xlt_jax.training.partition import Partitioner
from xlt_jax.training.state import TrainState


@dataclass(frozen=True)
class EncoderDecoderModel:
    """A network, its vocabulary, and how it learns.

    Attributes:
        module: The network.
        vocabulary: Of inputs and targets; None where no text is read.
        optimizer_def: ``schedule -> optimizer``; the rate belongs to the trainer, as in T5X.
        objective: What the training step minimises.
        loss_normalizing_factor: See ``training.step.make_train_step``.
        augmentations: What is made of the rows that it is trained on, see ``data.augmentation``.

    Raises:
        ValueError: The network has fewer ids than the vocabulary, or so many more that the two
            cannot belong together (sizes are rounded up to a multiple of at most 256).
    """

    module: nn.Module
    vocabulary: Any
    optimizer_def: Callable[[Schedule], optax.GradientTransformation]
    objective: Objective
    loss_normalizing_factor: float | str | None = None
    augmentations: Sequence[Any] = ()

    def __post_init__(self):
        if self.vocabulary is not None:
            check_vocabulary(self.module, self.vocabulary)


@dataclass(frozen=True)
class Trainer:
    """How steps are taken.

    Attributes:
        learning_rate_fn: Rate by number of updates since this run's first.
        num_microbatches: Parts of a batch computed one after the other, to need less memory.
        clip_norm: Global gradient norm above which gradients are scaled down.
        early_stop: Zero-shot evaluations during training without a better
            ``SaveCheckpointConfig.keep_best_metric`` after which training ends; None for no end
            before the last step.
        forgetting: Mixtures whose validation loss is measured before the first and after the last
            step: what earlier stages were trained on.
        teacher: Given the partitioner makes ``batch -> batch``, which adds what the objective
            learns from to every training batch; see ``evaluation.teacher``.
        bad_steps: What is done about a step whose loss or gradient is not finite, or a spike:
            "stop" ends the run, without saving its state; "skip" keeps parameters and the
            optimizer's moments, and goes on with the next batch; "ignore" takes it.
        spike_factor: A gradient norm of so many times the median of the last 64 steps is a spike;
            None for none.
        max_bad_steps: Bad steps in a row that "skip" bears; None for any number.
        hang_limit_s: Seconds without a finished step, batch of an evaluation, or save, after which
            the process shows where it is and ends with code 75; longer than an evaluation takes to
            compile. None for any time.
    """

    learning_rate_fn: Schedule
    num_microbatches: int | None = None
    clip_norm: float | None = None
    early_stop: int | None = None
    forgetting: tuple[str, ...] = ()
    teacher: Callable[..., Callable[[Batch], Batch]] | None = None
    bad_steps: str = "ignore"
    spike_factor: float | None = None
    max_bad_steps: int | None = None
    hang_limit_s: float | None = None

    def __post_init__(self):
        bad_steps.check_policy(self.bad_steps)
        if self.spike_factor is not None and self.spike_factor <= 1:
            raise ValueError(
                f"SPIKE_FACTOR is {self.spike_factor}; give a factor above 1, or None."
            )
        if self.max_bad_steps is not None and self.max_bad_steps < 1:
            raise ValueError(f"MAX_BAD_STEPS is {self.max_bad_steps}; give 1 or more, or None.")
        if self.hang_limit_s is not None and self.hang_limit_s <= 0:
            raise ValueError(f"HANG_LIMIT_S is {self.hang_limit_s}; give seconds, or None.")
        if self.early_stop is not None and self.early_stop < 1:
            raise ValueError(f"EARLY_STOP is {self.early_stop}; give evaluations, 1 or more.")


def make_train_step(
    model: EncoderDecoderModel,
    trainer: Trainer,
    module: nn.Module,
    optimizer: optax.GradientTransformation,
    partitioner: Partitioner,
    state: TrainState,
    first_step: int = 0,
) -> Callable:
    """``step.make_train_step`` of a run.

    Args:
        model: The run's.
        trainer: The run's.
        module: The model's network, or the same without rematerialisation.
        optimizer: The model's.
        partitioner: The one chosen.
        state: Or its description.
        first_step: Before the run's first update.
    """
    return step.make_train_step(
        step.make_forward(module),
        model.objective,
        optimizer,
        partitioner,
        state,
        num_microbatches=trainer.num_microbatches or 1,
        loss_normalizer=model.loss_normalizing_factor,
        clip_norm=trainer.clip_norm,
        bad_steps=trainer.bad_steps,
        spike_factor=trainer.spike_factor,
        learning_rate_fn=lambda number: trainer.learning_rate_fn(number - first_step),
    )


def check_vocabulary(module: nn.Module, vocabulary: Any) -> None:
    """Raises ValueError if a network cannot belong to a vocabulary; see EncoderDecoderModel."""
    network_ids, vocabulary_ids = module.config.vocab_size, vocabulary.vocab_size
    if not 0 <= network_ids - vocabulary_ids < 256:
        raise ValueError(
            f"The network has {network_ids} token ids, the vocabulary {vocabulary.path} "
            f"has {vocabulary_ids}. Take the vocabulary that the checkpoint was trained with, "
            "or set mt5.T5Config.vocab_size to its size rounded up to a multiple of 128."
        )


def check_whole_batches(objective: Objective, num_microbatches: int, pack: bool = False) -> None:
    """Raises ValueError if an objective that compares rows would see parts of a batch, or packs."""
    compares_rows = getattr(objective, "compares_rows", False)
    if compares_rows and (num_microbatches > 1 or pack):
        raise ValueError(
            f"NUM_MICROBATCHES is {num_microbatches} and PACK {pack}: the objective compares the "
            "rows of a batch, each with one example, and a part of the batch is another task. Set "
            "NUM_MICROBATCHES to None and PACK to False; for less memory lower BATCH_SIZE."
        )
    if pack and getattr(objective, "unpacked", False):
        raise ValueError(
            f"PACK is {pack}: the objective takes each row for one example. Set PACK to False."
        )


def adafactor_def(
    decay_rate: float = 0.8,
    step_offset: int = 0,
    multipliers: Sequence[tuple[str, float]] = (),
) -> Callable[[Schedule], optax.GradientTransformation]:
    """Adafactor waiting for its learning rate; see ``adafactor`` and ``multiplied`` of optim.py."""
    optim.check_multipliers(multipliers)

    def make(schedule: Schedule) -> optax.GradientTransformation:
        optimizer = optim.adafactor(
            schedule, decay_rate=decay_rate, step_offset=step_offset, layer_axis=mt5.layer_axis
        )
        return optim.multiplied(optimizer, multipliers) if multipliers else optimizer

    return make


# T5X counts steps differently: gin files call these three, and xlt_jax/t5x_adapter.py has others of
# the same names. Our training reads the numbers as they are.
def first_step(model_dir: str, initial_checkpoint: str | list) -> int:
    """What schedules subtract from the step: 0, as ours count from the run's first update."""
    return 0


def total_steps(
    model_dir: str, initial_checkpoint: str | list, steps: int, relative_steps: int | None
) -> int:
    """Number of the last step, without ``relative_steps``: training adds those itself."""
    return steps


def relative_steps(steps: int | None) -> int | None:
    """Steps after the initial checkpoint's, however often the run is resumed."""
    return steps
