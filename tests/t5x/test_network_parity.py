"""Our network and searches against T5X's, on the same parameters."""

import functools

import flax
import jax
import numpy as np
import pytest

from xlt_jax.decoding import rank, search
from xlt_jax.models import mt5

pytest.importorskip("t5x.models")  # not tests/t5x itself
from t5x import decoding, models
from t5x.examples.t5 import network as t5x_network

pytestmark = pytest.mark.t5x

SIZES = dict(
    vocab_size=97,
    emb_dim=32,
    num_heads=3,
    num_encoder_layers=2,
    num_decoder_layers=2,
    head_dim=8,
    mlp_dim=48,
    mlp_activations=("gelu", "linear"),
)
ROWS, SOURCE, TARGET = 128, 12, 9
OURS = mt5.Transformer(mt5.T5Config(**SIZES))
THEIRS = t5x_network.Transformer(t5x_network.T5Config(**SIZES))


def init(network):
    ones = np.ones((2, 4), np.int32)
    run = jax.jit(lambda rngs: network.init(rngs, ones, ones, ones, enable_dropout=False))
    return flax.core.unfreeze(run({"params": jax.random.key(0)}))


@pytest.fixture(scope="module")
def params():
    params = init(THEIRS)["params"]
    kernel = params["decoder"]["logits_dense"]["kernel"]
    params["decoder"]["logits_dense"]["kernel"] = kernel.at[:, 1].multiply(2.0)  # more outputs end
    return params


@pytest.fixture(scope="module")
def encoder():
    rng = np.random.default_rng(1)
    tokens = rng.integers(2, 97, (ROWS, SOURCE)).astype(np.int32)
    return tokens * (np.arange(SOURCE) < rng.integers(1, SOURCE + 1, (ROWS, 1)))


def t5x_model(network, decode_fn=decoding.beam_search):
    class Vocabulary:
        eos_id = 1

    vocabulary = Vocabulary()
    return models.EncoderDecoderModel(
        network, vocabulary, vocabulary, optimizer_def=None, decode_fn=decode_fn
    )


def test_trees_axes_and_initial_values_are_equal():
    ours, theirs = init(OURS), init(THEIRS)
    assert ours["params_axes"] == theirs["params_axes"]
    jax.tree.map(np.testing.assert_array_equal, ours["params"], theirs["params"])


def test_config_has_the_same_fields_and_defaults():
    ours, theirs = mt5.T5Config(vocab_size=7), t5x_network.T5Config(vocab_size=7)
    assert {name: getattr(ours, name) for name in vars(theirs)} == vars(theirs)


@pytest.mark.parametrize("packed", [False, True])
def test_logits_and_gradients_are_equal(params, packed):
    rng = np.random.default_rng(0)
    length = 160  # past the largest relative distance
    source, targets = rng.integers(2, 97, (2, 2, length)).astype(np.int32)
    position = np.arange(length)
    segments = np.where(position < 70, 1, np.where(position < 150, 2, 0))
    source[:, 150:] = targets[:, 150:] = 0
    names = ("encoder_segment_ids", "decoder_segment_ids")
    extra = dict.fromkeys(names, np.tile(segments, (2, 1))) if packed else {}
    inputs = np.pad(targets, ((0, 0), (1, 0)))[:, :-1]

    def loss(network, params):
        logits = network.apply(
            {"params": params}, source, inputs, targets, enable_dropout=False, **extra
        )
        # Weighted as every objective is: where all keys are masked T5X lets gradients through.
        weight = (targets > 0)[..., None]
        return (jax.nn.log_softmax(logits) ** 2 * weight).mean(), logits

    run = jax.jit(jax.value_and_grad(loss, argnums=1, has_aux=True), static_argnums=0)
    ((_, ours), our_grad), ((_, theirs), their_grad) = run(OURS, params), run(THEIRS, params)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-6)
    jax.tree.map(close, our_grad, their_grad)


@pytest.mark.parametrize("network", [OURS, THEIRS], ids=["ours", "theirs"])
def test_predict_batch_of_t5x_equals_greedy(params, encoder, network):
    sample = functools.partial(decoding.temperature_sample, temperature=0.0, topk=1)
    model = t5x_model(network, sample)
    blank = np.zeros((ROWS, TARGET), np.int32)
    batch = dict(encoder_input_tokens=encoder, decoder_input_tokens=blank)
    theirs = jax.jit(lambda p, b: model.predict_batch(p, b, rng=jax.random.key(0)))(params, batch)
    ours = jax.jit(lambda p, e: search.greedy(OURS, p, e, max_decode_len=TARGET))(params, encoder)
    assert 10 < (ours == 1).any(axis=1).sum() < ROWS - 10  # some end, some do not
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("num_beams", [1, 4])
def test_beam_search_equals_t5x(params, encoder, num_beams):
    model = t5x_model(OURS)
    blank = np.zeros((ROWS, TARGET), np.int32)
    batch = dict(encoder_input_tokens=encoder, decoder_input_tokens=blank)
    options = dict(num_decodes=num_beams, return_all_decodes=True)
    ids, logs = jax.jit(lambda p, b: model.predict_batch_with_aux(p, b, **options))(params, batch)
    options = dict(max_decode_len=TARGET, num_beams=num_beams)
    beams = jax.jit(lambda p, e: search.beam_search(OURS, p, e, **options))(params, encoder)
    np.testing.assert_array_equal(beams.ids, ids[:, ::-1])
    np.testing.assert_allclose(beams.scores, logs["scores"][:, ::-1], rtol=1e-5, atol=1e-5)


def test_rank_equals_score_batch_of_t5x(params, encoder):
    choices = np.random.default_rng(2).integers(2, 97, (ROWS, 2, 4)).astype(np.int32)
    choices[:, 1, 2:] = 0
    ours = jax.jit(lambda p: rank.rank(OURS, p, encoder, choices))(params)
    score = jax.jit(t5x_model(THEIRS).score_batch)
    for choice in range(2):
        targets = choices[:, choice]
        batch = dict(
            encoder_input_tokens=encoder,
            decoder_input_tokens=np.pad(targets, ((0, 0), (1, 0)))[:, :-1],
            decoder_target_tokens=targets,
            decoder_loss_weights=(targets > 0).astype(np.float32),
        )
        np.testing.assert_allclose(ours[:, choice], score(params, batch), rtol=1e-5)
