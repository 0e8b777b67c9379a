"""LexGLUE's sets with short labels: contracts, terms of service, holdings, opinions (Chalkidis et
al. 2022, arXiv:2110.00976).

LEDGAR: topics of contract provisions, written out since there are a hundred. UNFAIR-ToS: which
unfair terms a sentence has, joined by commas, mostly none. CaseHOLD: the holding that an excerpt
cites. SCOTUS: issue areas of opinions. ECtHR and EUR-LEX, whose labels are numbers, are left out.
The prompts are ours.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from tasks import families
from xlt_jax.data import formats, prompts
from xlt_jax.metrics import classification, tagging
from xlt_jax.registry.benchmarks import (
    Benchmark,
    Download,
    Example,
    Files,
    Request,
    Row,
    register,
)

UNFAIR = (
    "Arbitration",
    "Choice of law",
    "Content removal",
    "Contract by using",
    "Jurisdiction",
    "Limitation of liability",
    "Unilateral change",
    "Unilateral termination",
)
FAIR = "none"
# Areas 1 to 13 of the Supreme Court Database.
AREAS = (
    "Criminal Procedure",
    "Civil Rights",
    "First Amendment",
    "Due Process",
    "Privacy",
    "Attorneys",
    "Unions",
    "Economic Activity",
    "Judicial Power",
    "Federalism",
    "Interstate Relations",
    "Federal Taxation",
    "Miscellaneous",
)
_SPLITS = ("train", "validation", "test")
# CaseHOLD's rows in the order of its file.
_HOLDINGS = {"train": (0, 45_000), "validation": (45_000, 48_900), "test": (48_900, 52_500)}
_holdings = formats.table(
    *(None, "excerpt", *(f"holding{n}" for n in range(5)), *[None] * 5, "label"),
    delimiter=",",
    quoted=True,
    header=False,
)


def read_part(data_type: str):
    """A reader of the rows of a JSON-lines file that are of one part."""

    def read(path, language: str) -> Iterator[Row]:
        return (row for row in formats.json_lines(path) if row["data_type"] == data_type)

    return read


def read_holdings(first: int, end: int):
    """A reader of CaseHOLD's rows from ``first`` up to ``end``; the first line is a header."""

    def read(path, language: str) -> Iterator[Row]:
        return itertools.islice(_holdings(path), first + 1, end + 1)

    return read


def terms(row: Row) -> dict:
    """``unfairtos: ...`` -> ``Choice of law, Jurisdiction``."""
    found = sorted(set(row["labels"]) & set(UNFAIR))
    text = row["text"].strip()
    return {
        "inputs": f"unfairtos: {text}",
        "targets": ", ".join(found) or FAIR,
        "texts": (text,),
    }


def parse_terms(example: Example, text: str) -> tuple[str, bool]:
    """The terms that a generated text names; it is well-formed if it names nothing else."""
    pieces = [piece.strip() for piece in text.split(",")]
    found = [piece for piece in pieces if piece in (*UNFAIR, FAIR)]
    return ", ".join(found), found == pieces


def term_counts(reference: str, prediction: str) -> tagging.EntityCounts:
    """Right, predicted and wanted terms of a sentence; no term is a term of its own, as there."""
    wanted, given = (set(filter(None, text.split(", "))) for text in (reference, prediction))
    return tagging.EntityCounts(len(wanted & given), len(given), len(wanted))


def micro_f1(references: Sequence[str], predictions: Sequence[str]) -> dict[str, float]:
    """``f1``, ``precision`` and ``recall`` over the terms of all sentences."""
    classification.check_lengths(references, predictions)
    return tagging.f1_of_counts(map(term_counts, references, predictions))


def all_fair(examples: Sequence[Example]) -> float:
    """F1 of finding no unfair term anywhere."""
    return micro_f1([example["targets"] for example in examples], [FAIR] * len(examples))["f1"]


def _parts(name: str) -> tuple[Files, ...]:
    validation = "val" if name == "unfair_tos" else "dev"
    return tuple(
        Files(f"lex_glue/{name}.jsonl", read_part(part), {split: ""})
        for split, part in zip(_SPLITS, ("train", validation, "test"))
    )


def _benchmark(name: str, description: str, source: tuple[Files, ...], **fields: Any) -> Benchmark:
    archive = source[0].pattern.removeprefix("lex_glue/").partition(".")[0]
    return Benchmark(
        name=name,
        description=description,
        languages=("en",),
        source=source,
        domain="legal",
        citation="Chalkidis et al. 2022",
        licence="CC BY 4.0",
        downloads=(
            Download(
                f"https://zenodo.org/record/5532997/files/{archive}.tar.gz",
                f"lex_glue/{archive}.tar.gz",
                unpack=True,
            ),
        ),
        **fields,
    )


LEDGAR = register(
    _benchmark(
        "ledgar",
        "Which of a hundred topics has a provision of a contract?",
        _parts("ledgar"),
        prompt=lambda row: {
            "inputs": f"ledgar: {row['text']}",
            "targets": row["clause_type"],
            "texts": (row["text"],),
        },
        **families.CLASSES | {"request": Request.GENERATE},
        kind="classification",
        chance=prompts.largest_class,
    )
)
UNFAIR_TOS = register(
    _benchmark(
        "unfair_tos",
        "Which unfair terms, of eight kinds, does a sentence of terms of service have?",
        _parts("unfair_tos"),
        prompt=terms,
        parse=parse_terms,
        request=Request.GENERATE,
        kind="classification",
        metric=micro_f1,
        example_counts=term_counts,
        main_metric="f1",
        chance=all_fair,
        max_target_tokens=64,
    )
)
CASE_HOLD = register(
    _benchmark(
        "case_hold",
        "Which of five holdings does an excerpt of a decision cite?",
        tuple(
            Files("lex_glue/casehold.csv", read_holdings(*rows), {split: ""})
            for split, rows in _HOLDINGS.items()
        ),
        prompt=lambda row: prompts.multiple_choice(
            "casehold",
            row["excerpt"],
            [row[f"holding{number}"] for number in range(5)],
            int(row["label"] or -1),
        ),
        **families.CHOICES,
        max_target_tokens=128,
    )
)
SCOTUS = register(
    _benchmark(
        "scotus",
        "Which of 13 areas is an opinion of the Supreme Court of the United States about?",
        _parts("scotus"),
        prompt=lambda row: prompts.classification(
            "scotus", row["text"], AREAS[int(row["issueArea"]) - 1], AREAS
        ),
        **families.CLASSES,
        kind="classification",
        chance=prompts.largest_class,
    )
)
