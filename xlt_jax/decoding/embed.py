"""Sentence vectors from the encoder, and exact search for the nearest of many.

Q queries   N candidates
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from xlt_jax.arrays import Array, Params
from xlt_jax.decoding.slices import in_slices
from xlt_jax.models import mt5

POOLINGS = ("mean", "max")
QUERY_BLOCK = 1024


class Neighbours(NamedTuple):
    """The best candidates of every query, best first."""

    indices: np.ndarray  # Q x k int32
    scores: np.ndarray  # Q x k float32, inner products


def embed(
    network: mt5.Transformer,
    params: Params,
    encoder_input_tokens_BL: Array,
    *,
    layer: int | None = None,
    pooling: str = "mean",
    slice_tokens: int | None = None,
) -> Array:
    """Unit vectors of sentences, vectors_BD float32; a row of padding only gives zeros.

    Args:
        network: The encoder-decoder, of which the encoder is used.
        params: Its parameters.
        encoder_input_tokens_BL: Sentences; 0 is padding and has no share in the vector.
        layer: Output of this many layers, 0 being the token vectors; None: after the final norm.
        pooling: "mean" or "max" over tokens.
        slice_tokens: Tokens that are encoded at a time; None: all.
    """
    if pooling not in POOLINGS:
        raise ValueError(f"pooling is {pooling!r}; give one of {POOLINGS}.")

    def vectors(ids_BL: Array) -> Array:
        hidden_BLD = network.apply(
            {"params": params}, ids_BL, layer, method="encoder_states"
        ).astype(jnp.float32)
        is_token_BL1 = (ids_BL > 0)[..., None]
        if pooling == "mean":  # the sum has the mean's direction
            pooled_BD = jnp.where(is_token_BL1, hidden_BLD, 0.0).sum(axis=1)
        else:
            pooled_BD = jnp.where(is_token_BL1, hidden_BLD, -jnp.inf).max(axis=1)
            pooled_BD = jnp.where(is_token_BL1.any(axis=1), pooled_BD, 0.0)
        norm_B1 = jnp.linalg.norm(pooled_BD, axis=-1, keepdims=True)
        return pooled_BD / jnp.where(norm_B1 > 0, norm_B1, 1.0)

    return in_slices(vectors, encoder_input_tokens_BL, slice_tokens)


def nearest(
    queries_QD: np.ndarray, candidates_ND: np.ndarray, k: int = 1, block: int = 65536
) -> Neighbours:
    """The ``k`` candidates of largest inner product for each query; of equals the first.

    Exact. ``candidates_ND`` may be a memory map: ``block`` rows are read at a time, so that the
    largest intermediate has 1024 x ``block`` floats.

    Raises:
        ValueError: ``k`` is not from 1 to the number of candidates.
    """
    num_candidates = len(candidates_ND)
    if not 1 <= k <= num_candidates:
        raise ValueError(f"k is {k}; there are {num_candidates} candidates: give 1 to that many.")
    num_queries = len(queries_QD)
    scores_QK = np.full((num_queries, k), -np.inf, np.float32)
    indices_QK = np.zeros((num_queries, k), np.int32)
    for begin in range(0, num_candidates, block):
        candidates_MD = jnp.asarray(candidates_ND[begin : begin + block])
        for low in range(0, num_queries, QUERY_BLOCK):
            rows = slice(low, low + QUERY_BLOCK)
            product_QM = jnp.asarray(queries_QD[rows]) @ candidates_MD.T
            # top_k keeps the first of equals, and earlier blocks stand first.
            new_QK, new_index_QK = jax.lax.top_k(product_QM, min(k, len(candidates_MD)))
            merged = jnp.concatenate([scores_QK[rows], new_QK], axis=1)
            merged_index = jnp.concatenate([indices_QK[rows], new_index_QK + begin], axis=1)
            scores_QK[rows], order_QK = jax.lax.top_k(merged, k)
            indices_QK[rows] = jnp.take_along_axis(merged_index, order_QK, axis=1)
    return Neighbours(indices_QK, scores_QK)
