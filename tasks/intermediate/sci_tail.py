"""SciTail: does a sentence of the web entail a fact of a school examination? (Khot, Sabharwal and
Clark 2018).

Asked as the other inference sets are, with two of their three answers.
"""

from collections.abc import Iterator

from tasks import families
from xlt_jax.data import formats, prompts
from xlt_jax.registry.benchmarks import Benchmark, Files, Row, Tfds, register

_LABELS = {"entails": 0, "neutral": 1}
# Quotation marks are those of the sentences.
_table = formats.table("premise", "hypothesis", "label", header=False)


def read_original(path, language: str) -> Iterator[Row]:
    """Rows of the tab-separated table with the numbers of their labels, as TFDS has them."""
    for row in _table(path):
        yield row | {"label": _LABELS[row["label"]]}


def prompt(row: Row) -> dict:
    """``xnli: premise: ... hypothesis: ...`` -> ``0`` or ``1``."""
    made = prompts.inference(row["premise"], row["hypothesis"], row["label"])
    return made | {"choices": made["choices"][:2]}


BENCHMARK = register(
    Benchmark(
        name="sci_tail",
        description="Does a sentence entail a fact of science, or not?",
        languages=("en",),
        source=(
            Files(
                "SciTailV1.1/tsv_format/scitail_1.0_{split}.tsv",
                read_original,
                {"train": "train", "validation": "dev", "test": "test"},
            ),
            Tfds("sci_tail:1.0.0"),
        ),
        prompt=prompt,
        **families.PAIRS,
        domain="scientific",
        citation="Khot, Sabharwal and Clark 2018",
        licence="see allenai.org/data/scitail",
        manual="Unpack SciTailV1.1.zip, from allenai.org/data/scitail, below the data folder.",
    )
)
