"""Text for span corruption: mC4, Wikipedia, and text files of one's own.

mC4 (Xue et al. 2021, arXiv:2010.11934): a row is a page, cut to the input length.
Wikipedia: Wiki-40B (Guo et al. 2020) or what WikiExtractor writes of a dump; an example is a
paragraph. All rows that are read are kept in the token cache: of mC4 and of a large Wikipedia copy
as many files as are needed.
"""

import itertools
from collections.abc import Iterator

from xlt_jax.data import formats
from xlt_jax.registry import languages
from xlt_jax.registry.benchmarks import Benchmark, Files, Request, Row, Tfds, register

# Those of the registry that mC4 has; Hebrew and Tagalog have other codes there.
_MC4 = {
    code: {"he": "iw", "tl": "fil"}.get(code, code)
    for code in (
        "af am ar az bg bn ceb da de el en es et eu fa fi fr gu ha he hi ht hu id ig it ja jv ka "
        "kk ko lt ml mr ms my nl ny pa pl pt ro ru sk sn sr sv sw ta te th tl tr uk ur vi xh yo zh "
        "zu"
    ).split()
}
_WIKI40B = {
    code: {"zh": "zh-cn"}.get(code, code)
    for code in (
        "ar bg da de el en es et fa fi fr he hi hr hu id it ja ko lt ms nl pl pt ro ru sk sr sv th "
        "tl tr uk vi zh"
    ).split()
}
_TRAIN = {"train": ""}


def read_lines(path, language: str) -> Iterator[Row]:
    """The lines of a text file that are not empty."""
    return ({"text": line} for line in formats.lines(path) if line.strip())


def paragraphs_of_wiki40b(row: Row, language: str) -> Row:
    """TFDS's row with its paragraphs alone, one a line: no titles and marks."""
    lines = row["text"].split("\n")
    pairs = itertools.pairwise(lines)
    text = [line for mark, line in pairs if mark.strip() == "_START_PARAGRAPH_"]
    return {"id": row["wikidata_id"], "text": "\n".join(text).replace("_NEWLINE_", "\n")}


def whole(row: Row) -> dict:
    """Text alone: spans are cut out of its tokens later."""
    return {"inputs": "", "targets": row["text"], "texts": (row["text"],)}


def paragraphs(row: Row) -> list[dict]:
    """The same of every paragraph."""
    return [whole({"text": line}) for line in row["text"].split("\n") if line.strip()]


def _corpus(**fields) -> Benchmark:
    return register(
        Benchmark(request=Request.TRAIN_ONLY, kind="text", labelled=False, noise=True, **fields)
    )


MC4 = _corpus(
    name="mc4",
    description="Pages of the web in 101 languages.",
    languages=tuple(_MC4),
    source=(
        Files("c4/multilingual/c4-{language}.tfrecord-*.json", formats.json_lines, _TRAIN, _MC4),
        Files(
            "c4/multilingual/c4-{language}-validation.tfrecord-*.json",
            formats.json_lines,
            {"validation": ""},
            _MC4,
        ),
        Tfds(
            "c4/multilingual:3.1.0",
            {"train": "{language}", "validation": "{language}-validation"},
            _MC4,
        ),
    ),
    prompt=whole,
    citation="Xue et al. 2021",
    licence="ODC-BY",
    manual=(
        "Copy some of the files c4-LANGUAGE.tfrecord-*.json.gz in the folder multilingual of the "
        "data set allenai/c4 to c4/multilingual below the data folder."
    ),
)
WIKIPEDIA = _corpus(
    name="wikipedia",
    description="Paragraphs of Wikipedia.",
    languages=tuple(languages.LANGUAGES),
    source=(
        Files("wikipedia/{language}/*/wiki_*", formats.json_lines, _TRAIN),
        Tfds("wiki40b/{language}:1.3.0", languages=_WIKI40B, select=paragraphs_of_wiki40b),
    ),
    prompt=paragraphs,
    citation="Guo et al. 2020 (Wiki-40B); Wikipedia's dumps",
    licence="CC BY-SA",
    manual=(
        "Write a dump of the language with `WikiExtractor.py --json --output wikipedia/LANGUAGE` "
        "below the data folder."
    ),
)
PLAIN = _corpus(
    name="plain_text",
    description="Text files of one's own, a paragraph a line.",
    languages=tuple(languages.LANGUAGES),
    source=(Files("text/{language}[-_.]*txt", read_lines, _TRAIN),),
    prompt=whole,
    citation="none",
    licence="of the texts",
    manual="Put text files below the data folder, as text/sw.txt or text/sw-news.txt.",
)
