"""Floating-point operations of a program, counted from its trace."""

import math

from jax.extend import core


def matmul_flops(jaxpr: core.ClosedJaxpr) -> float:
    """Operations of all matrix products, a multiplication and an addition counted as two.

    What a step needs by its formulas, whatever the compiler makes of it: additions, exponentials
    and the like are left out, as in the "model FLOPs" of Chowdhery et al. 2022 (arXiv:2204.02311,
    appendix B). Loops count as often as they run; a while loop, whose length the trace does not
    tell, counts once.

    Args:
        jaxpr: For example ``jax.jit(f).trace(...).jaxpr``.
    """
    return _of(jaxpr.jaxpr)


def _of(jaxpr) -> float:
    total = 0.0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            left = equation.invars[0].aval.shape
            depth = math.prod(left[axis] for axis in contracted)
            total += 2.0 * math.prod(equation.outvars[0].aval.shape) * depth
            continue
        inner = sum(_of(part) for value in equation.params.values() for part in _jaxprs(value))
        total += inner * equation.params.get("length", 1)  # of a scan
    return total


def _jaxprs(value):
    """Traces among an equation's parameters; of branches the first, as one of them runs."""
    if isinstance(value, core.ClosedJaxpr):
        yield value.jaxpr
    elif isinstance(value, core.Jaxpr):
        yield value
    elif isinstance(value, (tuple, list)) and value:
        yield from _jaxprs(value[0])
