"""PAWS-X over all 49 ordered pairs of languages: ``pawsx_pairs.en-ja`` has an English and a
Japanese sentence.

The generalized setting of Huang et al. 2021 (arXiv:2104.08645). Row i of PAWS-X's development and
test sets is the same pair of sentences in every language. Rows that one of the two languages lacks
(the sentence NS, always with label 0) are left out.
"""

from collections.abc import Iterator

from tasks import families
from tasks.extra import pawsx
from xlt_jax.data import formats
from xlt_jax.registry.benchmarks import Benchmark, Files, Overlap, Row, register

_LANGUAGES = pawsx.BENCHMARK.languages
_PAIRS = {f"{first}-{second}": first for first in _LANGUAGES for second in _LANGUAGES}
_SENTENCES = ("sentence1", "sentence2")
_SPLITS = {"validation": "dev", "test": "test"}


def read_by_name(path, language: str) -> Iterator[Row]:
    """XTREME's files, whose names hold the language."""
    first, second = language.split("-")
    other = formats.neighbour(path, path.name.replace(f"-{first}.", f"-{second}."))
    return _joined(pawsx.read_xtreme(path), pawsx.read_xtreme(other), f"{path} and {other}")


def read_by_folder(path, language: str) -> Iterator[Row]:
    """The original files, in a folder for each language."""
    other = path.parent.parent / language.split("-")[1] / path.name
    return _joined(pawsx.read_table(path), pawsx.read_table(other), f"{path} and {other}")


def _joined(firsts, seconds, where: str) -> Iterator[Row]:
    for first, second in formats.in_step(firsts, seconds, where):
        if any(row[name].strip() == "NS" for row in (first, second) for name in _SENTENCES):
            continue
        if first["label"] != second["label"]:
            raise ValueError(
                f"{where} differ in a label ({first['label']!r}, {second['label']!r}): row i is "
                "not the same in both. Take both from one release of PAWS-X."
            )
        yield first | {"sentence2": second["sentence2"]}


BENCHMARK = register(
    Benchmark(
        name="pawsx_pairs",
        description="Do two sentences of two languages that share most words mean the same?",
        languages=tuple(_PAIRS),
        source=(
            Files("x-final/{language}/{split}_2k.tsv", read_by_folder, _SPLITS, _PAIRS),
            Files("pawsx/{split}-{language}.tsv", read_by_name, {"validation": "dev"}, _PAIRS),
        ),
        prompt=pawsx.BENCHMARK.prompt,
        **families.PAIRS,
        parallel=True,
        overlaps=tuple(
            Overlap(name, {split: (split,) for split in _SPLITS}, note)
            for name, note in (
                ("pawsx", "PAWS-X's rows, the two sentences in two languages."),
                ("paws_wiki", pawsx.BENCHMARK.overlaps[0].note),
            )
        ),
        english_training=("pawsx.en",),
        citation="Yang et al. 2019; Huang et al. 2021",
        licence=pawsx.BENCHMARK.licence,
        downloads=pawsx.BENCHMARK.downloads,
    )
)
