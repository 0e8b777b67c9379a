"""A trained network whose logits another one learns from; see ``objectives.distillation``."""

import os
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from xlt_jax.arrays import Array, Batch
from xlt_jax.convert import restore
from xlt_jax.training import partition, state, step


class Teacher:
    """``teacher(batch) -> batch``: adds a checkpoint's logits of the targets, without dropout.

    A program of its own beside the training step, so that its parameters are an argument, are split
    over the devices, and are in memory once whatever the microbatches.
    """

    def __init__(
        self,
        module: nn.Module,
        path: str | os.PathLike,
        partitioner: Any = None,
        top: int | None = None,
    ):
        """Reads the checkpoint.

        Args:
            module: The network, which may be larger than the student, of the same vocabulary.
            path: Its checkpoint, in any format that training starts from.
            partitioner: Splits its parameters over the devices. T5X's does so for its own model
                alone: with that, and with None, each device has a copy.
            top: Logits that are kept of each target, the largest ones; the others' probability
                counts as 0. None: all.

        Raises:
            ValueError: No checkpoint, or one of another network; ``top`` is below 1.
        """
        if top is not None and top < 1:
            raise ValueError(f"top is {top}: give the number of logits to keep, or None for all.")
        own = partitioner if isinstance(partitioner, partition.Partitioner) else None
        used = own or partition.Partitioner()
        described = state.describe(module, optax.identity(), used).params
        opened = restore.open_weights(os.fspath(path))
        self._params = restore.restore_params(opened, described)
        if own is None:  # of one device, and wherever a batch is
            self._params = jax.device_get(self._params)
        forward = step.make_forward(module)

        def added(params: Any, batch: Batch) -> dict[str, Array]:
            with used.context():
                logits_BTV = forward(params, batch, None).logits.astype(jnp.float32)
            if top is None:
                return {"teacher_logits": logits_BTV}
            logits_BTK, tokens_BTK = jax.lax.top_k(logits_BTV, min(top, logits_BTV.shape[-1]))
            return {"teacher_logits": logits_BTK, "teacher_tokens": tokens_BTK}

        self._added = jax.jit(added)

    def __call__(self, batch: Batch) -> dict[str, Array]:
        """The batch with ``teacher_logits``, BTV or BTK float32, then with ``teacher_tokens``."""
        return {**batch, **self._added(self._params, batch)}
