"""Plans of batches: every row once, it fits, few shapes, little padding."""

import itertools

import numpy as np
import pytest

from xlt_jax.evaluation import batching


def lengths(rows, seed=0):
    drawn = np.random.default_rng(seed).lognormal(np.log(60), 0.5, rows)
    return drawn.astype(int).clip(1, 256)


@pytest.mark.parametrize("rows", [1, 7, 8, 100, 1000])
@pytest.mark.parametrize("row_multiple", [1, 3, 8])
def test_every_row_once_in_a_batch_that_holds_it(rows, row_multiple):
    wanted = lengths(rows)
    batches = batching.plan(wanted, tokens_per_batch=2048, max_rows=40, row_multiple=row_multiple)
    assert sorted(np.concatenate([batch.rows for batch in batches])) == list(range(rows))
    block = np.lcm(8, row_multiple)
    for batch in batches:
        assert 0 < len(batch.rows) <= batch.size
        assert batch.size % row_multiple == 0
        assert wanted[batch.rows].max() <= batch.length
        assert batch.size == block or batch.size <= 40
        assert batch.size == block or batch.size * batch.length <= 2048


@pytest.mark.parametrize("rows", [128, 1000, 7500])
def test_padding_is_small(rows):
    wanted = lengths(rows)
    batches = batching.plan(wanted, tokens_per_batch=4096, max_rows=512)
    padded = sum(batch.size * batch.length for batch in batches)
    assert 1 - wanted.sum() / padded < 0.30  # in batches of 32 as they come: 0.5 to 0.6
    shapes = {(batch.size, batch.length) for batch in batches}
    assert len(shapes) <= 16


def test_plan_is_the_cheapest():
    """Against all sequences of sizes, on a set small enough to try them all."""
    wanted = lengths(90, seed=3)
    batches = batching.plan(wanted, tokens_per_batch=4096, max_rows=64)
    got = sum(batching.BATCH_OVERHEAD + batch.size * batch.length for batch in batches)

    longest_first = sorted(wanted, reverse=True)
    best = None
    for count in range(1, 8):
        for sizes in itertools.product((8, 16, 32, 64), repeat=count):
            if sum(sizes[:-1]) >= len(wanted) or sum(sizes) < len(wanted):
                continue
            starts = np.cumsum([0, *sizes[:-1]])
            tops = [batching.bucket(longest_first[start]) for start in starts]
            full = [min(4096 // top, 64) // 8 * 8 for top in tops]
            if any(size not in allowed(top) for size, top in zip(sizes, full)):
                continue
            cost = sum(batching.BATCH_OVERHEAD + s * top for s, top in zip(sizes, tops))
            best = cost if best is None else min(best, cost)
    assert got == best


def allowed(full):
    """A full batch, a quarter of it and so on, in rows."""
    sizes = {full}
    while full > 8:
        full = -(-full // 32) * 8
        sizes.add(full)
    return sizes


def test_bucket():
    assert [batching.bucket(n) for n in (1, 16, 17, 25, 33, 65)] == [16, 16, 24, 32, 48, 80]
    for length in range(1, 3000):
        assert length <= batching.bucket(length) <= max(16, 1.5 * length)
