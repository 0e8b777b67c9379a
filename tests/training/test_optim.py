import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from xlt_jax.training import optim

SHAPES = {
    "table": (300, 128),
    "square": (128, 128),
    "wide": (130, 256),
    "narrow": (200, 16),
    "scale": (64,),
}


def random_tree(seed, scale=1.0):
    keys = jax.random.split(jax.random.key(seed), len(SHAPES))
    return {n: scale * jax.random.normal(k, s) for k, (n, s) in zip(keys, SHAPES.items())}


@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("gradient_scale", [1e-3, 1.0, 50.0])
def test_five_adafactor_steps_equal_optax(scaled, gradient_scale):
    schedule = optim.create_learning_rate_scheduler(warmup_steps=3)
    ours = optim.adafactor(schedule, multiply_by_parameter_scale=scaled)
    theirs = optax.adafactor(schedule, multiply_by_parameter_scale=scaled)
    results = []
    for optimizer in (ours, theirs):
        params = random_tree(0)
        opt_state = optimizer.init(params)
        for seed in range(1, 6):
            updates, opt_state = optimizer.update(
                random_tree(seed, gradient_scale), opt_state, params
            )
            params = optax.apply_updates(params, updates)
        results.append(params)
    start = random_tree(0)
    for name in SHAPES:
        assert np.abs(results[0][name] - start[name]).max() > 1e-2
        np.testing.assert_allclose(results[0][name], results[1][name], rtol=2e-5, atol=2e-6)


def test_large_matrices_keep_only_row_and_column_moments():
    state = optim.adafactor(0.1).init(random_tree(0))
    assert state.row["table"].shape == (128,) and state.column["table"].shape == (300,)
    assert state.full["table"].shape == (1,) and state.full["narrow"].shape == (200, 16)


@pytest.mark.parametrize("shape", [(40, 24), (24, 40), (32, 32), (200, 8), (64,)])
@pytest.mark.parametrize("scaled", [True, False])
def test_stacked_layers_are_updated_one_by_one(shape, scaled):
    """Layers of different size and gradient, along axis 1, as if each were a parameter."""
    options = dict(multiply_by_parameter_scale=scaled, min_dim_size_to_factor=16)
    alone = optim.adafactor(0.1, **options)
    together = optim.adafactor(
        0.1, **options, layer_axis=lambda path: 1 if path.startswith("stack/") else None
    )
    size = np.array([0.1, 1.0, 30.0], np.float32)

    def layers(seed):
        values = np.random.default_rng(seed).normal(size=(3, *shape)).astype(np.float32)
        return [scale * value for scale, value in zip(size, values)]

    def trees(layers):
        return {"layers": layers}, {"stack": {"kernel": np.stack(layers, axis=1)}, "one": layers[0]}

    params = list(trees(layers(0)))
    states = [alone.init(params[0]), together.init(params[1])]
    for seed in range(1, 4):
        for index, gradients in enumerate(trees(layers(seed))):
            optimizer = (alone, together)[index]
            updates, states[index] = optimizer.update(gradients, states[index], params[index])
            params[index] = optax.apply_updates(params[index], updates)
    expected = np.stack(params[0]["layers"], axis=1)
    np.testing.assert_allclose(params[1]["stack"]["kernel"], expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(params[1]["one"], params[0]["layers"][0])
    one, stacked = states[0].row["layers"][0].size, states[1].row["stack"]["kernel"].size
    assert stacked == (one if one == 1 else 3 * one)  # factored alike


def test_rows_without_gradient_do_not_move():
    params = random_tree(0)
    gradient = random_tree(1)
    gradient["table"] = gradient["table"].at[7:].set(0.0)
    optimizer = optim.adafactor(0.1)
    updates, _ = optimizer.update(gradient, optimizer.init(params), params)
    assert (updates["table"][7:] == 0).all() and (updates["table"][:7] != 0).all()


def schedule_values(steps, **options):
    schedule = optim.create_learning_rate_scheduler(**options)
    return np.array([schedule(jnp.asarray(step)) for step in steps])


STEPS = np.array([0, 1, 5, 10, 11, 40, 250, 1000])


@pytest.mark.parametrize(
    "factors,expected",
    [
        ("constant", np.full(8, 0.5)),
        ("constant * linear_warmup", 0.5 * np.minimum(1, STEPS / 10)),
        ("constant * rsqrt_decay", 0.5 / np.sqrt(np.maximum(STEPS, 10))),
        ("constant*rsqrt_normalized_decay", 0.5 * np.sqrt(10 / np.maximum(STEPS, 10))),
        ("linear_decay", 0.5 * np.minimum(STEPS / 10, 1 + 0.01 * (10 - STEPS))),
        ("constant * decay_every", 0.5 * 0.01 ** (STEPS // 100)),
        (
            "constant * cosine_decay",
            0.5 * 0.5 * (1 + np.cos(np.pi * (np.maximum(0, STEPS - 10) / 300 % 1))),
        ),
    ],
)
def test_factors_have_their_closed_form(factors, expected):
    values = schedule_values(
        STEPS,
        factors=factors,
        base_learning_rate=0.5,
        warmup_steps=10,
        decay_factor=0.01,
        steps_per_decay=100,
        steps_per_cycle=300,
    )
    np.testing.assert_allclose(values, np.maximum(expected, 1e-8), rtol=2e-5)


def test_mt5_fine_tuning_schedule():
    values = schedule_values([0, 999_999, 1_000_000], factors="constant", base_learning_rate=1e-3)
    np.testing.assert_allclose(values, 1e-3)


def test_offset_and_lower_bound():
    values = schedule_values(
        [90, 100, 105, 110], factors="linear_warmup", warmup_steps=10, step_offset=100
    )
    np.testing.assert_allclose(values, [1e-8, 1e-8, 0.5, 1.0])


def test_unknown_factor_and_zero_warmup_are_refused():
    with pytest.raises(ValueError, match=r"'linear_warmpu'.*known: constant, linear_warmup"):
        optim.create_learning_rate_scheduler("constant * linear_warmpu")
    with pytest.raises(ValueError, match="warmup_steps is 0"):
        optim.create_learning_rate_scheduler(warmup_steps=0)


def test_multipliers_scale_and_freeze_what_they_match():
    plain = optim.adafactor(0.1)
    rules = [("table", 0.0), ("(square|wide)", 0.25), ("w.*", 7.0)]
    changed = optim.multiplied(plain, rules)
    params, gradient = random_tree(0), random_tree(1)
    state = plain.init(params)
    jax.tree.map(np.testing.assert_array_equal, changed.init(params), state)
    for _ in range(2):
        expected, new = plain.update(gradient, state, params)
        found, other = changed.update(gradient, state, params)
        jax.tree.map(np.testing.assert_array_equal, other, new)
        factors = {"table": 0.0, "square": 0.25, "wide": 0.25, "narrow": 1.0, "scale": 1.0}
        for name, factor in factors.items():
            np.testing.assert_array_equal(found[name], factor * expected[name])
        state = new
    frozen = optax.apply_updates(params, found)["table"]
    np.testing.assert_array_equal(frozen, params["table"])


def test_multipliers_match_whole_paths_of_nested_parameters():
    params = {"encoder": {"mlp": {"kernel": jnp.ones(3)}}, "mlp": {"kernel": jnp.ones(3)}}
    optimizer = optim.multiplied(optax.sgd(1.0), [("mlp/.*", 0.0)])
    updates, _ = optimizer.update(params, optimizer.init(params), params)
    assert updates["encoder"]["mlp"]["kernel"][0] == -1 and updates["mlp"]["kernel"][0] == 0


@pytest.mark.parametrize("rules", [[("table", -1.0)], [("table",)], [(0.1, "table")]], ids=str)
def test_impossible_multipliers_are_refused(rules):
    with pytest.raises(ValueError, match="LEARNING_RATE_MULTIPLIERS"):
        optim.multiplied(optax.sgd(1.0), rules)


def test_a_multiplier_of_nothing_is_refused():
    optimizer = optim.multiplied(optax.sgd(1.0), [("tabel", 0.0)])
    with pytest.raises(ValueError, match="'tabel', which matches no parameter"):
        optimizer.init(random_tree(0))
