"""Accuracy of the nearest neighbour and mean average precision of a ranking, of keys or text."""

from collections.abc import Collection, Hashable, Sequence

from xlt_jax.metrics.classification import accuracy, check_lengths


def accuracy_at_1(targets: Sequence[str], predictions: Sequence[str]) -> dict[str, float]:
    """``{"accuracy": share of queries whose nearest candidate is the right one}``.

    Candidates are compared as text, so of two candidates with the same text either is right.

    Source: Tatoeba in Hu et al. 2020, arXiv:2003.11080.
    """
    return accuracy(targets, predictions)


def average_precision(
    relevant: Collection[Hashable], ranked: Sequence[Hashable], k: int = 20
) -> float:
    """AP@k of one query: sum over hits r <= k of (hits up to r) / r, by min(len(relevant), k).

    Args:
        relevant: Keys of the right candidates, at least one.
        ranked: Keys of candidates, best first; a repeated key counts at its first place.
        k: Places that count.

    Source: Ruder et al. 2021, arXiv:2104.07412 (LAReQA and Mewsli-X in XTREME-R, k = 20).
    """
    missing = set(relevant)
    total, hits, possible = 0.0, 0, min(len(missing), k)
    for place, key in enumerate(ranked[:k], start=1):
        if key in missing:
            missing.discard(key)
            hits += 1
            total += hits / place
    return total / possible


def mean_average_precision(
    targets: Sequence[Collection[Hashable]],
    predictions: Sequence[Sequence[Hashable]],
    k: int = 20,
) -> dict[str, float]:
    """``{"map_at_20": mean of average_precision over queries}``, the key named after ``k``.

    Raises:
        ValueError: A query has no relevant candidate; it has no average precision.
    """
    check_lengths(targets, predictions)
    empty = [i for i, relevant in enumerate(targets) if not relevant]
    if empty:
        raise ValueError(
            f"Queries without a relevant candidate: {empty[:5]} ({len(empty)} in all). "
            "Leave them out before scoring."
        )
    scores = [average_precision(t, p, k) for t, p in zip(targets, predictions)]
    return {f"map_at_{k}": sum(scores) / len(scores)}


def map_at_20(targets: Sequence[str], predictions: Sequence[str]) -> dict[str, float]:
    """``{"map_at_20": ...}`` of rankings written as text, in 0..1: LAReQA and Mewsli-X.

    With one gold id, as in Mewsli-X, it is the mean of 1 / rank, or 0 beyond rank 20.

    Args:
        targets: Gold ids of each query, separated by spaces, at least one.
        predictions: Ids of candidates, best first, separated by spaces; none is allowed.
    """
    return mean_average_precision(
        [target.split() for target in targets], [ranked.split() for ranked in predictions]
    )


def average_precision_at_20(target: str, prediction: str) -> float:
    """One query's share in ``map_at_20``."""
    return average_precision(target.split(), prediction.split())
