"""Batches of two versions of every input: the row's own, and its view.

Z rows of both: each row's view, then the row
"""

import jax.numpy as jnp

from xlt_jax.arrays import Array, Batch

VIEW = "encoder_view_tokens"


def stacked(batch: Batch) -> dict[str, Array]:
    """The batch with each row twice: with ``encoder_view_tokens`` as its inputs, then its own.

    The two stay beside each other, and so on one device. A row without a view is its own.

    Raises:
        ValueError: The batch has no views, or rows hold several examples.
    """
    if "encoder_segment_ids" in batch:
        raise ValueError(
            "A row holds several examples, but two versions of an example differ in length: set "
            "PACK to False."
        )
    if VIEW not in batch:
        raise ValueError(
            f"The batch has no {VIEW}: the objective compares two versions of each input. Set "
            "AUGMENTATIONS to something that makes them, such as @augmentation.Views()."
        )
    tokens_BL, view_BL = batch["encoder_input_tokens"], batch[VIEW]
    view_BL = jnp.where((view_BL > 0).any(axis=1, keepdims=True), view_BL, tokens_BL)
    both = {name: jnp.repeat(array, 2, axis=0) for name, array in batch.items() if name != VIEW}
    both["encoder_input_tokens"] = jnp.stack([view_BL, tokens_BL], axis=1).reshape(
        -1, tokens_BL.shape[1]
    )
    return both


def split(values: Array) -> tuple[Array, Array]:
    """Values of the views and of the rows themselves, each B first, of an array with Z first."""
    pairs = values.reshape(-1, 2, *values.shape[1:])
    return pairs[:, 0], pairs[:, 1]
