"""What the numbers say, in sentences: computed, also when the answer is 'no difference'."""

import math

from xlt_jax.report.intervals import Estimate
from xlt_jax.report.tables import Comparison, Results


def answer(results: Results) -> str:
    """One paragraph: direction, size and interval of each comparison, then chance."""
    sentences = [_verdict(results, comparison) for comparison in results.comparisons]
    if sentences:
        first = results.comparisons[0]
        sentences[0] += (
            f" (mean of {_count(len(results.comparable), 'benchmark')} over "
            f"{_count(first.num_languages, 'language')} other than English, "
            f"{first.num_rows:,} test rows in each arm)"
        )
        sentences = [f"{sentence}." for sentence in sentences]
        sentences.insert(1, _language_sentence(first))
        spread = _spread(first)
        if spread:
            sentences.insert(2, spread)
    elif len(results.arms) > 1:
        sentences.append("The arms share no benchmark and language that is zero-shot in both.")
    sentences += [_chance_overview(results)]
    unchecked = [arm for arm in results.arms if results.audits[arm].gap]
    if unchecked:
        sentences.append(f"Zero-shot is not checked for {', '.join(unchecked)}: see the audit.")
    lacking = [arm for arm in results.study.arms if arm not in results.arms]
    if lacking:
        sentences.append(f"No results from {', '.join(lacking)}.")
    return " ".join(sentence for sentence in sentences if sentence)


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
        count = _count(mine[0].num_languages, "language")
        sentences.append(f"{benchmark}, mean over {count}: {'; '.join(parts)}.")
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


def _verdict(results: Results, comparison: Comparison) -> str:
    arm, baseline, found = comparison.arm, comparison.baseline, comparison.overall
    checked = not any(results.audits[name].gap for name in (arm, baseline))
    where = "Zero-shot" if checked else "In the other languages"
    if math.isnan(found.low):
        return f"{arm} differs from {baseline} by {points(found)}"
    if found.sign:
        direction = "above" if found.sign > 0 else "below"
        size = f"{100 * abs(found.value):.1f} points {direction}"
        interval = f"{signed(found.low)} to {signed(found.high)}"
        return f"{where}, {arm} scores {size} {baseline}, 95% interval {interval}"
    return f"{where}, no difference is found between {arm} and {baseline}: {points(found)}"


def _language_sentence(comparison: Comparison) -> str:
    wide = comparison.by_language
    if math.isnan(comparison.overall.low):
        return ""
    interval = f"{signed(wide.low)} to {signed(wide.high)}"
    same = wide.sign == comparison.overall.sign
    tail = "the same verdict" if same else "so it depends on which languages are tested"
    return f"With the languages resampled instead of the rows the interval is {interval}: {tail}."


def _spread(comparison: Comparison) -> str:
    if len(comparison.benchmarks) < 2:
        return ""
    ordered = sorted(comparison.benchmarks.items(), key=lambda item: item[1].value)
    (low_name, low), (high_name, high) = ordered[0], ordered[-1]
    return (
        f"By benchmark it ranges from {low_name} ({points(low)}) to {high_name} ({points(high)})."
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
        f"one arm, on {len(beaten)} of {_count(len(names), 'benchmark')}{below}"
    )
    if english:
        text += f"; in English {learnt} of {len(english)} scores (arms times benchmarks) do"
    return text + "."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
