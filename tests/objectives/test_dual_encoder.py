import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from xlt_jax.arrays import Outputs
from xlt_jax.models import mt5
from xlt_jax.objectives import dual_encoder
from xlt_jax.training import step


def fake_forward(params, batch, rng, encoder_layer=None):
    """States that depend on the token only: params["table"][token], plus the layer's number."""
    states = params["table"][batch["encoder_input_tokens"]] + (encoder_layer or 0)
    return Outputs(logits=None, encoded=states)


def make_batch(inputs, targets):
    inputs, targets = np.array(inputs, np.int32), np.array(targets, np.int32)
    return {
        "encoder_input_tokens": inputs,
        "decoder_target_tokens": targets,
        "decoder_loss_weights": (targets > 0).astype(np.int32),
    }


@pytest.fixture
def params():
    return {"table": jax.random.normal(jax.random.key(0), (20, 6))}


BATCH = make_batch(
    [[3, 4, 5], [6, 7, 0], [8, 0, 0], [9, 4, 0], [0, 0, 0]],
    [[10, 11], [12, 0], [10, 11], [13, 14], [0, 0]],
)


def plain_losses(table, batch, layer, scale):
    """One row at a time: own candidate against all others that are there and read otherwise."""

    def vector(ids):
        mean = np.mean([table[i] + (layer or 0) for i in ids if i], axis=0)
        return mean / np.linalg.norm(mean)

    pairs = [
        (tuple(q), tuple(c))
        for q, c in zip(batch["encoder_input_tokens"], batch["decoder_target_tokens"])
        if any(q) and any(c)
    ]
    losses, correct = [], 0
    for query, own in pairs:
        scores = [scale * vector(query) @ vector(c) for _, c in pairs if c != own]
        score = scale * vector(query) @ vector(own)
        losses.append(np.log(np.exp([score, *scores]).sum()) - score)
        correct += score >= max(scores)
    return losses, correct


@pytest.mark.parametrize("layer, scale", [(None, 100.0), (2, 3.0)])
def test_loss_equals_the_plain_formula(params, layer, scale):
    loss = dual_encoder.objective(fake_forward, params, BATCH, None, layer=layer, scale=scale)
    expected, correct = plain_losses(np.asarray(params["table"]), BATCH, layer, scale)
    assert len(expected) == loss.weight == 4
    np.testing.assert_allclose(loss.total, sum(expected), rtol=1e-4)
    np.testing.assert_allclose(loss.logs["nll"], (sum(expected), 4), rtol=1e-4)
    np.testing.assert_array_equal(loss.logs["accuracy"], (correct, 4))


def test_rows_and_columns_of_padding_change_nothing(params):
    def total(params, batch):
        return dual_encoder.objective(fake_forward, params, batch, None, scale=5.0).total

    wider = {name: np.pad(array, ((0, 3), (0, 2))) for name, array in BATCH.items()}
    for function in (total, jax.grad(total)):
        plain, padded = function(params, BATCH), function(params, wider)
        jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-5), plain, padded)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(plain))


def test_other_features_of_the_targets_are_not_read(params):
    """A row whose targets have no weight is no query and no candidate."""
    batch = {name: array.copy() for name, array in BATCH.items()}
    batch["decoder_loss_weights"][1] = 0
    loss = dual_encoder.objective(fake_forward, params, batch, None)
    without = {name: np.delete(array, 1, axis=0) for name, array in BATCH.items()}
    expected = dual_encoder.objective(fake_forward, params, without, None)
    np.testing.assert_allclose(loss.total, expected.total, rtol=1e-5)
    assert loss.weight == expected.weight == 3


def test_dropout_differs_between_inputs_and_targets(params):
    keys = []

    def forward(params, batch, rng, encoder_layer=None):
        keys.append(rng)
        return fake_forward(params, batch, rng, encoder_layer)

    dual_encoder.objective(forward, params, BATCH, jax.random.key(0))
    assert jax.random.key_data(keys[0]).tolist() != jax.random.key_data(keys[1]).tolist()


def test_training_finds_the_right_target():
    """Targets are the inputs' ids plus 30: nothing that a random network sees."""
    network = mt5.Transformer(
        mt5.T5Config(
            vocab_size=64, emb_dim=32, num_heads=4, num_encoder_layers=1, num_decoder_layers=1,
            head_dim=8, mlp_dim=32, dropout_rate=0.0,
        )
    )  # fmt: skip
    rng = np.random.default_rng(0)

    def batch():
        inputs = rng.integers(2, 32, (64, 6))
        return make_batch(inputs, inputs + 30)

    ones = np.ones((1, 2), np.int32)
    init = jax.jit(functools.partial(network.init, enable_dropout=False))
    params = init(jax.random.key(0), ones, ones, ones)["params"]
    optimizer = optax.adam(1e-2)
    objective = functools.partial(
        dual_encoder.objective, step.make_forward(network), rng=None, scale=20.0
    )

    @jax.jit
    def update(params, state, batch):
        gradients = jax.grad(lambda p: objective(p, batch).total)(params)
        updates, state = optimizer.update(gradients, state)
        return optax.apply_updates(params, updates), state

    def accuracy(params):
        right, rows = jax.jit(objective)(params, batch()).logs["accuracy"]
        return float(right / rows)

    before, state = accuracy(params), optimizer.init(params)
    for _ in range(60):
        params, state = update(params, state, batch())
    assert before < 0.2 and accuracy(params) > 0.8


def test_impossible_input_is_refused(params):
    with pytest.raises(ValueError, match=r"scale is 0\.0"):
        dual_encoder.objective(fake_forward, params, BATCH, None, scale=0.0)
    packed = BATCH | {"encoder_segment_ids": jnp.ones((5, 3), jnp.int32)}
    with pytest.raises(ValueError, match="PACK"):
        dual_encoder.objective(fake_forward, params, packed, None)
