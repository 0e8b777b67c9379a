"""Greedy and beam search against teacher forcing and exhaustive search."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xlt_jax.decoding import search
from xlt_jax.models import mt5

LENGTH = 6


def make(vocab_size, **changes):
    return mt5.Transformer(
        mt5.T5Config(
            **{
                **dict(
                    vocab_size=vocab_size,
                    emb_dim=16,
                    num_heads=2,
                    num_encoder_layers=1,
                    num_decoder_layers=2,
                    head_dim=8,
                    mlp_dim=24,
                    mlp_activations=("gelu", "linear"),
                ),
                **changes,
            }
        )
    )


def init(network, seed=0):
    ones = np.ones((1, 2), np.int32)
    rngs = {"params": jax.random.key(seed)}
    init = jax.jit(lambda rngs: network.init(rngs, ones, ones, ones, enable_dropout=False))
    params = init(rngs)["params"]
    # Wider logits of EOS, so that outputs end at many lengths.
    kernel = params["decoder"]["logits_dense"]["kernel"]
    params["decoder"]["logits_dense"]["kernel"] = kernel.at[:, 1].multiply(1.5)
    return params


def inputs(rows, vocab_size, seed=0, length=7):
    rng = np.random.default_rng(seed)
    tokens = rng.integers(2, vocab_size, (rows, length)).astype(np.int32)
    return tokens * (np.arange(length) < rng.integers(1, length + 1, (rows, 1)))


@functools.partial(jax.jit, static_argnums=0)
def forward(network, params, *tokens):
    return jax.nn.log_softmax(network.apply({"params": params}, *tokens, enable_dropout=False))


def log_probs(network, params, encoder, targets):
    """Log-probability of every next token, BTV, by teacher forcing without padding masks."""
    decoder_inputs = np.pad(targets, ((0, 0), (1, 0)))[:, :-1]
    everything = np.ones_like(targets)
    return np.asarray(forward(network, params, encoder, decoder_inputs, everything))


# Wide heads: so short outputs read the source itself, and make no keys and values of it.
@pytest.fixture(scope="module", params=[8, 4 * LENGTH], ids="head_dim_{}".format)
def case(request):
    """Network, parameters, inputs whose last row is padding, and greedy outputs."""
    network = make(40, head_dim=request.param)
    params = init(network)
    encoder = inputs(24, 40)
    encoder[-1] = 0
    run = jax.jit(lambda p, e: search.greedy(network, p, e, max_decode_len=LENGTH))
    return network, params, encoder, np.asarray(run(params, encoder))


def test_cached_greedy_equals_teacher_forcing(case):
    network, params, encoder, ids = case
    best = log_probs(network, params, encoder, ids).argmax(axis=-1)
    lengths = []
    for row, forced in zip(ids[:-1], best[:-1]):
        length = list(row).index(1) + 1 if 1 in row else LENGTH
        lengths.append(length)
        np.testing.assert_array_equal(row[:length], forced[:length])
        assert not row[length:].any()
    assert len(set(lengths)) > 2  # some end at once, some later, some never


def test_stopping_early_changes_nothing(case):
    network, params, encoder, ids = case
    run = jax.jit(lambda e: search.greedy(network, params, e, max_decode_len=LENGTH))
    alone = [run(encoder[row : row + 1]) for row in range(8)]
    np.testing.assert_array_equal(np.concatenate(alone), ids[:8])


@pytest.mark.parametrize("options", [dict(slice_tokens=1), dict(slice_tokens=30)])
@pytest.mark.parametrize("fewest_rows", [None, 1, 5])
def test_slices_and_leaving_rows_out_change_nothing(case, options, fewest_rows):
    network, params, encoder, ids = case
    options = dict(options, fewest_rows=fewest_rows, max_decode_len=LENGTH)
    run = jax.jit(lambda p, e: search.greedy(network, p, e, **options))
    np.testing.assert_array_equal(run(params, encoder), ids)


@pytest.mark.parametrize("changes", [dict(scan_layers=True), dict(relative_bias="per_layer")])
def test_rows_are_left_out_of_every_kind_of_stack(changes):
    network = make(40, **changes)
    ones = np.ones((1, 2), np.int32)
    params = jax.jit(network.init)(jax.random.key(2), ones, ones, ones)["params"]
    kernel = params["decoder"]["logits_dense"]["kernel"]
    params["decoder"]["logits_dense"]["kernel"] = kernel.at[:, 1].multiply(1.5)
    encoder = inputs(24, 40)
    whole, fewer = (
        jax.jit(lambda p, e, n=n: search.greedy(network, p, e, max_decode_len=9, fewest_rows=n))(
            params, encoder
        )
        for n in (None, 1)
    )
    assert len(set((np.asarray(whole) > 0).sum(axis=1))) > 2
    np.testing.assert_array_equal(whole, fewer)


def test_rows_of_padding_end_at_once(case):
    network, params, encoder, ids = case
    assert not ids[-1].any()
    start = jax.jit(lambda: search.prepare(network, params, encoder, max_decode_len=LENGTH))()
    np.testing.assert_array_equal(start.is_empty, [False] * 23 + [True])


def test_bfloat16_decodes(case):
    network, params, encoder, ids = case
    options = dict(dtype="bfloat16", float32_attention_logits=True)
    half = make(40, head_dim=network.config.head_dim, **options)
    run = jax.jit(lambda p, e: search.greedy(half, p, e, max_decode_len=LENGTH))
    assert (np.asarray(run(params, encoder))[:, 0] == ids[:, 0]).mean() > 0.8


def test_one_beam_without_an_end_is_greedy(case):
    """With EOS in reach it need not be: see ``beam_search``."""
    network, params, encoder, _ = case
    options = dict(max_decode_len=LENGTH, eos_id=40)
    beams = jax.jit(lambda p, e: search.beam_search(network, p, e, num_beams=1, **options))
    single = jax.jit(lambda p, e: search.greedy(network, p, e, **options))
    found = beams(params, encoder)
    np.testing.assert_array_equal(found.ids[:, 0], single(params, encoder))
    ids = np.asarray(found.ids[:-1, 0])
    logp = log_probs(network, params, encoder[:-1], ids)
    assert not found.ids[-1].any() and not found.scores[-1].any()  # a row of padding only
    expected = np.take_along_axis(logp, ids[..., None], axis=-1).sum(axis=(1, 2))
    np.testing.assert_allclose(found.scores[:-1, 0], expected, rtol=1e-5)


def test_wide_beams_find_the_best_of_all_outputs():
    """Exhaustive: every output of up to 3 tokens over a vocabulary of 5, scored by itself."""
    network = make(5)
    params = init(network, seed=3)
    encoder = inputs(4, 5, seed=1)
    beams = jax.jit(lambda p, e: search.beam_search(network, p, e, max_decode_len=3, num_beams=20))(
        params, encoder
    )
    outputs = np.array(list(itertools.product(range(5), repeat=3)), np.int32)
    for row in range(len(encoder)):
        logp = log_probs(network, params, encoder[row : row + 1].repeat(125, axis=0), outputs)
        picked = np.take_along_axis(logp, outputs[..., None], axis=-1)[..., 0]
        scored = {}
        for output, values in zip(outputs, picked):
            if 1 in output:
                length = list(output).index(1) + 1
                ids = (*output[:length], *[0] * (3 - length))
                scored[tuple(map(int, ids))] = values[:length].sum() / ((5 + length) / 6) ** 0.6
        best = sorted(scored, key=scored.get, reverse=True)[:5]
        assert [tuple(ids) for ids in beams.ids[row, :5].tolist()] == best
        expected = [scored[ids] for ids in best]
        np.testing.assert_allclose(beams.scores[row, :5], expected, rtol=1e-4)


@pytest.mark.parametrize("vocab_size", [5, 128, 300])
def test_largest_is_the_first_of_equals(vocab_size):
    logits = np.random.default_rng(0).integers(-4, 4, (50, vocab_size)).astype(np.float32)
    np.testing.assert_array_equal(search.largest(jnp.asarray(logits)), logits.argmax(axis=-1))


def test_bad_lengths_are_refused(case):
    network, params, encoder, _ = case
    with pytest.raises(ValueError, match="max_decode_len is 0"):
        search.greedy(network, params, encoder, max_decode_len=0)
    with pytest.raises(ValueError, match="number of beams 0"):
        search.beam_search(network, params, encoder, max_decode_len=3, num_beams=0)


def test_a_wrong_cache_is_refused(case):
    """T5X's protocol, used directly: a step of two tokens, or without the cache's length."""
    network, params, encoder, ids = case
    encoder, ids = encoder[:1], ids[:1]
    caches = network.apply(
        {"params": params},
        encoder, ids, ids,
        enable_dropout=False, decode=True, mutable=["cache"],
    )[1]  # fmt: skip
    encoded = network.apply({"params": params}, encoder, enable_dropout=False, method="encode")
    for tokens, length in ((ids[:, :2], LENGTH), (ids[:, :1], None)):
        step = functools.partial(
            network.apply,
            {"params": params, **caches},
            encoded, encoder, tokens, tokens,
            enable_dropout=False, decode=True, mutable=["cache"], method="decode",
        )  # fmt: skip
        with pytest.raises(ValueError, match="Feed one token at a time"):
            step(max_decode_length=length)
