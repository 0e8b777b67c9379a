import jax
import numpy as np

from xlt_jax.training import state


def test_description_matches_the_created_state(make_run):
    run = make_run(devices=8, num_partitions=2)
    created = run.create()
    assert jax.tree.structure(created) == jax.tree.structure(run.described)
    for real, described in zip(jax.tree.leaves(created), jax.tree.leaves(run.described)):
        assert (real.shape, real.dtype) == (described.shape, described.dtype)
        assert real.sharding.is_equivalent_to(described.sharding, real.ndim)


def test_the_seed_decides_the_values(make_run):
    run = make_run()
    again = state.create(run.network, run.optimizer, run.partitioner, jax.random.key(0))
    other = state.create(run.network, run.optimizer, run.partitioner, jax.random.key(7))
    table = run.create().params["token_embedder"]["embedding"]
    np.testing.assert_array_equal(table, again.params["token_embedder"]["embedding"])
    assert (table != other.params["token_embedder"]["embedding"]).all()


def test_given_parameters_start_a_fresh_optimizer(make_run):
    run = make_run(devices=8, num_partitions=2)
    trained, _ = run.train(1)
    fresh = state.with_params(trained.params, run.optimizer, run.described)
    expected = run.create()
    assert int(fresh.step) == 0
    jax.tree.map(np.testing.assert_array_equal, fresh.opt_state, expected.opt_state)
    for real, described in zip(jax.tree.leaves(fresh), jax.tree.leaves(run.described)):
        assert real.sharding.is_equivalent_to(described.sharding, real.ndim)


def test_table_lists_every_parameter_and_the_total(make_run):
    params = make_run(devices=8, num_partitions=2).described.params
    table = state.parameter_table(params).splitlines()
    assert len(table) == len(jax.tree.leaves(params)) + 2
    total = sum(np.prod(leaf.shape) for leaf in jax.tree.leaves(params))
    assert state.num_parameters(params) == total and f"{total:,}" in table[-1]
    assert any(
        line.split() == ["token_embedder/embedding", "64x32", "2,048", "model,-"] for line in table
    )
