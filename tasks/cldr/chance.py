"""What a guess that does not read the input reaches: the ``chance`` of the embedded benchmarks."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from xlt_jax.metrics import span_qa, tagging

Rows = Sequence[Mapping]


def commonest(rows: Rows) -> float:
    """Accuracy of always giving the commonest target."""
    return Counter(row["targets"] for row in rows).most_common(1)[0][1] / len(rows)


def one_of_choices(rows: Rows) -> float:
    """Accuracy of picking one of a row's choices at random."""
    return sum(1 / len(row["choices"]) for row in rows) / len(rows)


def one_of_rows(rows: Rows) -> float:
    """Accuracy at 1 of a random candidate."""
    return 1 / len(rows)


def tags(rows: Rows) -> float:
    """Token accuracy of one tag throughout, granted the right length, or of one fixed sequence."""
    sequences = [row["targets"].split() for row in rows]
    repeated = max(
        sum(sequence.count(tag) / len(sequence) for sequence in sequences) / len(rows)
        for tag in {tag for sequence in sequences for tag in sequence}
    )
    return max(repeated, _best_constant(rows, tagging.sentence_accuracy))


def one_of_three(rows: Rows) -> float:
    """F1 of a random one of the context's three candidate answers, or of one fixed answer.

    The three are of different kinds, so wrong ones hardly overlap with the answer: 1/3.
    """
    return max(1 / 3, _best_constant(rows, span_qa.f1))


def _best_constant(rows: Rows, score: Callable[[str, str], float]) -> float:
    guesses = [guess for guess, _ in Counter(row["targets"] for row in rows).most_common(5)]
    return max(sum(score(row["targets"], guess) for row in rows) / len(rows) for guess in guesses)
