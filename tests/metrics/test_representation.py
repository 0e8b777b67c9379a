"""CKA, CCA and retrieval by hand, against kernel forms, eigenvalues, angles and plain loops."""

import functools
import tracemalloc

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from xlt_jax.metrics import representation

# Columns are orthonormal and centred.
HADAMARD = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / 2
SIMILARITIES = (
    representation.linear_cka,
    representation.debiased_cka,
    representation.canonical_correlations,
    representation.svcca,
    representation.pwcca,
)
SHAPES = [(40, 5, 7), (12, 30, 40), (20, 5, 60), (20, 60, 5), (7, 30, 10), (40, 6, 6)]  # B, D, E


def draw_related(num_examples, width, other_width, seed=0):
    """Two random sets that share some directions, with means far from 0 and unequal spreads."""
    draw = np.random.default_rng(seed)
    shared = draw.normal(size=(num_examples, 3))
    sets = []
    for size in (width, other_width):
        own = draw.normal(size=(num_examples, size)) * draw.uniform(0.2, 2, size)
        sets.append(shared @ draw.normal(size=(3, size)) + own + draw.normal(size=size) * 5)
    return sets


def draw_rotation(size, seed=1):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(size, size)))[0]


def peak_bytes(function):
    tracemalloc.start()
    function()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


# CKA.


def test_by_hand():
    first = HADAMARD[:, :2] * [3, 1] + [7, -2]
    second = HADAMARD[:, [0, 2]] + 5
    assert representation.linear_cka(first, second) == pytest.approx(9 / np.sqrt(82 * 2))
    correlations = representation.canonical_correlations(first, second)
    np.testing.assert_allclose(correlations, [1, 0], atol=1e-15)
    assert representation.pwcca(first, second) == pytest.approx(3 / 4)  # weights 3 and 1
    assert representation.pwcca(second, first) == pytest.approx(1 / 2)  # weights 1 and 1
    assert representation.pwcca(first, second[:, :1]) == pytest.approx(1)  # of the lower rank
    assert representation.svcca(first, second, 1.0) == pytest.approx(1 / 2)
    assert representation.svcca(first, second, 0.89) == pytest.approx(1)  # of 9 + 1, keeps the 9
    assert representation.svcca(first, second, 0.91) == pytest.approx(1 / 2)


@pytest.mark.parametrize("shape", SHAPES)
def test_cka_equals_kernel_form(shape):
    first, second = draw_related(*shape)
    centring = np.eye(shape[0]) - 1 / shape[0]

    def hsic(one, other):
        return np.trace(one @ one.T @ centring @ other @ other.T @ centring)

    expected = hsic(first, second) / np.sqrt(hsic(first, first) * hsic(second, second))
    assert 0.05 < expected < 0.99
    assert representation.linear_cka(first, second) == pytest.approx(expected, abs=1e-12)
    assert representation.linear_cka(second, first) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_debiased_cka_equals_kernel_form(shape):
    first, second = draw_related(*shape)
    n = shape[0]

    def hsic_1(one, other):
        grams = one @ one.T, other @ other.T
        for gram in grams:
            np.fill_diagonal(gram, 0)
        product = grams[0] @ grams[1]
        means = grams[0].sum() * grams[1].sum() / (n - 1) / (n - 2) - 2 / (n - 2) * product.sum()
        return (np.trace(product) + means) / (n * (n - 3))

    expected = hsic_1(first, second) / np.sqrt(hsic_1(first, first) * hsic_1(second, second))
    assert abs(expected - representation.linear_cka(first, second)) > 0.001
    assert representation.debiased_cka(first, second) == pytest.approx(expected, abs=1e-11)


@pytest.mark.parametrize("similarity", [representation.linear_cka, representation.debiased_cka])
def test_cka_of_rotated_scaled_and_moved_vectors(similarity):
    first, second = draw_related(30, 6, 8)
    expected = similarity(first, second)
    moved = 1e-3 * second @ draw_rotation(8) - 4
    assert similarity(first, moved) == pytest.approx(expected, abs=1e-12)
    assert similarity(first * 1e5, second) == pytest.approx(expected, abs=1e-12)
    assert similarity(first, 9 * first @ draw_rotation(6)) == pytest.approx(1, abs=1e-12)
    stretched = second * np.linspace(0.1, 5, 8)
    assert abs(similarity(first, stretched) - expected) > 0.01


def test_only_debiased_cka_of_unrelated_vectors_is_near_0():
    draw = np.random.default_rng(0)
    pairs = [(draw.normal(size=(20, 100)), draw.normal(size=(20, 100))) for _ in range(50)]
    assert min(representation.linear_cka(*pair) for pair in pairs) > 0.7
    values = [representation.debiased_cka(*pair) for pair in pairs]
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(len(values))
    assert min(values) < 0


def test_cka_makes_no_gram_matrix_of_many_examples():
    first, second = draw_related(2000, 4, 5)
    matrix_bytes = 2000 * 2000 * 8
    assert peak_bytes(lambda: first @ first.T) >= matrix_bytes  # they are seen
    assert peak_bytes(lambda: representation.linear_cka(first, second)) < matrix_bytes / 20
    assert peak_bytes(lambda: representation.debiased_cka(first, second)) < matrix_bytes / 20


# CCA.


@pytest.mark.parametrize("shape", [(40, 5, 7), (60, 6, 6), (50, 9, 2), (30, 1, 4), (30, 1, 1)])
def test_canonical_correlations_are_cosines_of_angles(shape):
    first, second = draw_related(*shape)
    angles = scipy.linalg.subspace_angles(first - first.mean(axis=0), second - second.mean(axis=0))
    expected = np.sort(np.cos(angles))[::-1]
    result = representation.canonical_correlations(first, second)
    np.testing.assert_allclose(result, expected, atol=1e-12)
    assert representation.svcca(first, second, 1.0) == pytest.approx(expected.mean(), abs=1e-12)


def test_canonical_correlations_of_scikit_learn():
    decomposition = pytest.importorskip("sklearn.cross_decomposition")
    first, second = draw_related(60, 4, 3)
    model = decomposition.CCA(n_components=3, max_iter=10_000, tol=1e-12)
    scores, other_scores = model.fit_transform(first, second)
    expected = [np.corrcoef(x, y)[0, 1] for x, y in zip(scores.T, other_scores.T)]
    result = representation.canonical_correlations(first, second)
    np.testing.assert_allclose(result, expected, atol=1e-6)


def test_correlation_of_one_dimension_is_pearsons():
    first, second = draw_related(25, 1, 1)
    expected = abs(np.corrcoef(first[:, 0], second[:, 0])[0, 1])
    assert representation.canonical_correlations(-first, second) == pytest.approx(expected)
    assert representation.pwcca(-first, second) == pytest.approx(expected)
    assert representation.linear_cka(-first, second) == pytest.approx(expected**2)


def test_canonical_correlations_after_invertible_maps():
    first, second = draw_related(50, 6, 8)
    draw = np.random.default_rng(3)
    expected = representation.canonical_correlations(first, second)
    mapped = first @ draw.normal(size=(6, 6)) + 9, second @ draw.normal(size=(8, 8)) * 1e-6
    result = representation.canonical_correlations(*mapped)
    np.testing.assert_allclose(result, expected, atol=1e-10)
    assert expected.min() < 0.5


def test_repeated_and_dependent_columns_are_no_directions():
    first, second = draw_related(40, 4, 5)
    expected = representation.canonical_correlations(first, second)
    wider = np.hstack([first, first[:, :2], first @ np.ones((4, 1)), np.full((40, 1), 3e5)])
    result = representation.canonical_correlations(wider, second)
    np.testing.assert_allclose(result, expected, atol=1e-9)
    assert len(representation.canonical_correlations(wider, wider)) == 4


def test_small_directions_count_as_much_as_large_ones():
    first, second = draw_related(40, 4, 5)
    expected = representation.canonical_correlations(first, second)
    scaled = first * [1, 1e-9, 1e3, 1e-6]
    result = representation.canonical_correlations(scaled, second)
    np.testing.assert_allclose(result, expected, atol=1e-6)
    assert representation.svcca(scaled, second, 1.0) == pytest.approx(expected.mean(), abs=1e-6)


def test_too_few_examples_correlate_whatever_they_hold():
    draw = np.random.default_rng(0)
    first, second = draw.normal(size=(10, 6)), draw.normal(size=(10, 7))
    result = representation.canonical_correlations(first, second)
    assert len(result) == 6
    np.testing.assert_allclose(result[: 6 + 7 - 9], 1, atol=1e-12)
    assert result[4] < 0.999


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99, 1.0])
@pytest.mark.parametrize("shape", [(60, 8, 10), (60, 10, 8), (12, 20, 30)])
def test_svcca_of_principal_components(shape, share):
    first, second = draw_related(*shape)
    reduced = []
    for vectors in (first, second):
        sizes, axes = np.linalg.eigh(np.cov(vectors.T))
        sizes, axes = np.maximum(sizes[::-1], 0), axes[:, ::-1]
        kept = 1
        while kept < min(len(sizes), shape[0] - 1) and sizes[:kept].sum() < share * sizes.sum():
            kept += 1
        reduced.append((vectors - vectors.mean(axis=0)) @ axes[:, :kept])
    expected = np.cos(scipy.linalg.subspace_angles(*reduced)).mean()
    assert representation.svcca(first, second, share) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("shape", [(60, 5, 7), (60, 6, 6), (60, 7, 5)])
def test_pwcca_by_eigenvectors(shape):
    first, second = draw_related(*shape)
    one, other = first - first.mean(axis=0), second - second.mean(axis=0)
    if shape[2] < shape[1]:
        one, other = other, one
    explained = np.linalg.solve(other.T @ other, other.T @ one)
    squares, axes = np.linalg.eig(np.linalg.solve(one.T @ one, one.T @ other @ explained))
    variates = one @ axes.real
    variates /= np.linalg.norm(variates, axis=0)
    weights = [sum(abs(variate @ column) for column in one.T) for variate in variates.T]
    expected = np.dot(weights, np.sqrt(squares.real)) / sum(weights)
    result = representation.pwcca(first, second)
    assert result == pytest.approx(expected, abs=1e-10)
    assert abs(result - np.sqrt(squares.real).mean()) > 0.01


@pytest.mark.parametrize("similarity", [representation.svcca, representation.pwcca])
def test_cca_of_a_rotated_set_is_1(similarity):
    first, _ = draw_related(40, 6, 6)
    assert similarity(first, first @ draw_rotation(6) * 3 + 2) == pytest.approx(1, abs=1e-12)


def test_no_similarity_is_above_1():
    for seed in range(20):
        first, second = draw_related(40, 6, 9, seed)
        for similarity in SIMILARITIES:
            assert np.max(similarity(first, second)) <= 1
            assert np.max(similarity(first, first)) <= 1


@pytest.mark.parametrize("share", [0.0, -1, 1.01, float("nan")])
def test_share_of_variance(share):
    with pytest.raises(ValueError, match="share is"):
        representation.svcca(HADAMARD, HADAMARD, share)


# Retrieval.


def naive_retrieval(first, second, score, k):
    """Each row's shares: cosines one by one, then the mean over all orders of equal candidates."""
    n = len(first)
    cosine = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            norms = np.linalg.norm(first[i]) * np.linalg.norm(second[j])
            cosine[i, j] = first[i] @ second[j] / norms if norms else 0.0
    scores = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            near_i = sum(sorted(cosine[i], reverse=True)[:k]) / k
            near_j = sum(sorted(cosine[:, j], reverse=True)[:k]) / k
            scores[i, j] = {
                "cosine": cosine[i, j],
                "csls": 2 * cosine[i, j] - near_i - near_j,
                "margin": cosine[i, j] / max((near_i + near_j) / 2, 1e-6),
            }[score]
    result = {}
    for direction, table in (("forward", scores), ("backward", scores.T)):
        hits, reciprocals = [], []
        for i in range(n):
            better = sum(value > table[i, i] + 1e-9 for value in table[i])
            equal = sum(abs(value - table[i, i]) <= 1e-9 for value in table[i])
            ranks = range(better + 1, better + equal + 1)
            hits.append(sum(rank == 1 for rank in ranks) / equal)
            reciprocals.append(sum(1 / rank for rank in ranks) / equal)
        result |= {f"accuracy_{direction}": hits, f"mrr_{direction}": reciprocals}
    return result


@pytest.mark.parametrize("score", representation.SCORES)
@pytest.mark.parametrize("block", [1, 100, 10**6])
@pytest.mark.parametrize("values", ["floats", "integers with ties"])
def test_retrieval_against_loops(score, block, values):
    draw = np.random.default_rng(5)
    first = draw.normal(size=(37, 6)) + 0.8
    second = first + draw.normal(size=(37, 6)) + [0.5, 0, 0, 0, 0, 1]
    if values == "integers with ties":
        first, second = np.round(first[:, :3]), np.round(second[:, :3])
        assert not first.any(axis=1).all() or not second.any(axis=1).all()  # rows of zeros too
        assert len(np.unique(second, axis=0)) < 37
    expected = naive_retrieval(first, second, score, k=4)
    rows = representation.retrieval_of_rows(first, second, score=score, k=4, block=block)
    means = representation.retrieval(first, second, score=score, k=4, block=block)
    assert rows.keys() == means.keys() == expected.keys()
    for name, shares in expected.items():
        np.testing.assert_allclose(rows[name], shares, atol=1e-12, err_msg=name)
        assert means[name] == pytest.approx(np.mean(shares), abs=1e-12)
        assert 0.1 < means[name] < 0.95


@pytest.mark.parametrize("score", representation.SCORES)
def test_neighbours_in_opposite_directions(score):
    draw = np.random.default_rng(2)
    first = draw.normal(size=(12, 3))
    second = first + draw.normal(size=(12, 3))
    expected = naive_retrieval(
        first, second, score, k=12
    )  # means of cosines, half of them negative
    rows = representation.retrieval_of_rows(first, second, score=score, k=12)
    for name, shares in expected.items():
        np.testing.assert_allclose(rows[name], shares, atol=1e-12, err_msg=name)


def test_scores_differ():
    draw = np.random.default_rng(0)
    first = draw.normal(size=(60, 5)) + 1
    second = first + draw.normal(size=(60, 5))
    results = [representation.retrieval(first, second, score=x) for x in representation.SCORES]
    assert len({result["mrr_forward"] for result in results}) == 3
    near = representation.retrieval(first, second, score="csls", k=1)
    assert near["mrr_forward"] != results[1]["mrr_forward"]


def test_csls_and_margin_demote_a_hub_by_hand():
    cosines = np.array([[0.64, 0.72], [0.1, 0.95]])  # the second column is near to both rows
    first = np.zeros((2, 3))
    first[:, :2] = cosines
    first[:, 2] = np.sqrt(1 - np.square(cosines).sum(axis=1))
    second = np.eye(2, 3)
    plain = representation.retrieval(first, second)
    assert (plain["accuracy_forward"], plain["mrr_forward"]) == (1 / 2, 3 / 4)
    # Nearest neighbours: of rows .72 and .95, of columns .64 and .95.
    # CSLS: 1.28 - .72 - .64 = -.08 beats 1.44 - .72 - .95 = -.23; .64 / .68 beats .72 / .835.
    for score in ("csls", "margin"):
        assert set(representation.retrieval(first, second, score=score, k=1).values()) == {1.0}


@pytest.mark.parametrize("score", representation.SCORES)
def test_of_equal_vectors_chance_is_left(score):
    draw = np.random.default_rng(0)
    vector = draw.normal(size=300)  # products of equal rows differ in their last bits
    first, second = vector * draw.uniform(1, 2, (51, 1)), np.tile(vector, (51, 1))
    chance = {"accuracy": 1 / 51, "mrr": sum(1 / r for r in range(1, 52)) / 51}
    for one, other in ((first, second), (np.zeros((51, 300)), second)):
        result = representation.retrieval(one, other, score=score, block=500)
        for name, value in result.items():
            assert value == pytest.approx(chance[name.split("_")[0]], abs=1e-12)


@pytest.mark.parametrize("score", representation.SCORES)
def test_the_same_vectors_find_themselves(score):
    vectors = np.random.default_rng(0).normal(size=(30, 8))
    scaled = vectors * np.linspace(0.1, 10, 30)[:, None]
    assert set(representation.retrieval(vectors, scaled, score=score).values()) == {1.0}
    permuted = representation.retrieval(vectors, np.roll(scaled, 1, axis=0), score=score)
    assert permuted["accuracy_forward"] == permuted["accuracy_backward"] == 0


@pytest.mark.parametrize("score", representation.SCORES)
def test_retrieval_holds_one_block(score):
    first, second = draw_related(2000, 4, 4)
    search = functools.partial(representation.retrieval, first, second, score=score)
    assert peak_bytes(lambda: search(block=10**5)) < 2000 * 2000 * 8 / 5
    assert peak_bytes(search) >= 2000 * 2000 * 8


def test_arguments_of_retrieval():
    draw = np.random.default_rng(0)
    first, second = draw.normal(size=(2, 5, 3))
    with pytest.raises(ValueError, match=r"one width, got \(5, 3\) and \(5, 2\)"):
        representation.retrieval(first, second[:, :2])
    with pytest.raises(ValueError, match="score is 'ratio'"):
        representation.retrieval(first, second, score="ratio")
    for score in ("csls", "margin"):
        for k in (0, 6):
            with pytest.raises(ValueError, match=f"k is {k}; there are 5 examples"):
                representation.retrieval(first, second, score=score, k=k)
        representation.retrieval(first, second, score=score, k=5)
    representation.retrieval(first, second, k=6)


# All.


@pytest.mark.parametrize("similarity", [*SIMILARITIES, representation.retrieval])
def test_unusable_sets(similarity):
    good = np.random.default_rng(0).normal(size=(5, 3))
    for bad in (good[:4], good[:, 0], good[None]):
        with pytest.raises(ValueError, match="Got sets of shapes"):
            similarity(good, bad)
        with pytest.raises(ValueError, match="Got sets of shapes"):
            similarity(bad, good)
    with pytest.raises(ValueError, match="at least two"):
        similarity(good[:1], good[:1])
    for value in (np.nan, np.inf):
        bad = good.copy()
        bad[2:, 1] = value
        with pytest.raises(ValueError, match=r"3 vectors of the second set .* row 2"):
            similarity(good, bad)
        with pytest.raises(ValueError, match=r"3 vectors of the first set .* row 2"):
            similarity(bad, good)


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("value", [0.0, 0.1, -1e-30, 1e8 / 3])
def test_constant_vectors(similarity, value):
    varied = np.random.default_rng(0).normal(size=(700, 3))
    constant = np.full((700, 5), value) * [1, 2, 3, 5, 7]
    with pytest.raises(ValueError, match=r"shape \(700, 5\) are equal"):
        similarity(varied, constant)
    with pytest.raises(ValueError, match=r"shape \(700, 5\) are equal"):
        similarity(constant, varied)


def test_debiased_cka_of_too_little():
    varied = np.random.default_rng(0).normal(size=(6, 3))
    with pytest.raises(ValueError, match="at least 4 examples, got 3"):
        representation.debiased_cka(varied[:3], varied[:3])
    for seed in range(10):
        simplex = 3 * draw_rotation(6, seed) + 0.1
        with pytest.raises(ValueError, match="equally far"):
            representation.debiased_cka(varied, simplex)
        with pytest.raises(ValueError, match="equally far"):
            representation.debiased_cka(simplex, varied)
    assert 0 < representation.linear_cka(varied, np.eye(6)) < 1


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_input_is_left_alone_and_results_repeat(similarity):
    first, second = draw_related(30, 4, 6)
    copies = first.copy(), second.copy()
    assert np.array_equal(similarity(first, second), similarity(first, second))
    assert np.array_equal(first, copies[0]) and np.array_equal(second, copies[1])
    half = jnp.asarray(first, jnp.bfloat16), jnp.asarray(second, jnp.bfloat16)
    exact = similarity(*(np.array(x.tolist()) for x in half))
    assert np.array_equal(similarity(*half), exact)
    assert type(exact) is (np.ndarray if np.ndim(exact) else float)
