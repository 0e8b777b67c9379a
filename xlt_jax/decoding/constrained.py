"""Greedy generation of outputs that an automaton allows, however large the vocabulary.

S states   E transitions of all states   K transitions of one state   U distinct tokens
"""

import jax
import jax.numpy as jnp

from xlt_jax.arrays import Array, Params
from xlt_jax.decoding import grammar, search
from xlt_jax.models import mt5


def constrained(
    network: mt5.Transformer,
    params: Params,
    encoder_input_tokens_BL: Array,
    automata: grammar.Automata,
    *,
    max_choices: int,
    max_decode_len: int,
    slice_tokens: int | None = None,
) -> tuple[Array, Array]:
    """The most probable allowed token at each position, ids_BT int32, and scores_B float32.

    Args:
        network: The encoder-decoder.
        params: Its parameters.
        encoder_input_tokens_BL: Sources; 0 is padding.
        automata: One for each row, from ``grammar.stack``.
        max_choices: ``automata.max_choices``, a Python number: a size of arrays.
        max_decode_len: T.
        slice_tokens: Source tokens that are encoded at a time; None: all.

    Returns:
        The outputs with EOS, followed by 0, cut at ``max_decode_len``. Scores are nats, summed over
        the output: each token's probability is relative to the tokens allowed at its place, so that
        one without alternative has log-probability 0. A row of padding only, or one whose automaton
        is empty, is all 0 and costs no step.
    """
    start = search.prepare(
        network,
        params,
        encoder_input_tokens_BL,
        max_decode_len=max_decode_len,
        slice_tokens=slice_tokens,
    )
    variables = {"params": params}
    vectors_BUD = network.apply(variables, automata.ids, method="output_vectors")
    choice_K = jnp.arange(max_choices)

    def num_choices(state_B: Array) -> tuple[Array, Array]:
        """Place of the first transition of a state and their number, 0 at the end; both B1."""
        bounds_B2 = search.pick(automata.offsets, state_B[:, None] + jnp.arange(2))
        first_B1, last_B1 = bounds_B2[:, :1], bounds_B2[:, 1:]
        return first_B1, jnp.where(start.is_empty[:, None], 0, last_B1 - first_B1)

    def unfinished(carry):
        position, _, _, _, state_B, _ = carry
        return (position < max_decode_len) & (num_choices(state_B)[1] > 0).any()

    def advance(carry):
        position, ids_BT, scores_B, last_B, state_B, caches = carry
        hidden_BD, caches = network.apply(
            variables, last_B, caches, position, start.memory, method="step_states"
        )
        logits_BU = jnp.einsum("bd,bud->bu", hidden_BD.astype(jnp.float32), vectors_BUD)
        first_B1, count_B1 = num_choices(state_B)
        edges_BK = jnp.minimum(first_B1 + choice_K, automata.tokens.shape[1] - 1)
        tokens_BK = search.pick(automata.tokens, edges_BK)
        logits_BK = search.pick(logits_BU, tokens_BK)
        logp_BK = jax.nn.log_softmax(logits_BK, where=choice_K < count_B1)
        best_B1 = logp_BK.argmax(axis=-1, keepdims=True)  # of equals the smallest id
        goes_on_B = count_B1[:, 0] > 0
        scores_B += jnp.where(goes_on_B, search.pick(logp_BK, best_B1)[:, 0], 0.0)
        next_B1 = search.pick(automata.ids, search.pick(tokens_BK, best_B1))
        next_B = jnp.where(goes_on_B, next_B1[:, 0], 0)
        to_B1 = search.pick(automata.targets, search.pick(edges_BK, best_B1))
        state_B = jnp.where(goes_on_B, to_B1[:, 0], state_B)
        ids_BT = jax.lax.dynamic_update_index_in_dim(ids_BT, next_B, position, axis=1)
        return position + 1, ids_BT, scores_B, next_B, state_B, caches

    ids_BT = jnp.zeros((encoder_input_tokens_BL.shape[0], max_decode_len), jnp.int32)
    scores_B = jnp.zeros(ids_BT.shape[0], jnp.float32)
    carry = (jnp.int32(0), ids_BT, scores_B, ids_BT[:, 0], ids_BT[:, 0], start.caches)
    return jax.lax.while_loop(unfinished, advance, carry)[1:3]
