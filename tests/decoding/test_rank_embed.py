"""Answer ranking, sentence vectors and nearest neighbours against plain formulas."""

import importlib.util

import jax
import numpy as np
import pytest

from xlt_jax.decoding import embed, rank
from xlt_jax.models import mt5

NETWORK = mt5.Transformer(
    mt5.T5Config(
        vocab_size=40,
        emb_dim=16,
        num_heads=2,
        num_encoder_layers=2,
        num_decoder_layers=1,
        head_dim=8,
        mlp_dim=24,
        mlp_activations=("gelu", "linear"),
    )
)
ENCODER = np.array([[5, 6, 7, 8, 1], [9, 10, 1, 0, 0], [0, 0, 0, 0, 0]], np.int32)
CHOICES = np.array(
    [
        [[11, 12, 1], [13, 1, 0], [0, 0, 0], [20, 21, 22]],
        [[14, 1, 0], [1, 0, 0], [15, 16, 1], [14, 1, 0]],
        [[14, 1, 0], [15, 1, 0], [16, 1, 0], [0, 0, 0]],
    ],
    np.int32,
)


@pytest.fixture(scope="module")
def params():
    ones = np.ones((1, 2), np.int32)
    init = jax.jit(lambda rngs: NETWORK.init(rngs, ones, ones, ones, enable_dropout=False))
    return init({"params": jax.random.key(0)})["params"]


@jax.jit
def log_probs(params, *tokens):
    return jax.nn.log_softmax(NETWORK.apply({"params": params}, *tokens, enable_dropout=False))


@pytest.fixture(scope="module")
def expected(params):
    """Every answer alone, without its padding."""
    scores = np.full(CHOICES.shape[:2], -np.inf)
    for row, column in np.ndindex(scores.shape):
        targets = CHOICES[row, column]
        targets = targets[targets > 0][None]
        if targets.size:
            inputs = np.pad(targets, ((0, 0), (1, 0)))[:, :-1]
            logp = log_probs(params, ENCODER[row : row + 1], inputs, targets)[0]
            scores[row, column] = sum(logp[i, token] for i, token in enumerate(targets[0]))
    return scores


@pytest.mark.parametrize("limits", [(256, 2**26), (6, 120)], ids=["at once", "in parts"])
def test_rank_equals_scoring_each_answer_alone(params, expected, limits, monkeypatch):
    monkeypatch.setattr(rank, "MAX_DECODER_LENGTH", limits[0])
    monkeypatch.setattr(rank, "MAX_LOGITS", limits[1])
    scores = jax.jit(lambda p: rank.rank(NETWORK, p, ENCODER, CHOICES))(params)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-5)


def test_rank_of_single_tokens(params):
    scores = jax.jit(lambda p: rank.rank(NETWORK, p, ENCODER[:1], CHOICES[:1, :, :1]))(params)
    one = np.ones((1, 1), np.int32)
    logp = log_probs(params, ENCODER[:1], 0 * one, one)[0, 0]
    np.testing.assert_allclose(scores[0], [logp[11], logp[13], -np.inf, logp[20]], rtol=1e-5)


@pytest.mark.parametrize("pooling", embed.POOLINGS)
@pytest.mark.parametrize("layer", [None, 0, 1])
def test_vectors_have_length_one_and_ignore_padding(params, layer, pooling):
    options = dict(layer=layer, pooling=pooling)
    run = jax.jit(lambda tokens: embed.embed(NETWORK, params, tokens, **options))
    vectors = run(ENCODER)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), [1, 1, 0], atol=1e-6)
    padded = run(np.pad(ENCODER, ((0, 0), (0, 4))))
    np.testing.assert_allclose(vectors, padded, atol=1e-6)


def test_mean_vector_is_the_mean_of_encoded_tokens(params):
    encoded = NETWORK.apply({"params": params}, ENCODER, enable_dropout=False, method="encode")
    mean = np.asarray(encoded[1, :3]).mean(axis=0)
    vector = embed.embed(NETWORK, params, ENCODER)[1]
    np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), atol=1e-6)


def test_unknown_pooling_is_refused(params):
    with pytest.raises(ValueError, match="mean"):
        embed.embed(NETWORK, params, ENCODER, pooling="median")


BACKENDS = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(
            name != "numpy" and importlib.util.find_spec(name) is None, reason=f"needs {name}"
        ),
    )
    for name in embed.BACKENDS
]


@pytest.mark.parametrize("k, block", [(1, 65536), (3, 7), (5, 2), (3, 190), (200, 50)])
def test_nearest_equals_sorting_everything(k, block, monkeypatch):
    monkeypatch.setattr(embed, "QUERY_BLOCK", 4)
    rng = np.random.default_rng(0)
    # Small whole numbers: inner products are exact, and many are equal.
    queries, candidates = (rng.integers(-2, 3, (n, 4)).astype(np.float32) for n in (10, 400))
    products = queries @ candidates.T
    for order in (slice(None), products[0].argsort(), (-products[0]).argsort()):
        found = embed.nearest(queries, candidates[order], k=k, block=block)
        best = np.argsort(-products[:, order], axis=1, kind="stable")[:, :k]
        np.testing.assert_array_equal(found.indices, best)
        scores = np.take_along_axis(products[:, order], best, axis=1)
        np.testing.assert_array_equal(found.scores, scores)


@pytest.mark.parametrize("backend", BACKENDS)
def test_nearest_reads_a_memory_map_of_any_float_type(backend, tmp_path):
    rng = np.random.default_rng(0)
    queries, candidates = rng.normal(size=(7, 8)).astype(np.float32), rng.normal(size=(500, 8))
    np.save(tmp_path / "candidates.npy", candidates)
    mapped = np.load(tmp_path / "candidates.npy", mmap_mode="r")
    found = embed.nearest(queries, mapped, k=4, block=64, backend=backend)
    products = queries @ candidates.T
    np.testing.assert_array_equal(found.indices, np.argsort(-products, axis=1)[:, :4])
    np.testing.assert_allclose(found.scores, -np.sort(-products, axis=1)[:, :4], rtol=1e-5)
    assert found.indices.dtype == np.int32 and found.scores.dtype == np.float32


def test_nearest_refuses_more_than_there_are():
    with pytest.raises(ValueError, match="there are 3 candidates"):
        embed.nearest(np.ones((1, 2)), np.ones((3, 2)), k=4)


def test_nearest_refuses_other_backends(monkeypatch):
    with pytest.raises(ValueError, match="'scann'"):
        embed.nearest(np.ones((1, 2)), np.ones((3, 2)), backend="scann")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="faiss-cpu"):
        embed.nearest(np.ones((1, 2)), np.ones((3, 2)), backend="faiss")


def unit_vectors(rng, *shape):
    vectors = rng.normal(size=shape).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


@pytest.mark.parametrize("margin", embed.MARGINS)
def test_pairs_are_the_best_of_all_proposals(margin):
    rng = np.random.default_rng(0)
    first, second = unit_vectors(rng, 12, 5), unit_vectors(rng, 9, 5)
    cosine = first @ second.T
    score = cosine
    if margin == "ratio":
        near_first = np.sort(cosine, axis=1)[:, -3:].mean(axis=1)
        near_second = np.sort(cosine, axis=0)[-3:].mean(axis=0)
        score = cosine / (0.5 * near_first[:, None] + 0.5 * near_second)
    proposals = []
    for i in range(12):
        near = np.argsort(-cosine[i])[:3]
        proposals.append((i, near[score[i, near].argmax()]))
    for j in range(9):
        near = np.argsort(-cosine[:, j])[:3]
        proposals.append((near[score[near, j].argmax()], j))
    expected = []
    for i, j in sorted(proposals, key=lambda pair: -score[pair]):
        if all(i != one and j != other for one, other in expected):
            expected.append((i, j))
    found = embed.mutual(first, second, k=3, margin=margin)
    assert list(zip(found.first, found.second)) == expected
    np.testing.assert_allclose(found.scores, [score[pair] for pair in expected], rtol=1e-5)


def test_a_ratio_is_not_fooled_by_a_row_that_is_near_to_everything():
    rng = np.random.default_rng(1)
    first = unit_vectors(rng, 40, 16)
    second = first + 0.3 * unit_vectors(rng, 40, 16)
    second[0] = first.mean(axis=0) * 40  # a hub
    second /= np.linalg.norm(second, axis=1, keepdims=True)
    found = embed.mutual(first, second)
    right = [i == j for i, j in zip(found.first, found.second) if j]
    assert np.mean(right) > 0.9
    assert found.first.size == len(set(found.first)) == len(set(found.second))


def test_an_unknown_margin_is_refused():
    with pytest.raises(ValueError, match="'distance'"):
        embed.mutual(np.ones((1, 2)), np.ones((1, 2)), k=1, margin="distance")
