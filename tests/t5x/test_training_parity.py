"""Five training steps of both engines from the same parameters: the same losses."""

import functools

import jax
import numpy as np
import pytest

pytest.importorskip("t5x.models")  # not tests/t5x itself

from flax.linen import partitioning as flax_partitioning
from t5x import adafactor as t5x_adafactor
from t5x import models as t5x_models
from t5x import train_state as t5x_train_state
from t5x.examples.t5 import network as t5x_network

from xlt_jax.models import mt5
from xlt_jax.objectives import lm
from xlt_jax.training import optim, partition, state, step

pytestmark = pytest.mark.t5x

# Two axes of at least 128, so that Adafactor factors the tables.
SIZES = dict(
    vocab_size=384,
    emb_dim=128,
    num_heads=4,
    num_encoder_layers=2,
    num_decoder_layers=2,
    head_dim=32,
    mlp_dim=256,
    mlp_activations=("gelu", "linear"),
    dropout_rate=0.0,
)
STEPS = 5
LEARNING_RATE = 0.01
Z_LOSS = 1e-4


def batches():
    """Two segments in each row, and padding at the end."""
    generator = np.random.default_rng(0)
    for _ in range(STEPS):
        batch = {}
        for side, length in (("encoder", 24), ("decoder", 12)):
            ids = generator.integers(3, SIZES["vocab_size"], (8, length)).astype(np.int32)
            segments = np.repeat([[1, 2, 0]], 8, axis=0).repeat(length // 3, axis=1)
            ids[segments == 0] = 0
            name = "encoder_input_tokens" if side == "encoder" else "decoder_target_tokens"
            batch[name] = ids
            batch[f"{side}_segment_ids"] = segments.astype(np.int32)
            positions = np.tile(np.arange(length // 3), 3)[None].repeat(8, axis=0)
            batch[f"{side}_positions"] = (positions * (segments > 0)).astype(np.int32)
        targets = batch["decoder_target_tokens"]
        shifted = np.pad(targets, ((0, 0), (1, 0)))[:, :-1]
        batch["decoder_input_tokens"] = np.where(batch["decoder_positions"] == 0, 0, shifted)
        batch["decoder_loss_weights"] = (targets > 0).astype(np.int32)
        yield batch


@functools.cache
def our_run():
    network = mt5.Transformer(mt5.T5Config(**SIZES))
    optimizer = optim.adafactor(LEARNING_RATE)
    partitioner = partition.Partitioner(devices=jax.devices()[:1])
    train_state = state.create(network, optimizer, partitioner, jax.random.key(0))
    first = jax.tree.map(np.asarray, train_state.params)
    train_step = step.make_train_step(
        step.make_forward(network),
        functools.partial(lm.objective, z_loss=Z_LOSS),
        optimizer,
        partitioner,
        train_state,
    )
    losses = []
    for batch in batches():
        batch = partitioner.shard_batch(batch)
        train_state, metrics = train_step(train_state, batch, jax.random.key(1))
        losses.append(float(metrics["loss"]))
    return first, np.array(losses), jax.tree.map(np.asarray, train_state.params)


@functools.cache
def their_run():
    first, _, _ = our_run()
    network = t5x_network.Transformer(t5x_network.T5Config(**SIZES))
    optimizer_def = t5x_adafactor.Adafactor(
        decay_rate=0.8,
        step_offset=0,
        logical_factor_rules=t5x_adafactor.standard_logical_factor_rules(),
    )
    model = t5x_models.EncoderDecoderModel(
        module=network,
        input_vocabulary=None,
        output_vocabulary=None,
        optimizer_def=optimizer_def,
        z_loss=Z_LOSS,
        label_smoothing=0.0,
        loss_normalizing_factor=None,
    )
    ids = np.ones((1, 2), np.int32)
    variables = network.init(jax.random.PRNGKey(0), ids, ids, ids, enable_dropout=False)
    variables = {"params": first, "params_axes": variables["params_axes"]}
    train_state = t5x_train_state.FlaxOptimTrainState.create(optimizer_def, variables)

    @jax.jit
    def train_step(train_state, batch):
        gradient_of = jax.value_and_grad(lambda p: model.loss_fn(p, batch, None)[0])
        loss, gradients = gradient_of(train_state.params)
        return loss, train_state.apply_gradient(gradients, learning_rate=LEARNING_RATE)

    losses = []
    for batch in batches():
        loss, train_state = train_step(train_state, batch)
        losses.append(float(loss))
    return np.array(losses), jax.tree.map(np.asarray, train_state.params)


def test_five_losses_are_equal():
    """Float32 sums in another order differ in the seventh digit; five updates spread that."""
    _, ours, _ = our_run()
    theirs, _ = their_run()
    print("ours  ", ours, "\ntheirs", theirs)
    np.testing.assert_allclose(ours, theirs, rtol=2e-5)
    assert ours[-1] < ours[0]


def test_parameters_are_equal_after_five_steps():
    _, _, ours = our_run()
    _, theirs = their_run()
    flat_ours, flat_theirs = (
        {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(t)}
        for t in (ours, dict(theirs))
    )
    assert flat_ours.keys() == flat_theirs.keys()
    for name, leaf in flat_ours.items():
        np.testing.assert_allclose(leaf, flat_theirs[name], rtol=1e-3, atol=1e-5, err_msg=name)


def test_axes_names_are_ours_too():
    """Both name the same logical axes, so that T5X factors what we factor."""
    ids = np.ones((1, 2), np.int32)
    names = []
    for network in (
        mt5.Transformer(mt5.T5Config(**SIZES)),
        t5x_network.Transformer(t5x_network.T5Config(**SIZES)),
    ):
        variables = jax.eval_shape(
            lambda network=network: network.init(
                jax.random.key(0), ids, ids, ids, enable_dropout=False
            )
        )
        names.append(flax_partitioning.get_axis_names(variables["params_axes"]))
    assert names[0] == names[1]
