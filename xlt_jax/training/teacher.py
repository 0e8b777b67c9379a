"""A trained network whose logits another one learns from; see ``objectives.distillation``."""

import os
from typing import Any

import jax
import optax
from flax import linen as nn

from xlt_jax.arrays import Array, Batch
from xlt_jax.convert import restore
from xlt_jax.training import partition, state, step


class Teacher:
    """``teacher(batch) -> logits_BTV`` of a checkpoint, without dropout.

    Its parameters go into the compiled step as arguments, not as constants, and are split over the
    devices as the student's are.
    """

    def __init__(self, module: nn.Module, path: str | os.PathLike, partitioner: Any = None):
        """Reads the checkpoint.

        Args:
            module: The network, which may be larger than the student, of the same vocabulary.
            path: Its checkpoint, in any format that training starts from.
            partitioner: Of the devices. T5X's tells nothing of parameters that are not its model's:
                with it each device has a copy.

        Raises:
            ValueError: No checkpoint, or one of another network.
        """
        # Otherwise jit writes the values of all arrays that a function closes over into its program.
        jax.config.update("jax_use_simplified_jaxpr_constants", True)
        split = isinstance(partitioner, partition.Partitioner)
        partitioner = partitioner if split else partition.Partitioner()
        opened = restore.open_weights(os.fspath(path))
        described = state.describe(module, optax.identity(), partitioner).params
        self._params = restore.restore_params(opened, described)
        if not split:
            self._params = jax.device_get(self._params)
        self._forward = step.make_forward(module)

    def __call__(self, batch: Batch) -> Array:
        """Logits of the batch's targets."""
        return self._forward(self._params, batch, None).logits
