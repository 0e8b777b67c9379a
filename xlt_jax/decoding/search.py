"""Generation: greedy and beam search over cached decoding steps.

Both encode once, prepare the source's keys and values once, and stop when no row can change.

    W beams
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from xlt_jax.arrays import Array, Params
from xlt_jax.decoding.slices import in_slices
from xlt_jax.models import mt5

NEVER = -1e7  # log-probability of an empty beam: below any real one, and finite


@struct.dataclass
class Start:
    """What a search begins with."""

    memory: mt5.Memory
    caches: Any
    is_empty: Array  # B, rows of padding only


@struct.dataclass
class Beams:
    """Result of a beam search, best first."""

    ids: Array  # BWT int32, 0 after the end
    scores: Array  # BW float32, nats divided by the length penalty


def greedy(
    network: mt5.Transformer,
    params: Params,
    encoder_input_tokens_BL: Array,
    *,
    max_decode_len: int,
    eos_id: int = 1,
    slice_tokens: int | None = None,
    fewest_rows: int | None = None,
) -> Array:
    """The most probable token at each position, ids_BT int32 with T = ``max_decode_len``.

    EOS is included and followed by 0. A row of padding only is all 0 and costs no step.

    Args:
        network: The encoder-decoder.
        params: Its parameters.
        encoder_input_tokens_BL: The source; 0 is padding.
        max_decode_len: Most tokens of an output, EOS included.
        eos_id: Ends an output.
        slice_tokens: Source tokens that are encoded at a time; None: all.
        fewest_rows: Whenever half of the rows have ended, the others go on without them, down to
            so many rows; None: all rows go on until the last has ended. Every halving makes the
            program longer.
    """
    start = prepare(
        network,
        params,
        encoder_input_tokens_BL,
        max_decode_len=max_decode_len,
        slice_tokens=slice_tokens,
    )

    def until(num_left: int, rows_N: Array, memory: mt5.Memory, state: tuple) -> tuple:
        """The state when at most ``num_left`` of the rows ``rows_N`` go on."""

        def unfinished(state):
            position, _, _, ended_N, _ = state
            return (position < max_decode_len) & ((~ended_N).sum() > num_left)

        def advance(state):
            position, ids_BT, last_N, ended_N, caches = state
            logits_NV, caches = step(network, params, last_N, caches, position, memory)
            next_N = jnp.where(ended_N, 0, largest(logits_NV))
            ids_BT = ids_BT.at[rows_N, position].set(next_N, unique_indices=True)
            return position + 1, ids_BT, next_N, ended_N | (next_N == eos_id), caches

        return jax.lax.while_loop(unfinished, advance, state)

    num_rows = encoder_input_tokens_BL.shape[0]
    ids_BT = jnp.zeros((num_rows, max_decode_len), jnp.int32)
    rows_N, memory = jnp.arange(num_rows), start.memory
    state = (jnp.int32(0), ids_BT, ids_BT[:, 0], start.is_empty, start.caches)
    while fewest_rows and num_rows >= 2 * fewest_rows:
        num_rows //= 2
        position, ids_BT, last_N, ended_N, caches = until(num_rows, rows_N, memory, state)
        keep_N = jnp.argsort(ended_N, stable=True)[:num_rows]  # those that go on are first
        rows_N, memory = rows_N[keep_N], memory.take(keep_N, network.config.rows_axis)
        caches = mt5.take_rows(caches, keep_N, network.config.rows_axis)
        state = (position, ids_BT, last_N[keep_N], ended_N[keep_N], caches)
    return until(0, rows_N, memory, state)[1]


def greedy_scored(
    network: mt5.Transformer,
    params: Params,
    encoder_input_tokens_BL: Array,
    *,
    max_decode_len: int,
    eos_id: int = 1,
    slice_tokens: int | None = None,
) -> tuple[Array, Array]:
    """What ``greedy`` gives, and its log-probability: ids_BT int32 and scores_B float32.

    Scores are nats under the softmax over all tokens, summed over the output's tokens with EOS and
    not length-normalised: they compare answers to one question read in several windows of a long
    context. A row of padding only has score 0.
    """
    start = prepare(
        network,
        params,
        encoder_input_tokens_BL,
        max_decode_len=max_decode_len,
        slice_tokens=slice_tokens,
    )

    def unfinished(state):
        position, _, _, _, ended_B, _ = state
        return (position < max_decode_len) & ~ended_B.all()

    def advance(state):
        position, ids_BT, scores_B, last_B, ended_B, caches = state
        logits_BV, caches = step(network, params, last_B, caches, position, start.memory)
        # The largest logit is the chosen token's.
        logp_B = logits_BV.max(axis=-1) - jax.nn.logsumexp(logits_BV, axis=-1)
        scores_B += jnp.where(ended_B, 0.0, logp_B)
        next_B = jnp.where(ended_B, 0, largest(logits_BV))
        ids_BT = jax.lax.dynamic_update_index_in_dim(ids_BT, next_B, position, axis=1)
        return position + 1, ids_BT, scores_B, next_B, ended_B | (next_B == eos_id), caches

    ids_BT = jnp.zeros((encoder_input_tokens_BL.shape[0], max_decode_len), jnp.int32)
    scores_B = jnp.zeros(ids_BT.shape[0], jnp.float32)
    state = (jnp.int32(0), ids_BT, scores_B, ids_BT[:, 0], start.is_empty, start.caches)
    return jax.lax.while_loop(unfinished, advance, state)[1:3]


def beam_search(
    network: mt5.Transformer,
    params: Params,
    encoder_input_tokens_BL: Array,
    *,
    max_decode_len: int,
    num_beams: int,
    alpha: float = 0.6,
    eos_id: int = 1,
) -> Beams:
    """The best ``num_beams`` outputs of each row by log-probability over ``length_penalty``.

    A row that finishes nothing within ``max_decode_len`` returns its live beams and their plain
    log-probabilities. As in T5X, EOS among the best 2 W continuations finishes an output, so one
    beam is not greedy search: it may prefer a short output whose EOS came second.

    Source: Wu et al. 2016, arXiv:1609.08144, section 7, without the coverage term.
    """
    start = prepare(
        network, params, encoder_input_tokens_BL, max_decode_len=max_decode_len, repeats=num_beams
    )
    batch_size = encoder_input_tokens_BL.shape[0]
    best_penalty = length_penalty(max_decode_len, alpha)

    def reorder(rows_N, beam_BW):
        return flatten(pick(rows_N.reshape(*beam_BW.shape, *rows_N.shape[1:]), beam_BW))

    if network.config.rows_axis == 1:
        reorder = jax.vmap(reorder, in_axes=(0, None))  # layer by layer

    def unfinished(state):
        position, _, _, live_BW, _, done_BW, _ = state
        # A live beam only loses by growing, and its penalty is at most that of the full length.
        can_improve_B = live_BW.max(axis=1) / best_penalty > done_BW.min(axis=1)
        return (position < max_decode_len) & can_improve_B.any()

    def advance(state):
        position, live_ids_BWT, last_BW, live_BW, done_ids_BWT, done_BW, caches = state
        logits_NV, caches = step(network, params, last_BW.ravel(), caches, position, start.memory)
        logp_BWV = jax.nn.log_softmax(logits_NV).reshape(batch_size, num_beams, -1)
        vocab_size = logp_BWV.shape[-1]
        # 2 W continuations leave W live ones even if W of them end here.
        totals_BX = (live_BW[:, :, None] + logp_BWV).reshape(batch_size, -1)
        total_BX, index_BX = jax.lax.top_k(totals_BX, 2 * num_beams)
        beam_BX, next_BX = index_BX // vocab_size, index_BX % vocab_size
        ids_BXT = pick(live_ids_BWT, beam_BX)
        ids_BXT = jax.lax.dynamic_update_index_in_dim(ids_BXT, next_BX, position, axis=2)
        ends_BX = next_BX == eos_id

        live_BW, keep_BW = jax.lax.top_k(jnp.where(ends_BX, NEVER, total_BX), num_beams)
        beam_BW = pick(beam_BX, keep_BW)
        caches = jax.tree.map(lambda leaf: reorder(leaf, beam_BW), caches)

        scores_BX = jnp.where(ends_BX, total_BX / length_penalty(position + 1, alpha), NEVER)
        done_BW, best_BW = jax.lax.top_k(jnp.concatenate([done_BW, scores_BX], axis=1), num_beams)
        done_ids_BWT = pick(jnp.concatenate([done_ids_BWT, ids_BXT], axis=1), best_BW)
        live_ids_BWT, last_BW = pick(ids_BXT, keep_BW), pick(next_BX, keep_BW)
        return position + 1, live_ids_BWT, last_BW, live_BW, done_ids_BWT, done_BW, caches

    ids_BWT = jnp.zeros((batch_size, num_beams, max_decode_len), jnp.int32)
    never_BW = jnp.full((batch_size, num_beams), NEVER, jnp.float32)
    live_BW = never_BW.at[:, 0].set(0.0)  # all beams begin equal: let the first alone live
    # An empty row is done: no output can beat the empty one's score of 0.
    done_BW = jnp.where(start.is_empty.reshape(batch_size, num_beams), 0.0, NEVER)
    state = (jnp.int32(0), ids_BWT, ids_BWT[..., 0], live_BW, ids_BWT, done_BW, start.caches)
    _, live_ids_BWT, _, live_BW, done_ids_BWT, done_BW, _ = jax.lax.while_loop(
        unfinished, advance, state
    )
    has_done_B11 = (done_BW > NEVER).any(axis=1)[:, None, None]
    return Beams(
        jnp.where(has_done_B11, done_ids_BWT, live_ids_BWT),
        jnp.where(has_done_B11[..., 0], done_BW, live_BW),
    )


def length_penalty(length: Array | int, alpha: float) -> Array:
    """Divisor of the log-probability of an output of ``length`` tokens, EOS included.

    Source: Wu et al. 2016, arXiv:1609.08144, equation 14.
    """
    return ((5.0 + length) / 6.0) ** alpha


def prepare(
    network: mt5.Transformer,
    params: Params,
    encoder_input_tokens_BL: Array,
    *,
    max_decode_len: int,
    repeats: int = 1,
    slice_tokens: int | None = None,
) -> Start:
    """The encoded source in the layout of ``step``, each row ``repeats`` times in succession."""
    if max_decode_len < 1 or repeats < 1:
        raise ValueError(
            f"max_decode_len is {max_decode_len} and the number of beams {repeats}; "
            "give both as whole numbers from 1."
        )
    variables = {"params": params}
    encoded_BLD = in_slices(
        lambda ids_BL: network.apply(variables, ids_BL, None, method="encoder_states"),
        encoder_input_tokens_BL,
        slice_tokens,
    )
    memory = network.apply(
        variables, encoded_BLD, encoder_input_tokens_BL, max_decode_len, method="memory"
    )
    if repeats > 1:
        rows_N = jnp.repeat(jnp.arange(encoder_input_tokens_BL.shape[0]), repeats)
        memory = memory.take(rows_N, network.config.rows_axis)
    caches = mt5.empty_caches(network.config, memory.is_source.shape[0], max_decode_len)
    return Start(memory, caches, ~memory.is_source.any(axis=1))


def step(
    network: mt5.Transformer,
    params: Params,
    ids_B: Array,
    caches: Any,
    position: Array,
    memory: mt5.Memory,
) -> tuple[Array, Any]:
    """Logits of the token after ``ids_B``, BV float32, and the new caches."""
    return network.apply({"params": params}, ids_B, caches, position, memory, method="step")


def largest(logits_BV: Array) -> Array:
    """Index of the largest value, the first of equals, B int32.

    The block that holds it, then the place within: XLA's argmax over all of a 250112-word
    vocabulary took 10 to 20 times as long on CPU. mT5's sizes are multiples of 128: no padding.
    """
    missing = -logits_BV.shape[-1] % 128
    padded_BV = jnp.pad(logits_BV, ((0, 0), (0, missing)), constant_values=-jnp.inf)
    blocks_BXM = padded_BV.reshape(logits_BV.shape[0], -1, 128)
    block_B1 = blocks_BXM.max(axis=-1).argmax(axis=-1, keepdims=True)
    within_B1 = pick(blocks_BXM, block_B1).argmax(axis=-1)
    return (block_B1 * 128 + within_B1)[:, 0].astype(jnp.int32)


def pick(values_BW: Array, index_BX: Array) -> Array:
    """The entries ``index_BX`` of axis 1, whatever axes follow."""
    index = index_BX.reshape(*index_BX.shape, *(1,) * (values_BW.ndim - 2))
    return jnp.take_along_axis(values_BW, index, axis=1)


def flatten(values_BW: Array) -> Array:
    """Axes 0 and 1 as one."""
    return values_BW.reshape(-1, *values_BW.shape[2:])
