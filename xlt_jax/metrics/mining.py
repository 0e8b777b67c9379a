"""Mining of parallel sentences: F1 over sets of pairs, and the threshold that maximises it."""

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

Pair = tuple[str, str]  # ids of a source and of a target sentence


@dataclass(frozen=True)
class Threshold:
    """The best cut through scored pairs of a development set.

    Attributes:
        value: Pairs with at least this score are kept; infinity when keeping any is of no use.
        f1: What that gives on the development set, 0..1.
    """

    value: float
    f1: float


def pair_f1(targets: Iterable[Pair], predictions: Iterable[Pair]) -> dict[str, float]:
    """``f1``, ``precision`` and ``recall`` of the predicted set of pairs, in 0..1.

    All are 0 when no pair is right. Repeated pairs count once.

    Raises:
        ValueError: There is no gold pair.

    Source: BUCC 2018 in Hu et al. 2020, arXiv:2003.11080.
    """
    gold, given = set(targets), set(predictions)
    _check_gold(gold)
    correct = len(gold & given)
    return {
        "f1": 2 * correct / (len(gold) + len(given)),
        "precision": correct / len(given) if given else 0.0,
        "recall": correct / len(gold),
    }


def best_threshold(scores: Mapping[Pair, float], gold: Collection[Pair]) -> Threshold:
    """The threshold on a development set with the highest F1, the strictest of equal ones.

    It lies halfway between the lowest score that is kept and the highest that is not: sets other
    than the one it was tuned on need some room on both sides.

    Args:
        scores: Cosine or margin of each candidate pair, greater is better. Pairs of equal score
            are kept or left together.
        gold: All right pairs, also those that are no candidates.

    Raises:
        ValueError: There is no gold pair, or a score is not a number.

    Source: threshold tuning for BUCC in Artetxe and Schwenk 2019, arXiv:1811.01136.
    """
    gold = set(gold)
    _check_gold(gold)
    bad = [pair for pair, score in scores.items() if math.isnan(score)]
    if bad:
        raise ValueError(
            f"{len(bad)} pairs have the score nan, the first is {bad[0]}: check the vectors."
        )
    ranked = sorted(scores, key=scores.__getitem__, reverse=True)
    best, correct = Threshold(math.inf, 0.0), 0
    for kept, pair in enumerate(ranked, start=1):
        correct += pair in gold
        lowest = scores[pair]
        highest_left = scores[ranked[kept]] if kept < len(ranked) else lowest
        if kept < len(ranked) and highest_left == lowest:
            continue
        found = 2 * correct / (kept + len(gold))
        if found > best.f1:
            middle = (lowest + highest_left) / 2
            best = Threshold(middle if middle > highest_left else lowest, found)
    return best


def kept_pairs(scores: Mapping[Pair, float], threshold: float) -> set[Pair]:
    """The pairs with at least that score."""
    return {pair for pair, score in scores.items() if score >= threshold}


def _check_gold(gold: Collection[Pair]) -> None:
    if not gold:
        raise ValueError("F1 over pairs needs at least one gold pair, got none.")
