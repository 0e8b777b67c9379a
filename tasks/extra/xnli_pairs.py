"""XNLI over all 225 ordered pairs of languages: ``xnli_pairs.en-sw`` has an English premise and a
Swahili hypothesis.

The generalized setting of Huang et al. 2021 (arXiv:2104.08645). Row i of XNLI is the same pair of
sentences in every language.
"""

from collections.abc import Iterator

from tasks import families
from tasks.xtreme_r import xnli
from xlt_jax.data import formats
from xlt_jax.registry.benchmarks import Benchmark, Files, Overlap, Row, Tfds, register

_PAIRS = {
    f"{first}-{second}": first
    for first in xnli.BENCHMARK.languages
    for second in xnli.BENCHMARK.languages
}
_SPLITS = {"validation": "dev", "test": "test"}


def read_two_files(path, language: str) -> Iterator[Row]:
    """The premises of a file and the hypotheses of the same rows in the other language's file."""
    first, second = language.split("-")
    other = formats.neighbour(path, path.name.replace(f"-{first}.", f"-{second}."))
    return _joined(xnli.read_xtreme(path), xnli.read_xtreme(other), f"{path} and {other}")


def read_one_file(path, language: str) -> Iterator[Row]:
    """The same from the original file, which holds all languages."""
    first, second = (list(xnli.read_original(path, code)) for code in language.split("-"))
    return _joined(first, second, f"{path}, languages {language}")


def _joined(premises, hypotheses, where: str) -> Iterator[Row]:
    for premise, hypothesis in formats.in_step(premises, hypotheses, where):
        if premise["label"] != hypothesis["label"]:
            raise ValueError(
                f"{where} differ in a label ({premise['label']!r}, {hypothesis['label']!r}): row i "
                "is not the same in both. Take both from one release of XNLI."
            )
        yield premise | {"hypothesis": hypothesis["hypothesis"]}


def of_pair(row: Row, language: str) -> Row:
    """The columns of two languages out of a row of TFDS, which holds all fifteen."""
    first, second = (xnli.of_language(row, code) for code in language.split("-"))
    return first | {"hypothesis": second["hypothesis"]}


BENCHMARK = register(
    Benchmark(
        name="xnli_pairs",
        description="Does a premise entail a hypothesis in another language, or contradict it?",
        languages=tuple(_PAIRS),
        source=(
            Files("XNLI-1.0/xnli.{split}.tsv", read_one_file, _SPLITS),
            Files("xnli/{split}-{language}.tsv", read_two_files, {"validation": "dev"}, _PAIRS),
            Files("nc/xnli/{split}-{language}.tsv", read_two_files, {"validation": "dev"}, _PAIRS),
            Tfds("xnli:1.1.0", {"validation": "validation", "test": "test"}, select=of_pair),
        ),
        prompt=xnli.BENCHMARK.prompt,
        **families.PAIRS,
        parallel=True,
        overlaps=(
            Overlap(
                "xnli",
                {split: (split,) for split in _SPLITS},
                "XNLI's rows, the premise in one language and the hypothesis in another.",
            ),
            *xnli.BENCHMARK.overlaps,
        ),
        english_training=("mnli.en",),
        citation="Conneau et al. 2018; Huang et al. 2021",
        licence=xnli.BENCHMARK.licence,
        downloads=xnli.BENCHMARK.downloads,
    )
)
