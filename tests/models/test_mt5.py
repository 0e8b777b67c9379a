"""The network: parameter tree, masks, packing, look-ups, dtypes, bad sizes."""

import functools
import math

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xlt_jax.models import layers, mt5

SIZES = dict(
    vocab_size=50,
    emb_dim=16,
    num_heads=2,
    num_encoder_layers=2,
    num_decoder_layers=2,
    head_dim=8,
    mlp_dim=24,
    mlp_activations=("gelu", "linear"),
)
ENCODER = np.array([[5, 6, 7, 8, 1, 0], [9, 10, 1, 0, 0, 0]], np.int32)
TARGET = np.array([[11, 12, 1, 0], [13, 14, 15, 1]], np.int32)


def shift(targets):
    return np.pad(targets, ((0, 0), (1, 0)))[:, :-1]


def make(**changes):
    return mt5.Transformer(mt5.T5Config(**{**SIZES, **changes}))


@functools.partial(jax.jit, static_argnums=0)
def forward(network, params, *tokens, **segments):
    return network.apply({"params": params}, *tokens, enable_dropout=False, **segments)


@pytest.fixture(scope="module")
def network():
    return make()


@pytest.fixture(scope="module")
def variables(network):
    rngs = {"params": jax.random.key(0)}
    init = jax.jit(lambda rngs: network.init(rngs, ENCODER, shift(TARGET), TARGET))
    return init({**rngs, "dropout": jax.random.key(1)})


@pytest.fixture(scope="module")
def params(variables):
    return variables["params"]


def logits(network, params, encoder, targets, **packed):
    return forward(network, params, encoder, shift(targets), targets, **packed)


def test_parameters_are_as_written_down(variables, golden):
    shapes = flax.traverse_util.flatten_dict(variables["params"], sep="/")
    axes = flax.traverse_util.flatten_dict(variables["params_axes"], sep="/")
    lines = [f"{k} {v.shape} {v.dtype} {axes[k + '_axes'].names}\n" for k, v in shapes.items()]
    golden("models/mt5_params.txt", "".join(sorted(lines)))


def test_padding_changes_nothing(network, params):
    plain = logits(network, params, ENCODER, TARGET)
    padded = logits(
        network,
        params,
        np.pad(ENCODER, ((0, 1), (0, 3))),
        np.pad(TARGET, ((0, 1), (0, 2))),
    )
    real = TARGET > 0
    np.testing.assert_allclose(plain[real], padded[:2, :4][real], rtol=1e-5, atol=1e-5)
    assert np.isfinite(padded).all()  # also in a row of padding only


def test_packed_examples_equal_separate_ones(network, params):
    separate = logits(network, params, ENCODER, TARGET)
    # The first input of each example in a packed row is 0, as seqio's packing makes it.
    packed = forward(
        network,
        params,
        np.array([[5, 6, 7, 8, 1, 9, 10, 1, 0]]),
        np.array([[0, 11, 12, 0, 13, 14, 15, 0]]),
        np.array([[11, 12, 1, 13, 14, 15, 1, 0]]),
        np.array([[1, 1, 1, 1, 1, 2, 2, 2, 0]]),
        np.array([[1, 1, 1, 2, 2, 2, 2, 0]]),
    )[0]
    np.testing.assert_allclose(packed[:3], separate[0, :3], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(packed[3:7], separate[1], rtol=1e-5, atol=1e-5)


def test_future_tokens_change_nothing(network, params):
    other = TARGET.copy()
    other[1, 2:] = (30, 31)
    before, after = (logits(network, params, ENCODER, t)[1] for t in (TARGET, other))
    np.testing.assert_array_equal(before[:3], after[:3])
    assert not np.allclose(before[3], after[3])


def test_lookups_agree(network, params):
    gathered = logits(network, params, ENCODER, TARGET)
    one_hot = logits(make(embedding_lookup="one_hot"), params, ENCODER, TARGET)
    np.testing.assert_allclose(gathered, one_hot, rtol=1e-5, atol=1e-5)


def test_bfloat16_is_close_and_gives_float32_logits(network, params):
    exact = logits(network, params, ENCODER, TARGET)
    rounded = logits(make(dtype="bfloat16"), params, ENCODER, TARGET)
    assert rounded.dtype == jnp.float32
    assert 0 < np.abs(rounded - exact).max() < 0.15 * np.abs(exact).max()
    precise = logits(make(dtype="bfloat16", float32_attention_logits=True), params, ENCODER, TARGET)
    assert not np.array_equal(rounded, precise)


@pytest.mark.parametrize("activations", [("relu",), ("gelu", "linear")])
def test_gradients_are_finite_with_padding_and_dropout(activations):
    tied = activations == ("relu",)  # T5 1.0
    network = make(mlp_activations=activations, logits_via_embedding=tied, num_encoder_layers=1)
    encoder, targets = np.pad(ENCODER, ((0, 1), (0, 0))), np.pad(TARGET, ((0, 1), (0, 0)))
    rngs = {name: jax.random.key(0) for name in ("params", "dropout")}
    init = jax.jit(lambda rngs: network.init(rngs, encoder, shift(targets), targets)["params"])

    def loss(params, rng):
        scores = network.apply(
            {"params": params}, encoder, shift(targets), targets, rngs={"dropout": rng}
        )
        return jnp.square(jax.nn.log_softmax(scores)).sum()

    grad = jax.jit(jax.value_and_grad(loss))
    (first, gradients), (second, _) = (grad(init(rngs), jax.random.key(n)) for n in (0, 1))
    assert first != second  # dropout acts
    for path, leaf in jax.tree.leaves_with_path(gradients):
        assert np.isfinite(leaf).all() and np.abs(leaf).max() > 0, path


@pytest.mark.parametrize("bidirectional", [True, False])
def test_relative_buckets_follow_the_paper(bidirectional):
    """32 buckets; half (bidirectional: of each direction's) exact, the rest logarithmic to 128."""

    def bucket(distance):
        buckets, first = 32, 0
        if bidirectional:
            buckets, first = 16, 16 if distance < 0 else 0
            distance = abs(distance)
        distance, exact = max(distance, 0), buckets // 2
        if distance < exact:
            return first + distance
        log = math.log(distance / exact) / math.log(128 / exact)
        return first + min(buckets - 1, exact + int(log * (buckets - exact) + 1e-6))

    distances = np.arange(-300, 300)
    got = layers.relative_buckets(distances, bidirectional=bidirectional)
    np.testing.assert_array_equal(got, [bucket(distance) for distance in distances])


@pytest.mark.parametrize("num_queries, num_keys", [(1, 1), (1, 6), (6, 1), (7, 12), (12, 7)])
def test_the_bias_of_a_pair_is_that_of_its_distance(num_queries, num_keys):
    bias = layers.RelativeBias(num_heads=2, num_buckets=8, max_distance=9)
    size = num_queries, num_keys
    variables = bias.init(jax.random.key(0), *size, bidirectional=True)
    table = variables["params"]["rel_embedding"]
    bias_HTM = bias.apply({"params": variables["params"]}, *size, bidirectional=True)
    for query, key in np.ndindex(size):
        bucket = layers.relative_buckets(
            np.array(query - key), bidirectional=True, num_buckets=8, max_distance=9
        )
        np.testing.assert_array_equal(bias_HTM[:, query, key], table[:, bucket])


def test_gelu_is_the_tanh_approximation():
    x = np.linspace(-4, 4, 33, dtype=np.float32)
    expected = 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    np.testing.assert_allclose(layers.ACTIVATIONS["gelu"](x), expected, atol=1e-6)


@pytest.mark.parametrize(
    "changes, words",
    [
        (dict(emb_dim=0), "emb_dim"),
        (dict(num_heads=-1), "num_heads"),
        (dict(head_dim=2.5), "head_dim"),
        (dict(vocab_size=None), "vocab_size"),
        (dict(dropout_rate=1.0), "dropout_rate"),
        (dict(dtype="float16"), "bfloat16"),
        (dict(dtype="flaot32"), "bfloat16"),
        (dict(mlp_activations=("gelu", "line")), "linear"),
        (dict(mlp_activations="gelu"), "tuple"),
        (dict(mlp_activations=()), "tuple"),
        (dict(embedding_lookup="scatter"), "one_hot"),
    ],
)
def test_bad_sizes_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        mt5.T5Config(**{**SIZES, **changes})


def test_bad_calls_are_refused(network, params):
    with pytest.raises(ValueError, match="encoder_input_tokens has shape"):
        logits(network, params, ENCODER[0], TARGET)
    with pytest.raises(ValueError, match="decoder_input_tokens has shape"):
        logits(network, params, ENCODER, TARGET[:, :0].reshape(2, 0))
    with pytest.raises(ValueError, match="Encoder layer 3"):
        network.apply({"params": params}, ENCODER, 3, method="encoder_states")
    segments = dict(encoder_segment_ids=ENCODER, decoder_segment_ids=TARGET, decode=True)
    with pytest.raises(ValueError, match="decode unpacked"):
        network.apply({"params": params}, ENCODER, TARGET, TARGET, enable_dropout=False, **segments)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"float32_attention_logits": True, "dtype": "bfloat16"},
        {"scan_layers": True},
        {"relative_bias": "per_layer", "logits_via_embedding": True},
    ],
)
def test_few_queries_read_the_source_as_they_read_keys_and_values(monkeypatch, changes):
    """Teacher forcing and cached steps, with a source row that has padding."""
    network = make(head_dim=32, **changes)
    rngs = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    params = jax.jit(network.init)(rngs, ENCODER, shift(TARGET), TARGET)["params"]
    variables = {"params": params}

    def outputs():
        def run(variables):
            call = functools.partial(network.apply, variables)
            logits = call(ENCODER, shift(TARGET), TARGET, enable_dropout=False)
            encoded = call(ENCODER, enable_dropout=False, method="encode")
            memory = call(encoded, ENCODER, TARGET.shape[1], method="memory").take(
                np.array([1, 0]), network.config.rows_axis
            )
            caches = mt5.empty_caches(network.config, 2, TARGET.shape[1])
            steps = []
            for position in range(TARGET.shape[1]):
                ids = shift(TARGET)[::-1, position]
                step, caches = call(ids, caches, position, memory, method="step")
                steps.append(step)
            return logits, jnp.stack(steps, axis=1), isinstance(memory.source, layers.Source)

        return jax.jit(run)(variables)

    logits, steps, is_read = outputs()
    with monkeypatch.context() as patched:
        patched.setattr(layers, "few_queries", lambda *_: False)
        made_logits, made_steps, was_read = outputs()
    assert bool(is_read) and not bool(was_read)
    is_half = "dtype" in changes
    close = dict(rtol=0, atol=(2e-2 if is_half else 2e-5) * float(jnp.abs(made_logits).max()))
    np.testing.assert_allclose(steps, made_steps, **close)
    is_target = TARGET > 0
    np.testing.assert_allclose(logits[is_target], made_logits[is_target], **close)
