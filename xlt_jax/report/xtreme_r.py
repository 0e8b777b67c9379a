"""The table of XTREME-R: averages of tasks, groups and all ten tasks, for each arm."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from xlt_jax.evaluation import summary
from xlt_jax.evaluation.predictions import TaskResult
from xlt_jax.registry import xtreme
from xlt_jax.report.scores import Cell
from xlt_jax.report.tables import SOURCE, Results


@dataclass(frozen=True)
class Average:
    """One arm's average of a task, a group, or all tasks.

    Attributes:
        percent: Mean over seeds; None when a language or task is missing.
        deviation: Standard deviation over seeds; None with fewer than two.
        missing: Names of what is missing: languages of a task, tasks of a group.
        refused: Languages that were not zero-shot: labels or texts of them were trained on.
    """

    percent: float | None
    deviation: float | None
    missing: tuple[str, ...]
    refused: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """A line of the table: a task, or the mean of a group or of all tasks (task None)."""

    group: str
    task: str | None
    arms: Mapping[str, Average]


def rows(results: Results) -> list[Row]:
    """The table, in the order of the groups; nothing where no arm has a task of XTREME-R.

    English is one of each task's languages, as in XTREME-R. Question answering is the mean of F1
    and EM.
    """
    tasks = xtreme.tasks("xtreme-r")
    found = {arm: summaries for arm in results.arms if (summaries := _summaries(results, arm))}
    if not found:
        return []
    lines = []
    for group in xtreme.GROUPS:
        names = [name for name, task in tasks.items() if task.group == group]
        lines += [
            Row(
                group,
                name,
                {arm: _task(results, arm, name, found.get(arm)) for arm in results.arms},
            )
            for name in names
        ]
        lines.append(Row(group, None, _means(lines[-len(names) :], found, group)))
    every = [line for line in lines if line.task]
    lines.append(Row("all", None, _means(every, found, None)))
    return lines


def missing(lines: Sequence[Row]) -> list[str]:
    """For each arm, the tasks and languages that it lacks: sentences."""
    said: dict[str, list[str]] = {}
    for line in lines:
        for arm, average in line.arms.items():
            if line.task and average.missing:
                languages = xtreme.task(line.task, "xtreme-r").languages
                all_of_it = len(average.missing) == len(languages)
                what = "" if all_of_it else f" ({' '.join(average.missing)})"
                said.setdefault(arm, []).append(f"{line.task}{what}")
    return [f"{arm} lacks {', '.join(names)}." for arm, names in said.items()]


def _summaries(results: Results, arm: str) -> dict[int | None, summary.Results]:
    """Seed -> the table's numbers of that seed alone; a seed of no task of XTREME-R is left out."""
    cells = results.study.cells[arm]
    seeds = sorted({seed for cell in cells.values() for seed in cell.seeds}, key=str)
    tasks = xtreme.tasks("xtreme-r")
    found = {}
    for seed in seeds:
        scored = {
            f"{benchmark}.{code}": _result(cell, seed)
            for (benchmark, code), cell in cells.items()
            if benchmark in tasks
            and seed in cell.seeds
            and set(tasks[benchmark].metrics) <= set(cell.seeds[seed].metrics)
        }
        numbers = summary.of_results(scored, "xtreme-r")
        if numbers:
            found[seed] = numbers
    return found


def _result(cell: Cell, seed: int | None) -> TaskResult:
    score = cell.seeds[seed]
    return TaskResult(
        metrics=score.metrics,
        main_metric=score.metric,
        n=score.n,
        chance=score.chance,
        truncated=score.truncated or 0,
        predictions=(),
        malformed=score.malformed or 0,
        split=score.split or "test",
    )


def _task(
    results: Results, arm: str, name: str, found: Mapping[int | None, summary.Results] | None
) -> Average:
    languages = xtreme.task(name, "xtreme-r").languages
    refused = tuple(
        code
        for code in languages
        if code != SOURCE
        and (name, code) in results.study.cells[arm]
        and results.exposure(arm, name, code).refused
    )
    # The seeds that count in the benchmark: each language that is there has all of them.
    averages = [one.summary.tasks[name] for one in (found or {}).values() if name in one.scores]
    values = [one.value for one in averages]
    missing = averages[0].missing if averages else languages
    missing = tuple(sorted(task.rpartition(".")[2] for task in missing))
    return Average(
        None if missing else float(np.mean(values)), _deviation(values), missing, refused
    )


def _means(
    lines: Sequence[Row],
    found: Mapping[str, Mapping[int | None, summary.Results]],
    group: str | None,
) -> dict[str, Average]:
    """Averages of a group, or of all tasks (None), over these lines of tasks."""
    means = {}
    for arm in lines[0].arms:
        mine = [line.arms[arm] for line in lines]
        missing = tuple(line.task for line in lines if line.arms[arm].missing)
        refused = tuple(line.task for line in lines if line.arms[arm].refused)
        summaries = [one.summary for one in found.get(arm, {}).values()]
        by_seed = [(one.groups[group] if group else one.overall).value for one in summaries]
        percent = None if missing else float(np.mean([one.percent for one in mine]))
        means[arm] = Average(percent, _deviation(by_seed), missing, refused)
    return means


def _deviation(by_seed: Sequence[float | None]) -> float | None:
    """Over the seeds that lack nothing; None with fewer than two."""
    whole = [value for value in by_seed if value is not None]
    return float(np.std(whole, ddof=1)) if len(whole) > 1 else None
