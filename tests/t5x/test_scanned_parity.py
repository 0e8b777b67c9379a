"""Scanned layers with a bias in each: T5X's scalable_t5, its decoding and its Adafactor.

One difference: scalable_t5 keeps heads and their width as two axes of attention's parameters, ours
(and T5X's t5) are joined.
"""

import functools

import flax
import jax
import numpy as np
import pytest

pytest.importorskip("t5x.models")  # not tests/t5x itself

from t5x import adafactor as t5x_adafactor
from t5x import decoding, models
from t5x import train_state as t5x_train_state
from t5x.examples.scalable_t5 import network as t5x_network

from xlt_jax.decoding import search
from xlt_jax.models import mt5
from xlt_jax.objectives import lm
from xlt_jax.training import model, partition, state, step

pytestmark = pytest.mark.t5x

# Two axes of at least 128, so that Adafactor factors; depths that no other axis has.
SIZES = dict(
    vocab_size=160,
    emb_dim=128,
    num_heads=4,
    num_encoder_layers=3,
    num_decoder_layers=2,
    head_dim=32,
    mlp_dim=192,
    mlp_activations=("gelu", "linear"),
    dropout_rate=0.0,
    scan_layers=True,
)
ROWS, SOURCE, TARGET = 64, 12, 7
STEPS, LEARNING_RATE, Z_LOSS = 5, 0.01, 1e-4
OURS = mt5.Transformer(mt5.T5Config(**SIZES, relative_bias="per_layer"))
THEIRS = t5x_network.Transformer(t5x_network.T5Config(**SIZES))


@functools.cache
def init(network):
    ones = np.ones((2, 4), np.int32)
    run = jax.jit(lambda rngs: network.init(rngs, ones, ones, ones, enable_dropout=False))
    return flax.core.unfreeze(run({"params": jax.random.key(0)}))


def joined(names, value):
    """A parameter of theirs in our shape, and its axes."""
    if "kv" not in names:
        return names, value
    names = list(names)
    if names[0] == "heads" and "layers" in names:  # heads, layers, kv, embed
        names[1:3], value = names[2:0:-1], value.swapaxes(1, 2)
    first = names.index("heads")
    names[first : first + 2] = ["joined_kv"]
    return tuple(names), value.reshape(*value.shape[:first], -1, *value.shape[first + 2 :])


def in_our_shapes(params):
    axes = flax.traverse_util.flatten_dict(init(THEIRS)["params_axes"], sep="/")
    flat = flax.traverse_util.flatten_dict(params, sep="/")
    values = {path: joined(axes[f"{path}_axes"].names, value)[1] for path, value in flat.items()}
    return flax.traverse_util.unflatten_dict(values, sep="/")


def tokens(seed, length, rows=ROWS):
    rng = np.random.default_rng(seed)
    ids = rng.integers(2, SIZES["vocab_size"], (rows, length)).astype(np.int32)
    return ids * (np.arange(length) < rng.integers(1, length + 1, (rows, 1)))


def batch(seed):
    targets = tokens(100 + seed, TARGET)
    return dict(
        encoder_input_tokens=tokens(seed, SOURCE),
        decoder_input_tokens=np.pad(targets, ((0, 0), (1, 0)))[:, :-1],
        decoder_target_tokens=targets,
        decoder_loss_weights=(targets > 0).astype(np.int32),
    )


def t5x_model(network, decode_fn=decoding.beam_search, optimizer_def=None):
    class Vocabulary:
        eos_id = 1

    vocabulary = Vocabulary()
    return models.EncoderDecoderModel(
        network, vocabulary, vocabulary, optimizer_def, decode_fn=decode_fn, z_loss=Z_LOSS
    )


@pytest.mark.parametrize("scan", [True, False], ids=["scanned", "unscanned"])
def test_trees_axes_and_initial_values_are_equal(scan):
    sizes = SIZES | dict(scan_layers=scan)
    ours = init(mt5.Transformer(mt5.T5Config(**sizes, relative_bias="per_layer")))
    theirs = init(t5x_network.Transformer(t5x_network.T5Config(**sizes)))
    ours, our_axes, theirs, their_axes = (
        flax.traverse_util.flatten_dict(network[kind], sep="/")
        for network in (ours, theirs)
        for kind in ("params", "params_axes")
    )
    assert ours.keys() == theirs.keys() and our_axes.keys() == their_axes.keys()
    for path, value in ours.items():
        names, expected = joined(their_axes[f"{path}_axes"].names, theirs[path])
        assert our_axes[f"{path}_axes"].names == names
        np.testing.assert_array_equal(value, expected, err_msg=path)


@pytest.mark.parametrize("policy", ["none", "minimal", "full"])
def test_logits_are_equal(policy):
    """And the names of rematerialisation, which T5X's network takes too."""
    arguments = [batch(0)[f"{name}_tokens"] for name in ("encoder_input", "decoder_input")]
    arguments.append(batch(0)["decoder_target_tokens"])
    config = dict(**SIZES, remat_policy=policy)
    networks = (
        mt5.Transformer(mt5.T5Config(**config, relative_bias="per_layer")),
        t5x_network.Transformer(t5x_network.T5Config(**config)),
    )
    trees = in_our_shapes(init(THEIRS)["params"]), init(THEIRS)["params"]
    ours, theirs = (
        jax.jit(functools.partial(network.apply, enable_dropout=False))(
            {"params": params}, *arguments
        )
        for network, params in zip(networks, trees)
    )
    np.testing.assert_allclose(ours, theirs, atol=2e-5)


@pytest.fixture(scope="module")
def ending_params():
    """Theirs, changed so that more outputs end."""
    params = init(THEIRS)["params"]
    kernel = params["decoder"]["logits_dense"]["kernel"].at[:, 1].multiply(2.5)
    decoder = {**params["decoder"], "logits_dense": {"kernel": kernel}}
    return {**params, "decoder": decoder}


@pytest.mark.parametrize("network", [OURS, THEIRS], ids=["ours", "theirs"])
def test_predict_batch_of_t5x_equals_greedy(ending_params, network):
    encoder = tokens(1, SOURCE)
    sample = functools.partial(decoding.temperature_sample, temperature=0.0, topk=1)
    t5x = t5x_model(network, sample)
    blank = dict(
        encoder_input_tokens=encoder, decoder_input_tokens=np.zeros((ROWS, TARGET), np.int32)
    )
    predict = jax.jit(lambda p, b: t5x.predict_batch(p, b, rng=jax.random.key(0)))
    greedy = jax.jit(lambda p, e: search.greedy(OURS, p, e, max_decode_len=TARGET))
    our_params = in_our_shapes(ending_params)
    ours = greedy(our_params, encoder)
    theirs = predict(our_params if network is OURS else ending_params, blank)
    assert 5 < (ours == 1).any(axis=1).sum() < ROWS - 5  # some end, some do not
    np.testing.assert_array_equal(ours, theirs)


def test_beam_search_of_t5x_drives_the_network(ending_params):
    encoder = tokens(2, SOURCE)
    blank = dict(
        encoder_input_tokens=encoder, decoder_input_tokens=np.zeros((ROWS, TARGET), np.int32)
    )
    options = dict(num_decodes=3, return_all_decodes=True)
    t5x = t5x_model(OURS)
    params = in_our_shapes(ending_params)
    predict = jax.jit(lambda p, b: t5x.predict_batch_with_aux(p, b, **options))
    ids, logs = predict(params, blank)
    options = dict(max_decode_len=TARGET, num_beams=3)
    beams = jax.jit(lambda p, e: search.beam_search(OURS, p, e, **options))(params, encoder)
    np.testing.assert_array_equal(beams.ids, ids[:, ::-1])
    np.testing.assert_allclose(beams.scores, logs["scores"][:, ::-1], rtol=1e-5, atol=1e-5)


def our_run():
    optimizer = model.adafactor_def()(lambda step: LEARNING_RATE)
    partitioner = partition.Partitioner(devices=jax.devices()[:1])
    described = state.describe(OURS, optimizer, partitioner)
    train_state = state.with_params(
        jax.tree.map(np.array, in_our_shapes(init(THEIRS)["params"])), optimizer, described
    )
    objective = functools.partial(lm.objective, z_loss=Z_LOSS)
    train_step = step.make_train_step(
        step.make_forward(OURS), objective, optimizer, partitioner, described
    )
    losses = []
    for number in range(STEPS):
        sharded = partitioner.shard_batch(batch(number))
        train_state, metrics = train_step(train_state, sharded, jax.random.key(1))
        losses.append(float(metrics["loss"]))
    return np.array(losses), jax.device_get(train_state.params)


def their_run():
    optimizer_def = t5x_adafactor.Adafactor(
        decay_rate=0.8,
        step_offset=0,
        logical_factor_rules=t5x_adafactor.standard_logical_factor_rules(),
    )
    t5x = t5x_model(THEIRS, optimizer_def=optimizer_def)
    train_state = t5x_train_state.FlaxOptimTrainState.create(optimizer_def, init(THEIRS))

    @jax.jit
    def train_step(train_state, batch):
        gradient_of = jax.value_and_grad(lambda p: t5x.loss_fn(p, batch, None)[0])
        loss, gradients = gradient_of(train_state.params)
        return loss, train_state.apply_gradient(gradients, learning_rate=LEARNING_RATE)

    losses = []
    for number in range(STEPS):
        loss, train_state = train_step(train_state, batch(number))
        losses.append(float(loss))
    return np.array(losses), jax.device_get(flax.core.unfreeze(train_state.params))


def test_five_steps_are_equal():
    ours, our_params = our_run()
    theirs, their_params = their_run()
    print("ours  ", ours, "\ntheirs", theirs)
    np.testing.assert_allclose(ours, theirs, rtol=2e-5)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-5)
    jax.tree.map(close, our_params, in_our_shapes(their_params))
