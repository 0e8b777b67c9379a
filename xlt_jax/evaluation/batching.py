"""Cuts rows of many lengths into batches of few shapes, with little padding.

A compiled function has fixed shapes, so each distinct (rows, length) costs a compilation, and each
padded token costs time. Lengths come from a short list of buckets, numbers of rows from a full
batch and its quarters, and the cheapest sequence of batches is found exactly.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Powers of two with one length in between below 64, three above: a fifth of a long row at most is
# padding.
LENGTHS = (16, 24, 32, 48, *sorted({size << k for size in (64, 80, 96, 112) for k in range(22)}))
# What a batch costs besides its tokens (dispatch, steps of the decoding loop), in tokens.
BATCH_OVERHEAD = 1024


@dataclass(frozen=True)
class BatchPlan:
    """One batch: the rows to put in and the shape to give it.

    Attributes:
        rows: Indices into the lengths that were planned, at most ``size`` of them.
        size: Rows of the array; the surplus ones are padding.
        length: Tokens of the array's rows.
    """

    rows: np.ndarray
    size: int
    length: int


def bucket(length: int, buckets: Sequence[int] = LENGTHS) -> int:
    """The smallest bucket that holds ``length``."""
    return buckets[int(np.searchsorted(buckets, length))]


def plan(
    lengths: Sequence[int], *, tokens_per_batch: int, max_rows: int, row_multiple: int = 1
) -> list[BatchPlan]:
    """Batches that hold every row once, longest rows first.

    Args:
        lengths: Tokens of each row, at least 1.
        tokens_per_batch: A batch has at most so many tokens, padding included, but always room
            for one block of rows.
        max_rows: A batch has at most so many rows, likewise.
        row_multiple: Sizes are multiples of this (the mesh's data axis).

    Longest first, because running out of memory should happen at once, and because the padded rows
    of the last batch are then short ones.
    """
    order = np.argsort(-np.asarray(lengths), kind="stable")
    block = int(np.lcm(8, row_multiple))
    tops = [bucket(lengths[row]) for row in order[::block]]  # longest row of each block of rows
    steps = {top: _sizes(min(tokens_per_batch // top, max_rows) // block) for top in set(tops)}

    # cheapest[b]: cost of blocks b and later, and the number of blocks in the first batch.
    cheapest: list[tuple[int, int]] = [(0, 0)] * (len(tops) + 1)
    for start in range(len(tops) - 1, -1, -1):
        cheapest[start] = min(
            (
                BATCH_OVERHEAD
                + blocks * block * tops[start]
                + cheapest[min(start + blocks, len(tops))][0],
                blocks,
            )
            for blocks in steps[tops[start]]
        )

    batches, start = [], 0
    while start < len(tops):
        blocks = cheapest[start][1]
        rows = order[start * block : (start + blocks) * block]
        batches.append(BatchPlan(rows, blocks * block, tops[start]))
        start += blocks
    return batches


def _sizes(full: int) -> tuple[int, ...]:
    """Blocks of a full batch, of a quarter, of a sixteenth and so on, down to one block."""
    sizes = [max(full, 1)]
    while sizes[-1] > 1:
        sizes.append(-(-sizes[-1] // 4))
    return tuple(sizes)
