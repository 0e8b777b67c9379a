"""EAR and consistency against NumPy, from the activations of a small network."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from xlt_jax.models import mt5
from xlt_jax.objectives import consistency, lm, push_pull, robust, views
from xlt_jax.training import step

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def forward():
    return step.make_forward(
        mt5.Transformer(
            mt5.T5Config(
                vocab_size=32, emb_dim=16, num_heads=2, num_encoder_layers=3,
                num_decoder_layers=1, head_dim=8, mlp_dim=16, dropout_rate=0.0,
            )
        )
    )  # fmt: skip


@pytest.fixture(scope="module")
def params(forward):
    network = mt5.Transformer(
        mt5.T5Config(
            vocab_size=32, emb_dim=16, num_heads=2, num_encoder_layers=3, num_decoder_layers=1,
            head_dim=8, mlp_dim=16, dropout_rate=0.0,
        )
    )  # fmt: skip
    ones = np.ones((1, 2), np.int32)
    init = jax.jit(functools.partial(network.init, enable_dropout=False))
    return init(KEY, ones, ones, ones)["params"]


def make_batch():
    """Four rows: a view as long, a shorter, a longer one, and none."""
    inputs = np.array([[5, 9, 4, 1, 0], [7, 3, 8, 2, 1], [6, 1, 0, 0, 0], [4, 8, 1, 0, 0]])
    view = np.array([[5, 8, 4, 1, 0], [7, 9, 1, 0, 0], [6, 2, 9, 9, 1], [0, 0, 0, 0, 0]])
    targets = np.array([[20, 1], [21, 1], [1, 0], [22, 1]])
    return {
        "encoder_input_tokens": inputs.astype(np.int32),
        "encoder_view_tokens": view.astype(np.int32),
        "decoder_input_tokens": np.pad(targets, ((0, 0), (1, 0)))[:, :-1].astype(np.int32),
        "decoder_target_tokens": targets.astype(np.int32),
        "decoder_loss_weights": (targets > 0).astype(np.int32),
    }


BATCH = make_batch()


def dumped(forward, params):
    """(nll of each row's targets, mean vectors, maps by layer) of the views and of the rows."""
    view = BATCH["encoder_view_tokens"]
    view = np.where(view.any(axis=1, keepdims=True), view, BATCH["encoder_input_tokens"])
    found = []
    for tokens in (view, BATCH["encoder_input_tokens"]):
        batch = {k: x for k, x in BATCH.items() if "view" not in k}
        batch["encoder_input_tokens"] = tokens
        out = forward(params, batch, KEY, probe=True)
        logp = special.log_softmax(np.asarray(out.logits, np.float64), axis=-1)
        picked = np.take_along_axis(logp, BATCH["decoder_target_tokens"][..., None], -1)[..., 0]
        nll = -(picked * BATCH["decoder_loss_weights"]).sum(axis=1)
        real = tokens > 0
        embedded = np.asarray(out.embedded, np.float64)
        np.testing.assert_array_equal(embedded, params["token_embedder"]["embedding"][tokens])
        means = [embedded[row][real[row]].mean(axis=0) for row in range(len(tokens))]
        maps = [np.asarray(layer, np.float64) * real[:, None, :, None] for layer in out.attentions]
        found.append((nll, np.array(means), maps))
    return found


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"original": 0.0},
        {"push": 0.0, "pull": 0.0},
        {"push": 2.0, "pull": 3.0, "layer": 2, "positions": 7},
    ],
    ids=str,
)
def test_loss_equals_numpy_from_dumped_activations(forward, params, options):
    weight = {"original": 1.0, "push": 0.1, "pull": 1.0} | options
    (view_nll, view_mean, view_maps), (nll, mean, maps) = dumped(forward, params)
    layer, positions = options.get("layer", 1), options.get("positions", 128)
    push = ((mean - view_mean) ** 2).mean(axis=1)
    pull = ((maps[layer] - view_maps[layer]) ** 2).sum(axis=(1, 2, 3)) / 2 / positions**2
    tokens = BATCH["decoder_loss_weights"].sum(axis=1)
    expected = (view_nll + weight["original"] * nll).sum()
    expected += (tokens * (weight["pull"] * pull - weight["push"] * push)).sum()
    loss = push_pull.objective(forward, params, BATCH, KEY, **options)
    np.testing.assert_allclose(loss.total, expected, rtol=1e-6)
    assert loss.weight == tokens.sum() == 7
    for name, value in {"push": push, "pull": pull}.items():
        np.testing.assert_allclose(loss.logs[name][0], (tokens * value).sum(), rtol=1e-5)
    np.testing.assert_allclose(loss.logs["nll"][0], nll.sum(), rtol=1e-5)
    np.testing.assert_allclose(loss.logs["view_nll"][0], view_nll.sum(), rtol=1e-5)
    assert push[3] == pull[3] == 0 and (push[:3] > 0).all() and (pull[:3] > 0).all()


def test_attention_maps_are_probabilities(forward, params):
    out = forward(params, BATCH, None, probe=True)
    real = BATCH["encoder_input_tokens"] > 0
    for layer in out.attentions:
        assert layer.shape == (4, 2, 5, 5)
        sums = np.asarray(layer.sum(axis=-1))
        np.testing.assert_allclose(sums, 1.0, rtol=1e-6)
        assert (np.asarray(layer) * (real[:, None, :, None] & ~real[:, None, None, :]) == 0).all()


@pytest.mark.parametrize("old, new", [(3, 3), (3, 5), (5, 3), (1, 4), (4, 1), (2, 5)])
def test_stretched_maps_keep_their_mass_and_their_diagonal(old, new):
    rng = np.random.default_rng(0)
    length = 6
    maps = np.zeros((1, 2, length, length), np.float32)
    maps[:, :, :old, :old] = special.softmax(rng.normal(size=(1, 2, old, old)), axis=-1)
    found = np.asarray(push_pull.stretched(maps, jnp.array([old]), jnp.array([new])))
    np.testing.assert_allclose(found[:, :, :new].sum(axis=-1), 1.0, rtol=1e-5)
    assert (found[:, :, new:] == 0).all() and (found[..., new:] == 0).all()
    if old == new:
        np.testing.assert_allclose(found, maps, atol=1e-6)
    # The ends stay: the first query's weight of the first key, where both lengths have two ends.
    if min(old, new) > 1 and new > old:
        np.testing.assert_allclose(found[:, :, 0, 0], maps[:, :, 0, 0], atol=1e-6)
        last = found[:, :, new - 1, new - 1]
        np.testing.assert_allclose(last, maps[:, :, old - 1, old - 1], atol=1e-6)


def test_stretching_changes_only_pairs_of_unequal_lengths(forward, params):
    totals = {
        alignment: [
            float(
                push_pull.objective(
                    forward,
                    params,
                    {k: x[row : row + 1] for k, x in BATCH.items()},
                    KEY,
                    alignment=alignment,
                    positions=2,
                ).total
            )
            for row in range(4)
        ]
        for alignment in push_pull.ALIGNMENTS
    }
    changed = np.abs(np.subtract(*totals.values())) > 1e-5
    assert changed.tolist() == [False, True, True, False]


def test_consistency_equals_the_divergence_of_both_answers(forward, params):
    both = views.stacked(BATCH)
    moved, own = views.split(np.asarray(forward(params, both, KEY).logits, np.float64))
    p, q = special.softmax(own, axis=-1), special.softmax(moved, axis=-1)
    divergence = 0.5 * (special.rel_entr(p, q) + special.rel_entr(q, p)).sum(axis=-1)
    expected = (divergence * BATCH["decoder_loss_weights"]).sum()
    plain = lm.objective(forward, params, BATCH, None).total
    loss = consistency.objective(forward, params, BATCH, KEY, strength=2.5)
    np.testing.assert_allclose(loss.logs["divergence"][0], expected, rtol=1e-4)
    np.testing.assert_allclose(loss.total, plain + 2.5 * expected, rtol=1e-5)
    assert expected > 1e-3


def test_consistency_with_noise_reads_a_ball(forward, params):
    batch = {k: x for k, x in BATCH.items() if "view" not in k}
    options = {"source": "noise", "strength": 3.0}
    zero = consistency.objective(forward, params, batch, KEY, radius=0.0, **options)
    noisy = consistency.objective(forward, params, batch, KEY, radius=0.5, **options)
    np.testing.assert_allclose(zero.total, lm.objective(forward, params, batch, KEY).total)
    assert noisy.logs["divergence"][0] > 1e-3
    ball = robust.Ball(batch, "l2", "token", 0.5, True)
    noise = ball.uniform(jax.random.fold_in(KEY, 1), 16)
    moved = ball.moved(forward, noise)(params, batch, None).logits
    own = forward(params, batch, None).logits
    divergence = consistency.symmetric_divergence(own, moved)
    expected = (divergence * batch["decoder_loss_weights"]).sum()
    np.testing.assert_allclose(noisy.logs["divergence"][0], expected, rtol=1e-5)


def test_views_stand_beside_their_rows():
    both = views.stacked(BATCH)
    view, own = views.split(both["encoder_input_tokens"])
    np.testing.assert_array_equal(own, BATCH["encoder_input_tokens"])
    np.testing.assert_array_equal(view[:3], BATCH["encoder_view_tokens"][:3])
    np.testing.assert_array_equal(view[3], own[3])
    for name in ("decoder_target_tokens", "decoder_loss_weights"):
        for half in views.split(both[name]):
            np.testing.assert_array_equal(half, BATCH[name])


@pytest.mark.parametrize("objective", [push_pull.objective, consistency.objective])
def test_impossible_batches_are_refused(forward, params, objective):
    packed = BATCH | {"encoder_segment_ids": np.ones((4, 5), np.int32)}
    with pytest.raises(ValueError, match="PACK"):
        objective(forward, params, packed, KEY)
    without = {k: x for k, x in BATCH.items() if "view" not in k}
    with pytest.raises(ValueError, match="AUGMENTATIONS"):
        objective(forward, params, without, KEY)


@pytest.mark.parametrize(
    "options", [{"push": -1.0}, {"alignment": "words"}, {"layer": 3}, {"positions": 0}], ids=str
)
def test_impossible_options_are_refused(forward, params, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        push_pull.objective(forward, params, BATCH, KEY, **options)
    with pytest.raises(ValueError, match="source is 'words'"):
        consistency.objective(forward, params, BATCH, KEY, source="words")
