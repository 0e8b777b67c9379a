"""What a run carries from step to step: made directly in its shards, or only described."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import struct, traverse_util

from xlt_jax.arrays import Array, Params
from xlt_jax.training.partition import Partitioner


@struct.dataclass
class TrainState:
    """Number of finished steps, parameters and optimizer state."""

    step: Array
    params: Params
    opt_state: Any


def _initial_state(
    network: nn.Module, optimizer: optax.GradientTransformation, rng: Array
) -> tuple[TrainState, Any]:
    ids_BT = jnp.ones((1, 1), jnp.int32)  # parameters do not depend on lengths
    variables = network.init(rng, ids_BT, ids_BT, ids_BT, enable_dropout=False)
    params = variables["params"]
    state = TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params))
    return state, variables["params_axes"]


def describe(
    network: nn.Module, optimizer: optax.GradientTransformation, partitioner: Partitioner
) -> TrainState:
    """The state as ``jax.ShapeDtypeStruct`` with shardings: what restoring and compiling need.

    Raises:
        ValueError: A parameter cannot be split as the partitioner's rules say.
    """
    rng = jax.eval_shape(lambda: jax.random.key(0))
    shapes, params_axes = jax.eval_shape(lambda key: _initial_state(network, optimizer, key), rng)
    params = partitioner.param_shardings(params_axes, shapes.params)
    shardings = TrainState(
        step=partitioner.replicated,
        params=params,
        opt_state=partitioner.optimizer_shardings(shapes.opt_state, shapes.params, params),
    )
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        shapes,
        shardings,
    )


def create(
    network: nn.Module,
    optimizer: optax.GradientTransformation,
    partitioner: Partitioner,
    rng: Array,
) -> TrainState:
    """A random initial state; no device ever holds more than its own shards.

    The values depend on ``rng`` alone and not on the number of devices.
    """
    shardings = jax.tree.map(lambda leaf: leaf.sharding, describe(network, optimizer, partitioner))
    initialise = jax.jit(
        lambda key: _initial_state(network, optimizer, key)[0], out_shardings=shardings
    )
    return initialise(rng)


def with_params(
    params: Params, optimizer: optax.GradientTransformation, described: TrainState, step: int = 0
) -> TrainState:
    """A state with given parameters, for example restored ones, and a fresh optimizer.

    Args:
        params: Laid out as ``described.params``; consumed.
        optimizer: Makes the optimizer state.
        described: The result of ``describe``.
        step: Number of steps that the parameters have behind them.
    """
    shardings = jax.tree.map(lambda leaf: leaf.sharding, described.opt_state)
    opt_state = jax.jit(optimizer.init, out_shardings=shardings)(params)
    step = jax.device_put(jnp.asarray(step, jnp.int32), described.step.sharding)
    return TrainState(step, params, opt_state)


def num_parameters(params: Params) -> int:
    """Number of trained values."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))


def parameter_table(params: Params) -> str:
    """One line per parameter for the log: path, shape, size, split; arrays or shapes."""
    flat = traverse_util.flatten_dict(params, sep="/")
    rows = [("parameter", "shape", "size", "split")]
    for path, leaf in sorted(flat.items()):
        shape = "x".join(map(str, leaf.shape))
        spec = getattr(getattr(leaf, "sharding", None), "spec", None) or ()
        split = ",".join("-" if axis is None else str(axis) for axis in spec)
        rows.append((path, shape, f"{math.prod(leaf.shape):,}", split))
    rows.append(("total", "", f"{num_parameters(params):,}", ""))
    path_width, shape_width, size_width = (max(len(row[i]) for row in rows) for i in range(3))
    return "\n".join(
        f"{path:<{path_width}}  {shape:<{shape_width}}  {size:>{size_width}}  {split}".rstrip()
        for path, shape, size, split in rows
    )
