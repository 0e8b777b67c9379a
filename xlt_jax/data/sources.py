"""Rows of a benchmark: from code, from original files in the data folder, from TFDS."""

import importlib.metadata
import os
import pathlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from xlt_jax.data import cache
from xlt_jax.registry import benchmarks
from xlt_jax.registry.benchmarks import Benchmark, Files, Row, Tfds

LOCAL_HINT = (
    "Without data add --gin_file=gin/local.gin, which turns the run into one on embedded data."
)


@dataclass(frozen=True)
class Found:
    """Where the rows of one language and split are.

    Attributes:
        source: The record of the benchmark; None for embedded data.
        paths: Files to read, in order; of TFDS the folder of the prepared copy, if there is one.
        split: Its own name for the split.
        language: Its own spelling of the language.
    """

    source: Files | Tfds | None
    paths: tuple[pathlib.Path, ...]
    split: str
    language: str


def data_dir() -> pathlib.Path:
    """Folder of downloaded data: ``$XLT_DATA_DIR``, or ``data`` in the cache folder."""
    return pathlib.Path(os.environ.get("XLT_DATA_DIR") or cache.cache_dir() / "data").expanduser()


def tfds_dir() -> pathlib.Path:
    """Folder of data sets that TFDS has prepared: ``$TFDS_DATA_DIR`` or its default."""
    return pathlib.Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def find(benchmark: Benchmark, language: str, split: str) -> Found | None:
    """The first source that is on this machine, or None. TensorFlow is not imported.

    Raises:
        ValueError: The benchmark has no such split.
    """
    if split not in benchmark.splits:
        raise ValueError(
            f"Benchmark {benchmark.name!r} has no split {split!r}; it has "
            f"{', '.join(benchmark.splits)}."
        )
    if callable(benchmark.source):
        return Found(None, (), split, language)
    for source in benchmark.source:
        place = _place(source, language, split)
        if place and place.paths:
            return place
    return None


def first_split(benchmark: Benchmark, language: str, splits: str) -> str | None:
    """The first of ``splits``, joined by commas, that is on this machine, or None.

    Raises:
        ValueError: The benchmark has none of them.
    """
    names = [name.strip() for name in splits.split(",")]
    known = [name for name in names if name in benchmark.splits]
    if not known:
        find(benchmark, language, names[0])  # raises
    return next((name for name in known if find(benchmark, language, name)), None)


def missing_tasks(task_names: Iterable[str], splits: str) -> list[str]:
    """Those of which none of ``splits``, joined by commas, is on this machine."""
    return [
        name for name in task_names if first_split(*benchmarks.split_task(name), splits) is None
    ]


def rows(benchmark: Benchmark, language: str, split: str) -> Iterable[Row]:
    """Rows of one language and split, in the source's order.

    Raises:
        ValueError: No such split; no source is there and TFDS has none to fetch; a file is
            unreadable or malformed.
    """
    found = find(benchmark, language, split) or _fetchable(benchmark, language, split)
    if found is None:
        raise ValueError(missing(benchmark, language, split))
    if found.source is None:
        return benchmark.source(language, split)
    if isinstance(found.source, Files):
        return _read_files(found, language)
    return _tfds(found, language)


def missing(benchmark: Benchmark, language: str, split: str) -> str:
    """What to say where a benchmark's data is not there: what was looked for, and what to do."""
    places = []
    for source in benchmark.source:
        if place := _place(source, language, split):
            name = _filled(source.pattern, place) if isinstance(source, Files) else source.name
            places.append(name if isinstance(source, Files) else f"TFDS {_filled(name, place)}")
    wanted = f"{benchmark.name}.{language}, split {split!r}"
    if not places:
        return f"No source has {wanted}. Score another split or leave the task out."
    manual = f"{benchmark.manual} " if benchmark.manual else ""
    return (
        f"There is no data for {wanted} below {data_dir()} (looked for {'; '.join(places)}). "
        f"{manual}"
        f"`python -m xlt_jax.data check {benchmark.name}` shows what is there and how to get the "
        f"rest; XLT_DATA_DIR names another folder. {LOCAL_HINT}"
    )


def tfds_names(benchmark: Benchmark, languages: Iterable[str]) -> tuple[str, ...]:
    """Names of the TFDS data sets that have some of the languages, each once."""
    names = {}
    for source in () if callable(benchmark.source) else benchmark.source:
        for language in languages if isinstance(source, Tfds) else ():
            if place := _place(source, language, next(iter(source.splits))):
                names[_filled(source.name, place)] = None
    return tuple(names)


def prepare(tfds_name: str) -> None:
    """Downloads and prepares a data set with TFDS into ``tfds_dir()``; TensorFlow is imported.

    Raises:
        ValueError: TFDS cannot.
    """
    import tensorflow_datasets as tfds

    try:
        tfds.builder(tfds_name, data_dir=tfds_dir()).download_and_prepare()
    except Exception as error:  # TFDS raises whatever its transport does
        raise ValueError(
            f"TFDS cannot prepare {tfds_name!r} "
            f"({type(error).__name__}: {str(error).strip()[:300]})."
        ) from error


def fingerprint(benchmark: Benchmark, language: str, split: str) -> str:
    """A text that changes when the rows may have changed; part of the token cache's key."""
    found = find(benchmark, language, split)
    if callable(benchmark.source):
        return cache.code_fingerprint(benchmark.source)
    if found is None or isinstance(found.source, Tfds):
        return f"{benchmark.source} {importlib.metadata.version('tensorflow-datasets')}"
    stats = [(path, path.stat()) for path in found.paths]
    reader = cache.file_fingerprint(found.source.read)
    return f"{reader} {[(str(path), stat.st_size, stat.st_mtime_ns) for path, stat in stats]}"


def _place(source: Files | Tfds, language: str, split: str) -> Found | None:
    """Where a source would have it, or None when it does not have this language or split."""
    spelled = language if source.languages is None else source.languages.get(language)
    if spelled is None or split not in source.splits:
        return None
    place = Found(source, (), source.splits[split], spelled)
    if isinstance(source, Files):
        paths = _matches(_filled(source.pattern, place))
    else:
        folder = tfds_dir().joinpath(*_filled(source.name, place).replace(":", "/").split("/"))
        paths = (folder,) if folder.is_dir() else ()
    return Found(source, paths, place.split, spelled)


def _fetchable(benchmark: Benchmark, language: str, split: str) -> Found | None:
    """The first TFDS source, which TFDS may be able to download."""
    places = (_place(source, language, split) for source in benchmark.source)
    return next((place for place in places if place and isinstance(place.source, Tfds)), None)


def _filled(text: str, place: Found) -> str:
    return text.format(language=place.language, split=place.split)


def _matches(pattern: str) -> tuple[pathlib.Path, ...]:
    """Files of that name, or of that name with .gz, in the order of their names."""
    found = {path for suffix in ("", ".gz") for path in data_dir().glob(pattern + suffix)}
    plain = {path for path in found if path.suffix != ".gz"}
    return tuple(sorted(plain | {path for path in found if path.with_suffix("") not in plain}))


def _read_files(found: Found, language: str) -> Iterator[Row]:
    for path in found.paths:
        yield from found.source.read(path, language)


def _tfds(found: Found, language: str) -> Iterator[Row]:
    import tensorflow_datasets as tfds

    name = _filled(found.source.name, found)
    split = found.split.format(language=found.language)
    try:
        dataset = tfds.load(name, split=split, shuffle_files=False, data_dir=tfds_dir())
    except Exception as error:  # TFDS raises whatever its transport does
        raise ValueError(
            f"TFDS cannot provide {name!r}, split {split!r} "
            f"({type(error).__name__}: {str(error).strip()[:300]}). It is read from "
            f"{tfds_dir()} (TFDS_DATA_DIR) or downloaded. {LOCAL_HINT}"
        ) from error
    for row in map(_to_python, tfds.as_numpy(dataset)):
        selected = found.source.select(row, language) if found.source.select else row
        if selected is not None:
            yield selected


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
