"""Financial PhraseBank: is a sentence of the news good for a share's price? (Malo et al. 2014).

The sentences on which all annotators agree. There is no official split: every tenth is for testing.
The prompt is ours.
"""

from collections.abc import Iterator

from tasks import families
from xlt_jax.data import formats, prompts
from xlt_jax.registry.benchmarks import Benchmark, Files, Row, register

SENTIMENTS = ("negative", "neutral", "positive")
_TENTH = 10


def read_train(path, language: str) -> Iterator[Row]:
    """Sentences but every tenth."""
    return (row for row in _rows(path) if row["id"] % _TENTH != _TENTH - 1)


def read_test(path, language: str) -> Iterator[Row]:
    """Every tenth sentence."""
    return (row for row in _rows(path) if row["id"] % _TENTH == _TENTH - 1)


def _rows(path) -> Iterator[Row]:
    for number, line in enumerate(formats.lines(path, encoding="latin-1")):
        sentence, _, label = line.rpartition("@")
        yield {"id": number, "sentence": sentence.strip(), "label": label.strip()}


BENCHMARK = register(
    Benchmark(
        name="financial_phrasebank",
        description="Is a sentence of financial news negative, neutral or positive?",
        languages=("en",),
        source=tuple(
            Files("FinancialPhraseBank*/Sentences_AllAgree.txt", read, {split: ""})
            for split, read in (("test", read_test), ("train", read_train))
        ),
        prompt=lambda row: prompts.classification(
            "phrasebank", row["sentence"], row["label"], SENTIMENTS
        ),
        **families.CLASSES,
        kind="classification",
        chance=prompts.largest_class,
        max_target_tokens=8,
        domain="financial",
        citation="Malo et al. 2014",
        licence="CC BY-NC-SA 3.0",
        manual=(
            "Unpack FinancialPhraseBank-v1.0.zip of Malo et al. (on ResearchGate) below the data "
            "folder."
        ),
    )
)
