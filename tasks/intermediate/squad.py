"""SQuAD 1.1 and 2.0: extractive questions in English (Rajpurkar et al. 2016, arXiv:1606.05250;
2018, arXiv:1806.03822).

2.0 has questions that their paragraph does not answer. 1.1 also as pairs of a question and the
sentence that answers it, for dual encoders.
"""

import re
from collections.abc import Sequence

from tasks import downloads, families
from xlt_jax.data import formats, prompts
from xlt_jax.metrics import span_qa
from xlt_jax.registry.benchmarks import (
    Benchmark,
    Example,
    Files,
    Overlap,
    Request,
    Row,
    Tfds,
    register,
)

NO_ANSWER = "unanswerable"
_SPLITS = {"train": "train", "validation": "dev"}
_TFDS_SPLITS = {"train": "train", "validation": "validation"}
_SAME_SPLITS = {split: (split,) for split in _SPLITS}
_SOURCE = (
    Files("squad/{split}-v1.1*.json", formats.squad, _SPLITS),
    Tfds("squad/v1.1:3.0.0", _TFDS_SPLITS),
)
_CITATION, _LICENCE = "Rajpurkar et al. 2016", "CC BY-SA 4.0"
_URL = "https://rajpurkar.github.io/SQuAD-explorer/dataset"


def _downloads(version: str) -> tuple:
    return tuple(
        downloads.known(f"{_URL}/{split}-{version}.json", f"squad/{split}-{version}.json")
        for split in ("train", "dev")
    )


def sentence_pair(row: Row) -> dict | None:
    """A question and the sentence of its answer before the paragraph, as LAReQA's candidates are.

    A sentence ends after . ! or ? before white space. Rows whose answer crosses one are dropped.
    """
    context, start = row["context"], row["answers"]["answer_start"][0]
    ends = [match.end() for match in re.finditer(r"[.!?](?=\s)", context)] + [len(context)]
    begin = max((end for end in ends if end <= start), default=0)
    end = next(end for end in ends if end > start)
    if start + len(row["answers"]["text"][0]) > end:
        return None
    sentence = context[begin:end].strip()
    return {
        "inputs": f"question: {row['question']}",
        "targets": f"answer: {sentence} {context}",
        "texts": (row["question"], context),
    }


# ------------------------------------------------------------------- questions without an answer
def unanswerable_prompt(row: Row) -> dict:
    """As SQuAD 1.1's; the target is ``NO_ANSWER`` where the paragraph has none.

    It is not read in windows: those without the answer would say that there is none.
    """
    made = prompts.question(row["question"], row["context"], row["answers"]["text"], NO_ANSWER)
    return {name: value for name, value in made.items() if name != "context"}


def parse_or_none(example: Example, text: str) -> tuple[str, bool]:
    """``prompts.parse_answer``, and an empty answer for ``NO_ANSWER``."""
    return ("", True) if text.strip() == NO_ANSWER else prompts.parse_answer(example, text)


def f1(references: Sequence[str], prediction: str) -> float:
    """SQuAD's F1, and 1 where there is no answer and none is given.

    Source: Rajpurkar et al. 2018, the official evaluate-v2.0.py.
    """
    return max(measure(references, prediction, "squad") for measure in (span_qa.f1, span_qa.em))


def metric(references: Sequence[Sequence[str]], predictions: Sequence[str]) -> dict[str, float]:
    """``f1`` and ``em`` over all questions."""
    found = span_qa.squad(references, predictions, "squad")
    return found | {"f1": sum(map(f1, references, predictions)) / len(references)}


def never_answering(examples: Sequence[Example]) -> float:
    """F1 of no answer to any question."""
    return sum(example["references"] == [""] for example in examples) / len(examples)


BENCHMARK = register(
    Benchmark(
        name="squad",
        description="Which span of a paragraph answers the question?",
        languages=("en",),
        source=_SOURCE,
        prompt=lambda row: prompts.question(
            row["question"], row["context"], row["answers"]["text"]
        ),
        **families.QUESTIONS,
        version="2",
        citation=_CITATION,
        licence=_LICENCE,
        downloads=_downloads("v1.1"),
    )
)
UNANSWERABLE = register(
    Benchmark(
        name="squad_v2",
        description="Which span of a paragraph answers the question, if any does?",
        languages=("en",),
        source=(
            Files("squad/{split}-v2.0*.json", formats.squad, _SPLITS),
            Tfds("squad/v2.0:3.0.0", _TFDS_SPLITS),
        ),
        prompt=unanswerable_prompt,
        **families.QUESTIONS
        | {
            "parse": parse_or_none,
            "metric": metric,
            "example_score": f1,
            "chance": never_answering,
        },
        overlaps=(Overlap("squad", _SAME_SPLITS, "SQuAD 2.0 has SQuAD 1.1's questions, too."),),
        citation="Rajpurkar, Jia and Liang 2018",
        licence=_LICENCE,
        downloads=_downloads("v2.0"),
    )
)
SENTENCES = register(
    Benchmark(
        name="squad_sentences",
        description="Questions with the sentences that answer them, to train a dual encoder.",
        languages=("en",),
        source=_SOURCE,
        prompt=sentence_pair,
        request=Request.TRAIN_ONLY,
        kind="retrieval",
        overlaps=(Overlap("squad", _SAME_SPLITS, "SQuAD's questions with sentences as answers."),),
        citation=_CITATION,
        licence=_LICENCE,
        downloads=_downloads("v1.1"),
    )
)
