import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xlt_jax.objectives import lm
from xlt_jax.training import state, step


def assert_close(actual, expected, tolerance):
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.fixture(scope="module")
def forward_and_params(make_network):
    network = make_network()
    ids = jnp.ones((1, 1), jnp.int32)
    init = jax.jit(functools.partial(network.init, enable_dropout=False))
    params = init(jax.random.key(0), ids, ids, ids)["params"]
    return step.make_forward(network), params


def test_a_batch_of_encoder_tokens_is_only_encoded(make_network, make_batch):
    network = make_network(num_encoder_layers=2, dropout_rate=0.3)
    tokens = make_batch()["encoder_input_tokens"]
    init = jax.jit(functools.partial(network.init, enable_dropout=False))
    params = init(jax.random.key(0), tokens, tokens, tokens)["params"]
    forward = step.make_forward(network)
    states = {}
    for layer in (None, 0, 1, 2):
        outputs = forward(params, {"encoder_input_tokens": tokens}, None, encoder_layer=layer)
        assert outputs.logits is None
        expected = network.apply({"params": params}, tokens, layer, method="encoder_states")
        np.testing.assert_array_equal(outputs.encoded, expected)
        states[layer] = outputs.encoded
    noisy = forward(params, {"encoder_input_tokens": tokens}, jax.random.key(1)).encoded
    assert np.abs(noisy - states[None]).max() > 0.1
    encoded = network.apply({"params": params}, tokens, enable_dropout=False, method="encode")
    is_token = tokens > 0  # states of padding differ: see encoder_states
    np.testing.assert_allclose(states[None][is_token], encoded[is_token], atol=1e-5)


def test_forward_is_the_networks_own_call(forward_and_params, make_network, make_batch):
    forward, params = forward_and_params
    batch = make_batch()
    packed = {
        "encoder_segment_ids": (np.arange(12) // 4 + 1) * np.ones((16, 1), np.int32),
        "encoder_positions": np.arange(12) % 4 * np.ones((16, 1), np.int32),
        "decoder_segment_ids": (np.arange(6) // 2 + 1) * np.ones((16, 1), np.int32),
        "decoder_positions": np.arange(6) % 2 * np.ones((16, 1), np.int32),
    }
    logits = []
    for features in (batch, batch | packed):
        arguments = {k: v for k, v in features.items() if k != "decoder_loss_weights"}
        expected = make_network().apply({"params": params}, **arguments, enable_dropout=False)
        logits.append(forward(params, features, None).logits)
        np.testing.assert_array_equal(logits[-1], expected)
    plain, in_segments = logits
    assert np.abs(plain - in_segments).max() > 1e-3


@pytest.mark.parametrize("normalizer", [7.0, "NUM_REAL_TARGET_TOKENS"])
def test_microbatches_equal_the_full_batch(make_run, normalizer):
    full, full_metrics = make_run(loss_normalizer=normalizer).train(2)
    parts, parts_metrics = make_run(loss_normalizer=normalizer, num_microbatches=4).train(2)
    assert_close(parts.params, full.params, 1e-5)
    assert_close(parts_metrics, full_metrics, 1e-4)


@pytest.mark.parametrize(
    "num_partitions,options",
    [
        (1, {}),
        (2, {"dropout_rate": 0.2, "num_microbatches": 2, "clip_norm": 1.0}),
        (4, {}),
        (8, {}),
    ],
)
def test_eight_devices_equal_one(make_run, num_partitions, options):
    one, one_metrics = make_run(**options).train(2)
    eight, metrics = make_run(devices=8, num_partitions=num_partitions, **options).train(2)
    assert_close(metrics, one_metrics, 1e-4)
    assert_close(jax.device_get(eight.params), jax.device_get(one.params), 1e-5)


def splits():
    """(devices, model partitions) of up to 8 devices; two of them in every run."""
    for devices in (1, 2, 4, 8):
        for parts in (n for n in (1, 2, 4, 8) if n <= devices):
            marks = () if (devices, parts) in ((8, 2), (2, 1)) else pytest.mark.slow
            yield pytest.param(devices, parts, marks=marks)


@pytest.mark.parametrize("devices,num_partitions", splits())
def test_all_splits_equal_one_device(make_run, devices, num_partitions):
    """Everything split: parameters, activations along the length, logits in chunks, slow remat."""
    options = dict(scan=True, logits_chunks=3, remat_policy="full")
    one, one_metrics = make_run(scan=True).train(3)
    many = make_run(devices=devices, num_partitions=num_partitions, split=True, **options)
    after, metrics = many.train(3)
    for mine, whole in zip(metrics, one_metrics, strict=True):
        np.testing.assert_allclose(mine["loss"], whole["loss"], rtol=1e-5)
        np.testing.assert_allclose(mine["grad_norm"], whole["grad_norm"], rtol=1e-4)
    assert_close(jax.device_get(after.params), jax.device_get(one.params), 1e-5)
    if devices // num_partitions > 1:
        kernel = many.described.params["encoder"]["encoder"]["mlp"]["wi_0"]["kernel"]
        assert kernel.sharding.spec[0] == "data"


@pytest.mark.parametrize("num_partitions", [1, 4])
def test_scanned_layers_train_like_unscanned_ones(make_run, stack_layers, num_partitions):
    """Five steps of Adafactor: factors, clipping and parameter scale are those of one layer."""
    plain = make_run(scan=False)
    scanned = make_run(scan=True, devices=8, num_partitions=num_partitions)
    start = plain.create()
    shardings = jax.tree.map(lambda leaf: leaf.sharding, scanned.described.params)
    stacked = jax.device_put(stack_layers(jax.device_get(start.params)), shardings)
    stacked = state.with_params(stacked, scanned.optimizer, scanned.described)
    before = jax.device_get(start.params)
    after, metrics = plain.train(5, start)
    scanned_after, scanned_metrics = scanned.train(5, stacked)
    assert_close(scanned_metrics, metrics, 1e-4)
    after = jax.device_get(after.params)
    assert_close(jax.device_get(scanned_after.params), stack_layers(after), 2e-5)
    moved = jax.tree.map(lambda old, new: np.abs(new - old).max(), before, after)
    assert min(jax.tree.leaves(moved)) > 1e-3
    for leaf, described in zip(
        jax.tree.leaves(scanned_after), jax.tree.leaves(scanned.described), strict=True
    ):
        assert leaf.sharding.is_equivalent_to(described.sharding, leaf.ndim)


def test_shardings_survive_the_step(make_run):
    run = make_run(devices=8, num_partitions=4)
    current, _ = run.train(2)
    for leaf, described in zip(
        jax.tree.leaves(current), jax.tree.leaves(run.described), strict=True
    ):
        assert leaf.sharding.is_equivalent_to(described.sharding, leaf.ndim)
    assert run.step._cache_size() == 1


def test_two_runs_are_identical_and_dropout_depends_on_the_step(make_run, make_batch):
    run = make_run(dropout_rate=0.2, num_microbatches=2, clip_norm=1.0)
    first, first_metrics = run.train(3)
    second, second_metrics = run.train(3)
    jax.tree.map(np.testing.assert_array_equal, first, second)
    jax.tree.map(np.testing.assert_array_equal, first_metrics, second_metrics)
    batch = run.partitioner.shard_batch(make_batch())
    start = run.create()
    _, at_zero = run.step(start, batch, jax.random.key(1))
    later = run.create().replace(step=jnp.asarray(5, jnp.int32))
    _, at_five = run.step(later, batch, jax.random.key(1))
    assert at_zero["loss"] != at_five["loss"]


def test_metrics_are_what_they_say(make_run, make_batch):
    run = make_run(loss_normalizer="NUM_REAL_TARGET_TOKENS")
    state = run.create()
    params = jax.device_get(state.params)
    batch = make_batch()
    _, metrics = run.step(state, run.partitioner.shard_batch(batch), jax.random.key(1))
    forward = step.make_forward(run.network)
    loss = lm.objective(forward, params, batch, None)
    gradient = jax.jit(
        jax.grad(lambda p: lm.objective(forward, p, batch, None).total / loss.weight)
    )(params)
    norm = np.sqrt(sum((np.asarray(leaf) ** 2).sum() for leaf in jax.tree.leaves(gradient)))
    np.testing.assert_allclose(metrics["loss"], loss.total / loss.weight, rtol=1e-5)
    np.testing.assert_allclose(metrics["grad_norm"], norm, rtol=1e-4)
    np.testing.assert_allclose(metrics["nll"], loss.logs["nll"], rtol=1e-5)
    features = ("encoder_input_tokens", "decoder_target_tokens")
    assert metrics["tokens"] == sum((batch[name] > 0).sum() for name in features)
    assert metrics["learning_rate"] == run.learning_rate(0) and not metrics["bad"]


def test_clipping_limits_the_gradient_that_the_optimizer_sees(make_run, make_batch):
    import optax

    run = make_run()
    batch = run.partitioner.shard_batch(make_batch())
    sgd = optax.sgd(1.0)
    for clip_norm in (0.5, 1e6):
        start = run.create().replace(opt_state=sgd.init(run.create().params))
        before = jax.device_get(start.params)
        train_step = step.make_train_step(
            step.make_forward(run.network),
            lm.objective,
            sgd,
            run.partitioner,
            start,
            clip_norm=clip_norm,
        )
        after, metrics = train_step(start, batch, jax.random.key(1))
        moved = optax.global_norm(jax.tree.map(lambda a, b: a - b, after.params, before))
        np.testing.assert_allclose(moved, min(clip_norm, float(metrics["grad_norm"])), rtol=1e-3)


def test_overflow_is_flagged(make_run, make_batch):
    run = make_run()
    broken = jax.tree.map(lambda x: x * jnp.nan, run.create())
    broken = broken.replace(step=jnp.zeros((), jnp.int32))
    _, metrics = run.step(broken, run.partitioner.shard_batch(make_batch()), jax.random.key(1))
    assert metrics["bad"]


def test_skipped_steps_change_only_the_counters(make_run, make_batch):
    run = make_run(bad_steps="skip", spike_factor=3.0)
    key, state, norms = jax.random.key(1), run.create(), step.no_norms()

    def take(state, norms, seed, weight=1.0):
        batch = make_batch(seed=seed)
        weights = batch["decoder_loss_weights"]
        batch["decoder_loss_weights"] = np.where(weights > 0, np.float32(weight), weights)
        return run.step(state, run.partitioner.shard_batch(batch), key, norms)

    for number in range(step.NORMS_NEEDED):  # too few are known to call anything a spike
        state, metrics = take(state, norms, number, weight=30.0 if number == 3 else 1.0)
        assert not metrics["bad"]
        norms = metrics["norms"]
        assert norms[-1] == metrics["grad_norm"]
    before = jax.device_get(state)
    usual = np.nanmedian(norms)
    for weight in (30.0, np.inf):
        state, metrics = take(state, norms, 100, weight)
        assert metrics["bad"] and not metrics["grad_norm"] <= 3.0 * usual
        np.testing.assert_array_equal(metrics["norms"], norms)
    after = jax.device_get(state)
    assert after.step == before.step + 2

    def check(old, new):  # schedules go on with the step
        is_counter = old.dtype == np.int32
        np.testing.assert_array_equal(new, old + 2 if is_counter else old)
        return is_counter

    counters = [
        *jax.tree.leaves(jax.tree.map(check, before.params, after.params)),
        *jax.tree.leaves(jax.tree.map(check, before.opt_state, after.opt_state)),
    ]
    assert sum(counters) == 1
    state, metrics = take(state, norms, 101)
    assert not metrics["bad"]
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), before.params, state.params)
    assert min(jax.tree.leaves(moved)) > 0


def test_bad_steps_are_taken_where_nothing_else_is_asked(make_run, make_batch):
    run = make_run()
    batch = make_batch() | {
        "decoder_loss_weights": np.full_like(make_batch()["decoder_loss_weights"], np.inf)
    }
    state, metrics = run.step(run.create(), run.partitioner.shard_batch(batch), jax.random.key(1))
    assert metrics["bad"] and not all(np.isfinite(x).all() for x in jax.tree.leaves(state.params))


def test_training_lowers_the_loss(make_run, make_batch):
    run = make_run(loss_normalizer="NUM_REAL_TARGET_TOKENS")
    state, batch = run.create(), run.partitioner.shard_batch(make_batch())
    losses = []
    for _ in range(20):
        state, metrics = run.step(state, batch, jax.random.key(1))
        losses.append(float(metrics["loss"]))
    assert losses[-1] < 0.7 * losses[0]


def test_eval_step_has_no_dropout_and_returns_sums(make_run, make_batch):
    run = make_run(devices=8, num_partitions=2, dropout_rate=0.2, num_microbatches=2, clip_norm=1.0)
    forward = step.make_forward(run.network)
    eval_step = step.make_eval_step(forward, lm.objective, run.partitioner)
    params = run.create().params
    batch = make_batch()
    metrics = eval_step(params, run.partitioner.shard_batch(batch))
    expected = lm.objective(forward, jax.device_get(params), batch, None)
    np.testing.assert_allclose(metrics["loss"], (expected.total, expected.weight), rtol=1e-5)
    np.testing.assert_allclose(metrics["nll"], expected.logs["nll"], rtol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"loss_normalizer": "AVERAGE"},
        {"loss_normalizer": 0.0},
        {"num_microbatches": 0},
        {"clip_norm": -1.0},
    ],
)
def test_impossible_options_are_refused(make_run, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        make_run(**options)


def test_microbatches_that_do_not_divide_the_batch_are_refused(make_run):
    with pytest.raises(
        ValueError, match=r"16 rows .* 3 microbatches over 8 devices.*multiple of 24"
    ):
        make_run(devices=8, num_microbatches=3).train(1)


def test_lowering_needs_no_arrays(make_run, make_batch):
    run = make_run(devices=8, num_partitions=2)
    sharding = run.partitioner.batch_sharding
    batch = {
        name: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)
        for name, x in make_batch().items()
    }
    compiled = run.step.lower(run.described, batch, jax.random.key(1)).compile()
    assert compiled.cost_analysis()["flops"] > 0
