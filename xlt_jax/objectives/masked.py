"""Masked tokens predicted by the encoder: translation language modelling, and word exchange.

K masked positions of a row
"""

import jax
import jax.numpy as jnp

from xlt_jax.arrays import Array, Batch, Forward, Loss, Params
from xlt_jax.objectives import lm


def objective(
    forward: Forward,
    params: Params,
    batch: Batch,
    rng: Array | None,
    *,
    masked: float = 1.0,
    aligned: float = 1.0,
    share: float = 0.25,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
) -> Loss:
    """Cross entropy of what the batch asks for: masked tokens, their aligned tokens, and targets.

    ``encoder_target_tokens`` (BL, the original id at each masked position, else 0) is predicted
    from the encoder's output there, by the token table: the TLM loss. So is, from the same states,
    ``encoder_aligned_tokens``, the token of the other language: the word exchange of WEAM.
    Decoder targets count as in ``lm.objective``: rows of supervised tasks, of which nothing is
    masked, and of pairs may stand in one batch. Where all rows are masked a step costs 1.0 (tiny)
    to 1.3 (mT5-small's shape) plain ones, with aligned tokens as much (CPU; ``python -m bench``).

    Args:
        forward: The network.
        params: Its parameters.
        batch: seqio's encoder-decoder features, packed or not, and the two above where there are
            masks; without them the loss is that of ``lm.objective``.
        rng: Key of dropout, or None.
        masked: Weight of the masked tokens, from 0.
        aligned: Weight of the aligned tokens, lambda of WEAM, from 0.
        share: At most this share of a row's positions is predicted, the first ones, so that logits
            of the rest are never made. Above the rate of masking.
        label_smoothing: See ``lm.objective``.
        z_loss: Likewise.

    Returns:
        The loss in nats, weighted by target tokens and masked tokens. Logs ``nll`` and ``accuracy``
        are those of the decoder's targets and masked tokens together, ``masked_nll``,
        ``masked_accuracy`` and ``aligned_nll``, ``aligned_accuracy`` of the others alone;
        ``left_out`` the masked tokens beyond ``share``.

    Raises:
        ValueError: An option is out of range.

    Source: Lample and Conneau 2019, arXiv:1901.07291 (TLM); Yang et al. 2021, arXiv:2106.01732
        (WEAM), both losses over masked tokens, lambda 1. mT5's relative positions go on over both
        sentences and it has no language vectors, unlike XLM; the head without weights is ours.
    """
    for name, value in {"masked": masked, "aligned": aligned}.items():
        if value < 0:
            raise ValueError(f"{name} is {value}: give 0 or a positive weight.")
    if not 0 < share <= 1:
        raise ValueError(f"share is {share}: give a share of the positions, up to 1.")
    targets_BL = batch.get("encoder_target_tokens")
    if targets_BL is None:
        return lm.objective(
            forward, params, batch, rng, label_smoothing=label_smoothing, z_loss=z_loss
        )
    length = targets_BL.shape[1]
    count = max(1, min(length, round(share * length)))
    # The first masked positions of each row; those of a row with fewer have no weight.
    order_BL = jnp.where(targets_BL > 0, length - jnp.arange(length), 0)
    positions_BK = jax.lax.top_k(order_BL, count)[1]
    outputs = forward(params, batch, rng, positions_BK=positions_BK, may_chunk=True)

    def loss_of(targets_BK: Array) -> tuple[Array, Array, Array, Array]:
        weights_BK = (targets_BK > 0).astype(jnp.float32)
        sums = lm.summed(outputs.token_logits, targets_BK, weights_BK, label_smoothing, z_loss)
        return *sums, weights_BK.sum()

    weights_BT = batch["decoder_loss_weights"].astype(jnp.float32)
    total, nll, correct = lm.summed(
        outputs.logits, batch["decoder_target_tokens"], weights_BT, label_smoothing, z_loss
    )
    weight = weights_BT.sum()
    loss, own_nll, own_correct, own_weight = loss_of(_at(targets_BL, positions_BK))
    left_out = (targets_BL > 0).sum().astype(jnp.float32) - own_weight
    logs = {
        "nll": (nll + own_nll, weight + own_weight),
        "accuracy": (correct + own_correct, weight + own_weight),
        "masked_nll": (own_nll, own_weight),
        "masked_accuracy": (own_correct, own_weight),
        "left_out": (left_out, left_out + own_weight),
    }
    total += masked * loss
    if "encoder_aligned_tokens" in batch:
        others_BK = jnp.where(
            _at(targets_BL, positions_BK) > 0,
            _at(batch["encoder_aligned_tokens"], positions_BK),
            0,
        )
        loss, other_nll, other_correct, other_weight = loss_of(others_BK)
        total += aligned * loss
        logs["aligned_nll"] = (other_nll, other_weight)
        logs["aligned_accuracy"] = (other_correct, other_weight)
    return Loss(total=total, weight=weight + own_weight, logs=logs)


def _at(values_BL: Array, positions_BK: Array) -> Array:
    return jnp.take_along_axis(values_BL, positions_BK, axis=1)
