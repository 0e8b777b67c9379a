"""Figures as SVG text that follows the page's colours; the only importer of matplotlib.

Ink, grid and arm colours are written as CSS variables, so one figure is readable on light and dark
pages; text stays text.
"""

import io
import re
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np

matplotlib.use("svg")
import matplotlib.pyplot as plt
from matplotlib.colors import TwoSlopeNorm

from xlt_jax.registry import languages
from xlt_jax.report.audit import canonical
from xlt_jax.report.tables import SOURCE, Results, SummaryRow, language_name

# Colours that become CSS variables; matplotlib only sees that they differ.
INK, MUTED, LINE = "#010101", "#020202", "#030303"
ARMS = tuple(f"#04040{i}" for i in range(6))
_VARIABLES = {INK: "ink", MUTED: "muted", LINE: "line"} | {
    color: f"arm{i}" for i, color in enumerate(ARMS)
}
MARKERS = "osD^vP"
STYLE = {
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",  # for the layout; the page's own font is drawn
    "font.size": 8.5,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.titlecolor": INK,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": MUTED,
    "ytick.color": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "text.color": INK,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
}


def scores(results: Results) -> str:
    """Score of each arm per benchmark, in English and over the other languages, with chance."""
    rows = [row for row in results.summary if row.benchmark]
    names = list(dict.fromkeys(row.benchmark for row in rows))[::-1]
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            1, 2, sharey=True, figsize=(8.2, 0.9 + 0.52 * len(names)), layout="constrained"
        )
        for axis, title in zip(axes, ("English", "Mean of the other languages")):
            axis.set_title(title)
            axis.set_xlim(0, 100)
            axis.grid(axis="x")
            axis.set_axisbelow(True)
            axis.spines[["left", "bottom"]].set_visible(False)
            for row in rows:
                _draw_score(axis, row, names, results.arms, english=title == "English")
        axes[0].set_yticks(range(len(names)), names)
        axes[0].set_ylim(-0.6, len(names) - 0.4)
        figure.supxlabel("score, percent", fontsize=8.5, color=MUTED)
        handles = [
            plt.Line2D([], [], color=ARMS[i % 6], marker=MARKERS[i % 6], ls="", ms=5, label=arm)
            for i, arm in enumerate(results.arms)
        ]
        handles.append(plt.Line2D([], [], color=INK, marker="|", ls="", ms=10, label="chance"))
        figure.legend(handles=handles, loc="outside upper left", ncols=len(handles))
        return _svg(figure, "Scores by benchmark and arm")


def _draw_score(axis, row: SummaryRow, names: list[str], arms: Sequence[str], *, english: bool):
    found = row.source if english else row.others
    if found is None:
        return
    index = arms.index(row.arm)
    y = names.index(row.benchmark) + 0.16 * ((len(arms) - 1) / 2 - index)
    color = ARMS[index % 6]
    axis.plot([100 * found.low, 100 * found.high], [y, y], color=color, lw=1.6)
    axis.plot(100 * found.value, y, color=color, marker=MARKERS[index % 6], ms=4.5, ls="")
    above = row.source_above_chance if english else row.above_chance
    if above is not None:
        chance = 100 * (found.value - above.value)
        axis.plot(chance, names.index(row.benchmark), color=INK, marker="|", ms=17, mew=1.2)


def difference_map(results: Results) -> str:
    """Heat map: languages by (comparison, benchmark), percent points, centred at zero."""
    panels = {
        f"{comparison.arm} − {comparison.baseline}": {
            key: 100 * found.value for key, found in comparison.cells.items()
        }
        for comparison in results.comparisons
    }
    values = [abs(value) for panel in panels.values() for value in panel.values()]
    limit = max(5.0, float(np.quantile(values, 0.98))) if values else 5.0
    return _heat_map(
        results,
        panels,
        color_map="RdBu",  # red below, blue above: told apart without colour vision for red/green
        norm=TwoSlopeNorm(0.0, -limit, limit),
        label="difference, percent points",
        title="Differences between arms by language and benchmark",
        form="{:+.0f}",
    )


def score_map(results: Results) -> str:
    """Heat map: languages by (arm, benchmark), percent."""
    panels = {
        arm: {key: 100 * cell.value for key, cell in results.study.cells[arm].items()}
        for arm in results.arms
    }
    return _heat_map(
        results,
        panels,
        color_map="YlGnBu",
        norm=plt.Normalize(0, 100),
        label="score, percent",
        title="Scores by language, benchmark and arm",
        form="{:.0f}",
    )


def _heat_map(
    results: Results,
    panels: Mapping[str, Mapping[tuple[str, str], float]],
    *,
    color_map: str,
    norm,
    label: str,
    title: str,
    form: str,
) -> str:
    codes = _family_order(results.codes)
    benchmarks = results.benchmarks
    with plt.rc_context(STYLE):
        width = 2.7 + len(panels) * (0.36 * len(benchmarks) + 0.15)
        figure, axes = plt.subplots(
            1,
            len(panels),
            sharey=True,
            squeeze=False,
            figsize=(width, 1.7 + 0.165 * len(codes)),
            layout="constrained",
        )
        for axis, (name, panel) in zip(axes[0], panels.items()):
            grid = np.array([[panel.get((b, code), np.nan) for b in benchmarks] for code in codes])
            image = axis.imshow(
                np.ma.masked_invalid(grid), cmap=color_map, norm=norm, aspect="auto",
                interpolation="none",
            )  # fmt: skip
            image.set_visible(False)  # cells are drawn as shapes: an image would be pixels
            _draw_cells(axis, grid, image, form)
            axis.set_title(name, fontsize=8.5)
            axis.xaxis.tick_top()
            axis.set_xticks(range(len(benchmarks)), benchmarks, rotation=60, ha="left")
            axis.spines[:].set_visible(False)
            _draw_families(axis, codes, last=axis is axes[0][-1], columns=len(benchmarks))
        axes[0][0].set_yticks(range(len(codes)), [_language_label(code) for code in codes])
        bar = figure.colorbar(
            image, ax=axes, location="bottom", fraction=0.012, pad=0.01, aspect=50
        )
        bar.set_label(label)
        bar.outline.set_visible(False)
        return _svg(figure, title)


def _draw_cells(axis, grid: np.ndarray, image, form: str) -> None:
    for y, x in zip(*np.nonzero(~np.isnan(grid))):
        red, green, blue, _ = color = image.cmap(image.norm(grid[y, x]))
        axis.add_patch(plt.Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=color, lw=0))
        dark = 0.3 * red + 0.59 * green + 0.11 * blue < 0.5
        text = form.format(grid[y, x]).replace("-", "−")
        text = "0" if text in ("+0", "−0") else text
        axis.text(
            x, y, text, ha="center", va="center_baseline", fontsize=6.5, in_layout=False,
            color="#ffffff" if dark else "#111111",
        )  # fmt: skip


def _draw_families(axis, codes: Sequence[str], *, last: bool, columns: int) -> None:
    """A line between families; their names at the right of the last panel."""
    families = [_family(code) for code in codes]
    starts = [i for i, name in enumerate(families) if i == 0 or name != families[i - 1]]
    for start, end in zip(starts, [*starts[1:], len(codes)]):
        if start:
            axis.axhline(start - 0.5, color=INK, lw=0.7)
        if last:
            y = (start + end - 1) / 2
            axis.text(columns - 0.35, y, families[start], fontsize=7, color=MUTED, va="center")


def _family_order(codes: Sequence[str]) -> list[str]:
    """The source first, then large families first, within them by genus and name."""
    sizes = {_family(code): 0 for code in codes}
    for code in codes:
        sizes[_family(code)] += 1
    found = {code: languages.LANGUAGES.get(canonical(code)) for code in codes}
    return sorted(
        codes,
        key=lambda code: (
            code != SOURCE,
            -sizes[_family(code)],
            _family(code),
            found[code].genus if found[code] else "",
            language_name(code),
        ),
    )


def _family(code: str) -> str:
    if code == SOURCE:
        return "source language"
    language = languages.LANGUAGES.get(canonical(code))
    return language.family if language else "unknown"


def _language_label(code: str) -> str:
    name = language_name(code)
    return name if name == code else f"{name}  {code}"


def learning_curves(results: Results) -> str | None:
    """Training loss of each stage by role (stage name without its arm); None without curves."""
    roles: dict[str, list] = {}
    for stage in results.study.stages:
        if stage.curve:
            role = stage.name
            for arm in results.study.arms:
                role = role.removeprefix(f"{arm}_").removesuffix(f"_{arm}")
            roles.setdefault(role, []).append(stage)
    if not roles:
        return None
    with plt.rc_context(STYLE):
        columns = min(len(roles), 3)
        lines = -(-len(roles) // columns)
        figure, axes = plt.subplots(
            lines, columns, squeeze=False, figsize=(8.2, 0.4 + 2.1 * lines), layout="constrained"
        )
        for axis in axes.flat[len(roles) :]:
            axis.set_visible(False)
        handles = {}
        for axis, (role, stages) in zip(axes.flat, roles.items()):
            for stage in stages:
                name = stage.arm if stage.arm in results.study.arms else "shared by all arms"
                arms = list(results.study.arms)
                color = ARMS[arms.index(name) % 6] if name in arms else INK
                steps = [line["step"] for line in stage.curve]
                loss = [line.get("nll", line.get("loss")) for line in stage.curve]
                (handles[name],) = axis.plot(steps, loss, color=color, lw=1.3, label=name)
            axis.set_title(role)
            axis.grid(axis="y")
            axis.set_axisbelow(True)
            axis.spines["left"].set_visible(False)
            axis.set_ylim(bottom=0)
            axis.set_xlabel("step")
            axis.tick_params(axis="y", colors=MUTED)
        axes[0][0].set_ylabel("training loss, nats per token")
        figure.legend(handles.values(), handles, loc="outside upper left", ncols=len(handles))
        return _svg(figure, "Training loss by stage")


def _svg(figure, title: str) -> str:
    """SVG element for a page: CSS variables for colours, the page's font, a title."""
    file = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": title}):
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    plt.close(figure)
    text = file.getvalue()
    text = text[text.index("<svg") :]
    for color, variable in _VARIABLES.items():
        text = text.replace(color, f"var(--{variable})")
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"font: ([\d.]+px) [^;\"]+", r"font-size: \1", text)
    text = re.sub(r"font-family: [^;\"]+;?", "", text)
    prefix = re.sub(r"\W+", "-", title.lower())  # several figures share one page: ids must differ
    text = re.sub(r'\bid="', f'id="{prefix}-', text)
    text = re.sub(r"url\(#", f"url(#{prefix}-", text)
    text = re.sub(r'href="#', f'href="#{prefix}-', text)
    width, height = (float(x) for x in re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', text).groups())
    opening = (
        f'<svg role="img" viewBox="0 0 {width:g} {height:g}" style="width:{width * 4 / 3:.0f}px"'
        f' xmlns:xlink="http://www.w3.org/1999/xlink"><title>{title}</title>'
    )
    return re.sub(r"<svg[^>]*>", opening, text, count=1)
