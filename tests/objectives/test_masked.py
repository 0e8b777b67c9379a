"""TLM's and WEAM's losses against a plain sum over masked positions."""

import functools

import jax
import numpy as np
import pytest
from scipy import special

from xlt_jax.models import mt5
from xlt_jax.objectives import lm, masked
from xlt_jax.training import step

KEY = jax.random.key(0)
NETWORK = mt5.Transformer(
    mt5.T5Config(
        vocab_size=32, emb_dim=16, num_heads=2, num_encoder_layers=1, num_decoder_layers=1,
        head_dim=8, mlp_dim=16, dropout_rate=0.0,
    )
)  # fmt: skip
FORWARD = step.make_forward(NETWORK)


@pytest.fixture(scope="module")
def params():
    ones = np.ones((1, 2), np.int32)
    init = jax.jit(functools.partial(NETWORK.init, enable_dropout=False))
    return init(KEY, ones, ones, ones)["params"]


def make_batch():
    """A pair with two masks, a supervised row without, and a pair with one whose word is alone."""
    inputs = np.array([[5, 31, 1, 31, 9, 1], [7, 3, 8, 1, 0, 0], [6, 31, 1, 4, 1, 0]])
    targets = np.array([[0, 0], [21, 1], [0, 0]])
    arrays = {
        "encoder_input_tokens": inputs,
        "encoder_target_tokens": [[0, 12, 0, 13, 0, 0], [0] * 6, [0, 14, 0, 0, 0, 0]],
        "encoder_aligned_tokens": [[0, 8, 0, 15, 0, 0], [0] * 6, [0] * 6],
        "decoder_input_tokens": np.pad(targets, ((0, 0), (1, 0)))[:, :-1],
        "decoder_target_tokens": targets,
        "decoder_loss_weights": targets > 0,
    }
    return {name: np.array(array, np.int32) for name, array in arrays.items()}


BATCH = make_batch()


def expected_losses(params, batch=BATCH):
    """(masked, aligned, decoder's) nll sums."""
    out = FORWARD(params, batch, None)
    table = np.asarray(params["token_embedder"]["embedding"], np.float64)
    logp = special.log_softmax(np.asarray(out.encoded, np.float64) @ table.T / 4.0, axis=-1)
    sums = []
    for name in ("encoder_target_tokens", "encoder_aligned_tokens"):
        places = np.argwhere(batch[name] > 0)
        sums.append(-sum(logp[row, place, batch[name][row, place]] for row, place in places))
    plain = lm.objective(FORWARD, params, batch, None)
    return sums[0], sums[1], float(plain.total)


@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.5, 2.0), (0.0, 0.0), (1.0, 0.0)])
def test_loss_is_the_sum_over_masked_tokens_their_aligned_tokens_and_targets(params, weights):
    one, other, plain = expected_losses(params)
    loss = masked.objective(
        FORWARD, params, BATCH, KEY, masked=weights[0], aligned=weights[1], share=0.5
    )
    np.testing.assert_allclose(loss.total, plain + weights[0] * one + weights[1] * other, rtol=1e-5)
    assert loss.weight == 3 + 2  # masked tokens and target tokens
    for name, value, count in (
        ("masked_nll", one, 3),
        ("aligned_nll", other, 2),
        ("nll", one + plain, 5),
        ("left_out", 0, 3),
    ):
        np.testing.assert_allclose(loss.logs[name], (value, count), rtol=1e-5)


def test_no_more_than_a_share_of_the_positions_is_predicted(params):
    """One of six: of the first row's two masked tokens the first."""
    loss = masked.objective(FORWARD, params, BATCH, KEY, share=1 / 6)
    np.testing.assert_allclose(loss.logs["left_out"], (1, 3))
    first = {name: array.copy() for name, array in BATCH.items()}
    for name in ("encoder_target_tokens", "encoder_aligned_tokens"):
        first[name][0, 3] = 0
    one, other, plain = expected_losses(params, first)
    np.testing.assert_allclose(loss.total, plain + one + other, rtol=1e-5)


def test_without_masks_it_is_the_plain_objective(params):
    plain = {name: array for name, array in BATCH.items() if name.startswith("decoder")}
    plain["encoder_input_tokens"] = BATCH["encoder_input_tokens"]
    options = {"z_loss": 0.01, "label_smoothing": 0.1}
    loss = masked.objective(FORWARD, params, plain, KEY, **options)
    assert loss.total == lm.objective(FORWARD, params, plain, KEY, **options).total


@pytest.mark.parametrize("options", [{"masked": -1.0}, {"aligned": -0.1}, {"share": 0.0}], ids=str)
def test_impossible_options_are_refused(params, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        masked.objective(FORWARD, params, BATCH, KEY, **options)
