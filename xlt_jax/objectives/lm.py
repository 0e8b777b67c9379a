"""Teacher-forced cross entropy: the objective of every text-to-text recipe."""

import functools
import math

import jax
import jax.numpy as jnp

from xlt_jax.arrays import Array, Batch, Forward, Loss, Params, masked_sum


def objective(
    forward: Forward,
    params: Params,
    batch: Batch,
    rng: Array | None,
    *,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
) -> Loss:
    """Cross entropy summed over ``decoder_loss_weights``, with two curves.

    Args:
        forward: Gives the logits under teacher forcing.
        params: The network's parameters.
        batch: seqio's encoder-decoder features, packed or not.
        rng: Key of the dropout masks, or None for no dropout.
        label_smoothing: Probability spread evenly over the wrong tokens, in [0, 1).
        z_loss: Weight of log(Z) squared, which keeps the softmax normaliser Z near 1.

    Returns:
        The loss in nats. Log ``nll`` is the cross entropy without smoothing and z-loss;
        ``accuracy`` counts tokens whose logit no other token exceeds.

    Raises:
        ValueError: ``label_smoothing`` outside [0, 1) or ``z_loss`` negative.
    """
    if not 0.0 <= label_smoothing < 1.0:
        raise ValueError(f"label_smoothing is {label_smoothing}: give a value in [0, 1).")
    if z_loss < 0.0:
        raise ValueError(f"z_loss is {z_loss}: give 0 or a small positive value such as 1e-4.")
    targets_BT = batch["decoder_target_tokens"]
    weights_BT = batch["decoder_loss_weights"].astype(jnp.float32)
    logits_BTV = forward(params, batch, rng).logits
    loss_BT, nll_BT, correct_BT = cross_entropy(logits_BTV, targets_BT, label_smoothing, z_loss)
    weight = weights_BT.sum()
    return Loss(
        total=masked_sum(loss_BT, weights_BT),
        weight=weight,
        logs={
            "nll": (masked_sum(nll_BT, weights_BT), weight),
            "accuracy": (masked_sum(correct_BT, weights_BT), weight),
        },
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def cross_entropy(
    logits_BTV: Array, targets_BT: Array, label_smoothing: float, z_loss: float
) -> tuple[Array, Array, Array]:
    """Loss, plain negative log-likelihood (nats) and whether the target scores highest, each BT.

    The smoothed targets' own entropy is subtracted, so that a perfect model's loss is 0, as in T5X.
    The gradient is written out because it needs only the logits and one number per token: automatic
    differentiation keeps a second array of the logits' size, a gigabyte for 4096 tokens of mT5.

    Source: label smoothing, Szegedy et al. 2016, arXiv:1512.00567, section 7; z-loss, T5X and
    Mesh TensorFlow.
    """
    return _cross_entropy_forward(logits_BTV, targets_BT, label_smoothing, z_loss)[0]


def _smoothed(label_smoothing: float, vocab_size: int) -> tuple[float, float, float]:
    """Probability of the target, of each other token, and the entropy of that distribution."""
    high = 1.0 - label_smoothing
    low = label_smoothing / max(vocab_size - 1, 1)
    entropy = -high * math.log(high)
    if low > 0.0:
        entropy -= (vocab_size - 1) * low * math.log(low + 1e-20)
    return high, low, entropy


def _cross_entropy_forward(logits_BTV, targets_BT, label_smoothing, z_loss):
    logits_f32_BTV = logits_BTV.astype(jnp.float32)
    high, low, entropy = _smoothed(label_smoothing, logits_BTV.shape[-1])
    log_z_BT = jax.nn.logsumexp(logits_f32_BTV, axis=-1)
    # A gather: multiplying by a one-hot array reads all logits once more.
    target_BT = jnp.take_along_axis(logits_f32_BTV, targets_BT[..., None], axis=-1)[..., 0]
    nll_BT = log_z_BT - target_BT
    # Not argmax, which takes 17 times as long as max on CPU.
    correct_BT = (target_BT >= logits_f32_BTV.max(axis=-1)).astype(jnp.float32)
    # Cross entropy to (low, ..., high, ..., low), whose sum is 1.
    loss_BT = log_z_BT - (high - low) * target_BT - entropy + z_loss * jnp.square(log_z_BT)
    if low > 0.0:
        loss_BT -= low * logits_f32_BTV.sum(axis=-1)
    return (loss_BT, nll_BT, correct_BT), (logits_BTV, targets_BT, log_z_BT)


def _cross_entropy_backward(label_smoothing, z_loss, residuals, cotangents):
    logits_BTV, targets_BT, log_z_BT = residuals
    loss_BT, nll_BT, _ = cotangents  # the third output is a step function: its gradient is 0
    high, low, _ = _smoothed(label_smoothing, logits_BTV.shape[-1])
    softmax_weight_BT = loss_BT * (1.0 + 2.0 * z_loss * log_z_BT) + nll_BT
    target_weight_BT = loss_BT * (high - low) + nll_BT
    ids_V = jnp.arange(logits_BTV.shape[-1], dtype=targets_BT.dtype)
    softmax_BTV = jnp.exp(logits_BTV.astype(jnp.float32) - log_z_BT[..., None])
    gradient_BTV = softmax_weight_BT[..., None] * softmax_BTV - jnp.where(
        ids_V == targets_BT[..., None], target_weight_BT[..., None], 0.0
    )
    if low > 0.0:
        gradient_BTV -= low * loss_BT[..., None]
    return gradient_BTV.astype(logits_BTV.dtype), None


cross_entropy.defvjp(_cross_entropy_forward, _cross_entropy_backward)
