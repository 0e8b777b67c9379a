"""Benchmark: what a data set is, how it is phrased as text, and how it is scored."""

import difflib
import enum
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from xlt_jax.registry import languages as language_registry

Row = Mapping[str, Any]


class Request(enum.Enum):
    """What is asked of the model when the benchmark is scored."""

    GENERATE = "generate"  # greedy text, compared with ``targets``
    RANK = "rank"  # log-probability of each of ``choices``; the prediction is the best choice
    EMBED = "embed"  # sentence vectors of ``inputs``; nearest among all rows' ``targets``
    TRAIN_ONLY = "train_only"  # never scored


@dataclass(frozen=True)
class Benchmark:
    """One data set in all of its languages.

    Attributes:
        name: Lower case; tasks are called ``name.language``.
        description: One sentence, shown in reports.
        languages: Codes of ``registry/languages.py``.
        source: Either ``source(language, split) -> rows`` for embedded data, or a locator that
            ``data/sources.py`` reads: ``"jsonl:xnli/{language}.{split}.jsonl"``,
            ``"tsv:..."`` or ``"tfds:xnli:1.1.0"``.
        select: ``(row, language) -> row`` where one source row holds several languages.
        splits: Our split name (train, validation, test) -> the source's split name.
        prompt: ``row -> {"inputs": str, "targets": str}``; with Request.RANK also
            ``"choices": tuple[str, ...]``, one of which equals ``targets``. ``None`` drops the row.
            A row may return a list of such dictionaries (one per answer to train on).
        request: How it is scored.
        metric: ``(targets, predictions) -> {name: value}`` over one language, values in 0..1;
            both are sequences of str.
        example_score: ``(target, prediction) -> float``: the share of one row in ``main_metric``,
            so that the mean over rows is the metric; reports bootstrap over it.
        main_metric: The metric that tables show.
        chance: ``prompted rows -> main_metric`` of the best guess without reading the input.
        labelled: Whether its training rows carry human or gold labels (text and parallel pairs
            do not); the zero-shot audit counts labelled training only.
        kind: "pair", "choice", "tagging", "qa", "retrieval", "text", "parallel", "other".
        noise: True when ``inputs``/``targets`` are made from ``text`` by span corruption on tokens
            (the prompt returns {"inputs": "", "targets": text}).
        max_target_tokens: Longest answer that decoding has to allow.
        version: Changes whenever prompt, rows or metric change meaning.
        citation: Paper or data source; licence.
    """

    name: str
    description: str
    languages: tuple[str, ...]
    source: str | Callable[[str, str], Iterable[Row]]
    prompt: Callable[[Row], Any]
    request: Request
    kind: str
    splits: Mapping[str, str] = field(
        default_factory=lambda: {"train": "train", "validation": "validation", "test": "test"}
    )
    select: Callable[[Row, str], Row] | None = None
    metric: Callable[[Sequence[str], Sequence[str]], dict[str, float]] | None = None
    example_score: Callable[[str, str], float] | None = None
    main_metric: str = ""
    chance: Callable[[Sequence[Mapping[str, Any]]], float] | None = None
    labelled: bool = True
    noise: bool = False
    max_target_tokens: int = 32
    version: str = "1"
    citation: str = ""

    def task_names(self) -> tuple[str, ...]:
        """``name.language`` for every language."""
        return tuple(f"{self.name}.{language}" for language in self.languages)


_BENCHMARKS: dict[str, Benchmark] = {}


def register(benchmark: Benchmark) -> Benchmark:
    """Adds a benchmark; importing a file of ``tasks/`` does it.

    Raises:
        ValueError: A language is unknown, a scored benchmark lacks its metric, or another
            benchmark has the name already.
    """
    for code in benchmark.languages:
        if language_registry.get(code).code != code:
            raise ValueError(
                f"Benchmark {benchmark.name!r} names language {code!r}, an alias; write "
                f"{language_registry.get(code).code!r}."
            )
    if benchmark.request is not Request.TRAIN_ONLY and not (
        benchmark.metric and benchmark.example_score and benchmark.main_metric and benchmark.chance
    ):
        raise ValueError(
            f"Benchmark {benchmark.name!r} is scored by {benchmark.request.value}, so it needs "
            "metric, example_score, main_metric and chance."
        )
    if benchmark.name in _BENCHMARKS and _module(_BENCHMARKS[benchmark.name]) != _module(benchmark):
        raise ValueError(
            f"Two benchmarks are called {benchmark.name!r}: in "
            f"{_module(_BENCHMARKS[benchmark.name])} and in {_module(benchmark)}. Rename one."
        )
    _BENCHMARKS[benchmark.name] = benchmark
    return benchmark


def get(name: str) -> Benchmark:
    """The benchmark called ``name``.

    Raises:
        ValueError: Unknown; the message has the near names.
    """
    if name not in _BENCHMARKS:
        raise ValueError(
            f"Unknown benchmark {name!r}{near(name, _BENCHMARKS)}. Known: "
            f"{', '.join(sorted(_BENCHMARKS)) or 'none, import tasks first'}. "
            "Register it in a file of tasks/."
        )
    return _BENCHMARKS[name]


def all_benchmarks() -> tuple[Benchmark, ...]:
    """All registered benchmarks, sorted by name."""
    return tuple(_BENCHMARKS[name] for name in sorted(_BENCHMARKS))


def split_task(task_name: str) -> tuple[Benchmark, str]:
    """Benchmark and language code of a task called ``benchmark.language``.

    Raises:
        ValueError: The benchmark is unknown or does not have the language.
    """
    name, _, language = task_name.rpartition(".")
    benchmark = get(name or task_name)
    if not name:
        raise ValueError(
            f"Task {task_name!r} lacks its language: write {benchmark.task_names()[0]!r}."
        )
    if language not in benchmark.languages:
        raise ValueError(
            f"Benchmark {name!r} has no language {language!r}"
            f"{near(language, benchmark.languages)}; it has {' '.join(benchmark.languages)}."
        )
    return benchmark, language


def training_record(task_name: str, examples: int | None) -> dict[str, Any]:
    """What a run notes of a task that it trained on; the report's zero-shot audit reads it.

    Args:
        task_name: ``benchmark.language``.
        examples: Number of those drawn; None where the engine does not count.
    """
    benchmark, language = split_task(task_name)
    return {
        "examples": examples,
        "labelled": benchmark.labelled,
        "benchmark": benchmark.name,
        "language": language,
        "kind": benchmark.kind,
    }


def near(name: str, known: Iterable[str]) -> str:
    """``", did you mean 'x' or 'y'?"`` or nothing: the tail of an error message."""
    close = difflib.get_close_matches(name, list(known), n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(map(repr, close))}?" if close else ""


def module_source(benchmark: Benchmark) -> str:
    """Text of the file that defines the prompt: part of the token cache's key."""
    path = sys.modules[_module(benchmark)].__file__
    with open(path, encoding="utf-8") as file:
        return file.read()


def _module(benchmark: Benchmark) -> str:
    return benchmark.prompt.__module__
