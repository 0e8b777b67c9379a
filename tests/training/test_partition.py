import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from xlt_jax.models import mt5
from xlt_jax.training import optim, partition, state
from xlt_jax.training.partition import Partitioner


def describe(network, partitioner, min_dim_size_to_factor=16):
    optimizer = optim.adafactor(0.1, min_dim_size_to_factor=min_dim_size_to_factor)
    return state.describe(network, optimizer, partitioner)


def test_standard_rules_split_vocabulary_heads_and_mlp(make_network):
    described = describe(make_network(), Partitioner(2))
    specs = jax.tree.map(lambda leaf: leaf.sharding.spec, described.params)
    layer = specs["encoder"]["layers_0"]
    assert specs["token_embedder"]["embedding"] == PartitionSpec("model", None)
    assert layer["attention"]["query"]["kernel"] == PartitionSpec(None, "model")
    assert layer["attention"]["out"]["kernel"] == PartitionSpec("model", None)
    assert layer["mlp"]["wi_0"]["kernel"] == PartitionSpec(None, "model")
    assert layer["mlp"]["wo"]["kernel"] == PartitionSpec("model", None)
    assert specs["decoder"]["logits_dense"]["kernel"] == PartitionSpec(None, "model")
    assert layer["pre_mlp_layer_norm"]["scale"] == PartitionSpec(None)


def test_second_moments_follow_their_parameter(make_network):
    described = describe(make_network(), Partitioner(2))
    moments = described.opt_state
    # 64 x 32, split over rows: the vocabulary's moment is split, the other copied.
    assert moments.column["token_embedder"]["embedding"].shape == (64,)
    assert moments.column["token_embedder"]["embedding"].sharding.spec == PartitionSpec("model")
    assert moments.row["token_embedder"]["embedding"].sharding.spec == PartitionSpec(None)
    assert moments.count.sharding.spec == PartitionSpec()
    full = describe(make_network(), Partitioner(2), 1000).opt_state.full
    assert full["token_embedder"]["embedding"].sharding.spec == PartitionSpec("model", None)


def test_layer_axis_is_copied_and_moments_of_stacked_layers_follow(make_network):
    network = make_network(scan_layers=True, num_encoder_layers=3, relative_bias="per_layer")
    optimizer = optim.adafactor(0.1, min_dim_size_to_factor=16, layer_axis=mt5.layer_axis)
    described = state.describe(network, optimizer, Partitioner(2))

    def of(tree, *path):
        for name in ("encoder", "encoder", *path):
            tree = tree[name]
        return tree.shape, tree.sharding.spec

    wi = ("mlp", "wi_0", "kernel")
    table = ("relpos_bias", "rel_embedding")
    assert of(described.params, *wi) == ((32, 3, 64), PartitionSpec(None, None, "model"))
    assert of(described.opt_state.row, *wi) == ((32, 3), PartitionSpec(None, None))
    assert of(described.opt_state.column, *wi) == ((3, 64), PartitionSpec(None, "model"))
    assert of(described.params, *table) == ((8, 3, 32), PartitionSpec("model", None, None))
    assert of(described.opt_state.full, *table) == ((8, 3, 32), PartitionSpec("model", None, None))


def test_two_dimensional_rules_use_each_mesh_axis_once(make_network):
    rules = (("embed", "model"), ("embed", "data"), *partition.STANDARD_RULES)
    described = describe(make_network(), Partitioner(2, rules))
    kernel = described.params["encoder"]["layers_0"]["mlp"]["wi_0"]["kernel"]
    assert kernel.sharding.spec == PartitionSpec("model", None)
    rules = (("embed", "data"), *partition.STANDARD_RULES)
    kernel = describe(make_network(), Partitioner(2, rules)).params["decoder"]["logits_dense"][
        "kernel"
    ]
    assert kernel.sharding.spec == PartitionSpec("data", "model")


def test_fully_sharded_parameters_and_moments_are_split_over_data_too(make_network):
    described = describe(make_network(), Partitioner(2, fully_sharded=True))
    specs = jax.tree.map(lambda leaf: leaf.sharding.spec, described.params)
    layer = specs["encoder"]["layers_0"]
    assert specs["token_embedder"]["embedding"] == PartitionSpec("model", "data")
    assert layer["attention"]["out"]["kernel"] == PartitionSpec("model", "data")
    assert layer["pre_mlp_layer_norm"]["scale"] == PartitionSpec("data")
    row = described.opt_state.row["token_embedder"]["embedding"]
    assert row.sharding.spec == PartitionSpec("data")


def test_rules_and_their_names_exclude_each_other():
    with pytest.raises(ValueError, match="fully_sharded"):
        Partitioner(2, partition.STANDARD_RULES, fully_sharded=True)


def test_other_devices_and_options():
    given = Partitioner(2, fully_sharded=True)
    four = given.on(jax.devices()[:4])
    assert dict(four.mesh.shape) == {"slice": 1, "data": 2, "model": 2} and four.fully_sharded
    assert given.on(jax.devices()[:4], num_partitions=4).mesh.shape["model"] == 4
    ruled = Partitioner(1, [*partition.STANDARD_RULES, ("expert", "model")])
    assert ruled.on(jax.devices()[:4], num_partitions=2).rules == ruled.rules
    with pytest.raises(ValueError, match="sequence_parallel cannot change"):
        ruled.on(jax.devices()[:4], sequence_parallel=True)


class Described:
    """A device of a described slice."""

    platform = device_kind = "gpu"

    def __init__(self, number, slice_index):
        self.id, self.slice_index = number, slice_index


def test_slices_are_an_axis_of_their_own():
    devices = [Described(number, number % 2) for number in range(8)]
    mesh = Partitioner(2, devices=devices).mesh
    assert dict(mesh.shape) == {"slice": 2, "data": 2, "model": 2}
    for index, slice_ in enumerate(mesh.devices):
        assert {device.slice_index for device in slice_.flat} == {index}
    with pytest.raises(ValueError, match=r"Slices have \[4, 3\] devices"):
        Partitioner(1, devices=devices[:7])


def test_initial_values_do_not_depend_on_the_devices(make_run):
    one, eight = make_run().create(), make_run(devices=8, num_partitions=4).create()
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(one), jax.device_get(eight))
    table = eight.params["token_embedder"]["embedding"]
    assert {shard.data.shape for shard in table.addressable_shards} == {(16, 32)}


def test_batches_are_split_over_the_data_axis(make_batch):
    batch = make_batch(rows=8)
    sharded = Partitioner(2).shard_batch(batch)
    for name, x in batch.items():
        np.testing.assert_array_equal(sharded[name], x)
        assert {shard.data.shape for shard in sharded[name].addressable_shards} == {(2, x.shape[1])}


def test_partitions_must_divide_the_devices():
    for wrong in (0, 3, 16):
        with pytest.raises(ValueError, match=f"num_partitions is {wrong}.* 8 devices.*1, 2, 4, 8"):
            _ = Partitioner(wrong).mesh


def test_batch_must_be_divisible(make_batch):
    with pytest.raises(ValueError, match=r"12 rows .* 8 devices.*multiple of 8"):
        Partitioner(1).shard_batch(make_batch(rows=12))
    with pytest.raises(ValueError, match="multiple of 16"):
        Partitioner(2).check_batch_size(24, num_microbatches=4)


def test_an_axis_that_its_devices_do_not_divide_is_named(make_network):
    with pytest.raises(ValueError, match=r"relpos_bias.*'heads' of size 4 .* 8 devices"):
        describe(make_network(num_heads=4, head_dim=8), Partitioner(8))


def test_rules_must_cover_every_axis_and_name_mesh_axes(make_network):
    rules = [rule for rule in partition.STANDARD_RULES if rule[0] != "mlp"]
    with pytest.raises(ValueError, match=r"'mlp', which no rule names"):
        describe(make_network(), Partitioner(2, rules))
    with pytest.raises(ValueError, match="'expert'"):
        Partitioner(2, [("mlp", "expert")])
