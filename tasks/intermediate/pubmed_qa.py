"""PubMedQA: yes, no or maybe to a question that an abstract answers (Jin et al. 2019,
arXiv:1909.06146).

The thousand labelled by experts: 500 are the official test set, the others are trained on. The
abstract is without its conclusion. The prompt is ours.
"""

from collections.abc import Iterator

from tasks import families
from xlt_jax.data import formats, prompts
from xlt_jax.registry.benchmarks import Benchmark, Download, Files, Row, register

ANSWERS = ("yes", "no", "maybe")
_ALL, _TEST = "ori_pqal", "test_ground_truth"  # all questions; the answers of the test set
_URL = "https://raw.githubusercontent.com/pubmedqa/pubmedqa/master/data"


def read_train(path, language: str) -> Iterator[Row]:
    """Questions that are not in the list of the test set beside the file of all."""
    return _rows(path, formats.neighbour(path, path.name.replace(_ALL, _TEST)), tested=False)


def read_test(path, language: str) -> Iterator[Row]:
    """Those that are in it, from the file of all beside the list."""
    return _rows(formats.neighbour(path, path.name.replace(_TEST, _ALL)), path, tested=True)


def _rows(questions, test_ids, tested: bool) -> Iterator[Row]:
    known = formats.json_value(test_ids)
    for row_id, row in formats.json_value(questions).items():
        if (row_id in known) is tested:
            yield {"id": row_id, **row}


def prompt(row: Row) -> dict:
    """``pubmedqa: question: ... context: ...`` -> ``maybe``."""
    question, context = row["QUESTION"], " ".join(row["CONTEXTS"])
    return prompts.classification(
        "pubmedqa",
        f"question: {question} context: {context}",
        row["final_decision"],
        ANSWERS,
        texts=(question, *row["CONTEXTS"]),
    )


BENCHMARK = register(
    Benchmark(
        name="pubmed_qa",
        description="Does an abstract of medical research answer a question with yes or no?",
        languages=("en",),
        source=tuple(
            Files(f"{prefix}{name}.json", read, {split: ""})
            for prefix in ("pubmed_qa/", "domain/pubmedqa.")
            for split, name, read in (("train", _ALL, read_train), ("test", _TEST, read_test))
        ),
        prompt=prompt,
        **families.CLASSES,
        kind="classification",
        chance=prompts.largest_class,
        max_target_tokens=8,
        domain="medical",
        citation="Jin et al. 2019",
        licence="MIT",
        downloads=tuple(
            Download(f"{_URL}/{name}.json", f"pubmed_qa/{name}.json") for name in (_ALL, _TEST)
        ),
    )
)
