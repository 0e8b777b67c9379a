"""Similarity of two sets of vectors of the same examples: CKA, CCA, retrieval of one by the other.

Row i of both sets belongs to the same example. All is NumPy's, in float64, and deterministic. A set
that is not two-dimensional, has fewer than two rows or another number than the other set, or holds
NaN or infinity raises ValueError; so does, but for retrieval, one whose vectors are all equal, of
which no similarity is defined.

E width of the second set   R directions of a set   P pairs of directions   Q examples at a time
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

SCORES = ("cosine", "csls", "margin")
BLOCK = 2**23  # scores at a time: 64 MB
# Scores that differ by less, or by less than this share of the right one, are equal. Products of
# equal vectors differ by rounding with their place in a block, those of float32 vectors by 1e-8.
TIE = 1e-9


class Directions(NamedTuple):
    """Singular value decomposition of a centred set, less directions that are left out."""

    left: np.ndarray  # BR
    sizes: np.ndarray  # R, largest first
    right: np.ndarray  # RD


def linear_cka(first_BD: np.ndarray, second_BE: np.ndarray) -> float:
    """Linear centred kernel alignment, in 0..1; 1 of sets that differ by rotation and scale.

    With few examples it is far above 0 of unrelated vectors too; see ``debiased_cka``.

    Source: Kornblith et al. 2019, arXiv:1905.00414, section 3.
    """
    first_BD, second_BE = map(_centred, _checked(first_BD, second_BE))
    sizes = [math.sqrt(_gram_product(x, x)) for x in (first_BD, second_BE)]
    return min(_gram_product(first_BD, second_BE) / math.prod(sizes), 1.0)


def debiased_cka(first_BD: np.ndarray, second_BE: np.ndarray) -> float:
    """Linear CKA from unbiased estimates of its three terms, in -1..1, near 0 of unrelated sets.

    Raises:
        ValueError: There are fewer than four examples, or a set whose estimate is 0: one of which
            all vectors are equally far from each other.

    Source: HSIC_1 of Song et al. 2012, Feature Selection via Dependence Maximization, in the ratio
    of ``linear_cka``.
    """
    first_BD, second_BE = map(_centred, _checked(first_BD, second_BE))
    if len(first_BD) < 4:
        raise ValueError(f"Debiased CKA needs at least 4 examples, got {len(first_BD)}.")
    squares = []
    for vectors in (first_BD, second_BE):
        square = _unbiased_product(vectors, vectors)
        if square <= 1e-12 * _gram_product(vectors, vectors):  # what rounding leaves of 0
            raise ValueError(
                f"Debiased CKA of {vectors.shape} vectors that are all equally far from each "
                "other is not defined: give more examples."
            )
        squares.append(square)
    value = _unbiased_product(first_BD, second_BE) / math.prod(map(math.sqrt, squares))
    return max(-1.0, min(value, 1.0))


def canonical_correlations(first_BD: np.ndarray, second_BE: np.ndarray) -> np.ndarray:
    """All canonical correlations, float64 in 0..1, largest first: as many as the smaller rank.

    Neither set's coordinates matter: any invertible linear map gives the same. Sets whose ranks
    together exceed B - 1 have correlations of 1 whatever they hold: take far more examples.
    """
    first, second = map(_directions, _checked(first_BD, second_BE))
    return _pairs(first, second)[1]


def svcca(first_BD: np.ndarray, second_BE: np.ndarray, share: float = 0.99) -> float:
    """Mean canonical correlation between the largest directions of each set, in 0..1.

    Args:
        first_BD: One set.
        second_BE: The other.
        share: Of the set's variance, above 0 to 1: each keeps the fewest principal directions that
            have it. With 1 this is the mean of ``canonical_correlations``.

    Raises:
        ValueError: ``share`` is not above 0 and at most 1.

    Source: Raghu et al. 2017, arXiv:1706.05806, section 2.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share is {share}; give a share of variance above 0 and at most 1.")
    first, second = (_directions(x, share) for x in _checked(first_BD, second_BE))
    return float(_pairs(first, second)[1].mean())


def pwcca(first_BD: np.ndarray, second_BE: np.ndarray) -> float:
    """Mean canonical correlation, in 0..1, each weighted by what its direction holds of a set.

    The weight is the sum of absolute inner products of the canonical variate with the centred
    columns of the set of lower rank, or of the first where ranks are equal: then the order matters.

    Source: Morcos et al. 2018, arXiv:1806.05759, projection weighting; the choice of the set is
    that of their program, github.com/google/svcca. The program weighs by variates and columns with
    their means, here both are centred, so that moving a set changes nothing.
    """
    first, second = map(_directions, _checked(first_BD, second_BE))
    if len(second.sizes) < len(first.sizes):
        first, second = second, first
    turn_RP, correlations_P = _pairs(first, second)
    inner_PD = turn_RP.T @ (first.sizes[:, None] * first.right)
    return min(float(np.average(correlations_P, weights=np.abs(inner_PD).sum(axis=1))), 1.0)


def retrieval(
    first_BD: np.ndarray,
    second_BD: np.ndarray,
    *,
    score: str = "cosine",
    k: int = 10,
    block: int = BLOCK,
) -> dict[str, float]:
    """Accuracy at 1 and mean reciprocal rank, 0..1, of finding each example in the other set.

    ``accuracy_forward`` and ``mrr_forward`` look for rows of the second set with those of the
    first, ``accuracy_backward`` and ``mrr_backward`` the other way round. Where candidates have the
    score of the right one, up to 1e-9, both are what a random order of these gives on average: of
    vectors that are all equal, accuracy is 1 / B. A vector of zeros has the cosine 0 to all.

    Args:
        first_BD: One set.
        second_BD: The other, of the same width.
        score: "cosine"; "csls", twice the cosine less both rows' mean cosine to their ``k`` nearest
            rows of the other set; "margin", the cosine divided by the mean of these two.
        k: Neighbours, 1 to B; without meaning for "cosine".
        block: Scores in memory at a time, of the B x B, at least one row's.

    Raises:
        ValueError: Widths differ, an unknown score, or ``k`` is not from 1 to B where it counts.

    Source: CSLS: Conneau et al. 2018, arXiv:1710.04087, section 2.3, with k = 10. Margin: the ratio
    of Artetxe and Schwenk 2019, arXiv:1811.01136, there with k = 4; a mean
    below 1e-6 is taken as that, since a ratio needs a positive one.
    """
    shares = retrieval_of_rows(first_BD, second_BD, score=score, k=k, block=block)
    return {name: float(share_B.mean()) for name, share_B in shares.items()}


def retrieval_of_rows(
    first_BD: np.ndarray,
    second_BD: np.ndarray,
    *,
    score: str = "cosine",
    k: int = 10,
    block: int = BLOCK,
) -> dict[str, np.ndarray]:
    """Each example's share in ``retrieval``, float64 of length B; a bootstrap may resample them."""
    first_BD, second_BD = map(_unit, _checked(first_BD, second_BD))
    num_examples = len(first_BD)
    if first_BD.shape != second_BD.shape:
        raise ValueError(
            f"Retrieval needs vectors of one width, got {first_BD.shape} and {second_BD.shape}."
        )
    if score not in SCORES:
        raise ValueError(f"score is {score!r}; give one of {SCORES}.")
    if score != "cosine" and not 1 <= k <= num_examples:
        raise ValueError(f"k is {k}; there are {num_examples} examples: give 1 to that many.")
    near_first_B = near_second_B = np.zeros(num_examples)
    if score != "cosine":
        near_first_B = _neighbour_means(first_BD, second_BD, k, block)
        near_second_B = _neighbour_means(second_BD, first_BD, k, block)
    better, at_least = _places(first_BD, second_BD, near_first_B, near_second_B, score, block)
    equal = at_least - better  # the right one is among them
    hit = np.where(better == 0, 1 / equal, 0.0)
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, num_examples + 1))])
    reciprocal = (harmonic[at_least] - harmonic[better]) / equal  # mean of 1 / rank over the equal
    return {
        "accuracy_forward": hit[0],
        "mrr_forward": reciprocal[0],
        "accuracy_backward": hit[1],
        "mrr_backward": reciprocal[1],
    }


def pair_scores(
    cosine: np.ndarray, near_first: np.ndarray, near_second: np.ndarray, score: str
) -> np.ndarray:
    """Scores of pairs from their cosine and both rows' mean cosine to their nearest neighbours.

    Args:
        cosine: Of pairs, of any shape.
        near_first: Mean cosine of each pair's row of the first set; of a shape that broadcasts.
        near_second: Likewise of the second set.
        score: One of ``SCORES``, see ``retrieval``.
    """
    if score == "cosine":
        return cosine
    if score == "csls":
        return 2 * cosine - near_first - near_second
    return cosine / np.maximum((near_first + near_second) / 2, 1e-6)


def _checked(first_BD: np.ndarray, second_BE: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both in float64."""
    first_BD, second_BE = np.asarray(first_BD, np.float64), np.asarray(second_BE, np.float64)
    shapes = first_BD.shape, second_BE.shape
    if not (first_BD.ndim == second_BE.ndim == 2 and shapes[0][0] == shapes[1][0] >= 2):
        raise ValueError(
            f"Got sets of shapes {shapes[0]} and {shapes[1]}; give two of (examples, width) with "
            "the same examples, at least two."
        )
    for name, vectors in (("first", first_BD), ("second", second_BE)):
        bad_B = ~np.isfinite(vectors).all(axis=1)
        if bad_B.any():
            raise ValueError(
                f"{bad_B.sum()} vectors of the {name} set hold NaN or infinity, at first that of "
                f"row {bad_B.argmax()}: check the network that made them."
            )
    return first_BD, second_BE


def _rounding(vectors_BD: np.ndarray) -> float:
    """Size up to which a direction of the centred set may be what rounding left of nothing."""
    return np.finfo(np.float64).eps * max(vectors_BD.shape) * float(np.linalg.norm(vectors_BD))


def _centred(vectors_BD: np.ndarray) -> np.ndarray:
    centred_BD = vectors_BD - vectors_BD.mean(axis=0)
    if np.linalg.norm(centred_BD) <= _rounding(vectors_BD):
        raise ValueError(
            f"All vectors of a set of shape {vectors_BD.shape} are equal: its similarity to "
            "another is not defined."
        )
    return centred_BD


def _gram_product(first_BD: np.ndarray, second_BE: np.ndarray) -> float:
    """Sum of the products of both Gram matrices' entries, which are made only if B is small."""
    num_examples, width, other_width = *first_BD.shape, second_BE.shape[1]
    if num_examples * (width + other_width) < width * other_width:
        return float(((first_BD @ first_BD.T) * (second_BE @ second_BE.T)).sum())
    return float(np.square(first_BD.T @ second_BE).sum())


def _unbiased_product(first_BD: np.ndarray, second_BE: np.ndarray) -> float:
    """HSIC_1 times B (B - 3) of centred sets.

    Centring changes no HSIC_1 and makes the rows of a Gram matrix sum to 0, hence to minus the
    square of their vector once the diagonal is left out.
    """
    num_examples = len(first_BD)
    first_B, second_B = (np.square(x).sum(axis=1) for x in (first_BD, second_BE))
    return (
        _gram_product(first_BD, second_BE)
        - float(first_B @ second_B) * num_examples / (num_examples - 2)
        + float(first_B.sum() * second_B.sum()) / ((num_examples - 1) * (num_examples - 2))
    )


def _directions(vectors_BD: np.ndarray, share: float = 1.0) -> Directions:
    """The fewest directions that have ``share`` of the variance, none of them due to rounding."""
    left_BR, sizes_R, right_RD = np.linalg.svd(_centred(vectors_BD), full_matrices=False)
    rank = max(1, int((sizes_R > _rounding(vectors_BD)).sum()))
    share_R = np.cumsum(np.square(sizes_R)) / np.square(sizes_R).sum()
    # Of the whole the sum has enough, in rounding, before directions of a share below 1e-16.
    kept = rank if share == 1 else min(rank, int(np.searchsorted(share_R, share)) + 1)
    return Directions(left_BR[:, :kept], sizes_R[:kept], right_RD[:kept])


def _pairs(first: Directions, second: Directions) -> tuple[np.ndarray, np.ndarray]:
    """(canonical variates of the first set in its directions, turn_RP; correlations_P)."""
    turn_RP, correlations_P, _ = np.linalg.svd(first.left.T @ second.left, full_matrices=False)
    return turn_RP, np.minimum(correlations_P, 1.0)


def _unit(vectors_BD: np.ndarray) -> np.ndarray:
    norm_B1 = np.linalg.norm(vectors_BD, axis=1, keepdims=True)
    return vectors_BD / np.where(norm_B1 > 0, norm_B1, 1.0)


def _blocks(num_examples: int, block: int) -> Iterator[slice]:
    """Rows to compare with all candidates at a time."""
    step = max(1, block // num_examples)
    return (slice(begin, begin + step) for begin in range(0, num_examples, step))


def _neighbour_means(
    queries_BD: np.ndarray, candidates_BD: np.ndarray, k: int, block: int
) -> np.ndarray:
    """Mean cosine of each query to its ``k`` nearest candidates."""
    mean_B = np.empty(len(queries_BD))
    for rows in _blocks(len(queries_BD), block):
        cosine_QB = queries_BD[rows] @ candidates_BD.T
        cosine_QB.partition(-k, axis=1)
        mean_B[rows] = cosine_QB[:, -k:].mean(axis=1)
    return mean_B


def _places(
    first_BD: np.ndarray,
    second_BD: np.ndarray,
    near_first_B: np.ndarray,
    near_second_B: np.ndarray,
    score: str,
    block: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of candidates that score more, and not less, than the right one.

    Both are 2 x B int64: of the first set's rows as queries, and of the second's. The right one is
    among those that do not score less.
    """
    cosine_B = np.einsum("bd,bd->b", first_BD, second_BD)
    right_B = pair_scores(cosine_B, near_first_B, near_second_B, score)
    tie_B = TIE * np.maximum(1.0, np.abs(right_B))
    low_B, high_B = right_B - tie_B, right_B + tie_B
    better, at_least = np.zeros((2, 2, len(first_BD)), np.int64)
    for rows in _blocks(len(first_BD), block):
        near_Q1 = near_first_B[rows, None]
        score_QB = pair_scores(first_BD[rows] @ second_BD.T, near_Q1, near_second_B, score)
        np.fill_diagonal(score_QB[:, rows], right_B[rows])  # the very value it is compared with
        better[0, rows] = np.count_nonzero(score_QB > high_B[rows, None], axis=1)
        at_least[0, rows] = np.count_nonzero(score_QB >= low_B[rows, None], axis=1)
        better[1] += np.count_nonzero(score_QB > high_B, axis=0)
        at_least[1] += np.count_nonzero(score_QB >= low_B, axis=0)
    return better, at_least
