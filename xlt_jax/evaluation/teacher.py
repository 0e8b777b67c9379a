"""A trained network whose logits another one learns from; see ``objectives.distillation``."""

import functools
import os

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jax.sharding import NamedSharding, PartitionSpec

from xlt_jax.arrays import Array, Batch, Params
from xlt_jax.convert import restore
from xlt_jax.training import state, step
from xlt_jax.training.partition import ROWS, Partitioner


class Teacher:
    """``teacher(batch) -> batch``: adds a checkpoint's logits of the targets, without dropout.

    A program of its own beside the training step, so that its parameters are an argument, are split
    over the devices, and are in memory once whatever the microbatches.

    Attributes:
        params: Arrays, or descriptions where there is no checkpoint.
        program: ``(params, batch) -> what is added``, compiled.
    """

    def __init__(
        self,
        module: nn.Module,
        path: str | os.PathLike | None,
        partitioner: Partitioner | None = None,
        top: int | None = None,
    ):
        """Reads the checkpoint.

        Args:
            module: The network, which may be larger than the student, of the same vocabulary.
            path: Its checkpoint, in any format that training starts from. None: no parameters,
                for ``program`` alone.
            partitioner: Splits its parameters over the devices. None, as in T5X, whose own does so
                for its own model alone: each device has a copy.
            top: Logits that are kept of each target, the largest ones; the others' probability
                counts as 0. None: all.

        Raises:
            ValueError: No checkpoint, or one of another network; ``top`` is below 1.
        """
        if top is not None and top < 1:
            raise ValueError(f"top is {top}: give the number of logits to keep, or None for all.")
        used = partitioner or Partitioner()
        self.params = state.describe(module, optax.identity(), used).params
        if path is not None:
            opened = restore.open_weights(os.fspath(path))
            self.params = restore.restore_params(opened, self.params)
        if partitioner is None:  # of one device, and wherever a batch is
            self.params = jax.device_get(self.params)
        shardings = None
        if partitioner is not None:
            parts = partitioner.mesh.shape["model"]
            split = top is None and module.config.vocab_size % parts == 0
            spec = PartitionSpec(ROWS, None, "model" if split else None)
            shardings = NamedSharding(partitioner.mesh, spec)

        @functools.partial(jax.jit, out_shardings=shardings)
        def program(params: Params, batch: Batch) -> dict[str, Array]:
            with used.context():
                logits_BTV = step.make_forward(module)(params, batch, None).logits
            logits_BTV = logits_BTV.astype(jnp.float32)
            if top is None:
                return {"teacher_logits": logits_BTV}
            logits_BTK, tokens_BTK = jax.lax.top_k(logits_BTV, min(top, logits_BTV.shape[-1]))
            return {"teacher_logits": logits_BTK, "teacher_tokens": tokens_BTK}

        self.program = program

    def __call__(self, batch: Batch) -> dict[str, Array]:
        """The batch with ``teacher_logits``, BTV or BTK float32, then with ``teacher_tokens``."""
        return {**batch, **self.program(self.params, batch)}
