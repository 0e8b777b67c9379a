"""LAReQA (XQuAD-R): sentences that answer a question, in any of 11 languages (Roy et al. 2020,
arXiv:2004.05484).

A question's answers are the sentences that hold its answer span in all languages; candidates are
all sentences of all paragraphs of all languages, each read with its paragraph. The prompt is ours.
"""

import functools
from collections.abc import Iterator

from tasks import downloads, families
from tasks.xtreme_r import xquad
from xlt_jax.data import formats, sources
from xlt_jax.registry import xtreme
from xlt_jax.registry.benchmarks import Benchmark, Files, Overlap, Request, Row, register

_LANGUAGES = xtreme.task("lareqa").languages
_URL = "https://raw.githubusercontent.com/google-research-datasets/lareqa/master/xquad-r"
_DOWNLOADS = tuple(
    downloads.known(f"{_URL}/{code}.json", f"lareqa_xquad_r/{code}.json") for code in _LANGUAGES
)
_CITATION, _LICENCE = "Roy et al. 2020", "CC BY-SA 4.0"
_OVERLAPS = (
    Overlap(xquad.BENCHMARK.name, {"test": ("test",)}, "LAReQA asks XQuAD's questions."),
    *xquad.OVERLAPS,
)


def read_sentences(path, language: str) -> Iterator[Row]:
    """Every sentence, with the questions whose answer begins in it or in one of the same words."""
    for number, paragraph in enumerate(_paragraphs(path), start=1):
        text = paragraph["context"]
        breaks = [tuple(pair) for pair in paragraph["sentence_breaks"]]
        answered: dict[str, list[str]] = {}
        for question in paragraph["qas"]:
            begin = question["answers"][0]["answer_start"]
            for start, end in breaks:
                if start <= begin < end:
                    answered.setdefault(text[start:end], []).append(question["id"])
                    break
        for position, (start, end) in enumerate(breaks):
            yield {
                "id": f"{language}_{number}_{position}",
                "sentence": text[start:end],
                "paragraph": text,
                "answers": answered.get(text[start:end], []),
            }


def read_questions(path, language: str) -> Iterator[Row]:
    """Questions answered within one sentence; ``question_id`` is the same in all languages."""
    for paragraph in _paragraphs(path):
        for question in paragraph["qas"]:
            begin = question["answers"][0]["answer_start"]
            if any(start <= begin < end for start, end in paragraph["sentence_breaks"]):
                yield {
                    "id": f"{question['id']}_{language}",
                    "question_id": question["id"],
                    "question": question["question"],
                }


def candidate(row: Row) -> dict:
    """A sentence before the paragraph it stands in."""
    return {
        "inputs": f"answer: {row['sentence']} {row['paragraph']}",
        "targets": "",
        "texts": (row["sentence"], row["paragraph"]),
    }


def query(row: Row) -> dict:
    """A question; its reference is the candidates that answer it, in all languages."""
    answers = _answers()[row["question_id"]]
    return {
        "inputs": f"question: {row['question']}",
        "targets": " ".join(answers),
        "texts": (row["question"],),
    }


def _paragraphs(path) -> Iterator[Row]:
    for article in formats.json_value(path)["data"]:
        yield from article["paragraphs"]


@functools.cache
def _answers() -> dict[str, list[str]]:
    """Question -> ids of its answers, over all languages."""
    answers: dict[str, list[str]] = {}
    for language in _LANGUAGES:
        for row in sources.rows(CANDIDATES, language, "test"):
            for question in row["answers"]:
                answers.setdefault(question, []).append(row["id"])
    return answers


def _files(read) -> tuple[Files, ...]:
    folders = ("lareqa_xquad_r", "lareqa/xquad-r", "lareqa")
    return tuple(Files(f"{folder}/{{language}}.json", read, {"test": ""}) for folder in folders)


CANDIDATES = register(
    Benchmark(
        name="lareqa_candidates",
        description="The sentences that LAReQA's questions are searched among.",
        languages=_LANGUAGES,
        source=_files(read_sentences),
        prompt=candidate,
        request=Request.CANDIDATES,
        kind="retrieval",
        parallel=True,
        overlaps=_OVERLAPS,
        citation=_CITATION,
        licence=_LICENCE,
        downloads=_DOWNLOADS,
    )
)
BENCHMARK = register(
    Benchmark(
        name="lareqa",
        description="Which sentences, in any of 11 languages, answer the question?",
        languages=_LANGUAGES,
        source=_files(read_questions),
        prompt=query,
        **families.RANKINGS,
        candidates=CANDIDATES.name,
        parallel=True,
        overlaps=_OVERLAPS,
        english_training=("squad_sentences.en",),
        citation=_CITATION,
        licence=_LICENCE,
        downloads=_DOWNLOADS,
    )
)
