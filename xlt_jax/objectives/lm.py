"""Teacher-forced cross entropy: the objective of every text-to-text recipe."""

import functools
import math

import jax
import jax.numpy as jnp

from xlt_jax.arrays import Array, Batch, Forward, Loss, Params, UnscoredTokens, masked_sum


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
    logits = forward(params, batch, rng, may_chunk=True).logits
    total, nll, correct = summed(logits, targets_BT, weights_BT, label_smoothing, z_loss)
    weight = weights_BT.sum()
    return Loss(total, weight, logs={"nll": (nll, weight), "accuracy": (correct, weight)})


def summed(
    logits: Array | UnscoredTokens,
    targets_BT: Array,
    weights_BT: Array,
    label_smoothing: float,
    z_loss: float,
) -> tuple[Array, Array, Array]:
    """Weighted sums of ``cross_entropy``'s three results; chunks give only the first a gradient."""
    if isinstance(logits, UnscoredTokens):
        return _chunked(
            logits.states,
            logits.kernel,
            targets_BT,
            weights_BT,
            (logits.chunks, logits.row_parts, label_smoothing, z_loss),
        )
    losses = cross_entropy(logits, targets_BT, label_smoothing, z_loss)
    return tuple(masked_sum(values_BT, weights_BT) for values_BT in losses)


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
    gradient_BTV = _logits_gradient(
        logits_BTV, targets_BT, log_z_BT, loss_BT, nll_BT, label_smoothing, z_loss
    )
    return gradient_BTV.astype(logits_BTV.dtype), None


def _logits_gradient(
    logits_BTV: Array,
    targets_BT: Array,
    log_z_BT: Array,
    loss_BT: Array,
    nll_BT: Array | float,
    label_smoothing: float,
    z_loss: float,
) -> Array:
    """Float32 gradient of the losses weighted by ``loss_BT`` and ``nll_BT``."""
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
    return gradient_BTV


cross_entropy.defvjp(_cross_entropy_forward, _cross_entropy_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def _chunked(
    states_BTD: Array, kernel_DV: Array, targets_BT: Array, weights_BT: Array, options: tuple
) -> tuple[Array, Array, Array]:
    """As ``summed``, with logits of some positions at a time.

    R parts of the rows, which devices hold    B rows of one part    T positions of one chunk

    The first sum's gradient is made in the same pass, as its cotangent is one number: no product is
    computed twice. Each part of the rows adds up a kernel gradient of its own, so that devices need
    not agree before the end.
    """
    label_smoothing, z_loss = options[2:]

    def one(sums, chunk):
        logits, targets, weights = _scored(chunk, kernel_DV)
        (losses, _) = _cross_entropy_forward(logits, targets, label_smoothing, z_loss)
        return tuple(s + masked_sum(x, weights) for s, x in zip(sums, losses, strict=True)), None

    chunks = _chunks(states_BTD, targets_BT, weights_BT, *options[:2])
    return jax.lax.scan(one, (jnp.zeros((), jnp.float32),) * 3, chunks)[0]


def _chunked_forward(states_BTD, kernel_DV, targets_BT, weights_BT, options):
    num_chunks, row_parts, label_smoothing, z_loss = options

    def one(carry, chunk):
        sums, kernel_RDV = carry
        logits_RBTV, targets_RBT, weights_RBT = _scored(chunk, kernel_DV)
        losses, (_, _, log_z_RBT) = _cross_entropy_forward(
            logits_RBTV, targets_RBT, label_smoothing, z_loss
        )
        sums = tuple(s + masked_sum(x, weights_RBT) for s, x in zip(sums, losses, strict=True))
        gradient_RBTV = _logits_gradient(
            logits_RBTV, targets_RBT, log_z_RBT, weights_RBT, 0.0, label_smoothing, z_loss
        )
        states_RBTD = chunk[0].astype(jnp.float32)
        kernel_RDV += jnp.einsum("RBTD,RBTV->RDV", states_RBTD, gradient_RBTV)
        return (sums, kernel_RDV), (gradient_RBTV @ kernel_DV.T).astype(states_BTD.dtype)

    chunks = _chunks(states_BTD, targets_BT, weights_BT, num_chunks, row_parts)
    parts = chunks[0].shape[1]
    start = (jnp.zeros((), jnp.float32),) * 3, jnp.zeros((parts, *kernel_DV.shape), jnp.float32)
    (sums, kernel_RDV), states_NRBTD = jax.lax.scan(one, start, chunks)
    length = states_BTD.shape[1]
    states_RBNTD = jnp.moveaxis(states_NRBTD, 0, 2)
    states = states_RBNTD.reshape(len(states_BTD), -1, states_BTD.shape[2])[:, :length]
    return sums, (states, kernel_RDV.sum(axis=0))


def _chunked_backward(options, gradients, cotangents):
    states_BTD, kernel_DV = gradients
    total = cotangents[0]
    return (states_BTD * total).astype(states_BTD.dtype), kernel_DV * total, None, None


_chunked.defvjp(_chunked_forward, _chunked_backward)


def _scored(chunk: tuple[Array, Array, Array], kernel_DV: Array) -> tuple[Array, Array, Array]:
    states_RBTD, targets_RBT, weights_RBT = chunk
    return states_RBTD.astype(jnp.float32) @ kernel_DV, targets_RBT, weights_RBT


def _chunks(
    states_BTD: Array, targets_BT: Array, weights_BT: Array, num_chunks: int, row_parts: int
) -> tuple[Array, Array, Array]:
    """Positions cut into chunks, the scan's axis, and rows into parts: NRBT..., padded."""
    rows, length = targets_BT.shape
    num_chunks = min(num_chunks, length)
    size = -(-length // num_chunks)
    row_parts = row_parts if rows % row_parts == 0 else 1

    def cut(x_BT: Array) -> Array:
        widths = ((0, 0), (0, size * num_chunks - length), *((0, 0),) * (x_BT.ndim - 2))
        x_BT = jnp.pad(x_BT, widths)
        x_RBNT = x_BT.reshape(row_parts, rows // row_parts, num_chunks, size, *x_BT.shape[2:])
        return jnp.moveaxis(x_RBNT, 2, 0)

    return cut(states_BTD), cut(targets_BT), cut(weights_BT)
