"""Figures, for the page as SVG text that follows its colours, for files as PNG and PDF.

The only importer of matplotlib. On the page ink, grid and arm colours are CSS variables, so one
figure is readable on light and dark pages; text stays text.
"""

import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np

matplotlib.use("svg")
import matplotlib.pyplot as plt
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure

from xlt_jax.evaluation.measures import SHOWN
from xlt_jax.registry import languages
from xlt_jax.report import alignment, groups
from xlt_jax.report.audit import canonical
from xlt_jax.report.tables import SOURCE, Results, SummaryRow, is_pair, language_name


@dataclass(frozen=True)
class Colors:
    """Of text, lesser text, lines, and the arms in their order."""

    ink: str
    muted: str
    line: str
    arms: tuple[str, ...]

    def arm(self, index: int) -> str:
        """Of the arm at ``index``; they repeat."""
        return self.arms[index % len(self.arms)]


# Placeholders that become CSS variables; matplotlib only sees that they differ.
PAGE = Colors("#010101", "#020202", "#030303", tuple(f"#04040{i}" for i in range(8)))
# Wong 2011, Nature Methods 8: told apart without colour vision; as the page's light colours.
PRINT = Colors(
    "#1b1b1b",
    "#5d6166",
    "#d9dce0",
    ("#5b5f66", "#d55e00", "#0072b2", "#009e73", "#a8548c", "#9a7b00", "#56b4e9", "#8c2d04"),
)
_VARIABLES = {PAGE.ink: "ink", PAGE.muted: "muted", PAGE.line: "line"} | {
    color: f"arm{i}" for i, color in enumerate(PAGE.arms)
}
MARKERS = "osD^vPX*"
_MOST_COMPARISONS = 4  # of the scatter plots
_ALIGNMENT = ("accuracy_cosine", "cka", "aer", "word_accuracy")  # of all measures
_PROPERTY_LABELS = {
    groups.SIZE: "tokens in mC4, billions (logarithmic)",
    groups.TO_ENGLISH: "distance from English (syntax)",
    groups.TO_INTERMEDIATE: "distance from the nearest\nintermediate language (syntax)",
}


def figures(results: Results) -> dict[str, Callable[[Colors], Figure]]:
    """Name -> drawing, of the figures that the study has data for."""
    drawn = {
        "scores": lambda colors: scores(results, colors),
        "score_map": lambda colors: score_map(results, colors),
    }
    if results.comparisons:
        drawn["difference_map"] = lambda colors: difference_map(results, colors)
        if any(len(gains.points) > 2 for gains in groups.gains(results)):
            drawn["gains"] = lambda colors: gain_plots(results, colors)
    if alignment.rows(results):
        drawn["alignment"] = lambda colors: alignment_by_layer(results, colors)
    if any(stage.curve for stage in results.study.stages):
        drawn["curves"] = lambda colors: learning_curves(results, colors)
    return drawn


def svg(draw: Callable[[Colors], Figure], name: str) -> str:
    """SVG element for a page: CSS variables for colours, the page's font, a title."""
    with plt.rc_context(_style(PAGE) | {"svg.hashsalt": name}):
        figure = draw(PAGE)
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
        title = figure.get_label()
        plt.close(figure)
    return _for_page(file.getvalue(), title)


def files(draw: Callable[[Colors], Figure]) -> dict[str, bytes]:
    """``{"png": ..., "pdf": ...}``: the figure on white, 200 dots per inch."""
    kinds = {"png": {"dpi": 200}, "pdf": {"metadata": {"CreationDate": None}}}
    with plt.rc_context(_style(PRINT)):
        figure = draw(PRINT)
        contents = {}
        for kind, options in kinds.items():
            file = io.BytesIO()
            figure.savefig(file, format=kind, facecolor="white", **options)
            contents[kind] = file.getvalue()
        plt.close(figure)
    return contents


def _style(colors: Colors) -> dict:
    return {
        "svg.fonttype": "none",
        "pdf.fonttype": 42,  # text that can be selected
        "font.family": "DejaVu Sans",  # for the layout; the page's own font is drawn
        "font.size": 8.5,
        "axes.edgecolor": colors.line,
        "axes.labelcolor": colors.muted,
        "axes.titlecolor": colors.ink,
        "axes.titlesize": 9,
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "xtick.color": colors.muted,
        "ytick.color": colors.ink,
        "xtick.major.size": 0,
        "ytick.major.size": 0,
        "text.color": colors.ink,
        "grid.color": colors.line,
        "grid.linewidth": 0.6,
        "legend.frameon": False,
    }


# ------------------------------------------------------------------------------------- drawings
def scores(results: Results, colors: Colors) -> Figure:
    """Score of each arm per benchmark, in English and over the other languages, with chance."""
    rows = [row for row in results.summary if row.benchmark]
    names = list(dict.fromkeys(row.benchmark for row in rows))[::-1]
    figure, axes = plt.subplots(
        1, 2, sharey=True, figsize=(8.2, 0.9 + 0.52 * len(names)), layout="constrained"
    )
    figure.set_label("Scores by benchmark and arm")
    for axis, title in zip(axes, ("English", "Mean of the other languages")):
        axis.set_title(title)
        axis.set_xlim(0, 100)
        axis.grid(axis="x")
        axis.set_axisbelow(True)
        axis.spines[["left", "bottom"]].set_visible(False)
        for row in rows:
            _draw_score(axis, row, names, results.arms, colors, english=title == "English")
    axes[0].set_yticks(range(len(names)), names)
    axes[0].set_ylim(-0.6, len(names) - 0.4)
    figure.supxlabel("score, percent", fontsize=8.5, color=colors.muted)
    handles = [
        plt.Line2D(
            [], [], color=colors.arm(i), marker=MARKERS[i % len(MARKERS)], ls="", ms=5, label=arm
        )
        for i, arm in enumerate(results.arms)
    ]
    handles.append(plt.Line2D([], [], color=colors.ink, marker="|", ls="", ms=10, label="chance"))
    figure.legend(handles=handles, loc="outside upper left", ncols=min(len(handles), 5))
    return figure


def _draw_score(
    axis, row: SummaryRow, names: list[str], arms: Sequence[str], colors: Colors, *, english: bool
) -> None:
    found = row.source if english else row.others
    if found is None:
        return
    index = arms.index(row.arm)
    step = 0.16 if len(arms) < 5 else 0.64 / len(arms)
    y = names.index(row.benchmark) + step * ((len(arms) - 1) / 2 - index)
    color = colors.arm(index)
    axis.plot([100 * found.low, 100 * found.high], [y, y], color=color, lw=1.6)
    axis.plot(
        100 * found.value, y, color=color, marker=MARKERS[index % len(MARKERS)], ms=4.5, ls=""
    )
    above = row.source_above_chance if english else row.above_chance
    if above is not None:
        chance = 100 * (found.value - above.value)
        axis.plot(chance, names.index(row.benchmark), color=colors.ink, marker="|", ms=17, mew=1.2)


def difference_map(results: Results, colors: Colors) -> Figure:
    """Heat map: languages by (comparison, benchmark), percent points, centred at zero.

    Differences that hold after the correction are framed.
    """
    panels = {
        comparison.name: {key: 100 * found.value for key, found in comparison.cells.items()}
        for comparison in results.comparisons
    }
    framed = {
        comparison.name: {*comparison.holding(1), *comparison.holding(-1)}
        for comparison in results.comparisons
    }
    values = [abs(value) for panel in panels.values() for value in panel.values()]
    limit = max(5.0, float(np.quantile(values, 0.98))) if values else 5.0
    figure = _heat_map(
        results,
        panels,
        colors,
        framed=framed,
        color_map="RdBu",  # red below, blue above: told apart without colour vision for red/green
        norm=TwoSlopeNorm(0.0, -limit, limit),
        label="difference, percent points",
        form="{:+.0f}",
    )
    figure.set_label("Differences between arms by language and benchmark")
    return figure


def score_map(results: Results, colors: Colors) -> Figure:
    """Heat map: languages by (arm, benchmark), percent."""
    panels = {
        arm: {key: 100 * cell.value for key, cell in results.study.cells[arm].items()}
        for arm in results.arms
    }
    figure = _heat_map(
        results,
        panels,
        colors,
        framed={},
        color_map="YlGnBu",
        norm=plt.Normalize(0, 100),
        label="score, percent",
        form="{:.0f}",
    )
    figure.set_label("Scores by language, benchmark and arm")
    return figure


def _heat_map(
    results: Results,
    panels: Mapping[str, Mapping[tuple[str, str], float]],
    colors: Colors,
    *,
    framed: Mapping[str, set],
    color_map: str,
    norm,
    label: str,
    form: str,
) -> Figure:
    single = [code for code in results.codes if not is_pair(code)]
    codes = _family_order(single or results.codes)  # pairs would be far too many
    panels = {
        name: {key: value for key, value in panel.items() if key[1] in codes}
        for name, panel in panels.items()
    }
    benchmarks = sorted({benchmark for panel in panels.values() for benchmark, _ in panel})
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
        places = {
            (codes.index(code), benchmarks.index(b))
            for b, code in framed.get(name, ())
            if (b, code) in panel
        }
        _draw_cells(axis, grid, image, form, places)
        axis.set_title(name, fontsize=8.5)
        axis.xaxis.tick_top()
        axis.set_xticks(range(len(benchmarks)), benchmarks, rotation=60, ha="left")
        axis.spines[:].set_visible(False)
        _draw_families(axis, codes, colors, last=axis is axes[0][-1], columns=len(benchmarks))
    axes[0][0].set_yticks(range(len(codes)), [_language_label(code) for code in codes])
    bar = figure.colorbar(image, ax=axes, location="bottom", fraction=0.012, pad=0.01, aspect=50)
    bar.set_label(label)
    bar.outline.set_visible(False)
    return figure


def _draw_cells(axis, grid: np.ndarray, image, form: str, framed: set[tuple[int, int]]) -> None:
    for y, x in zip(*np.nonzero(~np.isnan(grid))):
        red, green, blue, _ = color = image.cmap(image.norm(grid[y, x]))
        axis.add_patch(plt.Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=color, lw=0))
        dark = 0.3 * red + 0.59 * green + 0.11 * blue < 0.5
        ink = "#ffffff" if dark else "#111111"
        if (y, x) in framed:
            place = (x - 0.43, y - 0.41)
            axis.add_patch(plt.Rectangle(place, 0.86, 0.82, fill=False, ec=ink, lw=0.9))
        text = form.format(grid[y, x]).replace("-", "−")
        text = "0" if text in ("+0", "−0") else text
        axis.text(
            x, y, text, ha="center", va="center_baseline", fontsize=6.5, in_layout=False,
            color=ink,
        )  # fmt: skip


def _draw_families(
    axis, codes: Sequence[str], colors: Colors, *, last: bool, columns: int
) -> None:  # fmt: skip
    """A line between families; their names at the right of the last panel."""
    families = [_family(code) for code in codes]
    starts = [i for i, name in enumerate(families) if i == 0 or name != families[i - 1]]
    for start, end in zip(starts, [*starts[1:], len(codes)]):
        if start:
            axis.axhline(start - 0.5, color=colors.ink, lw=0.7)
        if last:
            y = (start + end - 1) / 2
            axis.text(
                columns - 0.35, y, families[start], fontsize=7, color=colors.muted, va="center"
            )


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


def gain_plots(results: Results, colors: Colors) -> Figure:
    """Gain of each language against pre-training size and typological distances.

    A row of panels for each comparison, the first ones, without those in which the property is the
    same for all; languages in which the arm was trained on
    labels before its target tasks are in the arm's colour.
    """
    found = groups.gains(results)
    comparisons = list(dict.fromkeys(gains.comparison.name for gains in found))[:_MOST_COMPARISONS]
    names = list(_PROPERTY_LABELS)
    figure, axes = plt.subplots(
        len(comparisons),
        len(names),
        squeeze=False,
        figsize=(8.2, 0.3 + 2.5 * len(comparisons)),
        layout="constrained",
    )
    figure.set_label("Gain by language against pre-training size and typological distance")
    for axis in axes.flat:
        axis.set_visible(False)
    for gains in found:
        several = len({x for x, _ in gains.points.values()}) > 1
        if gains.comparison.name in comparisons and several:
            row, column = comparisons.index(gains.comparison.name), names.index(gains.property)
            axes[row][column].set_visible(True)
            _draw_gains(axes[row][column], gains, results, colors)
    for row, name in enumerate(comparisons):
        axes[row][0].set_ylabel(f"{name}\ngain, percent points")
    return figure


def _draw_gains(axis, gains: groups.Gains, results: Results, colors: Colors) -> None:
    trained = groups.intermediate_languages(results, gains.comparison.arm)
    arm = colors.arm(results.arms.index(gains.comparison.arm))
    for code, (x, y) in gains.points.items():
        inside = canonical(code) in trained
        axis.text(
            x, 100 * y, code, fontsize=6.5, ha="center", va="center", clip_on=True,
            color=arm if inside else colors.ink, weight="bold" if inside else "normal",
        )  # fmt: skip
    xs, ys = zip(*gains.points.values())
    axis.scatter(xs, 100 * np.array(ys), s=0)  # so that the axes know the points
    if gains.property == groups.SIZE:
        axis.set_xscale("log")
        axis.minorticks_off()
    axis.margins(0.12)
    axis.axhline(0, color=colors.muted, lw=0.7)
    axis.tick_params(axis="y", colors=colors.muted)
    axis.set_xlabel(_PROPERTY_LABELS[gains.property])
    rho = gains.correlation
    if not math.isnan(rho.value):
        text = f"rank correlation {rho.value:+.2f} ({rho.low:+.2f} to {rho.high:+.2f})"
        axis.set_title(text.replace("-", "−"), fontsize=7, color=colors.muted)


def alignment_by_layer(results: Results, colors: Colors) -> Figure:
    """Alignment of every arm by encoder layer; below, the last layer's against the scores."""
    found, points = alignment.rows(results), alignment.beside_scores(results)
    names = [name for name in _ALIGNMENT if any(name in row.values for row in found)]
    figure, axes = plt.subplots(
        2, len(names), squeeze=False, figsize=(8.2, 5.0), layout="constrained"
    )
    figure.set_label("Alignment of languages by encoder layer, and scores beside it")
    handles = {}
    for axis, below, name in zip(*axes, names):
        for index, arm in enumerate(results.arms):
            rows = [row for row in found if row.arm == arm and name in row.values]
            style = {
                "color": colors.arm(index),
                "marker": MARKERS[index % len(MARKERS)],
                "ms": 4,
                "lw": 1,
            }
            layers = [row.layer for row in rows]
            (handles[arm],) = axis.plot(
                layers, [100 * row.values[name].value for row in rows], **style
            )
            mine = [point for point in points.get(name, ()) if point.arm == arm]
            values = [[100 * x for x in (one.value, one.score)] for one in mine]
            if values:
                below.plot(*zip(*values), **{**style, "lw": 0})
        below.set_visible(name in points)
        axis.set_title(SHOWN[name] + (" (less is better)" if name == "aer" else ""))
        axis.set_xlabel("encoder layer")
        axis.set_xticks(sorted({row.layer for row in found}))
        below.set_xlabel(f"{SHOWN[name]}, last layer")
        for one in (axis, below):
            one.grid(axis="y")
            one.set_axisbelow(True)
            one.tick_params(axis="y", colors=colors.muted)
    axes[0][0].set_ylabel("percent, mean over languages")
    axes[1][0].set_ylabel("zero-shot score, percent")
    figure.legend(handles.values(), handles, loc="outside upper left", ncols=min(len(handles), 7))
    return figure


def learning_curves(results: Results, colors: Colors) -> Figure:
    """Training loss of each stage by role (stage name without its arm and seed)."""
    roles: dict[str, list] = {}
    for stage in results.study.stages:
        if any("nll" in line or "loss" in line for line in stage.curve):
            role = stage.role
            for arm in results.study.arms:
                role = role.removeprefix(f"{arm}_").removesuffix(f"_{arm}")
            roles.setdefault(role, []).append(stage)
    columns = max(1, min(len(roles), 3))
    lines = max(1, -(-len(roles) // columns))
    figure, axes = plt.subplots(
        lines, columns, squeeze=False, figsize=(8.2, 0.4 + 2.1 * lines), layout="constrained"
    )
    figure.set_label("Training loss by stage")
    for axis in axes.flat[len(roles) :]:
        axis.set_visible(False)
    handles = {}
    for axis, (role, stages) in zip(axes.flat, roles.items()):
        seeded = len({stage.seed for stage in stages}) > 1
        for stage in stages:
            name = stage.arm if stage.arm in results.study.arms else "shared by arms"
            arms = list(results.study.arms)
            color = colors.arm(arms.index(name)) if name in arms else colors.ink
            points = [line for line in stage.curve if "nll" in line or "loss" in line]
            steps = [line["step"] for line in points]
            loss = [line.get("nll", line.get("loss")) for line in points]
            (handles[name],) = axis.plot(
                steps, loss, color=color, lw=0.9 if seeded else 1.3, alpha=0.75 if seeded else 1
            )
        axis.set_title(role)
        axis.grid(axis="y")
        axis.set_axisbelow(True)
        axis.spines["left"].set_visible(False)
        axis.set_ylim(bottom=0)
        axis.set_xlabel("step")
        axis.tick_params(axis="y", colors=colors.muted)
    axes[0][0].set_ylabel("training loss, nats per token")
    figure.legend(
        handles.values(), handles, loc="outside upper left", ncols=min(len(handles), 5) or 1
    )
    return figure


def _for_page(text: str, title: str) -> str:
    text = text[text.index("<svg") :]
    for color, variable in _VARIABLES.items():
        text = text.replace(color, f"var(--{variable})")
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"font: ((?:bold )?)([\d.]+px) [^;\"]+", _font, text)
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


def _font(found: re.Match) -> str:
    weight = "font-weight: bold; " if found[1] else ""
    return f"{weight}font-size: {found[2]}"
