"""What is there of each benchmark: files, rows and checksums, by language and split."""

import contextlib
import gzip
import hashlib
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from xlt_jax.data import cache, download, sources
from xlt_jax.files import write_text
from xlt_jax.registry import benchmarks
from xlt_jax.registry.benchmarks import Benchmark, Download, Files

# What became of one language and split. ABSENT: all that the benchmark's downloads hold is there,
# and they do not have it.
THERE, MISSING, MALFORMED, ABSENT, EMBEDDED = "there", "missing", "malformed", "absent", "embedded"


@dataclass(frozen=True)
class File:
    """One file that rows are read from."""

    path: pathlib.Path
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Cell:
    """One language and split of a benchmark.

    Attributes:
        language: Its code.
        split: Our name of it.
        state: THERE, MISSING, MALFORMED, ABSENT or EMBEDDED.
        source: Pattern or TFDS name that it is read from.
        files: Of a Files source.
        rows: None where they were not counted.
        error: The reader's, of a malformed file.
    """

    language: str
    split: str
    state: str
    source: str = ""
    files: tuple[File, ...] = ()
    rows: int | None = None
    error: str = ""


@dataclass(frozen=True)
class Fetched:
    """One Download record and what is there of it.

    Attributes:
        download: The record.
        there: Whether its file, or all that its archive held, is there.
        sha256: Of the file (uncompressed, where a .gz stands for it) or of the unpacked archive.
    """

    download: Download
    there: bool
    sha256: str | None

    @property
    def differs(self) -> bool:
        """Whether it is another file than the registered one."""
        return bool(self.sha256 and self.download.sha256 and self.sha256 != self.download.sha256)


@dataclass(frozen=True)
class Report:
    """What is there of one benchmark."""

    benchmark: Benchmark
    cells: tuple[Cell, ...]
    downloads: tuple[Fetched, ...]

    def of(self, split: str, *states: str) -> list[Cell]:
        """Cells of a split in one of the states."""
        return [cell for cell in self.cells if cell.split == split and cell.state in states]

    @property
    def complete(self) -> bool:
        """Whether nothing is missing or malformed."""
        return all(cell.state not in (MISSING, MALFORMED) for cell in self.cells)


class Known:
    """Facts on files that were read before, by size and time of change; kept in the cache folder.

    Args:
        path: Where they are kept; ``save`` writes it.
    """

    def __init__(self, path: pathlib.Path | None = None):
        self._path = path or cache.cache_dir() / "inventory.json"
        try:
            self._facts = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            self._facts = {}
        self._changed = False

    def fact(self, what: str, paths: Sequence[pathlib.Path], find: Callable[[], object]):
        """``find()``, or what it returned before for these files as they are."""
        stats = [[str(path), path.stat().st_size, path.stat().st_mtime_ns] for path in paths]
        key = cache.key(what, json.dumps(stats))
        if key not in self._facts:
            self._facts[key] = find()
            self._changed = True
        return self._facts[key]

    def save(self) -> None:
        """Writes what is new; a folder that cannot be written costs only time."""
        if not self._changed:
            return
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_text(self._path, json.dumps(self._facts))


def check(
    benchmark: Benchmark,
    languages: Sequence[str],
    known: Known,
    advance: Callable[[str], None] = lambda what: None,
) -> Report:
    """What is there of a benchmark in some of its languages.

    Args:
        benchmark: To look for.
        languages: Some of its own.
        known: Facts that need not be found again.
        advance: Called with the name of each cell before it is looked at.
    """
    fetched = tuple(_fetched(item, known) for item in benchmark.downloads)
    whole = bool(fetched) and all(item.there for item in fetched) and not benchmark.manual
    cells = []
    for split in benchmark.splits:
        for language in languages:
            advance(f"{benchmark.name}.{language} {split}")
            cells.append(_cell(benchmark, language, split, known, ABSENT if whole else MISSING))
    return Report(benchmark, tuple(cells), fetched)


def _cell(benchmark: Benchmark, language: str, split: str, known: Known, otherwise: str) -> Cell:
    found = sources.find(benchmark, language, split)
    if found is None:
        return Cell(language, split, otherwise if benchmark.offers(language, split) else ABSENT)
    if found.source is None:
        return Cell(language, split, EMBEDDED)
    if not isinstance(found.source, Files):
        rows = _tfds_rows(found.paths[0], found.split.format(language=found.language))
        state = MISSING if rows is None else THERE
        return Cell(language, split, state, f"TFDS {found.source.name}", (), rows)
    try:
        files = tuple(_file(path, known) for path in found.paths)
        rows = known.fact(
            " ".join(
                (
                    "rows",
                    f"{benchmark.name}.{language} {split} {found.source.pattern}",
                    cache.file_fingerprint(found.source.read),
                    benchmarks.module_source(benchmark),
                )
            ),
            found.paths,
            lambda: sum(1 for _ in sources.rows(benchmark, language, split)),
        )
    except Exception as error:  # readers of benchmarks raise whatever a malformed file leads to
        text = f"{type(error).__name__}: {error}" if not isinstance(error, ValueError) else error
        return Cell(language, split, MALFORMED, found.source.pattern, (), None, str(text))
    state = THERE if rows else MALFORMED
    error = "" if rows else f"{', '.join(map(str, found.paths))}: no rows"
    return Cell(language, split, state, found.source.pattern, files, rows, error)


def _file(path: pathlib.Path, known: Known) -> File:
    sha256 = known.fact("sha256", [path], lambda: download.file_sha256(path))
    return File(path, path.stat().st_size, sha256)


def _fetched(item: Download, known: Known) -> Fetched:
    folder = sources.data_dir()
    if not download.is_there(item, folder):
        return Fetched(item, False, None)
    if item.unpack:
        return Fetched(item, True, download.unpacked_sha256(item, folder))
    path = download.target(item, folder)
    if path.is_file():
        return Fetched(item, True, _file(path, known).sha256)
    packed = path.with_name(f"{path.name}.gz")
    try:
        sha256 = known.fact("sha256 of content", [packed], lambda: _content_sha256(packed))
    except (OSError, EOFError):
        sha256 = None  # the cells that read it say so
    return Fetched(item, True, sha256)


def _content_sha256(path: pathlib.Path) -> str:
    with gzip.open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _tfds_rows(folder: pathlib.Path, split: str) -> int | None:
    """Rows of a split of a prepared TFDS data set; None if it does not have it."""
    facts = next(folder.rglob("dataset_info.json"), None)
    if facts is None:
        return None
    splits: Sequence[Mapping] = json.loads(facts.read_text(encoding="utf-8")).get("splits", ())
    lengths = [item["shardLengths"] for item in splits if item["name"] == split]
    return sum(map(int, lengths[0])) if lengths else None
