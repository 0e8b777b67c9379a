"""Accuracy and macro F1 of answers that are one of a few strings."""

from collections import Counter
from collections.abc import Sequence


def exact(target: str, prediction: str) -> float:
    """1.0 when the two strings are equal, else 0.0: one row's share in ``accuracy``."""
    return float(target == prediction)


def accuracy(targets: Sequence[str], predictions: Sequence[str]) -> dict[str, float]:
    """``{"accuracy": share of equal strings}``; an answer that is no label at all is wrong."""
    check_lengths(targets, predictions)
    return {"accuracy": sum(map(exact, targets, predictions)) / len(targets)}


def macro_f1(targets: Sequence[str], predictions: Sequence[str]) -> dict[str, float]:
    """``{"macro_f1": unweighted mean of F1 over the classes that occur in ``targets``}``.

    A generated answer outside those classes lowers recall but adds no class of its own, so one
    odd word does not change what the mean is over.

    Source: as scikit-learn's ``f1_score(average="macro", labels=sorted(set(targets)))``.
    """
    check_lengths(targets, predictions)
    wanted, given = Counter(targets), Counter(predictions)
    right = Counter(target for target, got in zip(targets, predictions) if target == got)
    scores = [2 * right[label] / (wanted[label] + given[label]) for label in wanted]
    return {"macro_f1": sum(scores) / len(scores)}


def check_lengths(targets: Sequence, predictions: Sequence) -> None:
    """Raises ValueError unless both are equally long and not empty."""
    if len(targets) != len(predictions) or not len(targets):
        raise ValueError(
            f"A metric needs one prediction for each target and at least one row, got "
            f"{len(targets)} targets and {len(predictions)} predictions."
        )
