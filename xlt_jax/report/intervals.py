"""Bootstrap over test rows, paired between arms, and over languages; vectorised NumPy.

Dimension letters: A arms, N rows, R resamples, C languages.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000
SEED = 20210415
LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A value with its 95% interval, in 0..1; ``low`` and ``high`` are NaN when unknown."""

    value: float
    low: float
    high: float

    @property
    def sign(self) -> int:
        """+1 or -1 when the interval lies on one side of zero, else 0."""
        return 1 if self.low > 0 else -1 if self.high < 0 else 0


def estimate(value: float, samples_R: np.ndarray) -> Estimate:
    """``value`` with the percentile interval of its resamples."""
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(samples_R, (tail, 1 - tail))
    return Estimate(float(value), float(low), float(high))


def resample_rows(
    rows: Mapping[str, Mapping[str, tuple[float, float]]], key: str
) -> dict[str, np.ndarray]:
    """Resampled means of each arm, of the same drawn rows in all arms.

    Args:
        rows: Arm -> row id -> (score times weight, weight); the value of an arm is the sum of the
            first by the sum of the second. A row that an arm lacks is drawn for the others only.
        key: Names the draw; the same key and rows give the same result.

    Returns:
        Arm -> means_R, NaN for an arm without rows.

    Rows with equal entries in all arms are interchangeable, so it is enough to draw how often each
    distinct pattern of them occurs: the same distribution as drawing rows, and much faster.
    """
    ids = sorted({name for scores in rows.values() for name in scores})
    if not ids:
        return {arm: np.full(RESAMPLES, np.nan) for arm in rows}
    absent = (0.0, 0.0)
    pairs_NA2 = np.array([[rows[arm].get(name, absent) for arm in rows] for name in ids])
    patterns, counts = np.unique(pairs_NA2.reshape(len(ids), -1), axis=0, return_counts=True)
    rng = np.random.default_rng([SEED, zlib.crc32(key.encode())])
    drawn_R = rng.multinomial(len(ids), counts / len(ids), size=RESAMPLES)
    with np.errstate(invalid="ignore"):
        means_RA = (drawn_R @ patterns[:, ::2]) / (drawn_R @ patterns[:, 1::2])
    return dict(zip(rows, means_RA.T))


def resample_languages(tables: Sequence[Mapping[str, float]]) -> np.ndarray:
    """Means_R over benchmarks of the mean over resampled languages.

    Args:
        tables: For each benchmark, language -> value (a score or a difference); a drawn language
            counts in every benchmark that has it.
    """
    codes = sorted({code for table in tables for code in table})
    rng = np.random.default_rng([SEED, len(codes)])
    drawn_RC = rng.multinomial(len(codes), np.full(len(codes), 1 / len(codes)), size=RESAMPLES)
    means = []
    for table in tables:
        values_C = np.array([table.get(code, 0.0) for code in codes])
        present_C = np.array([code in table for code in codes])
        weight_R = drawn_RC @ present_C
        with np.errstate(invalid="ignore", divide="ignore"):
            means.append((drawn_RC @ values_C) / weight_R)
    stacked = np.stack(means)
    present = ~np.isnan(stacked)  # a resample may hold no language of a small benchmark
    return np.where(present, stacked, 0.0).sum(axis=0) / present.sum(axis=0)
