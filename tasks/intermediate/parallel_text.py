"""parallel_text: sentences with their English, of one's own files or ParaCrawl; unlabelled.

A file has a pair in each line: the sentence, a tab, its English, and maybe another tab and word
links such as ``0-0 1-2`` between the two, as ``python -m xlt_jax.data align`` writes them.
"""

from collections.abc import Iterator

from tasks.cldr import parallel
from xlt_jax.data import formats, pharaoh
from xlt_jax.registry import languages
from xlt_jax.registry.benchmarks import Benchmark, Files, Request, Row, Tfds, register

_SPLITS = {split: split for split in ("train", "validation", "test")}
# Those of its 23 languages that the registry has.
_PARACRAWL = {code: code for code in "bg da de el es et fi fr hu it lt nl pl pt ro sk sv".split()}


def read(path, language: str) -> Iterator[Row]:
    """Rows ``{"language", "source", "target"}``, with ``alignment`` where the line has links.

    Raises:
        ValueError: A line has fewer than two fields or more than three, or a side is empty.
    """
    for number, line in enumerate(formats.lines(path), start=1):
        fields = line.split("\t")
        if len(fields) not in (2, 3) or not fields[0].strip() or not fields[1].strip():
            raise ValueError(
                f"{path}, line {number}, has {len(fields)} fields: {line[:80]!r}. Give a sentence, "
                "its English and, if there are any, word links, with tabs between them."
            )
        row = {"language": language, "source": fields[0], "target": fields[1]}
        if len(fields) == 3:
            try:
                row["alignment"] = [list(link) for link in pharaoh.read_line(fields[2]).sure]
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: {error}") from error
        yield row


def of_paracrawl(row: Row, language: str) -> Row:
    """TFDS's row has a column for each language."""
    return {"language": language, "source": row[language], "target": row["en"]}


BENCHMARK = register(
    Benchmark(
        name="parallel_text",
        description="Sentences with their English.",
        languages=tuple(code for code in languages.LANGUAGES if code != "en"),
        source=(
            Files("parallel/{language}.{split}.tsv", read, _SPLITS),
            Tfds("para_crawl/en{language}:1.2.0", {"train": "train"}, _PARACRAWL, of_paracrawl),
        ),
        prompt=parallel.prompt,
        request=Request.TRAIN_ONLY,
        kind="parallel",
        labelled=False,
        citation="Banon et al. 2020 (ParaCrawl)",
        licence="CC0 (ParaCrawl); of one's own texts",
        manual=(
            "Put files with a sentence, a tab and its English in each line below the data folder, "
            "as parallel/sw.train.tsv and parallel/sw.test.tsv."
        ),
    )
)
