"""Alignment error rate, precision, recall and F1 of word links against sure and possible ones."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

Link = tuple[int, int]  # 0-based places of a source and of a target word


class LinkCounts(NamedTuple):
    """Links of one sentence pair or of several; sums of these give ``error_rate_of_counts``.

    Attributes:
        predicted: Predicted links.
        sure: Sure gold links.
        predicted_sure: Predicted links that are sure.
        predicted_possible: Predicted links that are possible; those that are sure are that too.
    """

    predicted: int
    sure: int
    predicted_sure: int
    predicted_possible: int


def alignment_error_rate(
    sure: Sequence[Iterable[Link]],
    predictions: Sequence[Iterable[Link]],
    possible: Sequence[Iterable[Link]] | None = None,
) -> dict[str, float]:
    """``aer`` (less is better), ``precision``, ``recall`` and ``f1`` over a corpus, in 0..1.

    Links are summed over all sentence pairs, so long sentences weigh more.

    Args:
        sure: Gold links of each sentence pair that a right alignment must have.
        predictions: Predicted links of each sentence pair. In all three a repeated link counts
            once, and a pair without links is allowed.
        possible: Gold links that it may have. The sure ones need not be repeated: they always
            belong to it. None: there are no others, and ``aer`` is 1 - ``f1``.

    Raises:
        ValueError: The three differ in their number of sentence pairs, or there are none.

    Source: Och and Ney 2003, A Systematic Comparison of Various Statistical Alignment Models.
    They join precision and recall to AER alone; ``f1`` is the harmonic mean of the two.
    """
    possible = [()] * len(sure) if possible is None else possible
    if not len(sure) == len(possible) == len(predictions) or not len(sure):
        raise ValueError(
            "Alignments need sure, possible and predicted links for each of the same sentence "
            f"pairs, at least one, got {len(sure)} pairs with sure links, {len(possible)} with "
            f"possible and {len(predictions)} with predicted ones."
        )
    return error_rate_of_counts(map(link_counts, sure, predictions, possible))


def link_counts(
    sure: Iterable[Link], prediction: Iterable[Link], possible: Iterable[Link] = ()
) -> LinkCounts:
    """Counts of one sentence pair; a bootstrap may resample them."""
    sure_links, given, others = ({(i, j) for i, j in x} for x in (sure, prediction, possible))
    return LinkCounts(
        predicted=len(given),
        sure=len(sure_links),
        predicted_sure=len(given & sure_links),
        predicted_possible=len(given & (sure_links | others)),
    )


def error_rate_of_counts(counts: Iterable[LinkCounts]) -> dict[str, float]:
    """``alignment_error_rate`` of all sentence pairs together.

    0 by 0 counts as 0, as in the other metrics: without a predicted link precision is 0, without a
    sure one recall is, and with neither ``aer`` is 1. Where gold has links, an empty prediction
    has ``aer`` 1; where it has possible ones only, ``aer`` is 1 - ``precision``.
    """
    counts = list(counts)
    predicted, sure, predicted_sure, predicted_possible = (
        sum(getattr(row, field) for row in counts) for field in LinkCounts._fields
    )
    precision = predicted_possible / predicted if predicted else 0.0
    recall = predicted_sure / sure if sure else 0.0
    both = predicted + sure
    return {
        "aer": 1 - (predicted_sure + predicted_possible) / both if both else 1.0,
        "precision": precision,
        "recall": recall,
        "f1": 2 * precision * recall / (precision + recall) if predicted_sure else 0.0,
    }
