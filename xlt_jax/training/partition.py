"""The device mesh, and who holds which part of a parameter or batch.

Models name logical axes ("vocab", "heads"); only this file knows the mesh axes "data" and "model".
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from flax import traverse_util
from flax.linen import partitioning
from jax.experimental import mesh_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

LogicalAxisRules = Sequence[tuple[str, str | None]]

# T5X's standard rules for one-dimensional partitioning: parameters are split within a layer over
# "model" and copied over "data".
STANDARD_RULES: LogicalAxisRules = (
    ("batch", "data"),
    ("vocab", "model"),
    ("embed", None),
    ("mlp", "model"),
    ("heads", "model"),
    ("kv", None),
    ("joined_kv", "model"),
    ("relpos_buckets", None),
    ("length", None),
    ("layers", None),
)


class Partitioner:
    """A mesh of ``devices``, ``num_partitions`` of them holding one copy of the model.

    Args:
        num_partitions: Size of the "model" axis; the rest of the devices is the "data" axis.
        logical_axis_rules: (logical axis, "data" | "model" | None), the first that applies wins;
            None means ``STANDARD_RULES``.
        devices: Default: all devices of all hosts.

    Raises:
        ValueError: ``num_partitions`` does not divide the number of devices, or a rule names
            another mesh axis.
    """

    def __init__(
        self,
        num_partitions: int = 1,
        logical_axis_rules: LogicalAxisRules | None = None,
        devices: Sequence[jax.Device] | None = None,
    ):
        devices = jax.devices() if devices is None else list(devices)
        count = len(devices)
        if num_partitions < 1 or count % num_partitions:
            divisors = [n for n in range(1, count + 1) if count % n == 0]
            raise ValueError(
                f"num_partitions is {num_partitions}, which does not divide the {count} devices; "
                f"choose one of {', '.join(map(str, divisors))}."
            )
        self.rules = tuple(map(tuple, logical_axis_rules or STANDARD_RULES))
        for logical, axis in self.rules:
            if axis not in ("data", "model", None):
                raise ValueError(
                    f"logical_axis_rules maps {logical!r} to {axis!r}; "
                    "the mesh has the axes 'data' and 'model' (None: not split)."
                )
        shape = (count // num_partitions, num_partitions)
        self.mesh = Mesh(mesh_utils.create_device_mesh(shape, devices), ("data", "model"))

    @property
    def replicated(self) -> NamedSharding:
        """Every device holds everything."""
        return NamedSharding(self.mesh, PartitionSpec())

    @property
    def batch_sharding(self) -> NamedSharding:
        """Rows split over the data axis."""
        return NamedSharding(self.mesh, PartitionSpec("data"))

    @contextlib.contextmanager
    def context(self) -> Iterator[None]:
        """Inside, a network's logical sharding constraints have a meaning; trace under it."""
        with self.mesh, partitioning.axis_rules(self.rules):
            yield

    def param_shardings(self, params_axes: Any, params: Any) -> Any:
        """Shardings with the structure of ``params``.

        Args:
            params_axes: The network's collection of that name, which names each parameter's axes.
            params: Arrays or shapes.

        Raises:
            ValueError: A logical axis without rule, or an axis that its devices do not divide.
        """
        names = traverse_util.flatten_dict(partitioning.get_axis_names(params_axes), sep="/")
        flat = traverse_util.flatten_dict(params, sep="/")
        missing = sorted(set(flat) - set(names))
        assert not missing, f"parameters without axis names: {missing}"
        shardings = {
            path: NamedSharding(self.mesh, self._spec(path, names[path], param.shape))
            for path, param in flat.items()
        }
        return traverse_util.unflatten_dict(shardings, sep="/")

    def _spec(self, path: str, names: Sequence[str], shape: Sequence[int]) -> PartitionSpec:
        axes: list[str | None] = []
        for name, size in zip(names, shape, strict=True):
            choices = [axis for logical, axis in self.rules if logical == name]
            if not choices:
                raise ValueError(
                    f"Parameter {path} has the logical axis {name!r}, which no rule names; "
                    f"known: {', '.join(logical for logical, _ in self.rules)}. "
                    "Add it to logical_axis_rules."
                )
            # A mesh axis splits a parameter once: a later rule for the same name may still apply.
            axis = next((axis for axis in choices if axis is None or axis not in axes), None)
            if axis is not None and size % self.mesh.shape[axis]:
                raise ValueError(
                    f"Parameter {path}: its axis {name!r} of size {size} cannot be split over "
                    f"{self.mesh.shape[axis]} devices (mesh axis {axis!r}). Lower num_partitions, "
                    f"or map {name!r} to None in logical_axis_rules."
                )
            axes.append(axis)
        return PartitionSpec(*axes)

    def optimizer_shardings(self, opt_state: Any, params: Any, param_shardings: Any) -> Any:
        """Shardings with the structure of ``opt_state``: every leaf follows its parameter.

        A leaf belongs to the parameter whose path ends its own. One of the parameter's shape is
        split alike; a factored moment, which lacks one axis, follows the axes it keeps; others
        are copied.
        """
        flat_params = jax.tree_util.tree_leaves_with_path(params)
        specs = [sharding.spec for sharding in jax.tree.leaves(param_shardings)]
        owners = {path: (leaf.shape, spec) for (path, leaf), spec in zip(flat_params, specs)}

        def sharding(path, leaf):
            for start in range(len(path)):
                if path[start:] in owners:
                    shape, spec = owners[path[start:]]
                    return NamedSharding(self.mesh, _following_spec(leaf.shape, shape, spec))
            return self.replicated

        return jax.tree_util.tree_map_with_path(sharding, opt_state)

    def check_batch_size(self, batch_size: int, num_microbatches: int = 1) -> None:
        """Raises ValueError unless rows divide evenly over microbatches, data axis and hosts."""
        data = self.mesh.shape["data"]
        unit = np.lcm(data, jax.process_count()) * num_microbatches
        if num_microbatches < 1 or batch_size < 1 or batch_size % unit:
            raise ValueError(
                f"A batch of {batch_size} rows cannot be split into {num_microbatches} "
                f"microbatches over {data} devices (mesh axis 'data') and {jax.process_count()} "
                f"hosts: "
                f"make it a multiple of {unit}, or raise num_partitions (now "
                f"{self.mesh.shape['model']}) to shorten the data axis."
            )

    def shard_batch(self, batch: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
        """This host's rows of a batch as global arrays.

        Raises:
            ValueError: The rows cannot be split over the data axis.
        """
        own = sum(  # positions on the data axis that this host has devices at
            any(device.process_index == jax.process_index() for device in row)
            for row in self.mesh.devices
        )
        rows = len(next(iter(batch.values()))) * self.mesh.shape["data"] // own
        self.check_batch_size(rows)
        return {
            name: jax.make_array_from_process_local_data(self.batch_sharding, np.asarray(value))
            for name, value in batch.items()
        }


def _following_spec(
    shape: tuple[int, ...], param_shape: tuple[int, ...], spec: PartitionSpec
) -> PartitionSpec:
    if shape == param_shape:
        return spec
    candidates = {
        tuple(axis for index, axis in enumerate(spec) if index != dropped)
        for dropped in range(len(param_shape))
        if param_shape[:dropped] + param_shape[dropped + 1 :] == shape
    }
    # Of a square matrix either axis may be the missing one; such a vector is small: copy it.
    return PartitionSpec(*candidates.pop()) if len(candidates) == 1 else PartitionSpec()
