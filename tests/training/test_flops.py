"""Counted operations against formulas and against XLA's own count."""

import jax
import jax.numpy as jnp
import pytest

from xlt_jax.training import flops


def count(function, *arguments):
    return flops.matmul_flops(jax.jit(function).trace(*arguments).jaxpr)


A, B = jnp.ones((3, 4)), jnp.ones((4, 5))


def test_products_and_loops_by_hand():
    assert count(jnp.matmul, A, B) == 2 * 3 * 4 * 5
    assert count(lambda a: jnp.einsum("bhd,bkd->bhk", a, a), jnp.ones((2, 3, 7))) == 2 * 2 * 9 * 7

    def repeated(a):
        return jax.lax.scan(lambda c, _: (c @ jnp.ones((4, 4)), None), a, None, length=6)[0]

    assert count(repeated, A) == 6 * 2 * 3 * 4 * 4
    assert count(jax.checkpoint(jax.jit(jnp.matmul)), A, B) == 2 * 3 * 4 * 5
    assert count(lambda a: a + 1, A) == 0


def test_gradient_of_a_product_is_two_more():
    def loss(a, b):
        return (a @ b).sum()

    assert count(jax.value_and_grad(loss, argnums=(0, 1)), A, B) == 3 * 2 * 3 * 4 * 5


def test_xla_counts_as_many_where_there_is_nothing_but_products():
    shape = (256, 256)
    traced = jax.jit(lambda a: a @ a @ a).trace(jnp.ones(shape))
    compiled = traced.lower().compile().cost_analysis()["flops"]
    assert flops.matmul_flops(traced.jaxpr) == pytest.approx(compiled, rel=0.01)
