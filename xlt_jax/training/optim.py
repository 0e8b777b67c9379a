"""Adafactor and T5X's learning-rate factors."""

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from xlt_jax.arrays import Array

Schedule = Callable[[Array], Array]

FACTORS = (
    "constant",
    "linear_warmup",
    "linear_decay",
    "rsqrt_decay",
    "rsqrt_normalized_decay",
    "decay_every",
    "cosine_decay",
)


def create_learning_rate_scheduler(
    factors: str = "constant * linear_warmup * rsqrt_decay",
    base_learning_rate: float = 0.5,
    warmup_steps: int = 1000,
    decay_factor: float = 0.5,
    steps_per_decay: int = 20000,
    steps_per_cycle: int = 100000,
    step_offset: int = 0,
    min_learning_rate: float = 1e-8,
) -> Schedule:
    """A schedule step -> learning rate (float32): the product of named factors.

    Args:
        factors: Names joined by ``*``, with s the step after ``step_offset`` and w the warm-up:
            ``constant`` base_learning_rate; ``linear_warmup`` min(1, s / w);
            ``linear_decay`` base_learning_rate * min(s / w, 1 + decay_factor * (w - s)), which
            contains the two before; ``rsqrt_decay`` 1 / sqrt(max(s, w));
            ``rsqrt_normalized_decay`` sqrt(w / max(s, w)); ``decay_every``
            decay_factor ** (s // steps_per_decay); ``cosine_decay`` half a cosine from 1 to 0 over
            each cycle after the warm-up.
        base_learning_rate: For Adafactor a fraction of each parameter's own size.
        warmup_steps: At least 1.
        decay_factor: See ``linear_decay`` (per step) and ``decay_every`` (per ``steps_per_decay``).
        steps_per_decay: See ``decay_every``.
        steps_per_cycle: See ``cosine_decay``.
        step_offset: Subtracted from the step; earlier steps count as 0.
        min_learning_rate: Lower bound of the result, also during the first step of a warm-up.

    Raises:
        ValueError: An unknown factor, or a number of steps below 1.
    """
    names = [name.strip() for name in factors.split("*")]
    unknown = [name for name in names if name not in FACTORS]
    if unknown:
        raise ValueError(
            f"Unknown learning-rate factor {', '.join(map(repr, unknown))} in {factors!r}; "
            f"known: {', '.join(FACTORS)}, joined by '*'."
        )
    steps = {
        "warmup_steps": warmup_steps,
        "steps_per_decay": steps_per_decay,
        "steps_per_cycle": steps_per_cycle,
    }
    for name, value in steps.items():
        if value < 1:
            raise ValueError(
                f"{name} is {value}: give at least 1; without warm-up leave out its factor."
            )

    def learning_rate(step: Array) -> Array:
        step = jnp.maximum(0, step - step_offset)
        value_of = {
            "constant": lambda: base_learning_rate,
            "linear_warmup": lambda: jnp.minimum(1.0, step / warmup_steps),
            "linear_decay": lambda: (
                base_learning_rate
                * jnp.minimum(step / warmup_steps, 1.0 + decay_factor * (warmup_steps - step))
            ),
            "rsqrt_decay": lambda: 1.0 / jnp.sqrt(jnp.maximum(step, warmup_steps)),
            "rsqrt_normalized_decay": lambda: jnp.sqrt(
                warmup_steps / jnp.maximum(step, warmup_steps)
            ),
            "decay_every": lambda: decay_factor ** (step // steps_per_decay),
            "cosine_decay": lambda: (
                0.5
                * (
                    1.0
                    + jnp.cos(
                        jnp.pi * (jnp.maximum(0.0, step - warmup_steps) / steps_per_cycle % 1.0)
                    )
                )
            ),
        }
        product = 1.0
        for name in names:
            product *= value_of[name]()
        return jnp.maximum(product, min_learning_rate).astype(jnp.float32)

    return learning_rate


class AdafactorState(NamedTuple):
    """Second moments: ``row`` and ``column`` means of large matrices, or ``full``; else (1,)."""

    count: Array
    row: Any
    column: Any
    full: Any


def adafactor(
    learning_rate_fn: Schedule | float,
    *,
    decay_rate: float = 0.8,
    step_offset: int = 0,
    multiply_by_parameter_scale: bool = True,
    clipping_threshold: float | None = 1.0,
    min_dim_size_to_factor: int = 128,
    epsilon1: float = 1e-30,
    epsilon2: float = 1e-3,
    layer_axis: Callable[[str], int | None] = lambda path: None,
) -> optax.GradientTransformation:
    """Adafactor without momentum, as an Optax transformation with T5X's argument names and updates.

    Args:
        learning_rate_fn: Schedule of the update count, or a constant.
        decay_rate: Second moments decay by 1 - t ** -decay_rate at update t = 1, 2, ...
        step_offset: Subtracted from t.
        multiply_by_parameter_scale: Updates are relative to the parameter's root mean square.
        clipping_threshold: Largest root mean square of an update before scaling; None for no limit.
        min_dim_size_to_factor: A matrix with two axes of at least this size is factored.
        epsilon1: Added to squared gradients.
        epsilon2: Smallest parameter scale.
        layer_axis: Of a parameter's path ("encoder/encoder/mlp/wo/kernel") the axis along which
            layers are stacked, if any. Each layer is updated as if it stood alone.

    Source: Shazeer and Stern 2018, arXiv:1804.04235, algorithms 4 and 5. Not ``optax.adafactor``,
    whose five steps are the same: as four chained passes it reads each 250112-row table of mT5 more
    often than needed.
    """
    schedule = learning_rate_fn if callable(learning_rate_fn) else lambda _: learning_rate_fn

    def init(params):
        def moments(path, param):
            axes = _factored_axes(param.shape, min_dim_size_to_factor, layer_axis(path))
            none = jnp.zeros((1,), jnp.float32)
            if axes is None:
                return none, none, jnp.zeros(param.shape, jnp.float32)
            smaller, larger = axes
            row = jnp.zeros(np.delete(param.shape, larger), jnp.float32)
            column = jnp.zeros(np.delete(param.shape, smaller), jnp.float32)
            return row, column, none

        return AdafactorState(jnp.zeros((), jnp.int32), *_unzip(moments, params))

    def update(gradients, state, params=None):
        if params is None:
            raise ValueError("adafactor scales by the parameters: pass params to update().")
        t = (state.count - step_offset + 1).astype(jnp.float32)
        decay = 1.0 - t ** (-decay_rate)
        rate = schedule(state.count)

        def one(path, gradient, param, row, column, full):
            gradient = gradient.astype(jnp.float32)
            stacked = layer_axis(path)
            axes = _factored_axes(param.shape, min_dim_size_to_factor, stacked)
            if axes is None:
                full = decay * full + (1.0 - decay) * (jnp.square(gradient) + epsilon1)
                update = gradient * jax.lax.rsqrt(full)
            else:
                smaller, larger = axes
                square = jnp.square(gradient)
                row = decay * row + (1.0 - decay) * (square.mean(axis=larger) + epsilon1)
                column = decay * column + (1.0 - decay) * (square.mean(axis=smaller) + epsilon1)
                reduced = smaller - (larger < smaller)
                row_factor = jax.lax.rsqrt(row / row.mean(axis=reduced, keepdims=True))
                update = (
                    gradient
                    * jnp.expand_dims(row_factor, larger)
                    * jnp.expand_dims(jax.lax.rsqrt(column), smaller)
                )
            scale = -rate
            if clipping_threshold is not None:
                scale /= jnp.maximum(1.0, _rms(update, stacked) / clipping_threshold)
            if multiply_by_parameter_scale:
                scale *= jnp.maximum(_rms(param, stacked), epsilon2)
            return (scale * update).astype(param.dtype), row, column, full

        updates, row, column, full = _unzip(
            one, gradients, params, state.row, state.column, state.full
        )
        return updates, AdafactorState(state.count + 1, row, column, full)

    return optax.GradientTransformation(init, update)


def multiplied(
    optimizer: optax.GradientTransformation, multipliers: Sequence[tuple[str, float]]
) -> optax.GradientTransformation:
    """The optimizer with updates of some parameters scaled; its state has the same structure.

    Args:
        optimizer: Makes the updates.
        multipliers: (regular expression, factor from 0): a parameter whose whole path it matches
            learns at so many times the rate; 0 freezes it. The first that matches counts, all
            others learn at the plain rate.

    Raises:
        ValueError: A factor is negative; when initialised, an expression matches no parameter.
    """
    check_multipliers(multipliers)

    def init(params):
        paths, _, _ = _with_paths(params)
        for pattern, _ in multipliers:
            if not any(re.fullmatch(pattern, path) for path in paths):
                raise ValueError(
                    f"LEARNING_RATE_MULTIPLIERS has {pattern!r}, which matches no parameter; "
                    f"there are {', '.join(paths[:3])} ..., see parameters.txt of any run."
                )
        return optimizer.init(params)

    def update(gradients, state, params=None):
        updates, state = optimizer.update(gradients, state, params)
        paths, leaves, structure = _with_paths(updates)
        scaled = [
            leaf if (factor := multiplier(path, multipliers)) == 1.0 else leaf * factor
            for path, leaf in zip(paths, leaves)
        ]
        return structure.unflatten(scaled), state

    return optax.GradientTransformation(init, update)


def multiplier(path: str, multipliers: Sequence[tuple[str, float]]) -> float:
    """Factor of the parameter at ``path``; see ``multiplied``."""
    for pattern, factor in multipliers:
        if re.fullmatch(pattern, path):
            return factor
    return 1.0


def check_multipliers(multipliers: Sequence[tuple[str, float]]) -> None:
    """Raises ValueError for what is no list of (regular expression, factor from 0)."""
    for pair in multipliers:
        if len(pair) != 2 or not isinstance(pair[0], str) or not 0 <= pair[1] < float("inf"):
            raise ValueError(
                f"LEARNING_RATE_MULTIPLIERS has {pair!r}; give pairs of a regular expression and a "
                "factor, such as ('token_embedder/.*', 0.0)."
            )


def _with_paths(tree: Any) -> tuple[list[str], list, Any]:
    """Paths such as "encoder/encoder_norm/scale", leaves, and the tree's structure."""
    leaves, structure = jax.tree_util.tree_flatten_with_path(tree)
    paths = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves]
    return paths, [leaf for _, leaf in leaves], structure


def _factored_axes(
    shape: tuple[int, ...], min_size: int, stacked: int | None
) -> tuple[int, int] | None:
    """The second largest and the largest axis, or None if a full second moment is kept.

    The axis ``stacked`` is not one of them.
    """
    axes = [axis for axis in range(len(shape)) if axis != stacked]
    if len(axes) < 2:
        return None
    *_, smaller, larger = sorted(axes, key=lambda axis: shape[axis])  # of equals the first
    return (smaller, larger) if shape[smaller] >= min_size else None


def _rms(x: Array, stacked: int | None) -> Array:
    """The root mean square of ``x``; along the axis ``stacked`` one for each layer."""
    if stacked is None:
        return jnp.sqrt(jnp.mean(jnp.square(x)))
    others = tuple(axis for axis in range(x.ndim) if axis != stacked)
    return jnp.sqrt(jnp.mean(jnp.square(x), axis=others, keepdims=True))


def _unzip(function: Callable, tree: Any, *rest: Any) -> tuple:
    """Trees of the first, second, ... elements of ``function``'s tuples over ``tree``'s leaves.

    ``function`` gets the leaf's path, "encoder/encoder_norm/scale", and the leaves.
    """
    paths, leaves, structure = _with_paths(tree)
    others = (structure.flatten_up_to(other) for other in rest)
    columns = zip(*map(function, paths, leaves, *others))
    return tuple(structure.unflatten(column) for column in columns)
