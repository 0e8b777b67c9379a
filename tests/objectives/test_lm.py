import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from xlt_jax.arrays import Outputs, UnscoredTokens
from xlt_jax.objectives import lm

VOCAB = 11


def fake_forward(params, batch, rng, may_chunk=False):
    """Logits that depend on the inputs of a position only: params["table"][token]."""
    return Outputs(logits=params["table"][batch["decoder_input_tokens"]], encoded=None)


def chunked_forward(chunks, row_parts):
    """The same logits, yet to be made."""

    def forward(params, batch, rng, may_chunk=False):
        states_BTD = jax.nn.one_hot(batch["decoder_input_tokens"], VOCAB)
        unscored = UnscoredTokens(states_BTD, params["table"], chunks, row_parts)
        return Outputs(logits=unscored if may_chunk else None, encoded=None)

    return forward


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    weights = np.ones((3, 5), np.float32)
    weights[1, 3:] = 0.0
    weights[2, 0] = 0.5
    return {
        "decoder_input_tokens": rng.integers(0, VOCAB, (3, 5)),
        "decoder_target_tokens": rng.integers(0, VOCAB, (3, 5)),
        "decoder_loss_weights": weights,
    }


@pytest.fixture
def params():
    return {"table": 3.0 * jax.random.normal(jax.random.key(0), (VOCAB, VOCAB))}


def naive_total(params, batch, label_smoothing, z_loss):
    """Optax's losses, differentiated automatically, minus the entropy of the smoothed targets."""
    logits = fake_forward(params, batch, None).logits
    low = label_smoothing / (VOCAB - 1)
    soft = jax.nn.one_hot(batch["decoder_target_tokens"], VOCAB) * (1 - label_smoothing - low) + low
    entropy = -(soft * jnp.log(soft + 1e-20)).sum(-1)
    loss = optax.softmax_cross_entropy(logits, soft) - entropy
    loss += z_loss * jax.nn.logsumexp(logits, axis=-1) ** 2
    return (loss * batch["decoder_loss_weights"]).sum()


@pytest.mark.parametrize(
    "label_smoothing,z_loss", [(0.0, 0.0), (0.1, 0.0), (0.0, 1e-2), (0.2, 1e-2)]
)
@pytest.mark.parametrize(
    "forward",
    [fake_forward, *(chunked_forward(*sizes) for sizes in ((2, 1), (3, 3), (5, 2), (9, 1)))],
    ids=["whole", "2 chunks", "3 chunks, 3 parts", "a chunk for each position", "more chunks"],
)
def test_value_and_gradient_equal_the_naive_formula(
    params, batch, label_smoothing, z_loss, forward
):
    def ours(params):
        options = dict(label_smoothing=label_smoothing, z_loss=z_loss)
        return lm.objective(forward, params, batch, None, **options).total

    value, gradient = jax.value_and_grad(ours)(params)
    expected, expected_gradient = jax.value_and_grad(naive_total)(
        params, batch, label_smoothing, z_loss
    )
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    np.testing.assert_allclose(gradient["table"], expected_gradient["table"], atol=1e-5)
    assert np.abs(gradient["table"]).max() > 0.1


def test_logs_leave_out_smoothing_and_z_loss(params, batch):
    loss = lm.objective(fake_forward, params, batch, None, label_smoothing=0.1, z_loss=1e-2)
    logits = np.asarray(fake_forward(params, batch, None).logits)
    weights = batch["decoder_loss_weights"]
    nll = optax.softmax_cross_entropy_with_integer_labels(logits, batch["decoder_target_tokens"])
    correct = logits.argmax(-1) == batch["decoder_target_tokens"]
    np.testing.assert_allclose(loss.logs["nll"][0], (nll * weights).sum(), rtol=1e-5)
    np.testing.assert_allclose(loss.logs["accuracy"][0], (correct * weights).sum())
    assert loss.weight == loss.logs["nll"][1] == loss.logs["accuracy"][1] == weights.sum()


def test_logs_of_chunks_equal_those_of_whole_logits(params, batch):
    whole, chunked = (
        lm.objective(forward, params, batch, None, label_smoothing=0.1, z_loss=1e-2)
        for forward in (fake_forward, chunked_forward(2, 3))
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), whole, chunked)


def test_nll_has_a_gradient_of_its_own(batch, params):
    def nll(params):
        return lm.objective(fake_forward, params, batch, None, z_loss=0.5).logs["nll"][0]

    expected = jax.grad(naive_total)(params, batch, 0.0, 0.0)
    np.testing.assert_allclose(jax.grad(nll)(params)["table"], expected["table"], atol=1e-5)


def test_bfloat16_logits_and_huge_ones_stay_finite(params, batch):
    def total(params):
        return lm.objective(fake_forward, params, batch, None, label_smoothing=0.1).total

    for cast in (lambda x: x.astype(jnp.bfloat16), lambda x: x * 1e6):
        value, gradient = jax.value_and_grad(total)(jax.tree.map(cast, params))
        assert jnp.isfinite(value) and jnp.isfinite(gradient["table"]).all()


@pytest.mark.parametrize(
    "options", [{"label_smoothing": 1.0}, {"label_smoothing": -0.1}, {"z_loss": -1.0}]
)
def test_impossible_options_are_refused(params, batch, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        lm.objective(fake_forward, params, batch, None, **options)
