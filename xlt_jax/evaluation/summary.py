"""The table of XTREME or XTREME-R: scores of tasks, groups and all; what is missing is named."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from xlt_jax.evaluation.predictions import TaskResult
from xlt_jax.metrics import aggregate
from xlt_jax.registry import xtreme

_WIDTH_IN_FILES = 140  # columns, where the output is no terminal


@dataclass(frozen=True)
class Score:
    """One task in one language.

    Attributes:
        metrics: Name -> percent, those of the task.
        notes: What a person should know: missing, surplus and malformed answers.
    """

    metrics: Mapping[str, float]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Results:
    """A scored submission.

    Attributes:
        version: ``"xtreme"`` or ``"xtreme-r"``.
        scores: Task -> language -> score, of those with predictions and labels.
        summary: Averages in percent.
        notes: On files and answers, for people.
    """

    version: str
    scores: Mapping[str, Mapping[str, Score]]
    summary: aggregate.Summary
    notes: Sequence[str]


def of_scores(
    scores: Mapping[str, Mapping[str, Score]], version: str, notes: Sequence[str]
) -> Results:
    """The averages over these scores."""
    return Results(version, scores, aggregate.xtreme_summary(_main_scores(scores), version), notes)


def of_results(results: Mapping[str, TaskResult], version: str = "xtreme-r") -> Results | None:
    """The table of an evaluation's tasks that the version has, or None when there are none."""
    scores: dict[str, dict[str, Score]] = {}
    notes = []
    for name, task in xtreme.tasks(version).items():
        named = {code: f"{name}.{code}" for code in task.languages}
        there = {code: results[key] for code, key in named.items() if key in results}
        for language, found in there.items():
            percent = {metric: 100 * found.metrics[metric] for metric in task.metrics}
            scores.setdefault(name, {})[language] = Score(percent)
        if malformed := sum(found.malformed for found in there.values()):
            rows = sum(found.n for found in there.values())
            notes.append(f"{name}: {malformed:,} of {rows:,} answers are not well-formed")
        splits = {found.split for found in there.values()} - {"test"}
        if splits:
            notes.append(f"{name}: scored on {' and '.join(sorted(splits))}, not on the test set")
    return of_scores(scores, version, notes) if scores else None


def _main_score(metrics: Mapping[str, float]) -> float:
    return aggregate.f1_em(metrics) if "em" in metrics else next(iter(metrics.values()))


def _main_scores(scores: Mapping[str, Mapping[str, Score]]) -> dict[str, float]:
    return {
        f"{name}.{language}": _main_score(found.metrics)
        for name, languages in scores.items()
        for language, found in languages.items()
    }


def as_json(results: Results) -> dict:
    """Everything, in percent and full precision; averages that lack something are null."""
    tasks = {}
    for name, average in results.summary.tasks.items():
        found = results.scores.get(name, {})
        tasks[name] = {
            "languages": {
                code: {**one.metrics, "score": _main_score(one.metrics)}
                for code, one in found.items()
            },
            "average": _metric_averages(results, name),
            "score": average.value,
            "gap_to_english": _value(results.summary.gaps.get(name)),
            "missing": _codes(average),
        }
    return {
        "version": results.version,
        "overall": results.summary.overall.value,
        "groups": {name: average.value for name, average in results.summary.groups.items()},
        "tasks": tasks,
        "notes": list(results.notes),
    }


def show(results: Results, verbose: bool = False, console: Console | None = None) -> None:
    """Prints averages, then what is missing and the notes; with ``verbose`` every language."""
    console = console or Console(width=None if sys.stdout.isatty() else _WIDTH_IN_FILES)
    console.print(_averages_table(results))
    if verbose:
        console.print(_language_table(results))
    for line in _missing_lines(results, verbose) + [f"Note: {note}" for note in results.notes]:
        console.print(line, markup=False, highlight=False)


def _averages_table(results: Results) -> Table:
    summary, tasks = results.summary, xtreme.tasks(results.version)
    table = Table(title=f"{results.version}, percent", title_justify="left")
    for column in ("group", "task"):
        table.add_column(column)
    for column in ("languages", "metrics", "score", "gap to English"):
        table.add_column(column, justify="right")
    for group in xtreme.GROUPS:
        names = [name for name in summary.tasks if tasks[name].group == group]
        for name in names:
            averages = _metric_averages(results, name) or {}
            table.add_row(
                group if name == names[0] else "",
                name,
                f"{len(results.scores.get(name, {}))} of {len(tasks[name].languages)}",
                "  ".join(f"{metric} {value:.2f}" for metric, value in averages.items()),
                _number(summary.tasks[name].value),
                _number(_value(summary.gaps.get(name))),
            )
        average = _number(summary.groups[group].value)
        table.add_row("", "mean", "", "", average, "", style="bold", end_section=True)
    count = f"mean of {len(tasks)} tasks"
    table.add_row("all", count, "", "", _number(summary.overall.value), "", style="bold")
    return table


def _language_table(results: Results) -> Table:
    """A row for each language, a column for each scored task; questions as F1/EM."""
    table = Table("language", title="by language, percent", title_justify="left")
    for name in results.scores:
        table.add_column(name, justify="right")
    codes = sorted({code for found in results.scores.values() for code in found})
    for code in codes:
        cells = []
        for found in results.scores.values():
            metrics = found[code].metrics if code in found else {}
            shown = (
                [metrics[m] for m in ("f1", "em")] if "em" in metrics else [*metrics.values()][:1]
            )
            cells.append("/".join(f"{value:.2f}" for value in shown))
        table.add_row(code, *cells)
    return table


def _missing_lines(results: Results, verbose: bool) -> list[str]:
    """Names of missing languages and tasks; where no table shows them, the scores there are."""
    lines, absent = [], []
    for name, average in results.summary.tasks.items():
        if name not in results.scores:
            absent.append(name)
        elif average.missing:
            there = " ".join(
                f"{code} {_main_score(found.metrics):.2f}"
                for code, found in results.scores[name].items()
            )
            rest = "" if verbose else f"; it has {there}"
            lines.append(f"{name} lacks {' '.join(_codes(average))}{rest}")
    return lines + ([f"Missing tasks: {' '.join(absent)}"] if absent else [])


def _metric_averages(results: Results, name: str) -> dict[str, float] | None:
    """Mean of each metric over all languages of the task, or None when one is missing."""
    if results.summary.tasks[name].missing:
        return None
    rows = [found.metrics for found in results.scores[name].values()]
    return {metric: sum(row[metric] for row in rows) / len(rows) for metric in rows[0]}


def _codes(average: aggregate.Average) -> list[str]:
    return [task.rpartition(".")[2] for task in average.missing]


def _value(average: aggregate.Average | None) -> float | None:
    return average.value if average else None


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
