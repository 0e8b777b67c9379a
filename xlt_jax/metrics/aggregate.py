"""Means over scores of single tasks: by benchmark, by language group, gap to English, overall.

Scores arrive as ``{"benchmark.language": value}``, in any unit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from xlt_jax.registry import xtreme

Scores = Mapping[str, float]


@dataclass(frozen=True)
class Average:
    """A mean that is only given when nothing is missing.

    Attributes:
        value: The mean, or None when a task is missing.
        missing: Names of the tasks without a score, sorted.
    """

    value: float | None
    missing: tuple[str, ...]


@dataclass(frozen=True)
class Summary:
    """All averages of one version of XTREME.

    Attributes:
        tasks: Mean over the task's languages.
        groups: Mean over the group's tasks of those means.
        overall: Mean over all tasks, not over groups.
        gaps: Score in English less the mean over the other languages, for the tasks that have
            English; larger is worse transfer.
    """

    tasks: Mapping[str, Average]
    groups: Mapping[str, Average]
    overall: Average
    gaps: Mapping[str, Average]


def by_benchmark(scores: Scores) -> dict[str, float]:
    """Mean over the languages that are there, for each benchmark: ``{benchmark: mean}``."""
    return {name: _mean(values.values()) for name, values in _tables(scores).items()}


def by_group(scores: Scores, groups: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """``{benchmark: {group: mean over the group's languages}}``.

    Args:
        scores: By task.
        groups: Language code -> family, script, resource class, ...; a language that is not in
            it belongs to no group.
    """
    result = {}
    for benchmark, values in _tables(scores).items():
        members: dict[str, list[float]] = {}
        for language, value in values.items():
            if language in groups:
                members.setdefault(groups[language], []).append(value)
        result[benchmark] = {group: _mean(members[group]) for group in sorted(members)}
    return result


def without(scores: Scores, language: str = "en") -> dict[str, float]:
    """The scores of all other languages."""
    return {task: value for task, value in scores.items() if _split(task)[1] != language}


def transfer_gap(scores: Scores, source: str = "en") -> dict[str, float]:
    """``{benchmark: score(source) - mean over the other languages}``; larger is worse transfer.

    Benchmarks without a score in ``source``, or in no other language, have no gap.

    Source: Hu et al. 2020, arXiv:2003.11080, section 4 (cross-lingual transfer gap).
    """
    return {
        benchmark: values[source] - _mean(v for code, v in values.items() if code != source)
        for benchmark, values in _tables(scores).items()
        if source in values and len(values) > 1
    }


def overall(scores: Scores, expected: Mapping[str, Sequence[str]]) -> Average:
    """Unweighted mean over benchmarks of the mean over languages, as XTREME-R averages.

    Args:
        scores: By task; tasks that are not expected do not count. Question answering enters
            as (F1 + EM) / 2, see ``f1_em``.
        expected: Benchmark -> all its languages. A missing task is named, not averaged over: a
            mean over what happened to be there cannot be compared with anything.

    Source: Ruder et al. 2021, arXiv:2104.07412; evaluate.py of github.com/google-research/xtreme.
    """
    missing = sorted(
        f"{benchmark}.{language}"
        for benchmark, languages in expected.items()
        for language in languages
        if f"{benchmark}.{language}" not in scores
    )
    if missing or not expected:
        return Average(None, tuple(missing))
    means = [
        _mean(scores[f"{benchmark}.{language}"] for language in languages)
        for benchmark, languages in expected.items()
    ]
    return Average(_mean(means), ())


def xtreme_summary(scores: Scores, version: str = "xtreme-r") -> Summary:
    """Averages by task, group and overall; what lacks a task or language has no average.

    LAReQA counts as any other task, so XTREME-R has its ten-task average, which the official
    program cannot give.

    Args:
        scores: By task, one number each: question answering as ``f1_em``, tags as F1. Tasks that
            the version does not have do not count.
        version: ``"xtreme"`` or ``"xtreme-r"``.

    Source: as ``overall``; the groups are the papers'.
    """
    tasks = xtreme.tasks(version)
    averages = {name: overall(scores, {name: task.languages}) for name, task in tasks.items()}
    groups = {
        group: overall(
            scores, {name: task.languages for name, task in tasks.items() if task.group == group}
        )
        for group in xtreme.GROUPS
    }
    gaps = {
        name: Average(
            None if averages[name].missing else transfer_gap(_of_task(scores, task))[name],
            averages[name].missing,
        )
        for name, task in tasks.items()
        if xtreme.SOURCE in task.languages
    }
    everything = overall(scores, {name: task.languages for name, task in tasks.items()})
    return Summary(averages, groups, everything, gaps)


def f1_em(metrics: Mapping[str, float]) -> float:
    """(F1 + EM) / 2, the one number of a question-answering task in XTREME's average."""
    return (metrics["f1"] + metrics["em"]) / 2


def _of_task(scores: Scores, task: xtreme.Task) -> dict[str, float]:
    names = [f"{task.name}.{language}" for language in task.languages]
    return {name: scores[name] for name in names}


def _tables(scores: Scores) -> dict[str, dict[str, float]]:
    """``{benchmark: {language: value}}``, both sorted."""
    tables: dict[str, dict[str, float]] = {}
    for task in sorted(scores):
        benchmark, language = _split(task)
        tables.setdefault(benchmark, {})[language] = scores[task]
    return tables


def _split(task: str) -> tuple[str, str]:
    benchmark, dot, language = task.rpartition(".")
    if not dot:
        raise ValueError(f"Score of {task!r}: tasks are called benchmark.language.")
    return benchmark, language


def _mean(values) -> float:
    numbers = list(values)
    return sum(numbers) / len(numbers)
