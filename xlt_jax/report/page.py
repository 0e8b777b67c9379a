"""One self-contained HTML page: no script, style, font or picture is loaded from elsewhere."""

import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import metadata, resources
from typing import Any

import jinja2
import markupsafe

from xlt_jax.registry import languages
from xlt_jax.report import cost, groups, plots, sheets, words, xtreme_r
from xlt_jax.report.audit import canonical
from xlt_jax.report.intervals import RESAMPLES, Estimate
from xlt_jax.report.sheets import MARKS
from xlt_jax.report.tables import SOURCE, Results, language_name

PACKAGES = ("xlt-jax", "numpy", "matplotlib", "jinja2")


def html(results: Results, drawn: Mapping[str, Callable], made: Sequence[sheets.Sheet]) -> str:
    """The whole page.

    Args:
        results: Of the study.
        drawn: Its figures, by ``plots.figures``.
        made: Its tables, by ``sheets.sheets``.
    """
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {
        "estimate": _estimate,
        "difference": _difference,
        "percent": words.percent,
        "points": _points,
        "signed": words.signed,
        "count": sheets.number,
        "name": language_name,
        "is_bold": lambda cell: isinstance(cell, sheets.Bold),
    }
    template = resources.files(__package__).joinpath("page.html.jinja").read_text(encoding="utf-8")
    return environment.from_string(template).render(
        results=results,
        study=results.study,
        arms=results.arms,
        answer=words.answer(results),
        intervals=words.interval_sentence(results),
        chance_statements=words.chance_statements(results),
        notes=results.left_out(),
        summary=_by(lambda row: row.benchmark or "mean of benchmarks", results.summary),
        xtreme_missing=xtreme_r.missing(xtreme_r.rows(results)),
        comparisons=results.comparisons,
        groups=_by(lambda row: row.criterion, groups.groups(results)),
        language_tables=[_language_table(results, name) for name in results.benchmarks],
        gaps={arm: results.gap(arm) for arm in results.arms if results.gap(arm)},
        without_texts=sorted({s for audits in results.audits.values() for a in audits
                              for s in a.without_texts}),
        budget=cost.budget_sentence(cost.arm_costs(results)),
        selection=words.selection_sentence(results),
        sheets={sheet.name: sheet for sheet in made},
        versions=_versions(results),
        figures={name: markupsafe.Markup(plots.svg(draw, name)) for name, draw in drawn.items()},
        resamples=RESAMPLES,
    )  # fmt: skip


def _by(key: Callable[[Any], str], rows: Iterable) -> dict[str, list]:
    """Rows by a name of theirs, in the order of their first."""
    table: dict[str, list] = {}
    for row in rows:
        table.setdefault(key(row), []).append(row)
    return table


def _language_table(results: Results, benchmark: str) -> dict:
    """Rows of one benchmark: per language the score of each arm, its mark, the differences."""
    cells = results.study.cells
    rows = []
    for code in results.codes:
        mine = {arm: results.cell(arm, benchmark, code) for arm in results.arms}
        if not any(mine.values()):
            continue
        language = languages.LANGUAGES.get(canonical(code))
        some = next(cells[arm][benchmark, code] for arm in results.arms if mine[arm])
        rows.append(
            {
                "code": code,
                "language": language,
                "scores": [
                    (mine[arm], MARKS[results.exposure(arm, benchmark, code)] if mine[arm] else "")
                    for arm in results.arms
                ],
                "differences": [
                    comparison.cells.get((benchmark, code)) for comparison in results.comparisons
                ],
                "chance": some.chance,
                "n": some.n,
                "averaged": code == SOURCE or code in results.zero_shot_codes[benchmark],
            }
        )
    metrics = {cells[a][b, c].metric for a in results.arms for b, c in cells[a] if b == benchmark}
    return {"benchmark": benchmark, "metric": ", ".join(sorted(metrics)), "rows": rows}


def _versions(results: Results) -> dict[str, str]:
    found = {"Python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    used = sorted({stage.version for stage in results.study.stages if stage.version})
    found["code of the stages"] = "; ".join(used) or "unknown"
    return found


# ------------------------------------------------------------------------------- numbers as text
def _small(text: str, kind: str = "ci") -> markupsafe.Markup | str:
    """A cell of ``sheets`` whose bracket, the interval, is small, and its value bold if it is."""
    value, bracket, interval = text.partition(" (")
    if not bracket:
        return value
    shown = markupsafe.Markup("<b>{}</b>" if isinstance(text, sheets.Bold) else "{}").format(value)
    return markupsafe.Markup('{} <span class="{}">{}</span>').format(
        shown, kind, interval.removesuffix(")")
    )


def _estimate(found: Estimate | None) -> markupsafe.Markup | str:
    """``54.2`` with a small ``52.1–56.0`` after it."""
    return _small(sheets.interval(found))


def _difference(found: Estimate | None) -> markupsafe.Markup | str:
    """Signed, with interval; bold when the interval leaves out zero."""
    return _small(sheets.difference(found), "ci d")


def _points(found: Estimate | None) -> str:
    return "–" if found is None else words.signed(found.value)
