"""Means over groups of languages, and the gain of each language beside what is known of it."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass

from xlt_jax.registry import languages, pretraining, typology
from xlt_jax.report.audit import canonical
from xlt_jax.report.intervals import Estimate, rank_correlation
from xlt_jax.report.tables import SOURCE, Comparison, Results, is_pair

IN_MT5 = "in mT5's pre-training"
LABELS = "labels in the language"
CRITERIA = ("family", "genus", "script", "resource", IN_MT5, LABELS)


@dataclass(frozen=True)
class GroupRow:
    """Means over the languages of one group, over comparable benchmarks.

    Attributes:
        differences: One for each comparison of the study, None where an arm has none of it.
    """

    criterion: str
    group: str
    codes: tuple[str, ...]
    arms: Mapping[str, Estimate | None]
    differences: tuple[Estimate | None, ...]


@dataclass(frozen=True)
class Gains:
    """Languages' gains in one comparison beside one property of theirs.

    Attributes:
        comparison: Whose differences they are.
        property: Its name.
        points: Language -> (property, mean difference over benchmarks).
        correlation: Spearman's, with its interval over languages.
        lacking: Languages of which the property is not known.
    """

    comparison: Comparison
    property: str
    points: Mapping[str, tuple[float, float]]
    correlation: Estimate
    lacking: tuple[str, ...]


SIZE = "tokens in mC4, billions"
TO_ENGLISH = "distance from English"
TO_INTERMEDIATE = "distance from the nearest intermediate language"


def groups(results: Results) -> list[GroupRow]:
    """Means by each of ``CRITERIA``, groups without languages left out."""
    zero_shot = sorted({c for b in results.comparable for c in results.zero_shot_codes[b]})
    rows = []
    for criterion in CRITERIA:
        members: dict[str, list[str]] = {}
        for code in zero_shot:
            members.setdefault(_group(results, criterion, code), []).append(code)
        for group in sorted(members, key=lambda name: _order(criterion, name)):
            codes = tuple(members[group])
            rows.append(
                GroupRow(
                    criterion=criterion,
                    group=group,
                    codes=codes,
                    arms={
                        arm: results.mean(arm, results.comparable, codes) for arm in results.arms
                    },
                    differences=tuple(
                        results.difference(c.arm, c.baseline, results.comparable, codes)
                        for c in results.comparisons
                    ),
                )
            )
    return rows


@functools.lru_cache(maxsize=1)  # three parts of the report ask
def gains(results: Results) -> tuple[Gains, ...]:
    """For each comparison, the gain of each zero-shot language beside size and distances."""
    return tuple(
        found
        for comparison in results.comparisons
        for name in (SIZE, TO_ENGLISH, TO_INTERMEDIATE)
        if (found := _gains(results, comparison, name)).points
    )


def intermediate_languages(results: Results, arm: str) -> frozenset[str]:
    """Languages of the arm's labelled training before its last training stage, in any seed."""
    return frozenset().union(*(audit.intermediate_languages() for audit in results.audits[arm]))


def _gains(results: Results, comparison: Comparison, name: str) -> Gains:
    nearby = intermediate_languages(results, comparison.arm)
    means: dict[str, list[float]] = {}
    for (benchmark, code), found in comparison.cells.items():
        if code in results.zero_shot_codes[benchmark]:
            means.setdefault(code, []).append(found.value)
    points, lacking = {}, []
    for code, values in sorted(means.items()):
        known = _property(name, canonical(code), nearby)
        if known is None:
            lacking.append(code)
        else:
            points[code] = known, sum(values) / len(values)
    sides = list(zip(*points.values())) or [(), ()]
    return Gains(comparison, name, points, rank_correlation(*sides), tuple(lacking))


def _property(name: str, code: str, nearby: frozenset[str]) -> float | None:
    if name == SIZE:
        return pretraining.TOKENS_B.get(code)
    others = [SOURCE] if name == TO_ENGLISH else nearby
    found = [typology.distance(code, other) for other in others]
    return min((distance for distance in found if distance is not None), default=None)


def _group(results: Results, criterion: str, code: str) -> str:
    if is_pair(code):
        return "two languages"
    code = canonical(code)
    if criterion == IN_MT5:
        return "yes" if code in pretraining.LANGUAGES else "no"
    if criterion != LABELS:
        language = languages.LANGUAGES.get(code)
        return getattr(language, criterion) if language else "unknown"
    seen = [
        arm
        for arm in results.arms
        if any(trained.language == code for a in results.audits[arm] for trained in a.labelled)
    ]
    return f"in arm {', '.join(seen)}" if seen else "in no arm"


def _order(criterion: str, name: str) -> tuple:
    order = {"resource": ("high", "mid", "low"), IN_MT5: ("yes", "no")}.get(criterion, ())
    return (order.index(name) if name in order else len(order), name == "unknown", name)
