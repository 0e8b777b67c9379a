"""Dimension key and the small records that pass between objectives, steps and decoders.

Arrays end in one letter per axis, in order: ``hidden_BLD``.

    B examples   L source tokens   T target tokens   M attended tokens   D model width
    H heads      K head width      F feed-forward width   V vocabulary
    C answer choices or classes    N layers
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

Array = jax.Array
Params = Any  # the pytree under "params" of a Flax variable dict
Batch = Mapping[str, Array]  # seqio's names: encoder_input_tokens, decoder_target_tokens, ...


@struct.dataclass
class Outputs:
    """What a network returns to an objective."""

    logits: Array  # BTV, float32
    encoded: Array  # BLD, after the encoder's final norm


@struct.dataclass
class Loss:
    """A sum and its weight, never a mean: the step divides, and microbatches add up exactly.

    Attributes:
        total: Nats, summed over weighted tokens (regularisers such as z-loss included).
        weight: Sum of the token weights.
        logs: Name -> (sum, weight) of a quantity worth a curve, for example accuracy.
    """

    total: Array
    weight: Array
    logs: Mapping[str, tuple[Array, Array]]


# forward(params, batch, rng) -> Outputs; rng None means no dropout.
Forward = Callable[[Params, Batch, Array | None], Outputs]
# objective(forward, params, batch, rng) -> Loss
Objective = Callable[[Forward, Params, Batch, Array | None], Loss]


def masked_sum(values: Array, weights: Array) -> Array:
    """Float32 sum of ``values`` times ``weights`` over all axes."""
    return (values.astype(jnp.float32) * weights.astype(jnp.float32)).sum()
