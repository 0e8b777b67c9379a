"""Stacks of equal layers: run one after the other, or scanned, with or without rematerialisation.

A scanned stack is one module whose parameters have a layer axis: program and compile time no longer
grow with the depth.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
from flax import linen as nn
from flax.linen import partitioning

LAYER_AXIS = 1  # of stacked parameters, as in T5X's scalable_t5
REMAT_POLICIES = ("none", "minimal", "full")


def run(
    layers: nn.Module | Sequence[nn.Module],
    body: Callable[..., tuple[Any, Any]],
    carry: Any,
    *own: Any,
    length: int,
    stop: int | None = None,
    remat_policy: str = "none",
) -> tuple[Any, Any]:
    """The carry after all layers, and what each layer gives besides.

    Args:
        layers: Modules, or one module standing for all, which is scanned.
        body: ``body(layer, carry, *own_of_this_layer) -> (carry, result)``.
        carry: What one layer hands to the next.
        own: For each layer a value: of modules a sequence, of a scanned one a tree of arrays with a
            leading layer axis. None: nothing for any layer.
        length: Number of layers.
        stop: Only the first so many layers.
        remat_policy: What the backward pass computes anew: "none", "full" all but the layers'
            inputs, "minimal" all but those and matrix products with parameters.

    Returns:
        Carry and results, these in the form of ``own``.
    """
    is_scanned = isinstance(layers, nn.Module)
    if remat_policy != "none":
        body = partitioning.remat(
            body,
            prevent_cse=not is_scanned,  # the loop itself keeps the two computations apart
            policy=jax.checkpoint_policies.checkpoint_dots_with_no_batch_dims
            if remat_policy == "minimal"
            else None,
        )
    stop = length if stop is None else stop
    if is_scanned:
        return _scan(layers, body, carry, own, length, stop) if stop else (carry, None)
    columns = [(None,) * length if column is None else column for column in own]
    results = []
    for layer, *values in zip(layers[:stop], *columns):
        carry, result = body(layer, carry, *values)
        results.append(result)
    return carry, tuple(results)


def _scan(
    layer: nn.Module, body: Callable, carry: Any, own: tuple, length: int, stop: int
) -> tuple[Any, Any]:
    is_initialising = layer.is_mutable_collection("params")
    scanned = partitioning.scan_with_axes(
        body,
        variable_axes={
            "params": LAYER_AXIS if is_initialising else partitioning.ScanIn(LAYER_AXIS),
            "cache": 0,  # where T5X's decoding looks for the layers
            "probes": 0,
        },
        split_rngs={"params": True, "dropout": True},
        length=stop,
        axis_name="layers",
    )
    if stop < length:
        scanned = nn.map_variables(
            scanned,
            "params",
            trans_in_fn=lambda params: jax.tree.map(
                lambda leaf: jax.lax.slice_in_dim(leaf, 0, stop, axis=LAYER_AXIS), params
            ),
        )
    return scanned(layer, carry, *own)
