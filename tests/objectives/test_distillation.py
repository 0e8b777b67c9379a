"""Distillation against NumPy, and where the teacher is the student."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax

from xlt_jax.arrays import Outputs
from xlt_jax.objectives import distillation, lm

RNG = np.random.default_rng(3)
STUDENT, TEACHER = RNG.normal(size=(2, 4, 5, 11)).astype(np.float32) * 2
WEIGHTS = (RNG.random((4, 5)) < 0.8).astype(np.float32)
TARGETS = RNG.integers(1, 11, (4, 5)).astype(np.int32)
BATCH = {
    "teacher_logits": TEACHER,
    "decoder_target_tokens": TARGETS,
    "decoder_loss_weights": WEIGHTS,
}
KEY = jax.random.key(0)


def forward(params, batch, rng, may_chunk=False):
    return Outputs(logits=params, encoded=None)


def loss(student=STUDENT, teacher=TEACHER, rng=KEY, extra=None, **options):
    batch = BATCH | {"teacher_logits": jnp.asarray(teacher)} | (extra or {})
    return distillation.objective(forward, student, batch, rng, **options)


def divergence(temperature):
    p, q = (log_softmax(x.astype(np.float64) / temperature, axis=-1) for x in (TEACHER, STUDENT))
    return ((np.exp(p) * (p - q)).sum(axis=-1) * WEIGHTS).sum()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_loss_is_the_sum_of_its_terms(temperature):
    found = loss(strength=0.7, temperature=temperature, hard=0.4)
    plain = lm.objective(forward, STUDENT, BATCH, KEY)
    expected = 0.4 * plain.total + 0.7 * temperature**2 * divergence(temperature)
    np.testing.assert_allclose(found.total, expected, rtol=1e-5)
    np.testing.assert_allclose(found.logs["divergence"][0], divergence(temperature), rtol=1e-5)
    assert found.weight == WEIGHTS.sum() and found.logs["nll"][0] == plain.logs["nll"][0]


def test_gradient_is_the_difference_of_the_softened_distributions():
    gradient = jax.grad(lambda x: loss(x, strength=1.0, temperature=3.0, hard=0.0).total)(STUDENT)
    q, p = (np.exp(log_softmax(x.astype(np.float64) / 3, axis=-1)) for x in (STUDENT, TEACHER))
    np.testing.assert_allclose(gradient, 3 * (q - p) * WEIGHTS[..., None], atol=1e-5)


def test_a_teacher_that_is_the_student_teaches_nothing():
    found = loss(teacher=STUDENT, hard=0.0)
    np.testing.assert_allclose(found.total, 0.0, atol=1e-4)


def test_of_the_largest_logits_the_rest_counts_as_nothing():
    whole, order = loss(hard=0.0).total, np.argsort(-TEACHER, axis=-1)
    for top, rtol in ((11, 1e-5), (9, 0.1)):
        tokens = order[..., :top]
        kept = np.take_along_axis(TEACHER, tokens, axis=-1)
        found = loss(teacher=kept, extra={"teacher_tokens": tokens}, hard=0.0).total
        np.testing.assert_allclose(found, whole, rtol=rtol)


def test_strength_zero_asks_no_teacher():
    batch = {name: x for name, x in BATCH.items() if name != "teacher_logits"}
    found = distillation.objective(forward, STUDENT, batch, KEY, strength=0.0)
    assert found.total == lm.objective(forward, STUDENT, batch, KEY).total
    with pytest.raises(ValueError, match="TEACHER"):
        distillation.objective(forward, STUDENT, batch, KEY)


@pytest.mark.parametrize(
    "options", [{"strength": -1.0}, {"temperature": 0.0}, {"hard": -0.1}, {"teacher": TEACHER[:2]}]
)
def test_bad_options_are_refused(options):
    with pytest.raises(ValueError, match=r"strength|vocabulary"):
        loss(**options)
