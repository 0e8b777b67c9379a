"""Distillation: the answers of a larger network, which is not trained, are imitated."""

import jax
import jax.numpy as jnp

from xlt_jax.arrays import Array, Batch, Forward, Loss, Params, masked_sum
from xlt_jax.objectives import lm


def objective(
    forward: Forward,
    params: Params,
    batch: Batch,
    rng: Array | None,
    *,
    strength: float = 1.0,
    temperature: float = 1.0,
    hard: float = 1.0,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
) -> Loss:
    """Cross entropy of the targets, and the divergence of the teacher's tokens from the student's.

        hard CE(g(x), y) + strength T^2 KL(softmax(t(x) / T) || softmax(g(x) / T))

    summed over target tokens, g being the student's logits and t the teacher's, both after the
    targets before. A step costs the teacher's forward pass more (with one of the same size 1.2 to
    1.3 plain steps on CPU; ``python -m bench``), and its parameters and logits in memory. Where
    only the largest logits of the teacher came, the others' probability is 0.

    Args:
        forward: The student.
        params: Its parameters.
        batch: seqio's encoder-decoder features, packed or not, and ``teacher_logits``, BTV, or BTK
            with the ids of their tokens, ``teacher_tokens``: see ``evaluation.teacher``.
        rng: Key of the student's dropout. None, evaluation: the plain loss.
        strength: Weight of the divergence, from 0; 0 asks no teacher.
        temperature: T, above 0. Above 1 unlikely tokens count more.
        hard: Weight of the targets, from 0.
        label_smoothing: See ``lm.objective``.
        z_loss: Likewise.

    Returns:
        The loss. Logs ``nll`` and ``accuracy`` are the student's on the targets; ``divergence`` in
        nats per token, at temperature T.

    Raises:
        ValueError: An option is out of range, the batch has no teacher's logits, or those of
            another vocabulary.

    Source: Hinton et al. 2015, arXiv:1503.02531, section 2, for every target token as in
    Kim and Rush 2016, arXiv:1606.07947, section 3.1 (word level).
    """
    if strength < 0 or hard < 0 or not temperature > 0:
        raise ValueError(
            f"strength is {strength}, hard {hard} and temperature {temperature}: give weights from "
            "0 and a temperature above 0."
        )
    if rng is None:
        return lm.objective(
            forward, params, batch, rng, label_smoothing=label_smoothing, z_loss=z_loss
        )
    logits_BTV = forward(params, batch, rng).logits
    targets_BT = batch["decoder_target_tokens"]
    weights_BT = batch["decoder_loss_weights"].astype(jnp.float32)
    loss_BT, nll_BT, correct_BT = lm.cross_entropy(logits_BTV, targets_BT, label_smoothing, z_loss)
    weight = weights_BT.sum()
    total = hard * masked_sum(loss_BT, weights_BT)
    logs = {
        "nll": (masked_sum(nll_BT, weights_BT), weight),
        "accuracy": (masked_sum(correct_BT, weights_BT), weight),
    }
    if strength:
        if "teacher_logits" not in batch:
            raise ValueError(
                "The batch has no teacher_logits: bind TEACHER, as gin/objectives/distillation.gin "
                "does."
            )
        teacher_BTK, tokens_BTK = batch["teacher_logits"], batch.get("teacher_tokens")
        if tokens_BTK is None and teacher_BTK.shape != logits_BTV.shape:
            raise ValueError(
                f"The teacher's logits have shape {teacher_BTK.shape}, the student's "
                f"{logits_BTV.shape}: both need the same vocabulary and vocab_size."
            )
        divergence_BT = divergences(teacher_BTK, logits_BTV, temperature, tokens_BTK)
        divergence = masked_sum(divergence_BT, weights_BT)
        total += strength * temperature**2 * divergence
        logs["divergence"] = (divergence, weight)
    return Loss(total=total, weight=weight, logs=logs)


def divergences(
    teacher_BTK: Array, student_BTV: Array, temperature: float, tokens_BTK: Array | None = None
) -> Array:
    """KL(p || q) of the softmax of both logits at a temperature, BT, in nats.

    Args:
        teacher_BTK: Logits of p.
        student_BTV: Logits of q.
        temperature: Divides both.
        tokens_BTK: Of which tokens p's are, of others p is 0; None: of all, in order.
    """
    teacher_BTK, student_BTV = (
        jax.nn.log_softmax(x.astype(jnp.float32) / temperature) for x in (teacher_BTK, student_BTV)
    )
    if tokens_BTK is not None:
        student_BTV = jnp.take_along_axis(student_BTV, tokens_BTK, axis=-1)
    return (jnp.exp(teacher_BTK) * (teacher_BTK - student_BTV)).sum(axis=-1)
