"""Accuracy and entity F1 of tag sequences as text: one tag for each word, separated by spaces."""

import bisect
import itertools
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

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


class EntityCounts(NamedTuple):
    """Entities of one sentence or of several; sums of these give precision, recall and F1.

    Attributes:
        correct: Predicted entities that are gold ones: same type, same first and last word.
        predicted: Predicted entities.
        gold: Entities of the target.
    """

    correct: int
    predicted: int
    gold: int


def entity_f1(targets: Sequence[str], predictions: Sequence[str]) -> dict[str, float]:
    """seqeval's micro ``f1``, ``precision``, ``recall`` over all entities, and ``well_formed``.

    XTREME scores named entities and, with the same function, part-of-speech tags: there a run of
    one tag is an entity. Tags count as seqeval reads them without a scheme: an ``I-`` may begin an
    entity, and a change of type ends one. Of a tag without hyphen the type lacks the first letter,
    so SCONJ is as good as CCONJ; see ``with_whole_types``.

    Args:
        targets: Tags of each sentence, separated by spaces.
        predictions: The same; a sentence with another number of tags is first ``fitted``, and
            ``well_formed`` is the share of sentences where that was not needed.

    All values are in 0..1 and 0 where nothing was predicted or there is nothing to find.

    Source: Hu et al. 2020, arXiv:2003.11080; seqeval 1.2, github.com/chakki-works/seqeval.
    """
    check_lengths(targets, predictions)
    counts = entity_counts_of_rows(targets, predictions)
    same_count = sum(len(t.split()) == len(p.split()) for t, p in zip(targets, predictions))
    return {**f1_of_counts(counts), "well_formed": same_count / len(targets)}


def f1_of_counts(counts: Iterable[EntityCounts]) -> dict[str, float]:
    """``f1``, ``precision`` and ``recall`` of all sentences together, in 0..1; 0 for 0 by 0."""
    counts = list(counts)
    correct = sum(row.correct for row in counts)
    predicted = sum(row.predicted for row in counts)
    gold = sum(row.gold for row in counts)
    return {
        "f1": 2 * correct / (predicted + gold) if predicted + gold else 0.0,
        "precision": correct / predicted if predicted else 0.0,
        "recall": correct / gold if gold else 0.0,
    }


def entity_counts(target: str, prediction: str) -> EntityCounts:
    """Counts of one sentence on its own.

    Their sums over a set give ``entity_f1`` exactly when the tags are O, B- and I-, or bare ones
    ``with_whole_types``. For other bare tags see ``entity_counts_of_rows``.
    """
    return entity_counts_of_rows([target], [prediction])[0]


def entity_counts_of_rows(targets: Sequence[str], predictions: Sequence[str]) -> list[EntityCounts]:
    """Counts of each sentence within its set; their sums always give ``entity_f1`` exactly.

    A bootstrap may resample them. They differ from ``entity_counts`` in one case: to seqeval the
    tag X at the head of a sentence does not begin an entity but ends one that began with the last
    entity of the sentences before, so whether it is ``correct`` depends on those.
    """
    check_lengths(targets, predictions)
    gold_tags = [target.split() for target in targets]
    given_tags = [fitted(t, p).split() for t, p in zip(targets, predictions)]
    # seqeval puts an O behind each sentence; `ends` are the places of those.
    ends = list(itertools.accumulate(len(tags) + 1 for tags in gold_tags))
    gold, given = _entities(gold_tags), _entities(given_tags)
    columns = []
    for entities in (gold & given, given, gold):
        of_row = Counter(bisect.bisect_right(ends, last) for _, _, last in entities)
        columns.append([of_row[row] for row in range(len(targets))])
    return list(map(EntityCounts, *columns))


def with_whole_types(tags: str) -> str:
    """Bare tags such as ``SCONJ`` as ``S-<SCONJ>``: they count as with seqeval up to 0.0.12.

    That version was current when XTREME appeared, and the official program's own test expects its
    values; the program runs with any version. It took the whole bare tag for the type, so SCONJ
    was not CCONJ and X not different from other tags. Rewrite targets and predictions alike; then
    sums of ``entity_counts`` are exact for part-of-speech tags too.
    """
    return " ".join(
        tag if tag == "O" or "-" in tag else f"{tag[0]}-<{tag}>" for tag in tags.split()
    )


def pos_f1(targets: Sequence[str], predictions: Sequence[str]) -> dict[str, float]:
    """``entity_f1`` of part-of-speech tags, read ``with_whole_types``: as XTREME published it.

    The official program gives the same with seqeval 0.0.12, whose values its own test expects, and
    another number (70.40 and not 70.22 on its mock data) with seqeval from 0.0.19 on.
    """
    return entity_f1(list(map(with_whole_types, targets)), list(map(with_whole_types, predictions)))


def pos_counts(target: str, prediction: str) -> EntityCounts:
    """Counts of one sentence; their sums give ``pos_f1`` exactly."""
    return entity_counts(with_whole_types(target), with_whole_types(prediction))


def sentence_f1(target: str, prediction: str) -> float:
    """F1 over the entities of one sentence, in 0..1; 1 when there are none and none are given.

    For reports: the mean over sentences is not ``entity_f1``, which weighs entities alike.
    """
    counts = entity_counts(target, prediction)
    return f1_of_counts([counts])["f1"] if counts.predicted + counts.gold else 1.0


def fitted(target: str, prediction: str) -> str:
    """The prediction with as many tags as the target: cut, or filled up with O at the end.

    O for part-of-speech tags too: it is no entity to seqeval, so a word left out lowers recall
    only. Another filler, such as _, would make entities, which would equal gold ones of type X.
    """
    wanted, given = len(target.split()), prediction.split()
    return " ".join(given[:wanted] + ["O"] * (wanted - len(given)))


def _entities(sentences: Sequence[Sequence[str]]) -> set[tuple[str, int, int]]:
    """(type, first place, last place) of every entity, by seqeval."""
    from seqeval.metrics.sequence_labeling import get_entities  # a second: it loads scikit-learn

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of every tag that is not B-, I-, ...
        return set(get_entities([list(tags) for tags in sentences]))
