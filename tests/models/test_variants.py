"""Bias per layer, scanned layers, rematerialisation: the same network in another form."""

import functools
import itertools
import re

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from xlt_jax.models import mt5, stacks

SIZES = dict(
    vocab_size=50,
    emb_dim=16,
    num_heads=3,
    num_encoder_layers=2,
    num_decoder_layers=2,
    head_dim=4,
    mlp_dim=24,
    mlp_activations=("gelu", "linear"),
)
ENCODER = np.array([[5, 6, 7, 8, 1, 0], [9, 10, 1, 0, 0, 0]], np.int32)
TARGET = np.array([[11, 12, 1, 0], [13, 14, 15, 1]], np.int32)
INPUT = np.pad(TARGET, ((0, 0), (1, 0)))[:, :-1]
VARIANTS = [
    pytest.param(dict(relative_bias=bias, scan_layers=scan), id=f"{bias}{'-scanned' * scan}")
    for bias, scan in itertools.product(("shared", "per_layer"), (False, True))
]
every_variant = pytest.mark.parametrize("variant", VARIANTS)
every_bias = pytest.mark.parametrize("bias", ["shared", "per_layer"])


def make(**changes):
    return mt5.Transformer(mt5.T5Config(**{**SIZES, **changes}))


@functools.cache
def variables(**changes):
    network = make(**changes)
    init = jax.jit(functools.partial(network.init, enable_dropout=False))
    return init(jax.random.key(0), ENCODER, INPUT, TARGET)


def params_of(variant, stack_layers):
    """The same values for scanned and unscanned."""
    params = variables(relative_bias=variant["relative_bias"])["params"]
    return stack_layers(params) if variant["scan_layers"] else params


@functools.partial(jax.jit, static_argnums=(0, 3))
def loss_and_gradient(network, params, seed, dropout=False):
    def loss(params):
        rngs = {"dropout": jax.random.key(seed)} if dropout else {}
        logits = network.apply(
            {"params": params}, ENCODER, INPUT, TARGET, enable_dropout=dropout, rngs=rngs
        )
        return (jax.nn.log_softmax(logits) ** 2 * (TARGET > 0)[..., None]).mean(), logits

    return jax.value_and_grad(loss, has_aux=True)(params)


def assert_close(actual, expected, **tolerance):
    tolerance = dict(rtol=1e-5, atol=1e-5) | tolerance
    jax.tree.map(functools.partial(np.testing.assert_allclose, **tolerance), actual, expected)


@every_variant
def test_parameters_are_as_written_down(variant, golden):
    if variant == dict(relative_bias="shared", scan_layers=False):
        pytest.skip("test_mt5.py has it")
    tree = variables(**variant)
    shapes = flax.traverse_util.flatten_dict(tree["params"], sep="/")
    axes = flax.traverse_util.flatten_dict(tree["params_axes"], sep="/")
    lines = [f"{k} {v.shape} {v.dtype} {axes[k + '_axes'].names}\n" for k, v in shapes.items()]
    name = variant["relative_bias"] + "_scanned" * variant["scan_layers"]
    golden(f"models/mt5_params_{name}.txt", "".join(sorted(lines)))
    for path, names in axes.items():
        stacked_at = names.names.index("layers") if "layers" in names.names else None
        assert mt5.layer_axis(path) == stacked_at


@every_bias
def test_scanned_equals_unscanned(bias, stack_layers):
    params = variables(relative_bias=bias)["params"]
    plain, scanned = (make(relative_bias=bias, scan_layers=scan) for scan in (False, True))
    (_, logits), gradient = loss_and_gradient(plain, params, 0)
    (_, scanned_logits), scanned_gradient = loss_and_gradient(scanned, stack_layers(params), 0)
    assert_close(scanned_logits, logits)
    assert_close(scanned_gradient, stack_layers(gradient))


@every_bias
def test_scanned_layers_begin_with_different_values(bias):
    params = variables(relative_bias=bias, scan_layers=True)["params"]
    kernel = params["encoder"]["encoder"]["mlp"]["wo"]["kernel"]
    assert kernel.shape == (24, 2, 16)
    assert not np.allclose(kernel[:, 0], kernel[:, 1])
    np.testing.assert_allclose(kernel.std(axis=(0, 2)), 24**-0.5, rtol=0.15)


def test_scanned_states_of_inner_layers(stack_layers):
    params = variables(relative_bias="per_layer")["params"]

    def states(scan, params):
        network = make(relative_bias="per_layer", scan_layers=scan)
        apply = functools.partial(network.apply, {"params": params}, method="encoder_states")
        return [apply(ENCODER, num_layers) for num_layers in (0, 1, 2, None)]

    run = jax.jit(states, static_argnums=0)
    assert_close(run(True, stack_layers(params)), run(False, params))


@pytest.mark.parametrize("scan", [False, True], ids=["unscanned", "scanned"])
@pytest.mark.parametrize("policy", [name for name in stacks.REMAT_POLICIES if name != "none"])
def test_rematerialisation_changes_nothing(policy, scan, stack_layers):
    variant = dict(relative_bias="per_layer", scan_layers=scan)
    params = params_of(variant, stack_layers)
    plain = loss_and_gradient(make(**variant), params, 0)
    again = loss_and_gradient(make(**variant, remat_policy=policy), params, 0)
    assert_close(again, plain, rtol=1e-6, atol=1e-6)


def test_rematerialisation_draws_the_same_masks(stack_layers):
    variant = dict(relative_bias="shared", scan_layers=True)
    params = params_of(variant, stack_layers)
    plain = loss_and_gradient(make(**variant), params, 1, True)
    again = loss_and_gradient(make(**variant, remat_policy="full"), params, 1, True)
    assert_close(again, plain, rtol=1e-6, atol=1e-6)
    assert plain[0][0] != loss_and_gradient(make(**variant), params, 2, True)[0][0]


@pytest.mark.parametrize("scan", [False, True], ids=["unscanned", "scanned"])
def test_rematerialisation_keeps_what_it_says(scan):
    """Matrix products in the gradient: "minimal" repeats those of attention, "full" all."""
    counts = {}
    for policy in stacks.REMAT_POLICIES:
        network = make(scan_layers=scan, remat_policy=policy)
        params = variables(scan_layers=scan)["params"]
        text = str(jax.make_jaxpr(loss_and_gradient, static_argnums=0)(network, params, 0))
        counts[policy] = text.count("dot_general")
    assert counts["none"] < counts["minimal"] < counts["full"]


def test_scanned_layers_drop_different_values():
    class Stack(nn.Module):
        def setup(self):
            self.layer = nn.Dropout(0.5)

        def __call__(self):
            def body(layer, carry):
                return carry, layer(jnp.ones(64), deterministic=False)

            return stacks.run(self.layer, body, (), length=3)[1]

    kept = Stack().apply({}, rngs={"dropout": jax.random.key(0)})
    assert kept.shape == (3, 64) and len(np.unique(kept, axis=0)) == 3


@every_variant
def test_bfloat16_keeps_softmax_and_logits_in_float32(variant, stack_layers):
    params = params_of(variant, stack_layers)
    half = make(**variant, dtype="bfloat16")
    exact, rounded = (
        jax.jit(functools.partial(network.apply, enable_dropout=False))(
            {"params": params}, ENCODER, INPUT, TARGET
        )
        for network in (make(**variant), half)
    )
    assert rounded.dtype == jnp.float32
    assert 0 < np.abs(rounded - exact).max() < 0.15 * np.abs(exact).max()
    stored = jax.eval_shape(
        functools.partial(half.init, enable_dropout=False),
        jax.random.key(0),
        ENCODER,
        INPUT,
        TARGET,
    )["params"]
    assert {leaf.dtype for leaf in jax.tree.leaves(stored)} == {jnp.dtype("float32")}
    call = functools.partial(half.apply, enable_dropout=False)
    program = str(jax.make_jaxpr(call)({"params": params}, ENCODER, INPUT, TARGET))
    assert "bf16[" in program
    assert set(re.findall(r":(\w+)\[[\d,]*\] = exp ", program)) == {"f32"}


@pytest.mark.parametrize(
    "changes, words",
    [
        (dict(relative_bias="layer"), "relative_bias is 'layer'.*'shared', 'per_layer'"),
        (dict(relative_bias=None), "relative_bias is None"),
        (dict(scan_layers="True"), r"scan_layers is 'True'.*\(False, True\)"),
        (dict(scan_layers=1), "scan_layers is 1"),
        (dict(remat_policy="some"), "remat_policy is 'some'.*'none', 'minimal', 'full'"),
        (dict(remat_policy=None), "remat_policy is None"),
    ],
)
def test_bad_options_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        make(**changes)


@pytest.mark.parametrize("scan", [False, True])
def test_layer_aggregation_begins_as_the_plain_network(scan, stack_layers):
    plain = variables()["params"]
    added = variables(layer_aggregation=True)["params"]["encoder"]["layer_aggregation"]
    assert all((leaf == 0).all() and leaf.shape == (16,) for leaf in added.values())
    mixed = {**plain, "encoder": {**plain["encoder"], "layer_aggregation": added}}
    expected = make().apply({"params": plain}, ENCODER, INPUT, TARGET, enable_dropout=False)
    network = make(layer_aggregation=True, scan_layers=scan)
    if scan:
        mixed = {**stack_layers(plain)}
        mixed["encoder"] = {**mixed["encoder"], "layer_aggregation": added}
    found = network.apply({"params": mixed}, ENCODER, INPUT, TARGET, enable_dropout=False)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("scan", [False, True])
def test_layer_aggregation_is_attention_over_layers(scan, stack_layers):
    plain = variables()["params"]
    rng = np.random.default_rng(0)
    query, gate = rng.normal(size=16), rng.uniform(size=16)
    params = stack_layers(plain) if scan else plain
    added = {"query": query.astype(np.float32), "gate": gate.astype(np.float32)}
    params = {**params, "encoder": {**params["encoder"], "layer_aggregation": added}}
    network = make(layer_aggregation=True, scan_layers=scan)
    found = network.apply({"params": params}, ENCODER, enable_dropout=False, method="encode")
    # encoder_states masks keys alone: at real tokens its states are the same.
    states = np.stack(
        [make().apply({"params": plain}, ENCODER, n, method="encoder_states") for n in (1, 2)]
    ).astype(np.float64)
    normed = states / np.sqrt((states**2).mean(axis=-1, keepdims=True) + 1e-6)
    weights = np.exp(normed @ query)
    weights /= weights.sum(axis=0)
    mean = (weights[..., None] * states).sum(axis=0)
    mixed = states[-1] + gate * (mean - states[-1])
    mixed /= np.sqrt((mixed**2).mean(axis=-1, keepdims=True) + 1e-6)
    expected = mixed * np.asarray(plain["encoder"]["encoder_norm"]["scale"])
    is_token = ENCODER > 0
    np.testing.assert_allclose(found[is_token], expected[is_token], rtol=1e-4, atol=1e-4)
    gradient = jax.grad(
        lambda p: (
            network.apply({"params": p}, ENCODER, enable_dropout=False, method="encode") ** 3
        ).sum()
    )(params)
    for leaf in jax.tree.leaves(gradient["encoder"]["layer_aggregation"]):
        assert jnp.isfinite(leaf).all() and jnp.abs(leaf).max() > 0
