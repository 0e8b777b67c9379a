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
class UnscoredTokens:
    """Logits that are yet to be made, in parts: ``states @ kernel``."""

    states: Array  # BTD
    kernel: Array  # DV, float32
    chunks: int = struct.field(pytree_node=False)
    row_parts: int = struct.field(pytree_node=False)  # over which devices split the rows


@struct.dataclass
class Outputs:
    """What a network returns to an objective."""

    # BTV, float32; None of a batch without decoder features. With may_chunk=True perhaps
    # UnscoredTokens, likewise token_logits.
    logits: Array | UnscoredTokens | None
    encoded: Array  # BLD, after the encoder's final norm or the layer asked for
    # With probe=True: token vectors as the first layer reads them, BLD, and of each encoder layer
    # the attention probabilities, float32 BHLL (a tuple, or stacked where layers are scanned).
    embedded: Array | None = None
    attentions: Any = None
    # BKV, float32, of the encoder at the positions asked for
    token_logits: Array | UnscoredTokens | None = None


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


# forward(params, batch, rng, encoder_layer=None, *, perturb=None, probe=False, positions_BK=None,
# may_chunk=False) -> Outputs; see training.step.make_forward. rng None means no dropout.
Forward = Callable[..., Outputs]
# objective(forward, params, batch, rng) -> Loss; rng None means evaluation, nothing is drawn. One
# that compares the rows of a batch with each other has the attribute compares_rows = True: it can
# be neither packed nor microbatched. One that takes a row for one example has unpacked = True.
Objective = Callable[[Forward, Params, Batch, Array | None], Loss]


def masked_sum(values: Array, weights: Array) -> Array:
    """Float32 sum of ``values`` times ``weights`` over all axes."""
    return (values.astype(jnp.float32) * weights.astype(jnp.float32)).sum()


def unit_mean(hidden_BLD: Array, is_token_BL: Array) -> Array:
    """Direction of the mean over real tokens, unit_BD float32; of a row without any, zeros.

    Gradients are finite for such a row too, which those of a plain norm are not.
    """
    return unit(token_mean(hidden_BLD, is_token_BL))


def token_mean(hidden_BLD: Array, is_token_BL: Array) -> Array:
    """Mean vector of the real tokens, BD float32; of a row without any, zeros."""
    hidden_BLD = hidden_BLD.astype(jnp.float32)
    sum_BD = jnp.where(is_token_BL[..., None], hidden_BLD, 0.0).sum(axis=1)
    return sum_BD / jnp.maximum(is_token_BL.sum(axis=1), 1)[:, None]


def unit(vectors_BD: Array) -> Array:
    """``vectors_BD`` divided by their norms; zeros stay zeros, with finite gradients."""
    square_B1 = jnp.square(vectors_BD).sum(axis=-1, keepdims=True)
    return vectors_BD * jax.lax.rsqrt(jnp.where(square_B1 > 0, square_B1, 1.0))
