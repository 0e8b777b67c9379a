"""Mixtures: which tasks a run draws its examples from, and how often."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from xlt_jax.registry import benchmarks


@dataclass(frozen=True)
class Part:
    """Tasks that share a fraction of a mixture.

    Within the part a task of n rows is drawn in proportion to ``min(n, cap) ** (1 / temperature)``
    (mT5 samples languages with exponent 0.3: temperature 1 / 0.3; Xue et al. 2021, section 3.2).

    Attributes:
        tasks: ``benchmark.language`` names.
        share: Part of the examples that come from these tasks; shares need not add up to one.
        temperature: 1 proportional; large values equal rates.
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
    """A named set of parts; SeqIO gets a mixture of the same name and rates."""

    name: str
    parts: tuple[Part, ...]

    @property
    def tasks(self) -> tuple[str, ...]:
        """All tasks, each once, in the order of the parts."""
        return tuple(dict.fromkeys(task for part in self.parts for task in part.tasks))

    def rates(self, sizes: Mapping[str, int]) -> dict[str, float]:
        """Probability of each task for one example; ``sizes`` are rows per task. Sums to one."""
        rates = dict.fromkeys(self.tasks, 0.0)
        for part in self.parts:
            for task, rate in part.rates(sizes).items():
                rates[task] += rate
        total = sum(rates.values())
        return {task: rate / total for task, rate in rates.items()}


_MIXTURES: dict[str, Mixture] = {}


def register(name: str, *parts: Part) -> Mixture:
    """Adds a mixture; a file of ``tasks/`` does it.

    Raises:
        ValueError: No parts, the name of a task, or one of another content.
    """
    mixture = Mixture(name, tuple(parts))
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
