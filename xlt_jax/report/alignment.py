"""Alignment of languages inside the encoders of the arms, by layer, and beside their scores."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from xlt_jax.evaluation import measures
from xlt_jax.evaluation.measures import SHOWN
from xlt_jax.report.intervals import Estimate, estimate, resample_languages, resample_seeds
from xlt_jax.report.stages import score_folder
from xlt_jax.report.tables import Results

Where = tuple[int, str]  # layer, name of a measure
Values = Mapping[int | None, Mapping[str, float]]  # seed -> language -> value


@dataclass(frozen=True)
class AlignmentRow:
    """One arm at one layer; by name the mean over languages and seeds, both resampled."""

    arm: str
    layer: int
    values: Mapping[str, Estimate]


@dataclass(frozen=True)
class Point:
    """One arm in one seed: its score, and a measure at the last layer."""

    arm: str
    score: float
    value: float


@functools.lru_cache(maxsize=1)  # the table, and each drawing of the figure, ask
def rows(results: Results) -> tuple[AlignmentRow, ...]:
    """Of every arm and layer."""
    return tuple(
        AlignmentRow(
            arm,
            layer,
            {name: _estimate(values[layer, name]) for name in SHOWN if (layer, name) in values},
        )
        for arm, values in _values(results).items()
        for layer in sorted({layer for layer, _ in values})
    )


def differences(results: Results) -> list[tuple[str, Mapping[str, Estimate]]]:
    """Of every comparison the arm minus the baseline at the last layer, paired, by measure."""
    table = []
    for comparison in results.comparisons:
        arm, baseline = (_values(results)[one] for one in (comparison.arm, comparison.baseline))
        shared = arm.keys() & baseline.keys()
        last = max((layer for layer, _ in shared), default=None)
        found = {
            name: difference
            for name in SHOWN
            if (last, name) in shared
            and (difference := _difference(arm[last, name], baseline[last, name]))
        }
        if found:
            table.append((comparison.name, found))
    return table


def beside_scores(results: Results) -> dict[str, list[Point]]:
    """By measure, every arm and seed: its mean zero-shot score and the last layer's alignment."""
    whole = None if len(results.comparable) > 1 else "".join(results.comparable)
    scores = {row.arm: row.by_seed for row in results.summary if row.benchmark == whole}
    points: dict[str, list[Point]] = {}
    for arm, values in _values(results).items():
        last = max((layer for layer, _ in values), default=None)
        for name in SHOWN:
            for seed, by_language in values.get((last, name), {}).items():
                if seed in scores.get(arm, {}):
                    mean = float(np.mean([*by_language.values()]))
                    points.setdefault(name, []).append(Point(arm, scores[arm][seed], mean))
    return points


@functools.lru_cache(maxsize=1)  # each file is read once
def _values(results: Results) -> dict[str, dict[Where, Values]]:
    """What every arm's scored stages measured."""
    found: dict[str, dict[Where, dict]] = {arm: {} for arm in results.arms}
    for (arm, seed), stages in results.study.scored.items():
        for stage in stages if arm in found else ():
            for one in measures.read(score_folder(stage.folder)):
                by_seed = found[arm].setdefault((one.layer, one.name), {})
                by_seed.setdefault(seed, {})[one.language] = one.value
    return found


def _estimate(values: Values) -> Estimate:
    mean = np.mean([np.mean([*by_language.values()]) for by_language in values.values()])
    samples = {seed: resample_languages([table]) for seed, table in values.items()}
    return estimate(mean, resample_seeds(samples))


def _difference(arm: Values, baseline: Values) -> Estimate | None:
    paired = {
        seed: {code: arm[seed][code] - baseline[seed][code] for code in arm[seed] if code in other}
        for seed, other in baseline.items()
        if seed in arm
    }
    paired = {seed: table for seed, table in paired.items() if table}
    return _estimate(paired) if paired else None
