"""``python -m xlt_jax.data``: which benchmarks there are, what of them is here, how to get it.

A NAME is a benchmark, a task (``xnli.sw``) or a mixture (``xtreme_r``).
"""

import argparse
import contextlib
import dataclasses
import importlib
import json
import os
import pathlib
import sys
from collections.abc import Callable, Iterator, Sequence

from rich import box
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from xlt_jax import files
from xlt_jax.data import budget, download, inventory, mixtures, sources
from xlt_jax.data.inventory import EMBEDDED, MALFORMED, MISSING, THERE, Report
from xlt_jax.registry import benchmarks
from xlt_jax.registry.benchmarks import Benchmark, Download, Files

ROOT = pathlib.Path(__file__).resolve().parents[2]  # the folder of tasks/
_WIDTH_IN_FILES = 160  # columns, where the output is no terminal

Chosen = Sequence[tuple[Benchmark, Sequence[str]]]  # with languages of each


def main(words: Sequence[str] | None = None) -> int:
    """Exit status of the command line: 0, 1 when something is missing, 2 for bad input."""
    options = _parser().parse_args(words)
    if getattr(options, "data_dir", None):
        os.environ["XLT_DATA_DIR"] = options.data_dir
    if str(ROOT) not in sys.path:
        sys.path.append(str(ROOT))  # for `import tasks` away from the checkout
    importlib.import_module("tasks")
    try:
        actions = {
            "list": _list, "check": _check, "fetch": _fetch, "mixture": _mixture, "align": _align,
        }  # fmt: skip
        return actions[options.command](options)
    except (ValueError, OSError) as error:
        if os.environ.get("XLT_TRACEBACK"):
            raise
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nStopped. The same command goes on where this one was.", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m xlt_jax.data", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, text: str, names: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.add_argument("names", nargs=names, metavar="NAME", help="benchmark, task or mixture")
        added.add_argument("--data_dir", help="folder of downloaded data; also $XLT_DATA_DIR")
        return added

    added = command("list", "Benchmarks: languages, splits, sources, licences.", "*")
    added.add_argument("--json", action="store_true", help="for programs")
    added = command("check", "What is there: files, rows, checksums; what is missing.", "*")
    added.add_argument("--json", action="store_true", help="for programs")
    added.add_argument("--verbose", action="store_true", help="a line for each language")
    added = command("fetch", "Downloads into the data folder; goes on where it stopped.", "+")
    added.add_argument("--dry_run", action="store_true", help="print what would be fetched")
    added.add_argument(
        "--tfds", action="store_true", help="prepare the TFDS data sets instead, with TensorFlow"
    )
    added = commands.add_parser(
        "mixture",
        help="what a run draws from a mixture",
        description="Tasks of a mixture: rows, rates, tokens, and how often a run repeats them.",
    )
    added.add_argument("names", nargs=1, metavar="NAME", help="mixture or task")
    added.add_argument("--data_dir", help="folder of downloaded data; also $XLT_DATA_DIR")
    added.add_argument("--steps", type=int, default=10_000, help="of the run (default: 10,000)")
    added.add_argument("--batch_size", type=int, default=128, help="rows of a batch (default: 128)")
    for name, longest in (("inputs", 512), ("targets", 128)):
        text = f"tokens of {name} in a row of a batch (default: {longest})"
        added.add_argument(f"--{name}", type=int, default=longest, help=text)
    added.add_argument("--no_pack", action="store_true", help="one example in each row")
    added.add_argument("--split", default="train", help="one, or several joined by commas")
    added.add_argument(
        "--vocabulary", help="SentencePiece model (default: that of the embedded data)"
    )
    added.add_argument("--json", action="store_true", help="for programs")
    added = commands.add_parser(
        "align",
        help="word links of parallel text",
        description="Word links of parallel text. A .tsv file has a sentence, a tab and its "
        "translation in each line and gets the links as a third field, which parallel_text reads; "
        "of any other file a line is `words ||| words`, and the links alone are written.",
    )
    added.add_argument("file", type=pathlib.Path, help="of sentence pairs; may be gzipped")
    added.add_argument("out", type=pathlib.Path, help="file to write: links as 0-0 1-2 (Pharaoh)")
    added.add_argument("--method", choices=("fast_align", "eflomal"), default="fast_align")
    added.add_argument(
        "--symmetrisation", default="grow-diag-final-and", help="of both directions; or forward ..."
    )
    return parser


def _chosen(names: Sequence[str]) -> Chosen:
    """Benchmarks and languages that are asked for, with those whose rows they search among.

    Raises:
        ValueError: A name is unknown.
    """
    if not names:
        return [(item, item.languages) for item in benchmarks.all_benchmarks()]
    known = {item.name: item for item in benchmarks.all_benchmarks()}
    chosen: dict[str, dict[str, None]] = {}
    for name in names:
        tasks = known[name].task_names() if name in known else mixtures.get(name).tasks
        for benchmark, language in map(benchmarks.split_task, tasks):
            chosen.setdefault(benchmark.name, {})[language] = None
            if benchmark.candidates:
                candidates = known[benchmark.candidates]
                pooled = candidates.languages if benchmark.candidates_pooled else (language,)
                chosen.setdefault(candidates.name, {}).update(dict.fromkeys(pooled))
    return [(known[name], tuple(languages)) for name, languages in chosen.items()]


# -------------------------------------------------------------------------------------------- list
def _list(options: argparse.Namespace) -> int:
    chosen = _chosen(options.names)
    if options.json:
        print(json.dumps({item.name: _described(item) for item, _ in chosen}, indent=2))
        return 0
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("benchmark", no_wrap=True)
    table.add_column("languages", overflow="fold")
    table.add_column("splits")
    table.add_column("sources", overflow="fold", min_width=34)
    for title in ("trained on", "from", "download"):
        table.add_column(title, overflow="fold")
    for benchmark, _ in chosen:
        names = " ".join(benchmark.languages)
        few = options.names or len(benchmark.languages) == 1
        every = _described(benchmark)["sources"] or ["embedded"]
        more = [f"and {len(every) - 2} more"] if len(every) > 2 else []
        table.add_row(
            benchmark.name,
            names if few else str(len(benchmark.languages)),
            "\n".join(benchmark.splits),
            "\n".join(every if options.names else every[:2] + more),
            "\n".join(benchmark.english_training),
            "\n".join(filter(None, (benchmark.citation, benchmark.licence))),
            _download_size(benchmark),
        )
    _console().print(table)
    return 0


def _described(benchmark: Benchmark) -> dict:
    items = () if callable(benchmark.source) else benchmark.source
    return {
        "description": benchmark.description,
        "languages": list(benchmark.languages),
        "splits": list(benchmark.splits),
        "sources": [s.pattern if isinstance(s, Files) else f"TFDS {s.name}" for s in items],
        "english_training": list(benchmark.english_training),
        "licence": benchmark.licence,
        "citation": benchmark.citation,
        "manual": benchmark.manual,
        "downloads": [
            {"url": d.url, "path": d.path, "size_bytes": d.size_bytes, "sha256": d.sha256}
            for d in benchmark.downloads
        ],
    }


def _download_size(benchmark: Benchmark) -> str:
    items = benchmark.downloads
    if not items:
        return "by hand" if benchmark.manual else ""
    known = [item.size_bytes for item in items if item.size_bytes]
    size = f"{'over ' * (len(known) < len(items))}{_bytes(sum(known))}" if known else "size unknown"
    return f"{_files(len(items))}, {size}"


# ------------------------------------------------------------------------------------------- check
def _check(options: argparse.Namespace) -> int:
    known = inventory.Known()
    chosen = _chosen(options.names)
    steps = sum(len(item.splits) * len(languages) for item, languages in chosen)
    try:
        with _steps(steps) as advance:
            reports = [
                inventory.check(item, languages, known, advance) for item, languages in chosen
            ]
    finally:
        known.save()
    if options.json:
        print(json.dumps({"data_dir": str(sources.data_dir()), **_as_json(reports)}, indent=2))
    else:
        _show(reports, options.verbose)
    return int(bool(options.names) and not all(report.complete for report in reports))


def _as_json(reports: Sequence[Report]) -> dict:
    result = {}
    for report in reports:
        cells: dict[str, dict] = {}
        for cell in report.cells:
            files = [
                {"path": str(file.path), "size_bytes": file.size_bytes, "sha256": file.sha256}
                for file in cell.files
            ]
            facts = {"state": cell.state, "source": cell.source, "rows": cell.rows, "files": files}
            facts |= {"error": cell.error} if cell.error else {}
            cells.setdefault(cell.split, {})[cell.language] = facts
        downloads = [
            {
                "url": item.download.url,
                "path": item.download.path,
                "there": item.there,
                "sha256": item.sha256,
                "expected_sha256": item.download.sha256,
                "differs": item.differs,
            }
            for item in report.downloads
        ]
        result[report.benchmark.name] = {
            "complete": report.complete,
            "splits": cells,
            "downloads": downloads,
            "get": _advice(report),
        }
    return {"benchmarks": result}


def _show(reports: Sequence[Report], verbose: bool) -> None:
    console = _console()
    console.print(f"Data folder: {sources.data_dir()}", highlight=False)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("task" if verbose else "benchmark", no_wrap=True)
    table.add_column("split")
    for title in ("there", "rows", "SHA-256" if verbose else "in all", "size"):
        table.add_column(title, justify="right")
    table.add_column("missing", overflow="fold")
    embedded = 0
    for report in reports:
        if all(cell.state == EMBEDDED for cell in report.cells):
            embedded += 1
            continue
        rows = _language_rows(report) if verbose else _split_rows(report)
        for row in rows:
            table.add_row(*row)
    console.print(table)
    if embedded:
        console.print(f"{embedded} embedded benchmarks need no data.", highlight=False)
    for line in _notes(reports):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _split_rows(report: Report) -> Iterator[tuple[str, ...]]:
    for split in report.benchmark.splits:
        there = report.of(split, THERE)
        wanted = report.of(split, THERE, MISSING, MALFORMED)
        rows = [cell.rows for cell in there if cell.rows is not None]
        files = {file.path: file.size_bytes for cell in there for file in cell.files}
        missing = [cell.language for cell in report.of(split, MISSING)]
        malformed = [cell.language for cell in report.of(split, MALFORMED)]
        words = [f"{' '.join(missing)}"] if there and missing else ["all"] * bool(missing)
        words += [f"malformed: {' '.join(malformed)}"] * bool(malformed)
        if wanted:
            yield (
                report.benchmark.name,
                split,
                f"{len(there)}/{len(wanted)}",
                _range(rows),
                f"{sum(rows):,}" if rows else "",
                _bytes(sum(files.values())) if files else "",
                "; ".join(words),
            )


def _language_rows(report: Report) -> Iterator[tuple[str, ...]]:
    for cell in report.cells:
        size = sum(file.size_bytes for file in cell.files)
        yield (
            f"{report.benchmark.name}.{cell.language}",
            cell.split,
            "yes" if cell.state == THERE else "",
            f"{cell.rows:,}" if cell.rows is not None else "",
            " ".join(file.sha256[:12] for file in cell.files),
            _bytes(size) if size else "",
            "" if cell.state == THERE else cell.state,
        )


def _range(rows: Sequence[int]) -> str:
    if not rows:
        return ""
    return f"{min(rows):,}" if min(rows) == max(rows) else f"{min(rows):,}-{max(rows):,}"


def _notes(reports: Sequence[Report]) -> Iterator[str]:
    """Malformed files with the reader's error, wrong checksums, and how to get the rest."""
    said: set[str] = set()
    for report in reports:
        lines = [
            f"Malformed: {report.benchmark.name}.{cell.language} {cell.split}: {cell.error}"
            for cell in report.cells
            if cell.state == MALFORMED
        ]
        for item in report.downloads:
            if item.differs:
                lines.append(
                    f"Differs: {item.download.path} has SHA-256 {item.sha256}, the original "
                    f"{item.download.sha256}"
                )
        if not report.complete and (advice := _advice(report)):
            lines.append(f"Get {report.benchmark.name}: {'; or '.join(advice)}")
        yield from (line for line in lines if line not in said)
        said.update(lines)
    fetched = {item.download.path: item for report in reports for item in report.downloads}
    checked = [item for item in fetched.values() if item.sha256]
    equal = sum(item.download.sha256 == item.sha256 for item in checked)
    if checked:
        yield f"Checksums: {equal} of {len(checked)} files of downloads equal the registered ones."


def _advice(report: Report) -> list[str]:
    """Ways to what is missing."""
    benchmark, ways = report.benchmark, []
    lacking = [item.download for item in report.downloads if not item.there]
    command = f"python -m xlt_jax.data fetch {benchmark.name}"
    if lacking:
        hosts = dict.fromkeys(item.url.split("/")[2] for item in lacking)
        ways.append(f"`{command}` ({_files(len(lacking))} of {', '.join(hosts)})")
    missing = [cell.language for cell in report.cells if cell.state == MISSING]
    if names := sources.tfds_names(benchmark, dict.fromkeys(missing)):
        ways.append(f"`{command} --tfds` ({names[0]}{' ...' if len(names) > 1 else ''})")
    if benchmark.manual and missing:
        ways.append(benchmark.manual)
    return ways


# ------------------------------------------------------------------------------------------- fetch
def _fetch(options: argparse.Namespace) -> int:
    chosen = _chosen(options.names)
    for benchmark, _ in chosen:
        print(f"{benchmark.name}: {benchmark.citation}. Licence: {benchmark.licence or 'unknown'}.")
    if options.tfds:
        return _prepare(chosen, options.dry_run)
    folder = sources.data_dir()
    items = {item.path: item for benchmark, _ in chosen for item in benchmark.downloads}
    wanted = [item for item in items.values() if not download.is_there(item, folder)]
    if there := len(items) - len(wanted):
        print(f"{_files(there)} of {len(items)} there already.")
    for benchmark, languages in chosen:
        if not benchmark.downloads and not callable(benchmark.source):
            other = " --tfds prepares it." if sources.tfds_names(benchmark, languages) else ""
            print(f"{benchmark.name} has nothing to download. {benchmark.manual}{other}")
    if options.dry_run:
        for item in wanted:
            size = _bytes(item.size_bytes) if item.size_bytes else "size unknown"
            print(f"would fetch {item.url} -> {folder / item.path} ({size})")
        return 0
    failed = _bring(wanted, folder)
    if failed:
        print(f"{_files(failed)} of {len(wanted)} could not be fetched.", file=sys.stderr)
    return int(bool(failed))


def _bring(wanted: Sequence[Download], folder: pathlib.Path) -> int:
    """Fetches one after the other and says so; returns how many failed."""
    failed, unreachable = 0, {}
    for number, item in enumerate(wanted, start=1):
        host = item.url.split("/")[2]
        try:
            if host in unreachable:
                raise ValueError(f"{item.path} is left out: {host} cannot be reached.")
            with _transfer(f"{number}/{len(wanted)} {pathlib.Path(item.path).name}") as progress:
                sha256 = download.fetch(item, folder, progress=progress)
        except (ValueError, OSError) as error:
            failed += 1
            if isinstance(error, download.UnreachableError):
                unreachable[host] = True
            print(f"error: {error}", file=sys.stderr)
            continue
        known = "as expected" if item.sha256 else "not known before"
        unpacked = ", unpacked" if item.unpack else ""
        print(
            f"{number}/{len(wanted)} {item.path}{unpacked}: SHA-256 {sha256} ({known})", flush=True
        )
    return failed


def _prepare(chosen: Chosen, dry_run: bool) -> int:
    names = {n: None for item, found in chosen for n in sources.tfds_names(item, found)}
    if not names:
        raise ValueError("TFDS has none of these; leave --tfds out.")
    failed = 0
    for name in names:
        print(f"{'would prepare' if dry_run else 'Preparing'} {name} in {sources.tfds_dir()}")
        try:
            if not dry_run:
                sources.prepare(name)
        except ValueError as error:
            failed += 1
            print(f"error: {error}", file=sys.stderr)
    return int(bool(failed))


# ----------------------------------------------------------------------------------------- mixture
def _mixture(options: argparse.Namespace) -> int:
    from xlt_jax.data import features  # with NumPy, which the other commands do without

    mixture = mixtures.get(options.names[0])
    with _steps(len(mixture.tasks)) as advance:
        stream, tables, missing = features.of_mixture(
            mixture.name,
            options.split,
            _vocabulary(options.vocabulary),
            advance=advance,
            feature_lengths={"inputs": options.inputs, "targets": options.targets},
            batch_size=options.batch_size,
            seed=0,
            pack=not options.no_pack,
        )
    sizes = {table.name: table.size for table in tables}
    examples = options.steps * stream.examples_per_batch
    found = budget.expected(stream.rates, sizes, examples)
    if options.json:
        shown = {one.task: dataclasses.asdict(one) for one in found}
        print(json.dumps({"examples": examples, "tasks": shown}, indent=2))
        return 0
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("task", no_wrap=True)
    for title in ("rows", "tokens a row", "rate", "of all tokens", "drawn", "epochs"):
        table.add_column(title, justify="right")
    for one in found:
        table.add_row(
            one.task,
            f"{one.size.rows:,}",
            f"{one.size.tokens / one.size.rows:.1f}",
            f"{one.rate:.2%}",
            f"{one.token_share:.2%}",
            f"{one.examples:,.0f}",
            f"{one.epochs:.2f}",
        )
    console = _console()
    console.print(table)
    total = sum(one.tokens for one in found)
    lines = [
        f"{mixture.name}, counted in {mixture.unit}: {len(found)} tasks, "
        f"{sum(one.size.rows for one in found):,} rows. {options.steps:,} steps of "
        f"{options.batch_size} rows draw about {examples:,.0f} examples, {total:,.0f} tokens "
        f"({stream.examples_per_batch / options.batch_size:.2f} examples a row).",
        f"No data, left out: {' '.join(missing)}." if missing else None,
        budget.warning(found),
    ]
    for line in filter(None, lines):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    return 0


# -------------------------------------------------------------------------------------------- align
def _align(options: argparse.Namespace) -> int:
    from xlt_jax.data import alignment, augmentation, formats, pharaoh

    lines = list(formats.lines(options.file))
    is_table = ".tsv" in options.file.suffixes
    if is_table:
        fields = [line.split("\t") for line in lines]
        wrong = next((number for number, row in enumerate(fields) if len(row) not in (2, 3)), None)
        if wrong is not None:
            what = "no tab" if len(fields[wrong]) == 1 else f"{len(fields[wrong])} fields"
            raise ValueError(
                f"{options.file}, line {wrong + 1}, has {what}: {lines[wrong][:80]!r}. Give a "
                "sentence, a tab and its translation in each line, and at most links after them."
            )
        pairs = [tuple(augmentation.words(text) for text in row[:2]) for row in fields]
    else:
        pairs = pharaoh.read_pairs(lines)
    with Progress(console=Console(stderr=True)) as bar:
        if options.method == "fast_align":
            directions = 1 if options.symmetrisation in alignment.ONE_DIRECTION else 2
            num_steps = directions * (alignment.ITERATIONS + 1)
            steps = bar.add_task("words", total=num_steps, completed=-directions)

            def advance(step: str) -> None:
                bar.update(steps, description=step, advance=1)

            links = alignment.fast_align(
                pairs, symmetrisation=options.symmetrisation, advance=advance
            )
        else:
            bar.add_task("eflomal", total=None)
            try:
                links = alignment.eflomal_align(pairs, symmetrisation=options.symmetrisation)
            except ImportError as error:
                raise ValueError(str(error)) from error
    made = pharaoh.links_as_text(links)
    if is_table:
        made = ["\t".join([*row[:2], link]) for row, link in zip(fields, made)]
    files.write_text(options.out, "".join(f"{line}\n" for line in made))
    print(f"Wrote {options.out}: {sum(map(len, links)):,} links of {len(pairs):,} pairs.")
    return 0


def _vocabulary(path: str | None):
    from xlt_jax.data import vocab

    if path:
        return vocab.sentence_piece(path)
    text = importlib.import_module("tasks.cldr.text")
    return vocab.trained(text.corpus, 8192)  # as gin/models/tiny.gin has it


# -------------------------------------------------------------------------------------------- words
def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else _WIDTH_IN_FILES)


def _bytes(size: int) -> str:
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.2f} GB"


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"


@contextlib.contextmanager
def _steps(count: int) -> Iterator[Callable[[str], None]]:
    """A bar on a terminal's standard error that moves with every call."""
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=count)
        yield lambda what: bar.update(task, advance=1, description=what)


@contextlib.contextmanager
def _transfer(name: str) -> Iterator[download.Progress]:
    """A bar on a terminal's standard error: bytes, rate, time left."""
    from rich import progress

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.DownloadColumn(),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(name, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


if __name__ == "__main__":
    sys.exit(main())
