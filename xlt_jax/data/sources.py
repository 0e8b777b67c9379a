"""Rows of a benchmark: from code, from local files, from TFDS."""

import csv
import importlib.metadata
import json
import os
import pathlib
from collections.abc import Iterable, Iterator

from xlt_jax.data import cache
from xlt_jax.registry.benchmarks import Benchmark, Row

LOCAL_HINT = (
    "Without it add --gin_file=gin/local.gin, which turns the run into one on embedded data."
)


def data_dir() -> pathlib.Path:
    """Folder of downloaded data: ``$XLT_DATA_DIR``, or ``data`` in the cache folder."""
    return pathlib.Path(os.environ.get("XLT_DATA_DIR") or cache.cache_dir() / "data").expanduser()


def rows(benchmark: Benchmark, language: str, split: str) -> Iterable[Row]:
    """Rows of one language and split, in the source's order.

    Raises:
        ValueError: No such split; the file is missing, not UTF-8 or malformed; TFDS has no copy.
    """
    source_split = _source_split(benchmark, split)
    if callable(benchmark.source):
        return benchmark.source(language, source_split)
    scheme, _, locator = benchmark.source.partition(":")
    locator = locator.format(language=language, split=source_split)
    if scheme == "jsonl":
        return _json_lines(data_dir() / locator)
    if scheme == "tsv":
        return _tab_separated(data_dir() / locator)
    if scheme == "tfds":
        found = _tfds(locator, source_split)
        return (benchmark.select(row, language) for row in found) if benchmark.select else found
    raise ValueError(
        f"Benchmark {benchmark.name!r} has source {benchmark.source!r}; "
        "allowed: a function, jsonl:PATH, tsv:PATH, tfds:NAME:VERSION."
    )


def fingerprint(benchmark: Benchmark, language: str, split: str) -> str:
    """A text that changes when the rows may have changed; part of the token cache's key."""
    source_split = _source_split(benchmark, split)
    if callable(benchmark.source):
        return cache.code_fingerprint(benchmark.source)
    scheme, _, locator = benchmark.source.partition(":")
    if scheme in ("jsonl", "tsv"):
        path = data_dir() / locator.format(language=language, split=source_split)
        stat = path.stat() if path.exists() else None
        return f"{path} {stat.st_size} {stat.st_mtime_ns}" if stat else str(path)
    return f"{benchmark.source} {importlib.metadata.version('tensorflow-datasets')}"


def _source_split(benchmark: Benchmark, split: str) -> str:
    if split not in benchmark.splits:
        raise ValueError(
            f"Benchmark {benchmark.name!r} has no split {split!r}; it has "
            f"{', '.join(benchmark.splits)}."
        )
    return benchmark.splits[split]


def _lines(path: pathlib.Path) -> Iterator[str]:
    if not path.is_file():
        raise ValueError(
            f"Data file {path} does not exist. Put it there or set XLT_DATA_DIR. {LOCAL_HINT}"
        )
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield line.decode("utf-8").rstrip("\r\n")
            except UnicodeDecodeError as error:
                raise ValueError(
                    f"{path}, line {number}, is not UTF-8 (byte {error.start}: "
                    f"0x{line[error.start]:02x}). Convert the file to UTF-8."
                ) from error


def _json_lines(path: pathlib.Path) -> Iterator[Row]:
    for number, line in enumerate(_lines(path), start=1):
        try:
            yield json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}, line {number}, is not JSON ({error}).") from error


def _tab_separated(path: pathlib.Path) -> Iterator[Row]:
    reader = csv.DictReader(_lines(path), delimiter="\t", quoting=csv.QUOTE_NONE)
    for number, row in enumerate(reader, start=2):
        if None in row or None in row.values():
            raise ValueError(
                f"{path}, line {number}, does not have the header's {len(reader.fieldnames)} "
                "columns separated by tabs."
            )
        yield row


def _tfds(locator: str, split: str) -> Iterator[Row]:
    import tensorflow_datasets as tfds

    try:
        dataset = tfds.load(locator, split=split, shuffle_files=False)
    except Exception as error:  # TFDS raises whatever its transport does
        raise ValueError(
            f"TFDS cannot provide {locator!r}, split {split!r} "
            f"({type(error).__name__}: {str(error).strip()[:300]}). It is read from "
            f"$TFDS_DATA_DIR (or ~/tensorflow_datasets) or downloaded. {LOCAL_HINT}"
        ) from error
    for row in tfds.as_numpy(dataset):
        yield _to_python(row)


def _to_python(value):
    """TFDS's bytes and arrays as str, numbers, lists."""
    if isinstance(value, dict):
        return {name: _to_python(item) for name, item in value.items()}
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if hasattr(value, "tolist"):
        return _to_python(value.tolist())
    if isinstance(value, list):
        return [_to_python(item) for item in value]
    return value
