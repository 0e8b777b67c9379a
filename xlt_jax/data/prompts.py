"""Text-to-text phrasing that several benchmarks share, and back: pure functions of strings.

Where mT5 published a format (inference, paraphrase, questions, entities), inputs and targets are
the same, character by character: Xue et al. 2021, arXiv:2010.11934, tasks of its released code.

``texts`` of an example are the row's own sentences and paragraphs, as they are in the data set.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

from xlt_jax.registry.benchmarks import Example, LabelledSpans, TaggedWords

INFERENCE_LABELS = ("entailment", "neutral", "contradiction")
PARAPHRASE_LABELS = ("different_meaning", "paraphrase")
ENTITY_LABELS = ("PER", "ORG", "LOC")
NO_ENTITY = "None"
_BETWEEN_ENTITIES = "$$"
# White space of RE2, the expressions of mT5's preprocessing: the others count as punctuation there.
_SPACES = " \t\n\f\r"


# ------------------------------------------------------------------- sentence pairs and choices
def inference(premise: str, hypothesis: str, label: int | str) -> dict | None:
    """An inference example; the target is the label's number, as in mT5's format.

    Args:
        premise: First sentence.
        hypothesis: Second sentence.
        label: 0, 1, 2 or one of ``INFERENCE_LABELS`` ("contradictory" too), or its first letter;
            -1 and "-" (no consensus) drop the row.
    """
    if label in (-1, "-1", "-"):
        return None
    names = {name: number for number, name in enumerate(INFERENCE_LABELS)} | {"contradictory": 2}
    names |= {name[0]: number for name, number in names.items()}
    return {
        "inputs": f"xnli: premise: {premise} hypothesis: {hypothesis}",
        "targets": str(names.get(label, label)),
        "choices": ("0", "1", "2"),
        "texts": (premise, hypothesis),
    }


def paraphrase(
    sentence1: str, sentence2: str, label: int | str, split: str = "train"
) -> dict | None:
    """A paraphrase example, in mT5's format.

    PAWS-X marks a missing translation with the sentence NS, always with label 0. Such rows are not
    trained on; they stay where rows are scored, since the official sets count them.
    """
    untranslated = "NS" in (sentence1.strip(), sentence2.strip())
    if int(label) not in (0, 1) or (untranslated and split == "train"):
        return None
    return {
        "inputs": f"paws sentence1: {sentence1} sentence2: {sentence2}",
        "targets": PARAPHRASE_LABELS[int(label)],
        "choices": PARAPHRASE_LABELS,
        "texts": tuple(text for text in (sentence1, sentence2) if text.strip() != "NS"),
    }


def multiple_choice(
    prefix: str, context: str, endings: Sequence[str], label: int, texts: Sequence[str] = ()
) -> dict | None:
    """A context with its candidate continuations; the target is the right one, spelled out.

    Args:
        prefix: Names the task.
        context: What stands before the continuations.
        endings: The candidates.
        label: Place of the right one; below 0 the row is dropped.
        texts: The texts of the context, where it is several or has words of ours.
    """
    if label < 0:
        return None
    listed = " ".join(f"choice{number}: {text}" for number, text in enumerate(endings, start=1))
    return {
        "inputs": f"{prefix}: {context} {listed}",
        "targets": endings[label],
        "choices": tuple(endings),
        "texts": (*(texts or (context,)), *endings),
    }


def classification(
    prefix: str, text: str, label: str, labels: Sequence[str], texts: Sequence[str] = ()
) -> dict:
    """A text and the name of its class; ``texts`` are its parts, where it has words of ours."""
    return {
        "inputs": f"{prefix}: {text}",
        "targets": label,
        "choices": tuple(labels),
        "texts": tuple(texts or (text,)),
    }


# ----------------------------------------------------------------------------------- questions
def question(
    question_text: str, context: str, answers: Sequence[str], unanswerable: str = ""
) -> dict | None:
    """An extractive question; the first answer is the target, a question without one is dropped.

    An empty answer is none: XTREME's script puts those in place of the test sets' answers.

    As mT5 reads it: punctuation stands alone between spaces. ``references`` are the answers as
    they are, which metrics compare with what ``parse_answer`` makes of a generated text.
    With ``unanswerable``, a question without answer is kept: that is its target, and its only
    reference is empty.
    """
    answers = [answer for answer in answers if answer.strip()]
    if not answers and not unanswerable:
        return None
    padded = _collapse(_pad_punctuation(context))
    return {
        "inputs": _collapse(f"question: {_pad_punctuation(question_text)} context: {padded}"),
        "targets": _collapse(_pad_punctuation(answers[0])) if answers else unanswerable,
        "references": answers or [""],
        "context": padded.removeprefix(" "),
        "original": context,
        "texts": (question_text, context),
    }


def parse_answer(example: Example, text: str) -> tuple[str, bool]:
    """The place of the context that a generated answer copies, as it is written there.

    Compared without white space and in NFKC, as SentencePiece writes; of several places the first
    with the same words, or else the first. An answer that is not in the context (translated,
    inflected) stays as it is, and is no well-formed one.
    """
    wanted = _squash(text)
    if not wanted:
        return "", False
    context = example["original"]
    letters = [
        (letter, start, end)
        for start, end in _clusters(context)
        for letter in _squash(context[start:end])
    ]
    squashed = "".join(letter for letter, _, _ in letters)
    places, start = [], squashed.find(wanted)
    while start >= 0:
        places.append(context[letters[start][1] : letters[start + len(wanted) - 1][2]])
        start = squashed.find(wanted, start + 1)
    if not places:
        return text.strip(), False
    return next((place for place in places if _words(place) == _words(text)), places[0]), True


def _clusters(text: str) -> Iterator[tuple[int, int]]:
    """(start, end) of each character with the marks behind it, which NFKC reorders and joins."""
    start = 0
    for place in range(1, len(text) + 1):
        if place == len(text) or not _joins(text[place]):
            yield start, place
            start = place


def _joins(character: str) -> bool:
    """Whether NFKC may join a character with the one before it: marks, Hangul's later parts."""
    return (
        unicodedata.category(character)[0] == "M"
        or "\u1160" <= character <= "\u11ff"
        or character in "\uff9e\uff9f"
    )


def _words(text: str) -> list[str]:
    return _pad_punctuation(unicodedata.normalize("NFKC", text)).split()


# Letters, marks, numbers that Unicode 15 added: RE2, which mT5's preprocessing uses, has them;
# Python 3.11 has Unicode 14.
_UNICODE_15 = frozenset(
    code
    for first, last in (
        (0x0CF3, 0x0CF3), (0x0ECE, 0x0ECE), (0x10EFD, 0x10EFF), (0x1123F, 0x11241),
        (0x11F00, 0x11F10), (0x11F12, 0x11F3A), (0x11F3E, 0x11F42), (0x11F50, 0x11F59),
        (0x1342F, 0x1342F), (0x13440, 0x13455), (0x1B132, 0x1B132), (0x1B155, 0x1B155),
        (0x1D2C0, 0x1D2D3), (0x1DF25, 0x1DF2A), (0x1E030, 0x1E06D), (0x1E08F, 0x1E08F),
        (0x1E4D0, 0x1E4F9), (0x2B739, 0x2B739), (0x31350, 0x323AF),
    )
    for code in range(first, last + 1)
)  # fmt: skip


class _Padded(dict):
    """``str.translate`` table: spaces around all but letters, marks, numbers, white space, _."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        word = unicodedata.category(character)[0] in "LMN" or code in _UNICODE_15
        self[code] = character if word or character in "_" + _SPACES else f" {character} "
        return self[code]


_PADDED = _Padded()


def _pad_punctuation(text: str) -> str:
    return text.translate(_PADDED)


def _collapse(text: str) -> str:
    """Every run of white space as one space, at the ends too."""
    return re.sub(f"[{_SPACES}]+", " ", text)


# ------------------------------------------------------------------------------------- tagging
def entities(tokens: Sequence[str], tags: Sequence[str], prefix: str = "tag") -> dict:
    """Named entities as ``PER: name $$ LOC: name``, mT5's format; ``references`` are the tags.

    Args:
        tokens: Words of the sentence.
        tags: Of each, in IOB2: O, B-PER, I-PER ...
        prefix: Names the task; one of its own where the labels are not ``ENTITY_LABELS``.
    """
    sentence = " ".join(tokens)
    spans = [f"{label}: {' '.join(tokens[start:end])}" for label, start, end in spans_of(tags)]
    return {
        "inputs": f"{prefix}: {sentence}",
        "targets": f" {_BETWEEN_ENTITIES} ".join(spans) or NO_ENTITY,
        "references": " ".join(tags),
        "tokens": list(tokens),
        "texts": (sentence,),
    }


def tags_of(labels: Sequence[str], tags: Sequence[str]) -> list[str]:
    """Tags of these labels as they are; all others become O."""
    return [tag if tag.partition("-")[2] in labels else "O" for tag in tags]


def spans_of(tags: Sequence[str]) -> list[tuple[str, int, int]]:
    """(label, start, end) of the entities of an IOB2 sequence, in order; ``end`` is exclusive.

    An I- tag after O or after another label begins an entity.
    """
    spans: list[tuple[str, int, int]] = []
    for place, tag in enumerate(tags):
        form, _, label = tag.partition("-")
        if form == "I" and spans and spans[-1][0] == label and spans[-1][2] == place:
            spans[-1] = (label, spans[-1][1], place + 1)
        elif form in "BI":
            spans.append((label, place, place + 1))
    return spans


def parse_entities(
    example: Example, text: str, labels: Sequence[str] = ENTITY_LABELS
) -> tuple[str, bool]:
    """Tags of the sentence for a generated ``PER: name $$ LOC: name``.

    Each name tags its first occurrence after the one before it. A piece without a known label, or
    whose name does not occur there, tags nothing, and the text is not well-formed.
    """
    words = [_squash(token) for token in example["tokens"]]
    tags, cursor, well_formed = ["O"] * len(words), 0, True
    pieces = [] if text.strip() == NO_ENTITY else text.split(_BETWEEN_ENTITIES)
    for piece in pieces:
        label, _, name = piece.strip().partition(":")
        found = _occurrence(words, _squash(name), cursor) if label in labels else None
        if found is None:
            well_formed = False
            continue
        start, cursor = found
        tags[start:cursor] = [f"B-{label}", *[f"I-{label}"] * (cursor - start - 1)]
    return " ".join(tags), well_formed


def _occurrence(words: Sequence[str], name: str, begin: int) -> tuple[int, int] | None:
    """(start, end) of the first run of whole words, from ``begin``, that makes ``name``."""
    for start in range(begin, len(words)):
        rest = name
        for end in range(start, len(words)):
            if not words[end] or not rest.startswith(words[end]):
                break
            rest = rest[len(words[end]) :]
            if not rest:
                return start, end + 1
    return None


def entity_constraint(example: Example, labels: Sequence[str] = ENTITY_LABELS) -> LabelledSpans:
    """The form of every well-formed text of ``entities``."""
    before = tuple(f"{label}:" for label in labels)
    return LabelledSpans(tuple(example["tokens"]), before, _BETWEEN_ENTITIES, NO_ENTITY)


def tagged_words(prefix: str, tokens: Sequence[str], tags: Sequence[str]) -> dict:
    """Each word followed by its tag; ``references`` are the tags."""
    sentence = " ".join(tokens)
    return {
        "inputs": f"{prefix}: {sentence}",
        "targets": " ".join(f"{token} {tag}" for token, tag in zip(tokens, tags, strict=True)),
        "references": " ".join(tags),
        "tokens": list(tokens),
        "texts": (sentence,),
    }


def tagged_words_parser(
    tags: Sequence[str] | None, otherwise: str
) -> Callable[[Example, str], tuple[str, bool]]:
    """A ``parse`` for texts of ``tagged_words``.

    Args:
        tags: All there are; None: any.
        otherwise: The tag of words that a malformed text gives none. Such a text's tags are taken
            in their order; where any word may be one, those before the first fault.
    """

    def parse(example: Example, text: str) -> tuple[str, bool]:
        pieces, found, place = text.split(), [], 0
        for token in example["tokens"]:
            word, wanted = "", _squash(token)
            while place < len(pieces) and len(word) < len(wanted):
                word += _squash(pieces[place])
                place += 1
            known = place < len(pieces) and (tags is None or pieces[place] in tags)
            if word != wanted or not known:
                break
            found.append(pieces[place])
            place += 1
        size = len(example["tokens"])
        if len(found) == size and place == len(pieces):
            return " ".join(found), True
        given = found if tags is None else [piece for piece in pieces if piece in tags][:size]
        return " ".join([*given, *[otherwise] * (size - len(given))]), False

    return parse


def tagged_words_constraint(tags: Sequence[str]) -> Callable[[Example], TaggedWords]:
    """A ``constraint`` for texts of ``tagged_words``."""
    return lambda example: TaggedWords(tuple(example["tokens"]), tuple(tags))


def _squash(text: str) -> str:
    """Without white space and in NFKC: what SentencePiece leaves of a word."""
    return "".join(unicodedata.normalize("NFKC", text).split())


# -------------------------------------------------------------------------------------- chance
def largest_class(examples: Sequence[Mapping]) -> float:
    """Accuracy of always answering the commonest target."""
    counts = Counter(example["targets"] for example in examples)
    return max(counts.values()) / len(examples)


def one_of_choices(examples: Sequence[Mapping]) -> float:
    """Accuracy of picking one of each row's choices at random."""
    return sum(1 / len(example["choices"]) for example in examples) / len(examples)


def one_of_rows(examples: Sequence[Mapping]) -> float:
    """Accuracy of picking one of as many candidates as there are rows."""
    return 1 / len(examples)


def no_answer(examples: Sequence[Mapping]) -> float:
    """Zero: an open answer is not guessed without reading."""
    return 0.0
