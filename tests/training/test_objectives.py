"""What every objective must keep to, as its file of gin/objectives binds it."""

import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gin
from xlt_jax.training import step
from xlt_jax.training.model import check_whole_batches

ROOT = pathlib.Path(__file__).parents[2]
# Those that change the data alone train with lm's.
FILES = [
    path.stem
    for path in sorted((ROOT / "gin" / "objectives").glob("*.gin"))
    if "OBJECTIVE = " in path.read_text()
]
# What they read of the parameters: those of decoders have no use for some.
UNUSED = {"dual_encoder": "['decoder']"}
# Bindings that leave nothing of an objective but the plain cross entropy.
PLAIN = {
    "adv": "robust.adversarial.radius = 0.0",
    "rs_rp": "robust.random_perturbation.radius = 0.0",
    "consistency": "consistency.objective.strength = 0.0",
    "distillation": "distillation.objective.strength = 0.0",
    **dict.fromkeys(
        ("tlm", "weam"), "masked.objective.masked = 0.0\nmasked.objective.aligned = 0.0"
    ),
}
KEY = jax.random.key(7)


@gin.configurable
def bound(objective, pack=True):
    return objective, pack


def load(name, *bindings):
    """(objective, PACK) of a file."""
    gin.clear_config()
    gin.add_config_file_search_path(str(ROOT))
    lines = ["PACK = True", "RANDOM_SEED = 0", "SYNONYMS = {}", "TRANSLATIONS = {}"]
    lines += [f"include 'gin/objectives/{name}.gin'", *bindings]
    lines += ["bound.objective = %OBJECTIVE", "bound.pack = %PACK"]
    with gin.unlock_config():
        gin.parse_config("\n".join(lines), skip_unknown=False)
    return bound()


@pytest.fixture(autouse=True)
def _clean_gin():
    yield
    gin.clear_config()


every_objective = pytest.mark.parametrize("name", FILES)


@pytest.fixture(scope="module")
def with_extras(make_batch):
    """Batches with the features that objectives may read: views, masked and aligned tokens."""

    def make(rows=16, **options):
        batch = make_batch(rows=rows, **options)
        rng = np.random.default_rng(1)
        tokens = batch["encoder_input_tokens"]
        is_masked = (rng.random(tokens.shape) < 0.15) & (tokens > 0)
        is_masked[:, 0] = True
        views = np.where(rng.random(tokens.shape) < 0.3, (tokens + 5) % 60 + 2, tokens)
        views *= tokens > 0
        views[0] = 0  # a row without
        views[1, 1:] = np.roll(views[1], 1)[1:]  # one that is longer or shorter
        aligned = rng.integers(2, 60, tokens.shape) * (rng.random(tokens.shape) < 0.7)
        return batch | {
            "encoder_view_tokens": views.astype(np.int32),
            "encoder_target_tokens": (tokens * is_masked).astype(np.int32),
            "encoder_aligned_tokens": (aligned * is_masked).astype(np.int32),
            "teacher_logits": rng.normal(size=(*batch["decoder_target_tokens"].shape, 64)),
        }

    return make


SIZES = dict(num_encoder_layers=2, num_decoder_layers=1)


@pytest.fixture(scope="module")
def network(make_network):
    return make_network(**SIZES)


@pytest.fixture(scope="module")
def params(network):
    ids = jnp.ones((1, 1), jnp.int32)
    init = jax.jit(functools.partial(network.init, enable_dropout=False))
    return init(jax.random.key(0), ids, ids, ids)["params"]


def differentiated(objective, network):
    """``(params, batch, rng) -> ((total, loss), gradient)``.

    The network has no dropout: the key serves noise alone.
    """
    forward = step.make_forward(network)

    def total(params, batch, rng):
        loss = objective(forward, params, batch, rng)
        return loss.total, loss

    return jax.jit(jax.value_and_grad(total, has_aux=True))


@pytest.fixture(scope="module")
def of(network, params):
    """``of(name, batch)``: loss and gradient; of one file the same program for equal shapes."""
    functions = {}

    def run(name, batch, rng=KEY):
        objective, _ = load(name)  # gin's bindings are read whenever it is traced
        if name not in functions:
            functions[name] = differentiated(objective, network)
        return functions[name](params, batch, rng)

    return run


def assert_close(actual, expected, tolerance):
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@every_objective
def test_padding_changes_nothing(name, of, with_extras):
    batch = with_extras()
    pads = ((0, 3), (0, 5), (0, 0))
    longer = {key: np.pad(x, pads[: x.ndim]) for key, x in batch.items()}
    assert_close(of(name, longer), of(name, batch), 3e-4)


@every_objective
def test_gradients_are_finite_and_reach_every_parameter(name, of, with_extras):
    (_, loss), gradient = of(name, with_extras())
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
        at = jax.tree_util.keystr(path)
        is_used = not at.startswith(UNUSED.get(name, "nothing"))
        assert jnp.isfinite(leaf).all() and (jnp.abs(leaf).max() > 0) == is_used, at
    for total, weight in loss.logs.values():
        assert np.isfinite(total) and weight >= 0


@every_objective
def test_an_empty_batch_is_finite(name, of, with_extras):
    batch = {key: np.zeros_like(x) for key, x in with_extras().items()}
    (total, loss), gradient = of(name, batch)
    assert total == loss.weight == 0
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


@every_objective
@pytest.mark.parametrize("num_partitions", [1, 2])
def test_eight_devices_equal_one(name, num_partitions, of, network, params, make_run, with_extras):
    """Also where rows are compared that lie on different devices."""
    partitioner = make_run(devices=8, num_partitions=num_partitions).partitioner
    with partitioner.context():
        function = differentiated(load(name)[0], network)
        eight = function(params, partitioner.shard_batch(with_extras()), KEY)
    assert_close(jax.device_get(eight), of(name, with_extras()), 1e-4)


@every_objective
def test_microbatches_equal_the_full_batch(name, of, with_extras):
    """With the same key: of a step each microbatch has its own."""
    if getattr(load(name)[0], "compares_rows", False):
        with pytest.raises(ValueError, match="NUM_MICROBATCHES"):
            check_whole_batches(load(name)[0], 2)
        return
    batch = with_extras()
    parts = [of(name, {key: x[n::4] for key, x in batch.items()}) for n in range(4)]
    assert_close(jax.tree.map(lambda *leaves: sum(leaves), *parts), of(name, batch), 2e-4)


@every_objective
def test_bfloat16_is_near_float32(name, of, make_network, params, with_extras):
    low = differentiated(load(name)[0], make_network(dtype="bfloat16", **SIZES))
    (total, _), gradient = low(params, with_extras(), KEY)
    np.testing.assert_allclose(total, of(name, with_extras())[0][0], rtol=0.03)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(gradient))


@every_objective
@pytest.mark.parametrize("options", [{"scan_layers": True}, {"remat_policy": "full"}], ids=str)
def test_scanned_and_rematerialised_layers(
    name, options, of, make_network, params, with_extras, stack_layers
):
    other = differentiated(load(name)[0], make_network(**SIZES, **options))
    convert = stack_layers if "scan_layers" in options else lambda tree: tree
    (total, _), gradient = of(name, with_extras())
    (other_total, _), other_gradient = other(convert(params), with_extras(), KEY)
    np.testing.assert_allclose(other_total, total, rtol=1e-4)
    assert_close(other_gradient, convert(gradient), 3e-4)


@every_objective
def test_packing_changes_nothing_or_is_refused(name, of, with_extras):
    """Two examples in a row give what they give in rows of their own."""
    _, pack = load(name)
    if not pack:
        batch = with_extras() | {"encoder_segment_ids": np.ones((16, 12), np.int32)}
        with pytest.raises(ValueError, match="PACK"):
            of(name, batch)
        return
    apart = with_extras()
    packed = {key: x.reshape(len(x) // 2, -1, *x.shape[2:]) for key, x in apart.items()}
    for part in ("encoder_input", "decoder_target"):
        length = apart[f"{part}_tokens"].shape[1]
        is_there = packed[f"{part}_tokens"] > 0
        ids = np.repeat([[1, 2]], length, axis=1) * is_there
        packed[f"{part.split('_')[0]}_segment_ids"] = ids.astype(np.int32)
    expected, found = of(name, apart), of(name, packed)
    if name == "rs_rp":  # its draws are those of other rows
        assert np.isfinite(found[0][0]) and found[0][0] != expected[0][0]
        return
    assert_close(found, expected, 3e-4)


@pytest.mark.parametrize("name", sorted(PLAIN))
def test_strength_zero_is_the_plain_objective_and_above_it_continuous(
    name, of, network, params, with_extras
):
    batch, strengths = with_extras(), {}
    for strength in ("0.0", "1e-5"):
        objective, _ = load(name, PLAIN[name].replace("0.0", strength))
        strengths[strength] = differentiated(objective, network)(params, batch, KEY)
    (zero, _), gradient = strengths["0.0"]
    (expected, _), expected_gradient = of("lm", batch)
    np.testing.assert_allclose(zero, expected, rtol=1e-6)
    assert_close(gradient, expected_gradient, 1e-5)
    change, full = strengths["1e-5"][0][0] - zero, of(name, batch)[0][0] - zero
    assert abs(change) < 1e-3 * abs(zero) and abs(full) > 100 * abs(change)


def test_push_and_pull_of_an_input_and_itself_is_the_plain_objective(
    of, network, params, with_extras
):
    """Its robust target is the cross entropy of the other version, here of none."""
    batch = with_extras()
    batch["encoder_view_tokens"] = np.zeros_like(batch["encoder_view_tokens"])
    expected = of("lm", batch)
    for strength, tolerance in ((0.0, 1e-5), (1e-5, 1e-3)):
        names = ("original", "push", "pull")
        objective, _ = load(
            "push_pull", *(f"push_pull.objective.{name} = {strength}" for name in names)
        )
        (total, _), gradient = differentiated(objective, network)(params, batch, KEY)
        np.testing.assert_allclose(total, expected[0][0], rtol=tolerance)
        assert_close(gradient, expected[1], max(tolerance, 1e-4))


@every_objective
def test_evaluation_draws_nothing_and_leaves_perturbations_out(name, of, with_extras):
    total = of(name, with_extras(), None)[0][0]
    if name not in ("dual_encoder", "tlm", "weam"):
        np.testing.assert_allclose(total, of("lm", with_extras(), None)[0][0], rtol=1e-6)
    else:
        assert total == of(name, with_extras(), KEY)[0][0]
