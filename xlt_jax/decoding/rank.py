"""Rank classification: log-probability of each answer choice, with one encoder pass.

G choices decoded together
"""

import jax
import jax.numpy as jnp

from xlt_jax.arrays import Array, Params
from xlt_jax.decoding.slices import in_slices
from xlt_jax.models import mt5

# Choices of one row stand side by side in the decoder. Attention among them is masked work, so a
# long list is cut; logits are made for as many positions at a time as fit in 256 MiB.
MAX_DECODER_LENGTH = 256
MAX_LOGITS = 2**26


def rank(
    network: mt5.Transformer,
    params: Params,
    encoder_input_tokens_BL: Array,
    choices_BCT: Array,
    *,
    slice_tokens: int | None = None,
) -> Array:
    """Log-probability of every answer choice, scores_BC float32.

    Args:
        network: The encoder-decoder.
        params: Its parameters.
        encoder_input_tokens_BL: Questions; 0 is padding.
        choices_BCT: Token ids of the choices, EOS included; 0 is padding, at the end only.
        slice_tokens: Source tokens that are encoded at a time; None: all.

    Returns:
        Nats, summed over tokens and not length-normalised; -inf for a choice of padding only.

    Source: Sanh et al. 2022, arXiv:2110.08207, evaluation by rank classification.
    """
    batch_size, num_choices, length = choices_BCT.shape
    variables = {"params": params}
    encoded_BLD = in_slices(
        lambda ids_BL: network.apply(variables, ids_BL, None, method="encoder_states"),
        encoder_input_tokens_BL,
        slice_tokens,
    )

    def states(targets_BGT: Array) -> Array:
        """Decoder states of a group of choices, TGBD: packed, so that none sees another."""
        inputs_BGT = jnp.pad(targets_BGT, ((0, 0), (0, 0), (1, 0)))[..., :-1]
        segment_BGT = jnp.broadcast_to(
            1 + jnp.arange(targets_BGT.shape[1])[:, None], targets_BGT.shape
        )
        hidden_BMD = network.apply(
            variables,
            encoded_BLD,
            encoder_input_tokens_BL,
            inputs_BGT.reshape(batch_size, -1),
            targets_BGT.reshape(batch_size, -1),
            decoder_segment_ids=segment_BGT.reshape(batch_size, -1),
            enable_dropout=False,
            method="hidden",
        )
        return hidden_BMD.reshape(*targets_BGT.shape, -1).transpose(2, 1, 0, 3)

    group = max(1, min(num_choices, MAX_DECODER_LENGTH // length))
    hidden_TCBD = jnp.concatenate(
        [states(choices_BCT[:, i : i + group]) for i in range(0, num_choices, group)], axis=1
    )

    def log_probs(arguments: tuple[Array, Array]) -> Array:
        """Of several tokens after one state of each row, BX."""
        hidden_BD, ids_BX = arguments
        logits_BV = network.apply(variables, hidden_BD[:, None], method="logits")[:, 0]
        picked_BX = jnp.take_along_axis(logits_BV, ids_BX, axis=-1)
        return picked_BX - jax.nn.logsumexp(logits_BV, axis=-1, keepdims=True)

    # All choices have the same state at the first token, before any of them differs.
    first_BC = log_probs((hidden_TCBD[0, 0], choices_BCT[:, :, 0]))
    weight_TCB = (choices_BCT > 0).astype(jnp.float32).transpose(2, 1, 0)
    scores_BC = first_BC * weight_TCB[0].T
    if length > 1:
        rest = (
            hidden_TCBD[1:].reshape(-1, *hidden_TCBD.shape[2:]),
            choices_BCT[:, :, 1:].transpose(2, 1, 0).reshape(-1, batch_size, 1),
        )
        positions_at_once = max(1, MAX_LOGITS // (batch_size * network.config.vocab_size))
        rest_MB1 = jax.lax.map(log_probs, rest, batch_size=positions_at_once)
        rest_TCB = rest_MB1.reshape(length - 1, num_choices, batch_size)
        scores_BC += (rest_TCB * weight_TCB[1:]).sum(axis=0).T
    return jnp.where((choices_BCT > 0).any(axis=-1), scores_BC, -jnp.inf)
