"""SQuAD 1.1: extractive questions in English (Rajpurkar et al. 2016, arXiv:1606.05250).

Also as pairs of a question and the sentence that answers it, for dual encoders.
"""

import re

from tasks import downloads, families
from xlt_jax.data import formats, prompts
from xlt_jax.registry.benchmarks import Benchmark, Files, Request, Row, Tfds, register

_SPLITS = {"train": "train", "validation": "dev"}
_SOURCE = (
    Files("squad/{split}-v1.1*.json", formats.squad, _SPLITS),
    Tfds("squad/v1.1:3.0.0", {"train": "train", "validation": "validation"}),
)
_CITATION, _LICENCE = "Rajpurkar et al. 2016", "CC BY-SA 4.0"
_URL = "https://rajpurkar.github.io/SQuAD-explorer/dataset"
_DOWNLOADS = tuple(
    downloads.known(f"{_URL}/{split}-v1.1.json", f"squad/{split}-v1.1.json")
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
    return {"inputs": f"question: {row['question']}", "targets": f"answer: {sentence} {context}"}


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
        downloads=_DOWNLOADS,
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
        citation=_CITATION,
        licence=_LICENCE,
        downloads=_DOWNLOADS,
    )
)
