"""QQP: do two questions of Quora ask the same? (Iyer, Dandekar and Csernai 2017), as in GLUE.

The prompt is T5's (Raffel et al. 2020, arXiv:1910.10683).
"""

import csv
from collections.abc import Iterator

from tasks import downloads, families
from xlt_jax.data import formats
from xlt_jax.registry.benchmarks import Benchmark, Files, Row, Tfds, register

LABELS = ("not_duplicate", "duplicate")


def read_glue(path, language: str) -> Iterator[Row]:
    """Rows of GLUE's table; those of another form, of which it has some, are dropped."""
    rows = csv.reader(formats.lines(path), delimiter="\t", quoting=csv.QUOTE_NONE)
    next(rows, None)
    for fields in rows:
        if len(fields) == 6 and fields[5] in ("0", "1"):
            yield {"question1": fields[3], "question2": fields[4], "label": int(fields[5])}


def prompt(row: Row) -> dict | None:
    """``qqp question1: ... question2: ...`` -> ``duplicate``."""
    if row["label"] < 0:
        return None
    first, second = row["question1"], row["question2"]
    return {
        "inputs": f"qqp question1: {first} question2: {second}",
        "targets": LABELS[row["label"]],
        "choices": LABELS,
        "texts": (first, second),
    }


BENCHMARK = register(
    Benchmark(
        name="qqp",
        description="Do two questions ask the same?",
        languages=("en",),
        source=(
            Files("QQP/{split}.tsv", read_glue, {"train": "train", "validation": "dev"}),
            Tfds("glue/qqp:2.0.0", {"train": "train", "validation": "validation"}),
        ),
        prompt=prompt,
        **families.PAIRS,
        citation="Iyer, Dandekar and Csernai 2017; Wang et al. 2018 (GLUE)",
        licence="Quora's terms of service",
        downloads=(
            downloads.known(
                "https://dl.fbaipublicfiles.com/glue/data/QQP.zip", "QQP.zip", unpack=True
            ),
        ),
    )
)
