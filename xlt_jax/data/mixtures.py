"""Mixtures: which tasks a run draws its examples from, and how often.

A mixture is parts with shares; a part's tasks come from a query over benchmarks and languages
(``tasks``, ``select``) and share it by size, temperature or equally, counted in examples or tokens.
"""

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from xlt_jax.registry import benchmarks, languages
from xlt_jax.registry.benchmarks import Request

EQUAL = math.inf  # the temperature at which all tasks of a part are drawn equally often
UNITS = ("examples", "tokens")


@dataclass(frozen=True)
class Size:
    """How much there is of a task."""

    rows: int
    tokens: int  # of inputs and targets together


@dataclass(frozen=True)
class Part:
    """Tasks that share a fraction of a mixture.

    Within the part a task of n rows is drawn in proportion to ``min(n, cap) ** (1 / temperature)``
    (mT5 samples languages with exponent 0.3: temperature 1 / 0.3; Xue et al. 2021, section 3.2).
    In a mixture counted in tokens, n and the cap are tokens.

    Attributes:
        tasks: ``benchmark.language`` names.
        share: Part of the mixture that these tasks make; shares need not add up to one.
        temperature: 1 proportional; large values near equal rates, ``EQUAL`` equal ones.
        cap: Rows above this number do not raise a task's rate; None for no cap.
    """

    tasks: tuple[str, ...]
    share: float = 1.0
    temperature: float = 1.0
    cap: int | None = None

    def __post_init__(self):
        if not self.tasks:
            raise ValueError("A part of a mixture has no tasks: the query that made it found none.")
        if self.share <= 0 or self.temperature <= 0 or (self.cap is not None and self.cap <= 0):
            raise ValueError(
                f"share {self.share}, temperature {self.temperature} and cap {self.cap} of a "
                f"mixture's part must be positive (tasks {', '.join(self.tasks[:3])} ...)."
            )

    def rates(self, sizes: Mapping[str, int]) -> dict[str, float]:
        """Share of the whole mixture for every task of this part, shares not yet normalised."""
        weights = {
            task: min(sizes[task], self.cap or sizes[task]) ** (1 / self.temperature)
            for task in self.tasks
        }
        total = sum(weights.values())
        return {task: self.share * weight / total for task, weight in weights.items()}


@dataclass(frozen=True)
class Mixture:
    """A named set of parts; SeqIO gets a mixture of the same name and rates.

    Attributes:
        name: That runs are given.
        parts: With their shares.
        unit: What shares, rates and caps count: "examples", or "tokens" of inputs and targets, so
            that a task of long rows gives no more tokens than its share.
        skip_missing: Whether tasks without data on this machine are left out instead of being an
            error; our engine names them.
    """

    name: str
    parts: tuple[Part, ...]
    unit: str = "examples"
    skip_missing: bool = False

    @property
    def tasks(self) -> tuple[str, ...]:
        """All tasks, each once, in the order of the parts."""
        return tuple(dict.fromkeys(task for part in self.parts for task in part.tasks))

    def without(self, missing: Collection[str]) -> "Mixture":
        """Without some tasks; a part that has no others is left out.

        Raises:
            ValueError: Nothing is left.
        """
        if not missing:
            return self
        kept = [tuple(t for t in part.tasks if t not in missing) for part in self.parts]
        parts = tuple(replace(part, tasks=own) for part, own in zip(self.parts, kept) if own)
        if not parts:
            raise ValueError(
                f"No task of the mixture {self.name!r} has data on this machine: "
                f"`python -m xlt_jax.data check {self.name}` shows what is missing."
            )
        return replace(self, parts=parts)

    def rates(self, sizes: Mapping[str, Size]) -> dict[str, float]:
        """Probability of each task for one example; sums to one."""
        in_tokens = self.unit == "tokens"
        counts = {
            task: sizes[task].tokens if in_tokens else sizes[task].rows for task in self.tasks
        }
        rates = dict.fromkeys(self.tasks, 0.0)
        for part in self.parts:
            for task, rate in part.rates(counts).items():
                rates[task] += rate
        if in_tokens:  # a task of rows twice as long is drawn half as often for the same tokens
            rates = {t: rate * sizes[t].rows / sizes[t].tokens for t, rate in rates.items()}
        total = sum(rates.values())
        return {task: rate / total for task, rate in rates.items()}


_MIXTURES: dict[str, Mixture] = {}


def register(
    name: str, *parts: Part, unit: str = "examples", skip_missing: bool = False
) -> Mixture:
    """Adds a mixture; a file of ``tasks/`` does it.

    Raises:
        ValueError: No parts, the name of a task, an unknown unit, or one of another content.
    """
    mixture = Mixture(name, tuple(parts), unit, skip_missing)
    if unit not in UNITS:
        raise ValueError(f"Mixture {name!r} counts in {unit!r}; known: {', '.join(UNITS)}.")
    if not parts or name in _task_names():
        raise ValueError(f"Mixture {name!r} needs at least one part and a name that no task has.")
    if _MIXTURES.get(name, mixture) != mixture:
        raise ValueError(f"Two mixtures are called {name!r}. Rename one.")
    _MIXTURES[name] = mixture
    return mixture


def names() -> tuple[str, ...]:
    """Registered mixtures, sorted."""
    return tuple(sorted(_MIXTURES))


def get(name: str) -> Mixture:
    """The mixture called ``name``; the name of a task stands for that task alone.

    Raises:
        ValueError: Neither a mixture nor a task; the message has the near names.
    """
    if name in _MIXTURES:
        return _MIXTURES[name]
    known_tasks = _task_names()
    if name in known_tasks:
        return Mixture(name, (Part((name,)),))
    raise ValueError(
        f"Unknown mixture or task {name!r}{benchmarks.near(name, [*names(), *known_tasks])}. "
        f"Mixtures: {', '.join(names()) or 'none'}. Register mixtures with "
        "xlt_jax.data.mixtures.register and benchmarks in a file of tasks/, and import it in gin."
    )


def _task_names() -> list[str]:
    return [task for item in benchmarks.all_benchmarks() for task in item.task_names()]


def tasks(names: Iterable[str], languages: Iterable[str] | None = None) -> tuple[str, ...]:
    """Task names of benchmarks, restricted to languages that each of them has."""
    wanted = None if languages is None else set(languages)
    return tuple(
        f"{name}.{language}"
        for name in names
        for language in benchmarks.get(name).languages
        if wanted is None or language in wanted
    )


def select(
    *,
    languages: Iterable[str] | None = None,
    kind: str | Collection[str] | None = None,
    domain: str | Collection[str] | None = None,
    labelled: bool = True,
    embedded: bool = False,
    exclude: Iterable[str] = (),
) -> tuple[str, ...]:
    """Tasks to train on of all benchmarks that meet every criterion, sorted.

    Args:
        languages: Codes, as ``registry.languages.select`` gives them; None for all.
        kind: ``Benchmark.kind``, or several.
        domain: ``Benchmark.domain``, or several.
        labelled: Labelled tasks; False: text and parallel pairs.
        embedded: Benchmarks of the embedded data; False: those that are read from files or TFDS.
        exclude: Names of benchmarks.

    Raises:
        ValueError: Nothing is found, or a value that no benchmark has.
    """
    every = benchmarks.all_benchmarks()
    criteria = {"kind": kind, "domain": domain}
    wanted = {
        name: {value} if isinstance(value, str) else set(value)
        for name, value in criteria.items()
        if value is not None
    }
    for name, values in wanted.items():
        known = {getattr(benchmark, name) for benchmark in every}
        if unknown := sorted(values - known):
            raise ValueError(
                f"No benchmark has the {name} {', '.join(unknown)}; there are "
                f"{', '.join(sorted(known))}."
            )
    codes, left_out = None if languages is None else set(languages), set(exclude)
    found = tuple(
        f"{benchmark.name}.{language}"
        for benchmark in every
        for language in benchmark.languages
        if benchmark.labelled is labelled
        and callable(benchmark.source) is embedded
        and benchmark.offers(language, "train")
        and benchmark.request is not Request.CANDIDATES
        and benchmark.name not in left_out
        and (codes is None or language in codes)
        and all(getattr(benchmark, name) in values for name, values in wanted.items())
    )
    if not found:
        raise ValueError(
            f"No task to train on has languages {codes}, kind {kind}, domain {domain}, "
            f"labelled {labelled}, embedded {embedded} outside {sorted(left_out)}."
        )
    return found


def by_resource(found: Iterable[str], **shares: float) -> tuple[Part, ...]:
    """Parts of the tasks in high-, mid- and low-resource languages, each with its share.

    Args:
        found: Task names.
        shares: ``high=0.4, mid=0.3, low=0.3``; a class that no task has is left out.
    """
    classes = {name: set(languages.select(resource=name)) for name in shares}
    split = {
        name: tuple(task for task in found if task.rpartition(".")[2] in codes)
        for name, codes in classes.items()
    }
    return tuple(Part(split[name], share) for name, share in shares.items() if split[name])


def with_text(parts: Iterable[Part], text: Part, ratio: float) -> tuple[Part, ...]:
    """Parts with language modelling beside them, ``ratio`` of it for each one of theirs.

    mT5's remedy for answers in the wrong language is 1 : 100 while it is fine-tuned (Xue et al.
    2021, section 4, read in a secondary source).
    """
    parts = tuple(parts)
    return *parts, replace(text, share=ratio * sum(part.share for part in parts))
