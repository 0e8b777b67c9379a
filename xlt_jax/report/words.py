"""What the numbers say, in sentences: computed, also when the answer is 'no difference'."""

import math

from xlt_jax.report.intervals import Estimate
from xlt_jax.report.tables import Comparison, Results

FEW_SEEDS = 10  # below it a bootstrap over seeds is said to be narrow


def answer(results: Results) -> str:
    """One paragraph: direction, size and interval of each comparison, seeds, then chance."""
    sentences = [_verdict(results, comparison) for comparison in results.comparisons]
    if sentences:
        first = results.comparisons[0]
        sentences[0] += (
            f" (mean of {count(len(results.comparable), 'benchmark')} over "
            f"{count(first.num_languages, 'language')} other than English, "
            f"{first.num_rows:,} test rows in each arm{_in_each_seed(first)})"
        )
        sentences = [f"{sentence}." for sentence in sentences]
        more = [_seed_sentence(first), _language_sentence(first), _spread(first), _cells(first)]
        sentences[1:1] = [sentence for sentence in more if sentence]
    elif len(results.arms) > 1:
        sentences.append("The arms share no benchmark and language that is zero-shot in both.")
    sentences += [_chance_overview(results)]
    unchecked = [arm for arm in results.arms if results.gap(arm)]
    if unchecked:
        sentences.append(f"Zero-shot is not checked for {', '.join(unchecked)}: see the audit.")
    lacking = [arm for arm in results.study.arms if arm not in results.arms]
    if lacking:
        sentences.append(f"No results from {', '.join(lacking)}.")
    return " ".join(sentence for sentence in sentences if sentence)


def interval_sentence(results: Results) -> str:
    """What the intervals cover, in words."""
    if results.num_seeds == 1:
        return (
            "Intervals cover the test rows only: there is one seed, so that what would differ "
            "between seeds is not in them."
        )
    text = "Intervals cover test rows and seeds, both resampled; a seed is the same in all arms."
    if results.num_seeds < FEW_SEEDS:
        text += (
            f" A bootstrap over {results.num_seeds} seeds is narrow (it sees "
            f"{results.num_seeds - 1}/{results.num_seeds} of their variance, and few of them): the "
            "standard deviation over seeds is given beside it."
        )
    return text


def selection_sentence(results: Results) -> str:
    """How checkpoints were chosen, in words; empty where no recipe says."""
    selection = results.study.selection
    if selection is None:
        return ""
    if not selection:
        return "No checkpoint was selected: every stage goes on from the last step before it."
    return (
        f"Checkpoints of target stages were selected by {selection}; data in other languages was "
        "used for no choice."
    )


def chance_statements(results: Results) -> list[str]:
    """For each benchmark: which arms' means over the other languages beat chance."""
    sentences = []
    rows = [row for row in results.summary if row.benchmark and row.above_chance]
    for benchmark in dict.fromkeys(row.benchmark for row in rows):
        mine = [row for row in rows if row.benchmark == benchmark]
        parts = []
        for row in mine:
            margin = row.above_chance
            verb = {1: "beats chance", 0: "does not differ from chance", -1: "is below chance"}
            parts.append(f"{row.arm} {verb[margin.sign]} ({points(margin)})")
        languages = count(mine[0].num_languages, "language")
        sentences.append(f"{benchmark}, mean over {languages}: {'; '.join(parts)}.")
    return sentences


def points(found: Estimate) -> str:
    """``+1.2 points, 95% interval 0.4 to 2.0``."""
    if math.isnan(found.low):
        return f"{signed(found.value)} points, no interval"
    return f"{signed(found.value)} points, 95% interval {signed(found.low)} to {signed(found.high)}"


def signed(share: float) -> str:
    """Percent points with their sign."""
    text = f"{100 * share:+.1f}".replace("-", "−")
    return "0.0" if text in ("+0.0", "−0.0") else text


def percent(share: float | None, digits: int = 1) -> str:
    """``54.2``; a dash for what is unknown."""
    return "–" if share is None or math.isnan(share) else f"{100 * share:.{digits}f}"


def count(number: int, noun: str) -> str:
    """``1 seed``, ``3 seeds``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _verdict(results: Results, comparison: Comparison) -> str:
    arm, baseline, found = comparison.arm, comparison.baseline, comparison.overall
    checked = not any(results.gap(name) for name in (arm, baseline))
    where = "Zero-shot" if checked else "In the other languages"
    if math.isnan(found.low):
        return f"{arm} differs from {baseline} by {points(found)}"
    if found.sign:
        direction = "above" if found.sign > 0 else "below"
        size = f"{100 * abs(found.value):.1f} points {direction}"
        interval = f"{signed(found.low)} to {signed(found.high)}"
        return f"{where}, {arm} scores {size} {baseline}, 95% interval {interval}"
    return f"{where}, no difference is found between {arm} and {baseline}: {points(found)}"


def _in_each_seed(comparison: Comparison) -> str:
    fewest, most = comparison.num_seeds
    if most == 1:
        return ""
    seeds = f"{most} seeds" if fewest == most else f"{fewest} to {most} seeds"
    return f" and {seeds}, both resampled"


def _seed_sentence(comparison: Comparison) -> str:
    if comparison.num_seeds == (1, 1):
        return "With one seed, what differs between seeds is not in the interval."
    if len(comparison.by_seed) < 2:
        return "Fewer than two seeds are in all of it, so that it cannot be given seed by seed."
    values = ", ".join(signed(value) for value in comparison.by_seed.values())
    text = (
        f"Seed by seed the difference is {values} (standard deviation "
        f"{100 * comparison.seed_deviation:.1f})"
    )
    if len(comparison.by_seed) < FEW_SEEDS:
        text += f"; the bootstrap over {len(comparison.by_seed)} seeds is narrow"
    return f"{text}."


def _language_sentence(comparison: Comparison) -> str:
    wide = comparison.by_language
    if math.isnan(comparison.overall.low):
        return ""
    interval = f"{signed(wide.low)} to {signed(wide.high)}"
    if wide.sign == comparison.overall.sign:
        tail = "the same verdict"
    elif wide.sign:
        tail = "the languages agree, what is uncertain are rows and seeds"
    else:
        tail = "so it depends on which languages are tested"
    return f"With the languages resampled instead of the rows the interval is {interval}: {tail}."


def _spread(comparison: Comparison) -> str:
    if len(comparison.benchmarks) < 2:
        return ""
    ordered = sorted(comparison.benchmarks.items(), key=lambda item: item[1].value)
    (low_name, low), (high_name, high) = ordered[0], ordered[-1]
    return (
        f"By benchmark it ranges from {low_name} ({points(low)}) to {high_name} ({points(high)})."
    )


def _cells(comparison: Comparison) -> str:
    total = sum(not math.isnan(found.low) for found in comparison.cells.values())
    if total < 2:
        return ""
    above, below = len(comparison.holding(1)), len(comparison.holding(-1))
    return (
        f"Of {total} single differences (language by benchmark, English among them) {above + below}"
        f" hold after correction for their number: {above} above zero, {below} below."
    )


def _chance_overview(results: Results) -> str:
    rows = [row for row in results.summary if row.benchmark and row.above_chance]
    if not rows:
        return ""
    names = list(dict.fromkeys(row.benchmark for row in rows))
    beaten = [
        name
        for name in names
        if any(row.above_chance.sign > 0 for row in rows if row.benchmark == name)
    ]
    below = f" ({', '.join(beaten)})" if beaten and len(beaten) < len(names) else ""
    english = [row for row in rows if row.source_above_chance]
    learnt = sum(row.source_above_chance.sign > 0 for row in english)
    text = (
        "The mean over the other languages beats chance by more than its 95% interval, in at least "
        f"one arm, on {len(beaten)} of {count(len(names), 'benchmark')}{below}"
    )
    if english:
        text += f"; in English {learnt} of {len(english)} scores (arms times benchmarks) do"
    return text + "."
