"""Benchmark: what a data set is, how it is phrased as text, and how it is scored."""

import difflib
import enum
import functools
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from xlt_jax.registry import languages as language_registry

Row = Mapping[str, Any]
Example = Mapping[str, Any]

STANDARD_SPLITS = {"train": "train", "validation": "validation", "test": "test"}
DOMAINS = ("general", "news", "medical", "scientific", "legal", "financial", "social media")


class Request(enum.Enum):
    """What is asked of the model when the benchmark is scored."""

    GENERATE = "generate"  # greedy text, compared with ``targets``
    RANK = "rank"  # log-probability of each of ``choices``; the prediction is the best choice
    EMBED = "embed"  # sentence vectors of ``inputs``; nearest among all rows' ``targets``
    TRAIN_ONLY = "train_only"  # never scored
    CANDIDATES = "candidates"  # ``inputs`` are what another benchmark's queries are searched among

    @property
    def scored(self) -> bool:
        """Whether the benchmark has scores of its own."""
        return self not in (Request.TRAIN_ONLY, Request.CANDIDATES)


@dataclass(frozen=True)
class Files:
    """Original downloads below the data folder.

    Attributes:
        pattern: Path in which ``{language}`` and ``{split}`` are replaced, ``*`` and ``?`` match; a
            file of that name with ``.gz`` after it serves as well. Several files that match are
            read one after the other, in the order of their names.
        read: ``(path, language) -> rows``: one of ``data/formats.py`` or the benchmark's own.
        splits: Our split name -> the file's.
        languages: Code of ``registry/languages.py`` -> the file's spelling, for those it has; None:
            all of the benchmark, spelled as ours.
    """

    pattern: str
    read: Callable[[Any, str], Iterable[Row]]
    splits: Mapping[str, str] = field(default_factory=lambda: STANDARD_SPLITS)
    languages: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Tfds:
    """A data set of tensorflow-datasets.

    Attributes:
        name: ``"xnli:1.1.0"``, ``"xquad/{language}:3.0.0"``; ``{language}`` is replaced.
        splits: Our split name -> that of TFDS, in which ``{language}`` is replaced too.
        languages: As of ``Files``.
        select: ``(row, language) -> row`` where the rows need a change, or None to drop one.
    """

    name: str
    splits: Mapping[str, str] = field(default_factory=lambda: STANDARD_SPLITS)
    languages: Mapping[str, str] | None = None
    select: Callable[[Row, str], Row | None] | None = None


Source = Files | Tfds


@dataclass(frozen=True)
class Download:
    """A file that ``python -m xlt_jax.data fetch`` brings.

    Attributes:
        url: Of the original.
        path: Where it goes, below the data folder.
        size_bytes: None where it is not known.
        sha256: None where it is not known; it is shown after the download.
        unpack: Whether it is an archive, unpacked into the folder of ``path``.
    """

    url: str
    path: str
    size_bytes: int | None = None
    sha256: str | None = None
    unpack: bool = False


@dataclass(frozen=True)
class Overlap:
    """What a benchmark shares with another; the zero-shot audit reads it.

    Attributes:
        benchmark: Name of the other one.
        splits: Own split -> the other's splits that share with it.
        note: What they share: one sentence for the report.
        texts: Whether sentences or paragraphs are the same, be it in translation, so that training
            on one shows the other's test rows. False: only their source is (genre, site).
    """

    benchmark: str
    splits: Mapping[str, tuple[str, ...]]
    note: str
    texts: bool = True


@dataclass(frozen=True)
class TaggedWords:
    """A well-formed answer: each of ``words`` followed by one of ``tags``."""

    words: tuple[str, ...]
    tags: tuple[str, ...]


@dataclass(frozen=True)
class LabelledSpans:
    """A well-formed answer: ``label words`` for spans of ``words``, joined by ``separator``.

    Attributes:
        words: Of the sentence; a span is copied from it.
        labels: With what stands between them and the words, as ``"PER:"``.
        separator: Between two spans.
        nothing: The whole answer where there is no span.
    """

    words: tuple[str, ...]
    labels: tuple[str, ...]
    separator: str
    nothing: str


@dataclass(frozen=True)
class Benchmark:
    """One data set in all of its languages.

    Attributes:
        name: Lower case; tasks are called ``name.language``.
        description: One sentence, shown in reports.
        languages: Codes of ``registry/languages.py``; a pair of them (``"en-sw"``) where the two
            texts of a row are of different languages.
        source: Where rows come from: ``source(language, split) -> rows`` for embedded data, or
            ``Files`` and ``Tfds`` records, of which the first that is there is read.
        prompt: ``row -> {"inputs": str, "targets": str}``, the text the model reads and is trained
            to write; with Request.RANK also ``"choices": tuple[str, ...]``, one of which equals
            ``targets``. ``"references"`` is what the metric compares with, a str or a list of them,
            where it is not ``targets``. ``"texts"`` are the row's own sentences and paragraphs, by
            which the audit finds the row in other sets; without it ``inputs`` is taken.
            ``"context"`` is the end of ``inputs`` that may be read in windows. Other keys are kept
            for ``parse`` and ``constraint``. ``None`` drops the row; a list is several rows.
        request: How it is scored.
        metric: ``(references, predictions) -> {name: value}`` over one language, values in 0..1.
        example_score: ``(reference, prediction) -> float``: one row's share in ``main_metric``,
            so that the mean over rows is the metric; reports bootstrap over it.
        example_counts: ``(reference, prediction) -> (right, predicted, wanted)`` where the main
            metric is F1 over all rows' counts together and no mean over rows.
        language_aware: Whether ``metric`` and ``example_score`` take ``language=...``.
        main_metric: The metric that tables show.
        chance: ``prompted rows -> main_metric`` of the best guess without reading the input.
        parse: ``(example, text) -> (prediction, whether the generated text is well-formed)``;
            malformed ones are counted and shown. None: the text is the prediction.
        constraint: ``example -> TaggedWords`` or ``LabelledSpans``: the form of every well-formed
            text, which decoding can be held to.
        candidates: Of Request.EMBED: the benchmark whose rows' ``inputs`` are searched; a
            prediction is the ids of the ``top_k`` nearest, joined by spaces. Empty: the targets of
            all rows are searched, and a prediction is the text of the nearest.
        candidates_pooled: Whether candidates of all its languages are searched, or only those of
            the query's language.
        top_k: Candidates in a prediction.
        mined: Instead, queries and candidates are paired one to one: a prediction is the id of the
            candidate and the pair's margin score, or nothing (``decoding.embed.mutual``).
        export: ``(examples, predictions) -> predictions`` as XTREME's submission files have them.
        domain: Of ``DOMAINS``.
        trains: Other benchmarks whose task these rows are, as those of translated training sets:
            with their labels in a language the others' scores there are not zero-shot.
        parallel: Whether row i of a split is the same in every language, so that training on it in
            one language shows the test rows of the others.
        overlaps: Texts or sources that other benchmarks share; saying it on one side is enough.
        labelled: Whether its training rows carry human or gold labels (text and parallel pairs
            do not); the zero-shot audit counts labelled training only.
        kind: "pair", "choice", "classification", "tagging", "qa", "retrieval", "generation",
            "text", "parallel".
        noise: True when ``inputs``/``targets`` are made from ``text`` by span corruption on tokens
            (the prompt returns {"inputs": "", "targets": text}).
        max_target_tokens: Longest answer that decoding has to allow.
        english_training: Tasks to train on before it is scored zero-shot.
        version: Changes whenever prompt, rows or metric change meaning.
        citation: Paper or data source.
        licence: Of the data.
        downloads: What ``python -m xlt_jax.data fetch`` brings.
        manual: What to do where no file can be fetched.
    """

    name: str
    description: str
    languages: tuple[str, ...]
    source: Callable[[str, str], Iterable[Row]] | tuple[Source, ...]
    prompt: Callable[[Row], Any]
    request: Request
    kind: str
    metric: Callable[..., dict[str, float]] | None = None
    example_score: Callable[..., float] | None = None
    example_counts: Callable[[Any, str], tuple[int, int, int]] | None = None
    language_aware: bool = False
    main_metric: str = ""
    chance: Callable[[Sequence[Example]], float] | None = None
    parse: Callable[[Example, str], tuple[str, bool]] | None = None
    constraint: Callable[[Example], TaggedWords | LabelledSpans] | None = None
    candidates: str = ""
    candidates_pooled: bool = False
    top_k: int = 1
    mined: bool = False
    export: Callable[[Sequence[Example], Sequence[str]], list[str]] | None = None
    domain: str = "general"
    trains: tuple[str, ...] = ()
    parallel: bool = False
    overlaps: tuple[Overlap, ...] = ()
    labelled: bool = True
    noise: bool = False
    max_target_tokens: int = 32
    english_training: tuple[str, ...] = ()
    version: str = "1"
    citation: str = ""
    licence: str = ""
    downloads: tuple[Download, ...] = ()
    manual: str = ""

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits that some source has: train, validation, test, then others."""
        if callable(self.source):
            return tuple(STANDARD_SPLITS)
        found = dict.fromkeys(split for source in self.source for split in source.splits)
        standard = [split for split in STANDARD_SPLITS if split in found]
        return (*standard, *(split for split in found if split not in standard))

    def offers(self, language: str, split: str) -> bool:
        """Whether some source has this split of the language, be it on this machine or not."""
        if callable(self.source):
            return split in STANDARD_SPLITS
        return any(
            split in source.splits and (source.languages is None or language in source.languages)
            for source in self.source
        )

    def metric_of(self, language: str) -> Callable[[Sequence, Sequence[str]], dict[str, float]]:
        """``metric`` for one language."""
        return (
            functools.partial(self.metric, language=language)
            if self.language_aware
            else self.metric
        )

    def score(self, reference: Any, prediction: str, language: str) -> tuple[float, float]:
        """(score, weight) of a row: the main metric is the mean of scores by these weights.

        The weight is 1 where the metric is a plain mean; of F1 over all rows' counts together a
        row's own F1 counts by the number of things predicted and wanted in it, maybe none.
        """
        if self.example_counts:
            right, predicted, wanted = self.example_counts(reference, prediction)
            weight = predicted + wanted
            return (2 * right / weight if weight else 1.0), float(weight)
        if self.language_aware:
            return float(self.example_score(reference, prediction, language=language)), 1.0
        return float(self.example_score(reference, prediction)), 1.0

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
        for part in code.split("-"):
            if language_registry.get(part).code != part:
                raise ValueError(
                    f"Benchmark {benchmark.name!r} names language {part!r}, an alias; write "
                    f"{language_registry.get(part).code!r}."
                )
    if benchmark.request.scored and not (
        benchmark.metric
        and (benchmark.example_score or benchmark.example_counts)
        and benchmark.main_metric
        and benchmark.chance
    ):
        raise ValueError(
            f"Benchmark {benchmark.name!r} is scored by {benchmark.request.value}, so it needs "
            "metric, example_score or example_counts, main_metric and chance."
        )
    if benchmark.domain not in DOMAINS:
        raise ValueError(
            f"Benchmark {benchmark.name!r} has the domain {benchmark.domain!r}; known: "
            f"{', '.join(DOMAINS)}."
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


def training_record(task_name: str, split: str, examples: int | None) -> dict[str, Any]:
    """What a run notes of a task that it trained on; the report's zero-shot audit reads it.

    Args:
        task_name: ``benchmark.language``.
        split: That was trained on.
        examples: Number of those drawn; None where the engine does not count.
    """
    benchmark, language = split_task(task_name)
    return {
        "examples": examples,
        "labelled": benchmark.labelled,
        "benchmark": benchmark.name,
        "trains": [benchmark.name, *benchmark.trains],
        "language": language,
        "kind": benchmark.kind,
        "domain": benchmark.domain,
        "split": split,
        "shared": shared(benchmark, split),
    }


def shared(benchmark: Benchmark, split: str) -> list[dict[str, Any]]:
    """What registered benchmarks share with one split of this one, by declaration on either side.

    Each entry is ``{"benchmark", "splits", "note", "texts"}``: see ``Overlap``. A benchmark whose
    rows are parallel shares the split with itself.
    """
    found = []

    def add(name: str, splits: Sequence[str], note: str, texts: bool = True) -> None:
        if splits:
            entry = {"benchmark": name, "splits": list(splits), "note": note, "texts": texts}
            found.append(entry)

    if benchmark.parallel:
        add(benchmark.name, (split,), "Row by row the same in every language.")
    for one in benchmark.overlaps:
        add(one.benchmark, one.splits.get(split, ()), one.note, one.texts)
    for other in all_benchmarks():
        for one in other.overlaps:
            if one.benchmark == benchmark.name:
                own = [name for name, splits in one.splits.items() if split in splits]
                add(other.name, own, one.note, one.texts)
    return found


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
