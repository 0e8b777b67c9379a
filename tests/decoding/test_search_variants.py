"""Generating, ranking and embedding with every form of the network."""

import functools
import itertools

import jax
import numpy as np
import pytest

from xlt_jax.decoding import embed, rank, search
from xlt_jax.models import mt5

LENGTH, ROWS, VOCAB = 5, 12, 40
EOS = 7  # a frequent token, so that outputs end at many lengths
VARIANTS = [
    pytest.param(dict(relative_bias=bias, scan_layers=scan), id=f"{bias}{'-scanned' * scan}")
    for bias, scan in itertools.product(("shared", "per_layer"), (False, True))
]
every_bias = pytest.mark.parametrize("bias", ["shared", "per_layer"])


def make(**changes):
    sizes = dict(
        vocab_size=VOCAB,
        emb_dim=16,
        num_heads=2,
        num_encoder_layers=2,
        num_decoder_layers=3,
        head_dim=8,
        mlp_dim=24,
        mlp_activations=("gelu", "linear"),
    )
    return mt5.Transformer(mt5.T5Config(**(sizes | changes)))


@functools.cache
def plain_params(bias):
    ones = np.ones((1, 2), np.int32)
    init = jax.jit(functools.partial(make(relative_bias=bias).init, enable_dropout=False))
    params = init(jax.random.key(0), ones, ones, ones)["params"]
    # A bias that matters.
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: 5 * leaf if "relpos_bias" in str(path) else leaf, params
    )


@pytest.fixture
def both(bias, stack_layers):
    """Unscanned and scanned network with the same parameters."""
    params = plain_params(bias)
    return [
        (make(relative_bias=bias, scan_layers=scan), tree)
        for scan, tree in ((False, params), (True, stack_layers(params)))
    ]


@pytest.fixture(scope="module")
def encoder():
    rng = np.random.default_rng(0)
    tokens = rng.integers(2, VOCAB, (ROWS, 7)).astype(np.int32)
    tokens *= np.arange(7) < rng.integers(1, 8, (ROWS, 1))
    tokens[-1] = 0
    return tokens


@pytest.mark.parametrize("variant", VARIANTS)
def test_cached_greedy_equals_teacher_forcing(variant, encoder, stack_layers):
    network, params = make(**variant), plain_params(variant["relative_bias"])
    params = stack_layers(params) if variant["scan_layers"] else params
    run = jax.jit(lambda p, e: search.greedy(network, p, e, max_decode_len=LENGTH, eos_id=EOS))
    ids = np.asarray(run(params, encoder))
    inputs = np.pad(ids, ((0, 0), (1, 0)))[:, :-1]
    force = jax.jit(functools.partial(network.apply, enable_dropout=False))
    best = np.asarray(force({"params": params}, encoder, inputs, np.ones_like(ids))).argmax(axis=-1)
    lengths = [list(row).index(EOS) + 1 if EOS in row else LENGTH for row in ids[:-1]]
    assert len(set(lengths)) > 2
    for row, forced, length in zip(ids, best, lengths):
        np.testing.assert_array_equal(row[:length], forced[:length])
        assert not row[length:].any()
    assert not ids[-1].any()  # a row of padding


@every_bias
def test_scanned_beams_equal_unscanned(both, encoder):
    options = dict(max_decode_len=LENGTH, num_beams=3, eos_id=EOS)
    plain, scanned = (
        jax.jit(functools.partial(search.beam_search, network, **options))(params, encoder)
        for network, params in both
    )
    np.testing.assert_array_equal(scanned.ids, plain.ids)
    np.testing.assert_allclose(scanned.scores, plain.scores, rtol=1e-5, atol=1e-5)
    assert len({tuple(row) for row in plain.ids.reshape(-1, LENGTH).tolist()}) > ROWS


@every_bias
def test_scanned_scores_of_answers_equal_unscanned(both, encoder):
    choices = np.random.default_rng(1).integers(2, VOCAB, (ROWS, 3, 4)).astype(np.int32)
    choices[:, 1, 2:] = 0
    plain, scanned = (
        jax.jit(functools.partial(rank.rank, network))(params, encoder, choices)
        for network, params in both
    )
    np.testing.assert_allclose(scanned, plain, rtol=1e-5, atol=1e-5)


@every_bias
def test_scanned_vectors_equal_unscanned(both, encoder):
    plain, scanned = (
        jax.jit(functools.partial(embed.embed, network, layer=1))(params, encoder)
        for network, params in both
    )
    np.testing.assert_allclose(scanned, plain, atol=1e-5)
