"""Readers of original download formats: (path) -> rows. A file may be compressed with gzip."""

import csv
import gzip
import itertools
import json
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from xlt_jax.registry.benchmarks import Row

Reader = Callable[[pathlib.Path, str], Iterator[Row]]


def lines(path: pathlib.Path, encoding: str = "utf-8") -> Iterator[str]:
    """Lines without their ends.

    Raises:
        ValueError: Not gzip though it is called so, or not UTF-8; the message has the line.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    number = 1
    try:
        with opener(path, "rb") as file:
            for line in file:
                yield line.decode(encoding).removeprefix("\ufeff").rstrip("\r\n")
                number += 1
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}, line {number}, is not UTF-8 (byte {error.start}: "
            f"0x{error.object[error.start]:02x}). Convert the file to UTF-8."
        ) from error
    except (gzip.BadGzipFile, EOFError) as error:
        raise ValueError(f"{path} is no whole gzip file ({error}). Fetch it again.") from error


def json_lines(path: pathlib.Path, language: str = "") -> Iterator[Row]:
    """One JSON object a line; empty lines are skipped."""
    for number, line in enumerate(lines(path), start=1):
        if not line.strip():
            continue
        try:
            yield json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}, line {number}, is not JSON ({error}).") from error


def json_value(path: pathlib.Path) -> Any:
    """The one JSON value of a file."""
    try:
        return json.loads("\n".join(lines(path)))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON ({error}).") from error


def table(
    *columns: str | None, delimiter: str = "\t", quoted: bool = False, header: bool = True
) -> Reader:
    """A reader of tables.

    Args:
        columns: Names for a table without a header (None: a column to leave out). With a header,
            the columns that there must be.
        delimiter: Between fields.
        quoted: Whether fields may stand in quotation marks, as ``csv.writer`` makes them.
        header: Whether the first line names the columns.
    """
    quoting = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE

    def read(path: pathlib.Path, language: str = "") -> Iterator[Row]:
        rows = csv.reader(
            (line + "\n" for line in lines(path)), delimiter=delimiter, quoting=quoting
        )
        names: Sequence[str | None] = columns
        if header:
            names = next(rows, [])
            if missing := [name for name in columns if name not in names]:
                raise ValueError(
                    f"{path} lacks the columns {', '.join(map(str, missing))}; its first line is "
                    f"{delimiter.join(names)[:200]!r}."
                )
        for number, row in enumerate(rows, start=2 if header else 1):
            if len(row) != len(names):
                raise ValueError(
                    f"{path}, row {number}, has {len(row)} fields and not {len(names)} "
                    f"({', '.join(str(name) for name in names)}); the separator is {delimiter!r}."
                )
            yield {name: field for name, field in zip(names, row) if name is not None}

    return read


def squad(path: pathlib.Path, language: str = "") -> Iterator[Row]:
    """SQuAD's JSON: ``{"id", "question", "context", "answers": {"text", "answer_start"}}``."""
    try:
        for article in json_value(path)["data"]:
            for paragraph in article["paragraphs"]:
                for question in paragraph["qas"]:
                    answers = question.get("answers", ())
                    yield {
                        "id": question["id"],
                        "title": article.get("title", ""),
                        "question": question["question"],
                        "context": paragraph["context"],
                        "answers": {
                            "text": [answer["text"] for answer in answers],
                            "answer_start": [answer["answer_start"] for answer in answers],
                        },
                    }
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} is not in SQuAD's format: no field {error}.") from error


def tagged_words(*, word: int = 0, tag: int = -1, delimiter: str | None = "\t") -> Reader:
    """A reader of one word a line with its tag, sentences between empty lines; # starts a comment.

    Args:
        word: Column of the word.
        tag: Column of the tag.
        delimiter: Between columns; None: any white space.

    Rows are ``{"tokens": [...], "tags": [...]}``. A line of a word alone has the tag O: WikiANN
    has a few. A file of words alone is refused: XTREME's script takes the tags of test sets out.
    """

    def read(path: pathlib.Path, language: str = "") -> Iterator[Row]:
        sentences = [[line.split(delimiter) for line in block] for block in blocks(path)]
        if sentences and all(len(columns) == 1 for fields in sentences for columns in fields):
            raise ValueError(
                f"{path} has words without tags. Take the file that the data set's authors publish."
            )
        for fields in sentences:
            if any(len(columns) <= word for columns in fields):
                raise ValueError(
                    f"{path} has a line without a column {word + 1}: {fields[0]!r} ..."
                )
            yield {
                "tokens": [columns[word].strip() for columns in fields],
                "tags": [columns[tag].strip() if len(columns) > 1 else "O" for columns in fields],
            }

    return read


def blocks(path: pathlib.Path) -> Iterator[list[str]]:
    """Groups of lines between empty ones, without comments (``# ``, as CoNLL-U has them)."""
    block: list[str] = []
    for line in lines(path):
        if not line.strip():
            if block:
                yield block
            block = []
        elif not (line.startswith("# ") and not block):
            block.append(line)
    if block:
        yield block


def in_step(first: Iterable, second: Iterable, where: str) -> Iterator[tuple]:
    """Pairs of the rows of two files that belong together row by row.

    Raises:
        ValueError: One has more rows; the message has ``where``.
    """
    end = object()
    for number, (one, other) in enumerate(itertools.zip_longest(first, second, fillvalue=end)):
        if end in (one, other):
            raise ValueError(
                f"{where} differ in their number of rows, one has {number}. Fetch both again."
            )
        yield one, other


def neighbour(path: pathlib.Path, name: str) -> pathlib.Path:
    """The file of that name beside ``path``, compressed or not.

    Raises:
        ValueError: It is not there.
    """
    plain = path.with_name(name.removesuffix(".gz"))
    for file in (plain, plain.with_name(f"{plain.name}.gz")):
        if file.is_file():
            return file
    raise ValueError(f"{path} is there, but {plain.name} beside it is not. Fetch it too.")


def sibling(path: pathlib.Path, suffix: str) -> pathlib.Path:
    """The file of the same name but for its last part (before .gz), compressed or not.

    Raises:
        ValueError: It is not there.
    """
    stem = path.with_suffix("") if path.suffix == ".gz" else path
    return neighbour(path, stem.with_suffix(suffix).name)
