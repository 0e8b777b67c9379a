"""Accuracy of tag sequences written as text: one tag for each word, separated by spaces."""

from collections.abc import Sequence

from xlt_jax.metrics.classification import check_lengths


def sentence_accuracy(target: str, prediction: str) -> float:
    """Share of one sentence's tags that are right, position by position, in 0..1.

    A missing tag is wrong and a surplus tag adds to the denominator, so that neither stopping
    early nor going on can gain anything.
    """
    wanted, given = target.split(), prediction.split()
    longest = max(len(wanted), len(given))
    return sum(map(str.__eq__, wanted, given)) / longest if longest else 1.0


def tag_accuracy(targets: Sequence[str], predictions: Sequence[str]) -> dict[str, float]:
    """``token_accuracy``, the mean of ``sentence_accuracy``, and ``well_formed``.

    ``well_formed`` is the share of sentences with the right number of tags. Sentences weigh the
    same whatever their length; accuracy over all tokens of a set would weigh long ones more.
    """
    check_lengths(targets, predictions)
    rows = len(targets)
    same_count = sum(len(t.split()) == len(p.split()) for t, p in zip(targets, predictions))
    return {
        "token_accuracy": sum(map(sentence_accuracy, targets, predictions)) / rows,
        "well_formed": same_count / rows,
    }
