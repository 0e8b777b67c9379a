"""Perturbations lie in their balls, and ascent finds the worst of them where that is known."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from xlt_jax.arrays import Loss, Outputs
from xlt_jax.objectives import robust

WIDTH = 6
TOKENS = np.array([[5, 9, 4, 0], [7, 3, 0, 0], [8, 8, 2, 6]], np.int32)
SEGMENTS = np.array([[1, 1, 2, 0], [1, 2, 0, 0], [1, 1, 1, 2]], np.int32)
KEY = jax.random.key(0)


@pytest.fixture
def params():
    keys = jax.random.split(jax.random.key(1))
    return {
        "table": jax.random.normal(keys[0], (10, WIDTH)),
        "slope": jax.random.normal(keys[1], (4, WIDTH)),  # of each position
    }


def forward(params, batch, rng, encoder_layer=None, *, perturb=None, probe=False):
    embedded = params["table"][batch["encoder_input_tokens"]]
    return Outputs(
        logits=None, encoded=perturb(embedded) if perturb else embedded, embedded=embedded
    )


def linear(forward, params, batch, rng):
    """A loss that is linear in the token vectors: its worst perturbation has a closed form."""
    encoded = forward(params, batch, rng).encoded
    is_token = (batch["encoder_input_tokens"] > 0)[..., None]
    total = jnp.where(is_token, encoded * params["slope"], 0.0).sum()
    return Loss(total=total, weight=jnp.float32(1), logs={})


def batch_of(packed):
    batch = {"encoder_input_tokens": TOKENS}
    return batch | {"encoder_segment_ids": SEGMENTS} if packed else batch


def groups(packed, scope):
    """Which tokens move together: lists of (row, position)."""
    found = {}
    for row, position in zip(*np.nonzero(TOKENS)):
        segment = SEGMENTS[row, position] if packed else 1
        key = (row, segment) if scope == "sentence" else (row, position)
        found.setdefault(key, []).append((row, position))
    return list(found.values())


def size(vectors, norm):
    return np.abs(vectors).max() if norm == "linf" else np.sqrt((vectors**2).sum())


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("scope", robust.SCOPES)
@pytest.mark.parametrize("norm", robust.NORMS)
def test_worst_perturbation_of_a_linear_loss_is_the_analytic_one(
    params, norm, scope, relative, packed
):
    """radius times the dual norm of the slope: l2 of l2, l1 of l-infinity."""
    batch = batch_of(packed)
    options = dict(base=linear, norm=norm, scope=scope, relative=relative, radius=0.3, steps=2)
    found = robust.adversarial(forward, params, batch, KEY, **options).total
    expected = float(linear(forward, params, batch, KEY).total)
    table, slope = np.asarray(params["table"]), np.asarray(params["slope"])
    for places in groups(packed, scope):
        vectors = np.array([table[TOKENS[place]] for place in places])
        slopes = np.array([slope[position] for _, position in places])
        dual = np.abs(slopes).sum() if norm == "linf" else np.sqrt((slopes**2).sum())
        expected += 0.3 * (size(vectors, norm) if relative else 1.0) * dual
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def curved(forward, params, batch, rng):
    """A loss whose gradient at the start is 0: only a random start moves."""
    encoded = forward(params, batch, rng).encoded
    start = params["table"][batch["encoder_input_tokens"]]
    total = jnp.square(encoded - jax.lax.stop_gradient(start)).sum()
    return Loss(total=total, weight=jnp.float32(1), logs={})


def test_a_random_start_leaves_a_stationary_point(params):
    options = dict(base=curved, relative=False, radius=0.5, steps=4)
    run = functools.partial(robust.adversarial, forward, params, batch_of(False), KEY, **options)
    assert run().total == 0.0
    # At best every token stands on its sphere.
    np.testing.assert_allclose(run(random_start=True).total, 9 * 0.25, rtol=1e-5)


def test_more_steps_make_a_curved_loss_no_smaller(params):
    def wavy(forward, params, batch, rng):
        encoded = forward(params, batch, rng).encoded * params["slope"]
        is_token = (batch["encoder_input_tokens"] > 0)[..., None]
        total = jnp.where(is_token, jnp.sin(3 * encoded), 0.0).sum()
        return Loss(total=total, weight=jnp.float32(1), logs={})

    batch = batch_of(False)
    plain = wavy(forward, params, batch, KEY).total
    losses = [
        robust.adversarial(
            forward, params, batch, KEY, base=wavy, radius=0.4, steps=steps, step_size=0.25
        ).total
        for steps in (1, 4, 16)
    ]
    assert plain < losses[0] < losses[1] <= losses[2] + 1e-4


def test_the_gradient_is_that_at_the_perturbed_vectors_alone(params):
    """The perturbation is a constant of the outer gradient (Danskin's theorem)."""
    batch = batch_of(False)
    options = dict(base=linear, relative=False, radius=0.3, steps=1)
    gradient = jax.grad(lambda p: robust.adversarial(forward, p, batch, KEY, **options).total)(
        params
    )
    plain = jax.grad(lambda p: linear(forward, p, batch, KEY).total)(params)
    np.testing.assert_allclose(gradient["table"], plain["table"], atol=1e-6)
    slope = np.asarray(params["slope"])
    direction = slope / np.linalg.norm(slope, axis=-1, keepdims=True)
    moved = 0.3 * direction * (TOKENS > 0).sum(axis=0)[:, None]
    np.testing.assert_allclose(gradient["slope"], plain["slope"] + moved, atol=1e-5)


# ------------------------------------------------------------------------------------- balls
def draws(law, norm, scope, packed, rows=400):
    """Perturbations of many random rows, (rows, 4, WIDTH), and those that move together."""
    tokens = np.random.default_rng(0).integers(1, 10**6, (rows, 4)).astype(np.int32)
    tokens *= TOKENS[np.arange(rows) % 3] > 0
    batch = {"encoder_input_tokens": tokens}
    segments = (tokens > 0).astype(np.int32)
    if packed:
        segments = SEGMENTS[np.arange(rows) % 3]
        batch["encoder_segment_ids"] = segments
    ball = robust.Ball(batch, norm, scope, 1.0, False)
    return np.asarray(getattr(ball, law)(KEY, WIDTH)), segments


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("scope", robust.SCOPES)
@pytest.mark.parametrize("norm", robust.NORMS)
def test_uniform_draws_fill_the_ball_and_nothing_else(norm, scope, packed):
    noise, segments = draws("uniform", norm, scope, packed)
    assert (noise[segments == 0] == 0).all()
    shares, dimensions = [], []
    for row, ids in zip(noise, segments):
        for number in np.unique(ids[ids > 0]):
            tokens = row[ids == number]
            for group in [tokens] if scope == "sentence" else tokens[:, None]:
                shares.append(size(group, norm))
                dimensions.append(group.size)
    shares, dimensions = np.array(shares), np.array(dimensions)
    assert shares.max() <= 1 + 1e-5
    # The share of the volume within a radius r is r to the power of the dimensions.
    assert stats.kstest(shares**dimensions, "uniform").pvalue > 0.01
    one_sided = stats.binomtest(int((noise[segments > 0] > 0).sum()), noise[segments > 0].size)
    assert one_sided.pvalue > 0.001


@pytest.mark.parametrize("scope", robust.SCOPES)
@pytest.mark.parametrize("norm", robust.NORMS)
def test_gaussian_draws_are_normal_with_the_stated_deviation(norm, scope):
    noise, segments = draws("gaussian", norm, scope, packed=False)
    lengths = (segments > 0).sum(axis=1)[:, None] * np.ones((1, 4))
    dimensions = WIDTH * (lengths if scope == "sentence" else np.ones_like(lengths))
    scale = np.ones_like(lengths) if norm == "linf" else 1 / np.sqrt(dimensions)
    values = (noise / scale[..., None])[segments > 0].ravel()
    assert stats.kstest(values, "norm").pvalue > 0.01


def test_a_draw_depends_on_the_row_and_the_key_alone():
    tokens = np.array([[5, 9, 4, 0], [7, 3, 0, 0]], np.int32)

    def draw(tokens, key=KEY):
        return np.asarray(
            robust.Ball({"encoder_input_tokens": tokens}, "l2", "token", 1.0, True).uniform(key, 3)
        )

    alone = draw(tokens[1:])
    np.testing.assert_array_equal(draw(tokens)[1:], alone)
    np.testing.assert_array_equal(draw(np.pad(tokens, ((0, 1), (0, 3))))[1:2, :4], alone)
    assert np.abs(draw(tokens[1:], jax.random.key(5)) - alone).max() > 0.1
    assert np.abs(draw(tokens)[0, 0] - alone[0, 0]).max() > 0.01


def test_random_perturbation_moves_by_the_radius(params):
    batch, seen = batch_of(False), {}

    def base(forward, params, batch, rng):
        seen["encoded"] = forward(params, batch, rng).encoded
        return linear(forward, params, batch, rng)

    for relative in (False, True):
        robust.random_perturbation(
            forward, params, batch, KEY, base=base, radius=0.2, relative=relative
        )
        clean = np.asarray(params["table"])[TOKENS]
        moved = np.linalg.norm(np.asarray(seen["encoded"]) - clean, axis=-1)
        longest = 0.2 * (np.linalg.norm(clean, axis=-1) if relative else 1.0)
        assert (moved <= longest * (TOKENS > 0) + 1e-6).all() and moved.max() > 0.05


@pytest.mark.parametrize(
    "options",
    [{"norm": "l1"}, {"scope": "batch"}, {"radius": -1.0}, {"steps": 0}, {"step_size": 0.0}],
    ids=str,
)
def test_impossible_options_are_refused(params, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        robust.adversarial(forward, params, batch_of(False), KEY, base=linear, **options)
    if next(iter(options)) not in ("steps", "step_size"):
        with pytest.raises(ValueError, match=next(iter(options))):
            robust.random_perturbation(forward, params, batch_of(False), KEY, **options)


def test_a_base_that_reads_other_tokens_is_refused(params):
    def base(forward, params, batch, rng):
        return linear(forward, params, {"encoder_input_tokens": TOKENS + 1}, rng)

    with pytest.raises(ValueError, match="other tokens"):
        robust.adversarial(forward, params, batch_of(False), KEY, base=base)
