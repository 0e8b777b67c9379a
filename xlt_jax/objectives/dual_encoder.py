"""In-batch softmax of a dual encoder: inputs and targets that belong together get near vectors.

P candidates, those of all rows of the batch
"""

import jax
import jax.numpy as jnp

from xlt_jax.arrays import Array, Batch, Forward, Loss, Params, masked_sum, unit_mean


def objective(
    forward: Forward,
    params: Params,
    batch: Batch,
    rng: Array | None,
    *,
    layer: int | None = None,
    scale: float = 100.0,
) -> Loss:
    """Cross entropy of finding each row's target among the targets of the batch, summed over rows.

    Inputs and targets are read by the same encoder, and their vectors are those of
    ``decoding.embed``: the mean over tokens, of length 1. The decoder is not used: a step costs 0.9
    (tiny) to 0.4 (mT5-small's shape) of a plain one (CPU; ``python -m bench``).

    Args:
        forward: Gives the encoder's states.
        params: The network's parameters.
        batch: seqio's encoder-decoder features, one example in each row. A row without inputs or
            without weighted targets counts for nothing; a target that equals a row's own, id by id,
            is not held against it.
        rng: Key of the dropout masks, or None for no dropout.
        layer: Output of this many encoder layers, 0 being the token vectors; None: after the final
            norm. Evaluation must read the same.
        scale: Factor of the cosines in the softmax, above 0.

    Returns:
        The loss in nats, weighted 1 for each row. Log ``nll`` is the same; ``accuracy`` counts rows
        whose own target is nearest.

    Raises:
        ValueError: ``scale`` is not positive, or rows hold several examples.

    Source: dual encoder for LAReQA and Mewsli-X in Ruder et al. 2021, arXiv:2104.07412, from
    question to answer only. Their scale is learned, beginning at 100; here it is fixed, as one more
    parameter would not fit mT5's checkpoints. They pool BERT's CLS, which mT5 does not have.
    """
    if not scale > 0:
        raise ValueError(f"scale is {scale}: give a positive number, such as 100.")
    if "encoder_segment_ids" in batch:
        raise ValueError("A row holds several examples, which share one vector: set PACK to False.")
    queries_BL, candidates_PT = batch["encoder_input_tokens"], batch["decoder_target_tokens"]
    rngs = (None, None) if rng is None else jax.random.split(rng)
    query_BD, candidate_PD = (
        unit_mean(
            forward(params, {"encoder_input_tokens": tokens}, key, encoder_layer=layer).encoded,
            tokens > 0,
        )
        for tokens, key in zip((queries_BL, candidates_PT), rngs)
    )
    has_target_B = (batch["decoder_loss_weights"] > 0).any(axis=1)
    is_row_B = (queries_BL > 0).any(axis=1) & has_target_B
    is_own_BP = jnp.eye(len(is_row_B), dtype=bool)
    is_equal_BP = (candidates_PT[:, None] == candidates_PT).all(axis=-1)
    # Bfloat16 products, a TPU's default, times the scale are wrong by tenths of a nat.
    cosine_BP = jnp.matmul(query_BD, candidate_PD.T, precision="highest")
    logits_BP = jnp.where(is_own_BP | (is_row_B & ~is_equal_BP), scale * cosine_BP, -jnp.inf)
    own_B = jnp.diagonal(logits_BP)
    nll_B = jax.nn.logsumexp(logits_BP, axis=1) - own_B
    weight_B = is_row_B.astype(jnp.float32)
    nll, weight = masked_sum(nll_B, weight_B), weight_B.sum()
    correct = masked_sum(own_B >= logits_BP.max(axis=1), weight_B)
    return Loss(
        total=nll, weight=weight, logs={"nll": (nll, weight), "accuracy": (correct, weight)}
    )


objective.compares_rows = True  # see arrays.Objective
