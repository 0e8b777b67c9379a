"""One self-contained HTML page: no script, style, font or picture is loaded from elsewhere."""

import math
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata, resources

import jinja2
import markupsafe

from xlt_jax.registry import languages
from xlt_jax.report import cost, plots, words
from xlt_jax.report.audit import Exposure, canonical
from xlt_jax.report.intervals import RESAMPLES, Estimate
from xlt_jax.report.tables import SOURCE, Results, language_name

PACKAGES = ("xlt-jax", "numpy", "matplotlib", "jinja2")
MARKS = {
    Exposure.ZERO_SHOT: "",
    Exposure.LANGUAGE_SEEN: "l",
    Exposure.TASK_SEEN: "t",
    Exposure.UNCHECKED: "?",
}


def html(results: Results) -> str:
    """The whole page."""
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {
        "estimate": _estimate,
        "difference": _difference,
        "percent": _percent,
        "points": _points,
        "count": _count,
        "seconds": _seconds,
        "name": language_name,
    }
    template = resources.files(__package__).joinpath("page.html.jinja").read_text(encoding="utf-8")
    arms = cost.arm_costs(results)
    return environment.from_string(template).render(
        results=results,
        study=results.study,
        arms=results.arms,
        answer=words.answer(results),
        chance_statements=words.chance_statements(results),
        notes=results.left_out(),
        summary=_by_benchmark(results),
        comparisons=results.comparisons,
        groups=_by_criterion(results),
        language_tables=[_language_table(results, name) for name in results.benchmarks],
        trained=_trained(results),
        exposures=_exposure_counts(results),
        arm_costs=arms,
        budget=cost.budget_sentence(arms),
        stage_costs=cost.stage_costs(results),
        versions=_versions(results),
        figures=_figures(results),
        resamples=RESAMPLES,
    )


def _figures(results: Results) -> Mapping[str, markupsafe.Markup | None]:
    drawn = {
        "scores": plots.scores(results),
        "difference_map": plots.difference_map(results) if results.comparisons else None,
        "score_map": plots.score_map(results),
        "curves": plots.learning_curves(results),
    }
    return {name: text and markupsafe.Markup(text) for name, text in drawn.items()}


def _by_benchmark(results: Results) -> dict[str, list]:
    table: dict[str, list] = {}
    for row in results.summary:
        table.setdefault(row.benchmark or "mean of benchmarks", []).append(row)
    return table


def _by_criterion(results: Results) -> dict[str, list]:
    table: dict[str, list] = {}
    for row in results.groups():
        table.setdefault(row.criterion, []).append(row)
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


def _trained(results: Results) -> dict[str, list[dict]]:
    """Arm -> for each stage of its chain: labelled benchmarks with languages and examples."""
    table = {}
    for arm, audit in results.audits.items():
        stages = []
        for stage in audit.chain:
            if stage.training is None:
                continue
            labelled: dict[str, list] = {}
            for trained in audit.labelled:
                if trained.stage == stage.name:
                    labelled.setdefault(trained.benchmark, []).append(trained)
            stages.append(
                {
                    "name": stage.name,
                    "labelled": {
                        benchmark: (
                            sorted({one.language for one in found}),
                            _sum_if_known([one.examples for one in found]),
                        )
                        for benchmark, found in sorted(labelled.items())
                    },
                    "unlabelled": audit.unlabelled.get(stage.name, ()),
                }
            )
        table[arm] = stages
    return table


def _sum_if_known(counts: Sequence[int | None]) -> int | None:
    return None if None in counts else sum(counts)


def _exposure_counts(results: Results) -> dict[str, dict[str, int]]:
    """Arm -> what was seen -> number of scores outside the source language."""
    return {
        arm: {
            exposure.value: sum(
                results.exposure(arm, benchmark, code) is exposure
                for benchmark, code in results.study.cells[arm]
                if code != SOURCE
            )
            for exposure in Exposure
        }
        for arm in results.arms
    }


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
def _percent(share: float | None, digits: int = 1) -> str:
    return "–" if share is None or math.isnan(share) else f"{100 * share:.{digits}f}"


def _estimate(found: Estimate | None) -> markupsafe.Markup | str:
    """``54.2`` with a small ``52.1–56.0`` after it."""
    if found is None:
        return "–"
    if math.isnan(found.low):
        return _percent(found.value)
    interval = f"{_percent(found.low)}–{_percent(found.high)}"
    return markupsafe.Markup('{} <span class="ci">{}</span>').format(
        _percent(found.value), interval
    )


def _difference(found: Estimate | None) -> markupsafe.Markup | str:
    """Signed, with interval; bold when the interval leaves out zero."""
    if found is None:
        return "–"
    if math.isnan(found.low):
        return words.signed(found.value)
    text = '<b>{}</b> <span class="ci d">{} to {}</span>' if found.sign else (
        '{} <span class="ci d">{} to {}</span>'
    )  # fmt: skip
    return markupsafe.Markup(text).format(
        words.signed(found.value), words.signed(found.low), words.signed(found.high)
    )


def _points(found: Estimate | None) -> str:
    return "–" if found is None else words.signed(found.value)


def _count(number: float | None) -> str:
    return "–" if number is None else f"{number:,.0f}"


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
