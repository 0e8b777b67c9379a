"""The report's tables as plain text cells: what the page, LaTeX and Markdown show alike."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from xlt_jax.evaluation.measures import SHOWN
from xlt_jax.report import alignment, cost, groups, outputs, published, words, xtreme_r
from xlt_jax.report.audit import Exposure
from xlt_jax.report.intervals import Estimate
from xlt_jax.report.tables import SOURCE, Results, language_name

MARKS = {
    Exposure.ZERO_SHOT: "",
    Exposure.LANGUAGE_SEEN: "l",
    Exposure.UNCHECKED: "?",
    Exposure.TEXT_SEEN: "x",
    Exposure.TASK_SEEN: "t",
}
MARK_TEXT = (
    "Marks: l the arm was trained on labels of another benchmark in this language; t on labels of "
    "this benchmark in this language; x on rows that share texts with these (t and x are not "
    "zero-shot and in no mean); ? not checked."
)


class Bold(str):
    """A cell that stands out."""


@dataclass(frozen=True)
class Sheet:
    """One table.

    Attributes:
        name: Of its files.
        caption: Sentences.
        head: Column names.
        rows: As long as the head each.
        text_columns: Leading columns that are text; the rest are numbers.
    """

    name: str
    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    text_columns: int = 1


def sheets(results: Results) -> list[Sheet]:
    """All tables that have rows."""
    makers: tuple[Callable[[Results], Sheet], ...] = (
        summary, xtreme, published_beside, differences, group_means, correlations, aligned,
        alignment_differences, output_shares, exposures, shared_texts, shared_sources, training,
        forgetting, arm_cost, stage_cost,
    )  # fmt: skip
    made = [maker(results) for maker in makers]
    made += [by_language(results, benchmark) for benchmark in results.benchmarks]
    return [sheet for sheet in made if sheet.rows]


def summary(results: Results) -> Sheet:
    """Scores of each benchmark and arm in English and over the other languages."""
    return Sheet(
        "summary",
        "Percent with 95% intervals. " + words.interval_sentence(results),
        (
            "Benchmark", "Arm", "English", "Other languages", "SD over seeds", "Chance",
            "Above chance", "Gap to English", "Languages", "Rows",
        ),
        tuple(
            (
                row.benchmark or "mean of benchmarks",
                row.arm,
                interval(row.source),
                interval(row.others),
                words.percent(row.seed_deviation),
                words.percent(row.chance),
                difference(row.above_chance),
                "–" if row.gap is None else words.signed(row.gap.value),
                str(row.num_languages),
                f"{row.num_rows:,}",
            )
            for row in results.summary
        ),
        text_columns=2,
    )  # fmt: skip


def xtreme(results: Results) -> Sheet:
    """Averages of XTREME-R's tasks, groups and all ten tasks."""
    lines = xtreme_r.rows(results)
    rows = [
        (
            line.group,
            line.task or ("mean of 10 tasks" if line.group == "all" else "mean"),
            *(_average(average, whole=line.task is None) for average in line.arms.values()),
        )
        for line in lines
    ]
    return Sheet(
        "xtreme_r",
        "XTREME-R, percent, English included, as its authors average: questions are the mean of F1 "
        "and EM. Where languages or tasks are missing there is no average. ± standard deviation "
        "over seeds. * some of its languages are not zero-shot: their labels or texts were "
        "trained on.",
        ("Group", "Task", *results.arms),
        tuple(rows),
        text_columns=2,
    )


def published_beside(results: Results) -> Sheet:
    """Published averages beside ours over the same languages."""
    return Sheet(
        "published",
        "Published scores of other models beside ours: the same task, metric, test languages and "
        "English-only training; mean over the languages that XTREME has there, percent.",
        ("Task", "Metric", "Model", "Languages", "Published", *results.arms, "Source"),
        tuple(
            (
                row.published.benchmark,
                row.published.metric,
                row.published.model,
                str(len(row.published.languages)),
                f"{row.published.percent:.1f}",
                *(
                    f"{row.ours[arm]:.1f}" if arm in row.ours else "–" for arm in results.arms
                ),
                row.published.source,
            )
            for row in published.beside(results)
        ),
        text_columns=3,
    )  # fmt: skip


def differences(results: Results) -> Sheet:
    """Each comparison by benchmark, over all, by seed and in English."""
    comparisons = results.comparisons
    rows = [
        (benchmark, *(difference(c.benchmarks.get(benchmark)) for c in comparisons))
        for benchmark in results.benchmarks
    ]
    if comparisons:
        rows += [
            ("mean of benchmarks", *(difference(c.overall) for c in comparisons)),
            ("… interval over languages", *(difference(c.by_language) for c in comparisons)),
        ]
        rows += _seed_rows(results)
    rows += [
        (f"{benchmark}, English", *(difference(c.source.get(benchmark)) for c in comparisons))
        for benchmark in results.benchmarks
        if any(benchmark in c.source for c in comparisons)
    ]
    return Sheet(
        "differences",
        "Differences in percent points, mean over the other languages, with paired 95% intervals. "
        + words.interval_sentence(results),
        ("Benchmark", *(c.name for c in comparisons)),
        tuple(rows) if comparisons else (),
    )


def _seed_rows(results: Results) -> Iterator[tuple[str, ...]]:
    seeds = [s for s in results.study.seeds if any(s in c.by_seed for c in results.comparisons)]
    if len(seeds) < 2:
        return
    for seed in seeds:
        yield (
            f"… seed {seed} alone",
            *(
                words.signed(c.by_seed[seed]) if seed in c.by_seed else "–"
                for c in results.comparisons
            ),
        )
    yield (
        "… standard deviation over seeds",
        *(words.percent(c.seed_deviation) for c in results.comparisons),
    )


def by_language(results: Results, benchmark: str) -> Sheet:
    """Every language of one benchmark: scores, marks and corrected differences."""
    cells, rows = results.study.cells, []
    for code in results.codes:
        mine = {arm: results.cell(arm, benchmark, code) for arm in results.arms}
        if not any(mine.values()):
            continue
        some = next(cells[arm][benchmark, code] for arm in results.arms if mine[arm])
        scores = []
        for arm in results.arms:
            mark = MARKS[results.exposure(arm, benchmark, code)] if mine[arm] else ""
            scores.append(interval(mine[arm]) + (f" [{mark}]" if mark else ""))
        found = [difference(c.cells.get((benchmark, code))) for c in results.comparisons]
        name = language_name(code)
        rows.append((name, code, *scores, *found, words.percent(some.chance), f"{some.n:,}"))
    return Sheet(
        f"languages_{benchmark}",
        f"{benchmark} by language, percent with 95% intervals; those of differences hold for all "
        f"languages and benchmarks of a comparison together. {MARK_TEXT}",
        ("Language", "Code", *results.arms, *(c.name for c in results.comparisons), "Chance", "n"),
        tuple(rows),
        text_columns=2,
    )


def group_means(results: Results) -> Sheet:
    """Means over groups of languages."""
    found = groups.groups(results)
    shown = sum(d is not None for row in found for d in row.differences)
    return Sheet(
        "groups",
        f"Mean over {', '.join(results.comparable) or 'no benchmark'} of the mean over the group's "
        f"languages, percent with 95% intervals, not corrected for their number: {shown} "
        "differences are shown, of which one in twenty would leave out zero by chance.",
        (
            "Grouped by", "Group", *results.arms, *(c.name for c in results.comparisons), "n",
            "Languages",
        ),
        tuple(
            (
                row.criterion,
                row.group,
                *(interval(row.arms[arm]) for arm in results.arms),
                *(difference(one) for one in row.differences),
                str(len(row.codes)),
                " ".join(row.codes),
            )
            for row in found
        ),
        text_columns=2,
    )  # fmt: skip


def correlations(results: Results) -> Sheet:
    """Rank correlation of gains with size and distances."""
    return Sheet(
        "gains",
        "Spearman's rank correlation of a language's gain (mean over its zero-shot benchmarks) "
        "with what is known of the language; 95% interval over resampled languages, not corrected.",
        ("Comparison", "Property", "Correlation", "Languages", "Not known for"),
        tuple(
            (
                row.comparison.name,
                row.property,
                _correlation(row.correlation),
                str(len(row.points)),
                " ".join(row.lacking) or "none",
            )
            for row in groups.gains(results)
        ),
        text_columns=2,
    )


def output_shares(results: Results) -> Sheet:
    """Malformed answers and answers in the wrong script."""
    return Sheet(
        "outputs",
        "Share of outputs that are malformed, and of answers mostly in another script than their "
        "language's (accidental translation; told apart by script only, so only where answers are "
        "text of the language), percent, mean over the languages other than English and over "
        "seeds.",
        ("Benchmark", "Arm", "Malformed", "Wrong script", "Languages", "Most in"),
        tuple(
            (
                row.benchmark,
                row.arm,
                words.percent(row.malformed, 2),
                words.percent(row.wrong_script, 2),
                str(row.num_languages) if row.wrong_script is not None else "–",
                ", ".join(f"{code} {words.percent(share)}" for code, share in row.worst) or "–",
            )
            for row in outputs.output_rows(results)
        ),
        text_columns=2,
    )


def exposures(results: Results) -> Sheet:
    """How many scores of each arm are how zero-shot."""
    return Sheet(
        "exposures",
        "Number of scores (benchmark × language, English left out) by what the arm had seen "
        "before. Texts and labels seen are in no zero-shot mean.",
        ("Arm", *(exposure.value for exposure in Exposure)),
        tuple(
            (
                arm,
                *(
                    str(
                        sum(
                            results.exposure(arm, benchmark, code) is exposure
                            for benchmark, code in results.study.cells[arm]
                            if code != SOURCE
                        )
                    )
                    for exposure in Exposure
                ),
            )
            for arm in results.arms
        ),
    )


def shared_texts(results: Results) -> Sheet:
    """Scored rows whose texts were trained on: found by hashes, or declared."""
    rows: dict[tuple[str, ...], set[str]] = {}
    for arm in results.arms:
        for (benchmark, code), cell in results.study.cells[arm].items():
            for leak in results.leaks(arm, benchmark, code):
                what = f"{leak.rows:,} of {leak.of:,} rows, by their hashes"
                rows.setdefault((arm, benchmark, what, leak.stage, leak.task), set()).add(code)
            for seed, audit in results.audit_of(cell).items():
                for overlap in audit.overlaps(benchmark, cell.seeds[seed].split):
                    if overlap.shared.texts:
                        key = (
                            arm, benchmark, overlap.shared.note or "declared", overlap.stage,
                            overlap.trained,
                        )  # fmt: skip
                        rows.setdefault(key, set()).add(code)
    return Sheet(
        "shared_texts",
        "Scored rows that share texts with rows that a stage was trained on with labels. They are "
        "in no zero-shot mean, however few they are.",
        ("Arm", "Benchmark", "What", "Stage", "Trained on", "Languages"),
        tuple((*key, " ".join(sorted(codes))) for key, codes in sorted(rows.items())),
        text_columns=6,
    )


def shared_sources(results: Results) -> Sheet:
    """Scored splits that share their source, but no texts, with training."""
    rows = {
        (arm, benchmark, overlap.stage, overlap.trained.rpartition(".")[0], overlap.shared.note)
        for arm in results.arms
        for (benchmark, _), cell in results.study.cells[arm].items()
        for seed, audit in results.audit_of(cell).items()
        for overlap in audit.overlaps(benchmark, cell.seeds[seed].split)
        if not overlap.shared.texts
    }
    return Sheet(
        "shared_sources",
        "Scored benchmarks that share a source with labelled training, by declaration. This is "
        "only noted: their scores count as zero-shot.",
        ("Arm", "Benchmark", "Stage", "Trained on", "What they share"),
        tuple(sorted(rows)),
        text_columns=5,
    )


def training(results: Results) -> Sheet:
    """What each stage of each arm was trained on."""
    rows: dict[tuple[str, str, str], dict] = {}
    for arm in results.arms:
        for audit in results.audits[arm]:
            for stage in audit.chain:
                for trained in audit.labelled:
                    if trained.stage == stage.role:
                        key = arm, stage.role, trained.benchmark
                        of_runs = rows.setdefault(key, {}).setdefault(trained.language, {})
                        of_runs[stage.folder.resolve()] = trained.examples
                for code in audit.unlabelled.get(stage.role, ()):
                    rows.setdefault((arm, stage.role, "unlabelled text"), {})[code] = None
    lines = []
    for key, codes in rows.items():
        runs = [list(found.values()) for found in codes.values() if found is not None]
        whole = runs and all(None not in found for found in runs)
        # Runs of one role differ in their seed: the mean over them.
        examples = f"{sum(sum(f) / len(f) for f in runs):,.0f}" if whole else "–"
        lines.append((*key, examples, " ".join(sorted(codes))))
    return Sheet(
        "training",
        "Training of each arm by stage, followed backwards from the scored checkpoints by the "
        "runs' own records; seeds together, examples of one seed (the mean).",
        ("Arm", "Stage", "Trained on", "Examples", "Languages"),
        tuple(lines),
        text_columns=3,
    )


def forgetting(results: Results) -> Sheet:
    """Loss on what was learnt before, before and after each stage."""
    return Sheet(
        "forgetting",
        "Loss on an earlier stage's mixture (nats per token) at a stage's first and last "
        "measurement: higher is forgotten.",
        ("Stage", "Earlier mixture", "Before", "After", "Change", "Steps"),
        tuple(
            (
                row.stage,
                row.mixture,
                f"{row.before:.3f}",
                f"{row.after:.3f}",
                f"{row.after - row.before:+.3f}".replace("-", "−"),
                f"{row.first_step:,}–{row.last_step:,}",
            )
            for row in cost.forgetting(results)
        ),
        text_columns=2,
    )


def aligned(results: Results) -> Sheet:
    """How well languages are aligned at each layer of each arm's encoder."""
    rows = alignment.rows(results)
    names = [name for name in SHOWN if any(name in row.values for row in rows)]
    return Sheet(
        "alignment",
        "Alignment of the languages' sentences and words inside the encoder by layer, 0 being the "
        "token vectors: percent, mean over languages and seeds with 95% intervals, both resampled. "
        "Sentences and words found among all by cosine, both ways; CKA is debiased; a smaller AER "
        "(alignment error rate of word links by mutual argmax) is better.",
        ("Arm", "Layer", *(SHOWN[name] for name in names)),
        tuple(
            (row.arm, str(row.layer), *(interval(row.values.get(name)) for name in names))
            for row in rows
        ),
        text_columns=1,
    )


def alignment_differences(results: Results) -> Sheet:
    """The arms' alignment compared."""
    found = alignment.differences(results)
    names = [name for name in SHOWN if any(name in values for _, values in found)]
    return Sheet(
        "alignment_differences",
        "Differences of the same at the last layer, percent points, paired by language and seed.",
        ("Comparison", *(SHOWN[name] for name in names)),
        tuple((name, *(difference(values.get(one)) for one in names)) for name, values in found),
    )


def arm_cost(results: Results) -> Sheet:
    """Cost of each arm."""
    return Sheet(
        "cost_arms",
        "Cost of each arm from its first stage on, mean over its seeds; shared stages count in "
        "each arm. FLOPs are those that the runs counted.",
        ("Arm", "Seeds", *_COSTS, "Stages"),
        tuple(
            (row.arm, str(row.seeds), *_cost(row), row.name) for row in cost.arm_costs(results)
        ),
    )  # fmt: skip


def stage_cost(results: Results) -> Sheet:
    """Cost of each stage."""
    rows = cost.stage_costs(results)
    restarted = any(row.goodput is not None for row in rows)
    explained = (
        " Goodput: of a stage that was started again, the share of the time from its first start "
        "to its last end in which steps were computed that were not lost."
    )
    return Sheet(
        "cost_stages",
        "Cost of each stage; time is wall time as h:mm:ss or m:ss, start-up and compilation "
        "included." + explained * restarted,
        ("Stage", *_COSTS, *["Goodput"] * restarted, "Code"),
        tuple(
            (row.name, *_cost(row), *[share(row.goodput)] * restarted, row.version or "–")
            for row in rows
        ),
    )


_COSTS = ("Steps", "Examples", "Tokens", "FLOPs", "Time")


def _cost(row: cost.CostRow) -> tuple[str, ...]:
    whole = [number(value) for value in (row.steps, row.examples, row.tokens)]
    return (*whole, "–" if row.flops is None else f"{row.flops:.2e}", seconds(row.seconds))


# ------------------------------------------------------------------------------- numbers as text
def interval(found: Estimate | None) -> str:
    """``54.2 (52.1–56.0)``."""
    if found is None:
        return "–"
    if math.isnan(found.low):
        return words.percent(found.value)
    return f"{words.percent(found.value)} ({words.percent(found.low)}–{words.percent(found.high)})"


def difference(found: Estimate | None) -> str:
    """``+1.2 (+0.4 to +2.0)``, bold when the interval leaves out zero."""
    if found is None:
        return "–"
    if math.isnan(found.low):
        return words.signed(found.value)
    text = f"{words.signed(found.value)} ({words.signed(found.low)} to {words.signed(found.high)})"
    return Bold(text) if found.sign else text


def share(value: float | None) -> str:
    """In percent; a dash for what is unknown."""
    return "–" if value is None else f"{100 * value:.0f} %"


def number(value: float | None) -> str:
    """With separators; a dash for what is unknown."""
    return "–" if value is None else f"{value:,.0f}"


def seconds(value: float | None) -> str:
    """``h:mm:ss`` or ``m:ss``."""
    if value is None:
        return "–"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _correlation(found: Estimate) -> str:
    if math.isnan(found.value):
        return "–"
    parts = [f"{x:+.2f}".replace("-", "−") for x in (found.value, found.low, found.high)]
    text = f"{parts[0]} ({parts[1]} to {parts[2]})"
    return Bold(text) if found.sign else text


def _average(average: xtreme_r.Average, *, whole: bool) -> str:
    if average.percent is None:
        what = "tasks" if whole else "languages"
        return (
            f"– ({len(average.missing)} {what[:-1] if len(average.missing) == 1 else what} missing)"
        )
    text = f"{average.percent:.1f}"
    if average.deviation is not None:
        text += f" ± {average.deviation:.1f}"
    return text + ("*" if average.refused else "")
