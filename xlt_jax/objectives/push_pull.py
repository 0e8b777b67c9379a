"""EAR: two versions of an input, embeddings pushed apart and attention maps pulled together.

    x an input; x' the same with words replaced by synonyms; y its target; g the network
    e(x) mean token vector; A(x) attention probabilities of one encoder layer

    CE(g(x'), y) + original CE(g(x), y) - push mean (e(x) - e(x'))^2 + pull mean (A(x) - A(x'))^2

Source: Ding et al. 2022, arXiv:2210.09934, and its code (github.com/KB-Ding/EAR).

    Z rows of both versions: each row's x' then its x
"""

import jax
import jax.numpy as jnp

from xlt_jax.arrays import Array, Batch, Forward, Loss, Params, token_mean
from xlt_jax.objectives import lm, views

ALIGNMENTS = ("position", "stretched")


def objective(
    forward: Forward,
    params: Params,
    batch: Batch,
    rng: Array | None,
    *,
    original: float = 1.0,
    push: float = 0.1,
    pull: float = 1.0,
    layer: int | None = None,
    alignment: str = "position",
    positions: int = 128,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
) -> Loss:
    """The two-stream loss of embedding push (EPT), attention pull (APT) and robust target.

    Cross entropies are means over target tokens, as ``lm.objective``'s. Push and pull are means
    over examples, each counted by its target tokens. No gradient is stopped. A step costs 1.7 to
    1.9 plain ones and, at mT5-small's shape, 4 to 5 GiB more (CPU; ``python -m bench``).

    Args:
        forward: The network.
        params: Its parameters.
        batch: seqio's encoder-decoder features, one example in each row, and
            ``encoder_view_tokens``, BL: x'. A row without any is its own x'.
        rng: Key of dropout, other masks for x and x'. None, evaluation: the plain loss of x.
        original: Weight of the target of x, "rb_loss" in the source; 0 switches it off.
        push: Weight of the squared distance of the mean token vectors, which is made large (mean
            over dimensions); 0 switches it off.
        pull: Weight of the squared difference of the attention maps; 0 switches it off.
        layer: Of the attention, from 0; None: the middle one, as 5 of 12 in the source.
        alignment: "position": maps are compared position by position, whatever the two versions'
            lengths, as in the source. "stretched": the map of x' is first stretched to x's length
            (ours, not the paper's).
        positions: The mean over a map divides by this squared, as in the source, where every input
            is padded to 128 tokens. Queries that are padding are left out, unlike there: their
            attention means nothing and depends on the padding.
        label_smoothing: See ``lm.objective``.
        z_loss: Likewise.

    Returns:
        The loss. Logs ``nll`` and ``accuracy`` are those of x, ``view_nll`` that of x'; ``push``
        (squared distance) and ``pull`` are means over examples.

    Raises:
        ValueError: An option is out of range, rows hold several examples, or the batch has no
            ``encoder_view_tokens``.
    """
    for name, value in {"original": original, "push": push, "pull": pull}.items():
        if value < 0:
            raise ValueError(f"{name} is {value}: give 0 or a positive weight.")
    if alignment not in ALIGNMENTS or positions < 1:
        raise ValueError(
            f"alignment is {alignment!r} and positions {positions}; give one of {ALIGNMENTS} and "
            "a number from 1."
        )
    if rng is None:
        return lm.objective(
            forward, params, batch, rng, label_smoothing=label_smoothing, z_loss=z_loss
        )
    both = views.stacked(batch)
    outputs = forward(params, both, rng, probe=True)
    loss_ZT, nll_ZT, correct_ZT = lm.cross_entropy(
        outputs.logits, both["decoder_target_tokens"], label_smoothing, z_loss
    )
    weights_ZT = both["decoder_loss_weights"].astype(jnp.float32)
    view_weights_BT, weights_BT = views.split(weights_ZT)

    def summed(values_ZT: Array) -> tuple[Array, Array]:
        return tuple(part_BT.sum() for part_BT in views.split(values_ZT * weights_ZT))

    view_loss, own_loss = summed(loss_ZT)
    view_nll, own_nll = summed(nll_ZT)
    _, own_correct = summed(correct_ZT)

    view_BL, tokens_BL = views.split(both["encoder_input_tokens"] > 0)
    embedded_view_BLD, embedded_BLD = views.split(outputs.embedded)
    apart_BD = token_mean(embedded_BLD, tokens_BL) - token_mean(embedded_view_BLD, view_BL)
    push_B = jnp.square(apart_BD).mean(axis=-1)
    view_map_BHLL, map_BHLL = views.split(_layer(outputs.attentions, layer))
    if alignment == "stretched":
        view_map_BHLL = stretched(view_map_BHLL, view_BL.sum(axis=1), tokens_BL.sum(axis=1))
        view_BL = tokens_BL
    apart_BHLL = jnp.where(tokens_BL[:, None, :, None], map_BHLL, 0.0) - jnp.where(
        view_BL[:, None, :, None], view_map_BHLL, 0.0
    )
    pull_B = jnp.square(apart_BHLL).mean(axis=1).sum(axis=(1, 2)) / positions**2

    weight_B = weights_BT.sum(axis=1)
    pushed, pulled = (weight_B * push_B).sum(), (weight_B * pull_B).sum()
    weight = weight_B.sum()
    return Loss(
        total=view_loss + original * own_loss - push * pushed + pull * pulled,
        weight=weight,
        logs={
            "nll": (own_nll, weight),
            "accuracy": (own_correct, weight),
            "view_nll": (view_nll, view_weights_BT.sum()),
            "push": (pushed, weight),
            "pull": (pulled, weight),
        },
    )


objective.unpacked = True  # see arrays.Objective


def stretched(map_BHLL: Array, lengths_B: Array, new_lengths_B: Array) -> Array:
    """Attention maps of texts of one length as if these had another, BHLL.

    Query i of n' reads the old map at its relative place, between two rows; the weight of old key j
    goes to the new keys around its own relative place. Rows of real queries still sum to 1; where
    the lengths are equal nothing changes.
    """
    length = map_BHLL.shape[-1]
    query_BLL = jax.vmap(lambda old, new: _hats(new, old, length))(lengths_B, new_lengths_B)
    key_BLL = jax.vmap(lambda old, new: _hats(old, new, length))(lengths_B, new_lengths_B)
    return jnp.einsum(
        "BLM,BHMN,BNK->BHLK", query_BLL, map_BHLL, key_BLL, precision=jax.lax.Precision.HIGHEST
    )


def _hats(rows: Array, columns: Array, length: int) -> Array:
    """Row i of ``rows`` as weights of the one or two nearest of ``columns`` places, LL."""
    row_L = jnp.arange(length)
    place_L = row_L * (columns - 1) / jnp.maximum(rows - 1, 1)
    hat_LL = jnp.maximum(0.0, 1.0 - jnp.abs(place_L[:, None] - jnp.arange(length)))
    return jnp.where((row_L < rows)[:, None] & (row_L < columns), hat_LL, 0.0)


def _layer(attentions: tuple[Array, ...] | Array, layer: int | None) -> Array:
    count = len(attentions)
    if layer is not None and not 0 <= layer < count:
        raise ValueError(f"layer is {layer}: the encoder has {count}, give 0 to {count - 1}.")
    return attentions[(count - 1) // 2 if layer is None else layer]
