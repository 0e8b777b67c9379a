"""Text-to-text phrasing that several benchmarks share: pure functions of strings."""

from collections import Counter
from collections.abc import Mapping, Sequence

INFERENCE_LABELS = ("entailment", "neutral", "contradiction")
PARAPHRASE_LABELS = ("different_meaning", "paraphrase")


def inference(premise: str, hypothesis: str, label: int) -> dict | None:
    """An inference example; label 0, 1, 2 as in the NLI data sets, -1 (no consensus) drops it.

    Source: mT5's text format for XNLI with the label spelled out.
    """
    if label < 0:
        return None
    return {
        "inputs": f"xnli: premise: {premise} hypothesis: {hypothesis}",
        "targets": INFERENCE_LABELS[label],
        "choices": INFERENCE_LABELS,
    }


def paraphrase(sentence1: str, sentence2: str, label: int) -> dict | None:
    """A paraphrase example; PAWS-X marks a missing translation with the sentence NS: dropped."""
    if label < 0 or "NS" in (sentence1, sentence2):
        return None
    return {
        "inputs": f"paws: sentence1: {sentence1} sentence2: {sentence2}",
        "targets": PARAPHRASE_LABELS[label],
        "choices": PARAPHRASE_LABELS,
    }


def question(question_text: str, context: str, answers: Sequence[str]) -> dict | None:
    """An extractive question; the first answer is the target, a question without one is dropped."""
    if not answers:
        return None
    return {"inputs": f"question: {question_text} context: {context}", "targets": answers[0]}


def multiple_choice(prefix: str, context: str, endings: Sequence[str], label: int) -> dict | None:
    """A context with its candidate continuations; the target is the right one, spelled out."""
    if label < 0:
        return None
    listed = " ".join(f"choice{number}: {text}" for number, text in enumerate(endings, start=1))
    return {
        "inputs": f"{prefix}: {context} {listed}",
        "targets": endings[label],
        "choices": tuple(endings),
    }


def entities(tokens: Sequence[str], spans: Sequence[str]) -> dict:
    """A tagging example: ``PER: name $$ LOC: name``, mT5's format for named entities."""
    return {"inputs": f"tag: {' '.join(tokens)}", "targets": " $$ ".join(spans)}


def largest_class(examples: Sequence[Mapping]) -> float:
    """Accuracy of always answering the commonest target."""
    counts = Counter(example["targets"] for example in examples)
    return max(counts.values()) / len(examples)


def one_of_choices(examples: Sequence[Mapping]) -> float:
    """Accuracy of picking one of each row's choices at random."""
    return sum(1 / len(example["choices"]) for example in examples) / len(examples)


def no_answer(examples: Sequence[Mapping]) -> float:
    """Zero: an open answer is not guessed without reading."""
    return 0.0
