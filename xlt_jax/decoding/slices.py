"""The encoder, a few rows at a time: on a CPU what one slice needs stays in the caches."""

from collections.abc import Callable

import jax

from xlt_jax.arrays import Array


def in_slices(function: Callable[[Array], Array], ids_BL: Array, slice_tokens: int | None) -> Array:
    """``function(ids_BL)``, which treats rows by themselves, for some rows after the other.

    Args:
        function: Gives one entry for each row of its argument.
        ids_BL: Token ids.
        slice_tokens: Tokens at a time, at least one row; None: all at once.
    """
    num_rows, length = ids_BL.shape
    if slice_tokens is None:
        return function(ids_BL)
    most = max(1, slice_tokens // length)
    rows = max(rows for rows in range(1, num_rows + 1) if num_rows % rows == 0 and rows <= most)
    if rows == num_rows:
        return function(ids_BL)
    slices = jax.lax.map(function, ids_BL.reshape(-1, rows, length))
    return slices.reshape(num_rows, *slices.shape[2:])
