"""Intervals against SciPy, closed forms, and simulated data of which the truth is known."""

import math

import numpy as np
import pytest
from scipy import stats

from xlt_jax.report import intervals

RNG = np.random.default_rng


def as_rows(scores):
    """Rows of weight 1 with these scores."""
    return {str(i): (float(score), 1.0) for i, score in enumerate(scores)}


def test_bootstrap_agrees_with_scipy():
    rng = np.random.default_rng(1)
    one = rng.beta(2, 3, 150)  # partial credit, as F1 of answers
    other = np.clip(one + rng.normal(0.05, 0.2, 150), 0, 1)
    rows = {name: dict(enumerate(x)) for name, x in (("one", one), ("other", other))}
    rows = {arm: {str(i): (v, 1.0) for i, v in scores.items()} for arm, scores in rows.items()}
    means = intervals.resample_rows(rows, "key")
    mine = intervals.estimate(np.mean(other - one), means["other"] - means["one"])
    theirs = stats.bootstrap(
        (other - one,), np.mean, method="percentile", n_resamples=5000, rng=0
    ).confidence_interval
    assert mine.low == pytest.approx(theirs.low, abs=0.003)
    assert mine.high == pytest.approx(theirs.high, abs=0.003)


def test_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(300):
        rows = {"arm": {str(i): (float(x), 1.0) for i, x in enumerate(rng.random(200) < 0.4)}}
        found = intervals.estimate(0.4, intervals.resample_rows(rows, str(trial))["arm"])
        covered += found.low <= 0.4 <= found.high
    assert 0.91 <= covered / 300 <= 0.98


def test_pairing_makes_equal_arms_differ_by_exactly_zero():
    scores = {str(i): (float(i % 3 == 0), 1.0) for i in range(100)}
    means = intervals.resample_rows({"a": scores, "b": dict(scores)}, "key")
    assert np.array_equal(means["a"], means["b"])
    assert means["a"].std() > 0


def test_f1_over_all_rows_is_resampled_as_a_ratio_of_sums():
    rng = np.random.default_rng(5)
    right, wrong, lost = rng.integers(0, 4, (3, 80))
    counts = np.stack([2.0 * right, 2.0 * right + wrong + lost], axis=1)
    rows = {"arm": {str(i): tuple(pair) for i, pair in enumerate(counts)}}
    f1 = counts[:, 0].sum() / counts[:, 1].sum()
    mine = intervals.estimate(f1, intervals.resample_rows(rows, "key")["arm"])
    theirs = stats.bootstrap(
        tuple(counts.T),
        lambda share, weight, axis: share.sum(axis) / weight.sum(axis),
        paired=True,
        method="percentile",
        n_resamples=5000,
        rng=0,
    ).confidence_interval
    assert mine.low == pytest.approx(theirs.low, abs=0.004)
    assert mine.high == pytest.approx(theirs.high, abs=0.004)


def test_rows_that_an_arm_lacks_do_not_count_as_wrong():
    full = {str(i): (1.0, 1.0) for i in range(50)}
    half = {str(i): (1.0, 1.0) for i in range(25)}
    means = intervals.resample_rows({"a": full, "b": half, "c": {}}, "key")
    assert np.allclose(means["a"], 1) and np.allclose(means["b"], 1)
    assert np.isnan(means["c"]).all()


def test_language_interval_is_that_of_a_sample_of_languages():
    values = np.random.default_rng(3).normal(0.5, 0.1, 40)
    table = {f"l{i}": value for i, value in enumerate(values)}
    found = intervals.estimate(values.mean(), intervals.resample_languages([table]))
    half = 1.96 * values.std() / math.sqrt(40)
    assert found.high - found.low == pytest.approx(2 * half, rel=0.1)


@pytest.mark.parametrize("trial", range(3))
def test_paired_difference_of_one_seed_agrees_with_scipy_within_monte_carlo_error(trial):
    rng = RNG(trial)
    one = rng.beta(2, 3, 300)
    other = np.clip(one + rng.normal(0.03, 0.2, 300), 0, 1)
    means = intervals.resample_rows({"one": as_rows(one), "other": as_rows(other)}, str(trial))
    seeded = {name: intervals.resample_seeds({7: samples}) for name, samples in means.items()}
    mine = intervals.estimate(np.mean(other) - np.mean(one), seeded["other"] - seeded["one"])
    theirs = stats.bootstrap(
        (other, one),
        lambda a, b, axis: a.mean(axis) - b.mean(axis),
        paired=True,
        method="percentile",
        n_resamples=20_000,
        rng=trial,
    )
    limits = theirs.confidence_interval
    # A quantile q of R draws from a normal has the error sqrt(q (1 - q) / R) / density.
    q = 0.025
    density = stats.norm.pdf(stats.norm.ppf(q)) / theirs.standard_error
    error = math.sqrt(q * (1 - q) * (1 / intervals.RESAMPLES + 1 / 20_000)) / density
    assert abs(mine.low - limits.low) < 4 * error
    assert abs(mine.high - limits.high) < 4 * error
    assert 4 * error < 0.35 * (limits.high - limits.low)  # the bound says something


def test_variance_of_a_mean_is_the_closed_form():
    scores = RNG(2).beta(2, 3, 400)
    samples = intervals.resample_rows({"arm": as_rows(scores)}, "key")["arm"]
    n = len(scores)
    closed = scores.var(ddof=1) * (n - 1) / n / n
    error = math.sqrt(2 / intervals.RESAMPLES)  # relative, of a variance of normal draws
    assert samples.var(ddof=1) == pytest.approx(closed, rel=4 * error)


def test_variance_over_seeds_is_the_closed_form_and_pairs_cells():
    values = {0: 0.50, 1: 0.62, 2: 0.41}
    flat = {seed: np.full(intervals.RESAMPLES, value) for seed, value in values.items()}
    samples = intervals.resample_seeds(flat)
    closed = np.var([*values.values()]) / 3  # of a mean of 3 drawn from the 3
    error = math.sqrt(2 / intervals.RESAMPLES)
    assert samples.mean() == pytest.approx(
        np.mean([*values.values()]), abs=4 * math.sqrt(closed / 2000)
    )
    assert samples.var() == pytest.approx(closed, rel=5 * error)
    # The same seeds are drawn wherever the same seeds are: a shift has no variance.
    shifted = intervals.resample_seeds({seed: column + 0.1 for seed, column in flat.items()})
    assert np.allclose(shifted - samples, 0.1)


def test_rows_and_seeds_add_their_variances():
    rng = RNG(3)
    skill = {seed: rng.normal(0.5, 0.05) for seed in range(5)}
    rows = {s: as_rows(np.clip(rng.normal(mean, 0.3, 500), -1, 2)) for s, mean in skill.items()}
    scores = {s: np.array([score for score, _ in found.values()]) for s, found in rows.items()}
    samples = intervals.resample_seeds(intervals.resample_rows(rows, "key"))
    of_seeds = np.var([x.mean() for x in scores.values()]) / 5
    # Rows are the same in all seeds; drawing seeds again leaves 2 - 1/5 of the seeds' own noise.
    mean_of_rows = np.mean([*scores.values()], axis=0)
    own = np.mean([(x - mean_of_rows).var() for x in scores.values()]) / 500
    of_rows = mean_of_rows.var() / 500 + own / 5
    assert samples.var() == pytest.approx(of_seeds + of_rows, rel=0.15)


def test_one_seed_is_left_as_it_is_and_an_unknown_seed_is_unknown():
    column = RNG(0).random(intervals.RESAMPLES)
    assert intervals.resample_seeds({None: column}) is column
    unknown = {0: column, 1: np.full(intervals.RESAMPLES, np.nan)}
    assert np.isnan(intervals.resample_seeds(unknown)).all()


def test_many_patterns_are_drawn_in_parts_with_the_same_distribution():
    scores = RNG(4).random(9000)  # more than fit at a time
    samples = intervals.resample_rows({"arm": as_rows(scores)}, "key")["arm"]
    assert samples.shape == (intervals.RESAMPLES,)
    assert samples.std() == pytest.approx(scores.std() / math.sqrt(9000), rel=0.1)


def together(trial, *, cells, n, effects=None, seeds=(None,)):
    """Simultaneous intervals of simulated cells: two arms, paired rows, no difference but planted
    ``effects`` (cell -> share of rows that the second arm gets right besides)."""
    rng = RNG([99, trial])
    values, samples = {}, {}
    for cell in range(cells):
        hard = rng.random(n)
        rows = {}
        for arm in "ab":
            gain = (effects or {}).get(cell, 0.0) if arm == "b" else 0.0
            for seed in seeds:
                noise = rng.normal(0, 0.2, n)  # each model is wrong elsewhere
                rows[arm, seed] = as_rows(hard + noise + gain > 0.5)
        means = intervals.resample_rows(rows, f"{trial}.{cell}")
        mean = {a: np.mean([[x for x, _ in rows[a, s].values()] for s in seeds]) for a in "ab"}
        resampled = {a: intervals.resample_seeds({s: means[a, s] for s in seeds}) for a in "ab"}
        values[cell] = mean["b"] - mean["a"]
        samples[cell] = resampled["b"] - resampled["a"]
    return intervals.simultaneous(values, samples), values, samples


def test_family_wise_error_is_about_five_percent_where_nothing_differs():
    trials, wrong, uncorrected = 400, 0, 0
    for trial in range(trials):
        found, values, samples = together(trial, cells=20, n=200)
        wrong += any(cell.sign for cell in found.values())
        uncorrected += any(intervals.estimate(values[c], samples[c]).sign for c in values)
    print("family-wise error", wrong / trials, "uncorrected", uncorrected / trials)
    # The binomial's 99.9% limits about 0.05 at 400 trials.
    assert 0.02 <= wrong / trials <= 0.09
    assert uncorrected / trials > 0.4


def test_family_wise_error_with_seeds_is_no_larger():
    """Noise of single rows in single seeds is counted more than once: that is cautious."""
    samples = [together(1000 + trial, cells=20, n=200, seeds=(0, 1))[0] for trial in range(60)]
    assert sum(any(cell.sign for cell in found.values()) for found in samples) <= 5


def test_planted_differences_are_found_and_only_they():
    effects = {0: 0.2, 1: -0.2, 2: 0.15}
    right = {cell: np.sign(effect) for cell, effect in effects.items()}
    hits = false = 0
    for trial in range(40):
        found, _, _ = together(trial, cells=20, n=300, effects=effects, seeds=(0, 1))
        signs = {cell: interval.sign for cell, interval in found.items() if interval.sign}
        hits += sum(signs.get(cell) == sign for cell, sign in right.items())
        false += any(signs[cell] != right.get(cell) for cell in signs)
    assert hits >= 0.95 * 40 * len(right)
    assert false <= 5


def test_correction_is_none_for_one_cell_and_none_for_copies():
    samples = RNG(5).normal(0.1, 0.05, intervals.RESAMPLES)
    alone = intervals.simultaneous({"a": 0.1}, {"a": samples})["a"]
    assert alone.high - 0.1 == pytest.approx(1.96 * 0.05, rel=0.08)
    copies = intervals.simultaneous(dict.fromkeys("abcd", 0.1), dict.fromkeys("abcd", samples))
    assert all(found == alone for found in copies.values())


def test_cells_that_cannot_vary_or_are_unknown_do_not_widen_the_others():
    samples = RNG(5).normal(0.1, 0.05, intervals.RESAMPLES)
    flat, unknown = np.zeros(intervals.RESAMPLES), np.full(intervals.RESAMPLES, np.nan)
    alone = intervals.simultaneous({"a": 0.1}, {"a": samples})["a"]
    found = intervals.simultaneous(
        {"a": 0.1, "b": 0.0, "c": 0.3}, {"a": samples, "b": flat, "c": unknown}
    )
    assert found["a"] == alone
    assert (found["b"].low, found["b"].high, found["b"].sign) == (0.0, 0.0, 0)
    assert math.isnan(found["c"].low) and found["c"].sign == 0
    assert intervals.simultaneous({}, {}) == {}


def test_rank_correlation_agrees_with_scipy():
    rng = RNG(6)
    x = rng.integers(0, 6, 40)  # ties
    y = x + rng.normal(0, 3, 40)
    found = intervals.rank_correlation(x, y)
    assert found.value == pytest.approx(stats.spearmanr(x, y).statistic)
    assert found.low < found.value < found.high
    assert math.isnan(intervals.rank_correlation([1, 2, 3], [1, 2, 3]).value)
    assert math.isnan(intervals.rank_correlation([1, 1, 1, 1], [1, 2, 3, 4]).value)
    assert math.isnan(intervals.rank_correlation([], []).value)
