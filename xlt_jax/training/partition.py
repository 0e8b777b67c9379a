"""The device mesh, and who holds which part of a parameter, an activation or a batch.

Models name logical axes ("vocab", "heads"); only this file knows the mesh axes:

    slice   TPU slices, or other groups of devices, joined by the data-centre network
    data    rows of the batch within a slice; with ``fully_sharded`` also parts of parameters
    model   parts of heads, MLPs and the vocabulary; with ``sequence_parallel`` also of the length
"""

import contextlib
import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from flax import traverse_util
from flax.linen import partitioning
from jax.experimental import mesh_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

LogicalAxisRules = Sequence[tuple[str, str | tuple[str, ...] | None]]

AXES = ("slice", "data", "model")
ROWS = ("slice", "data")  # the mesh axes over which the rows of a batch are split


def standard_rules(
    *,
    fully_sharded: bool = False,
    sequence_parallel: bool = False,
    rows: str | tuple[str, ...] = ROWS,
) -> LogicalAxisRules:
    """T5X's standard rules for one-dimensional partitioning, or finer ones.

    Args:
        fully_sharded: Parameters, their gradients and optimizer state are also split over "data";
            each layer gathers its weights when it needs them (ZeRO, arXiv:1910.02054, stage 3).
        sequence_parallel: Between attention and MLP, where T5X keeps a copy for each part of the
            model, activations are split along the length (Korthikanti et al. 2022,
            arXiv:2205.05198).
        rows: Mesh axes of the rows.
    """
    return (
        ("batch", rows),
        ("vocab", "model"),
        ("embed", "data" if fully_sharded else None),
        ("mlp", "model"),
        ("heads", "model"),
        ("kv", None),
        ("joined_kv", "model"),
        ("relpos_buckets", None),
        ("length", None),
        ("split_length", "model" if sequence_parallel else None),
        ("whole", None),  # a weight's "embed" where it is used
        ("layers", None),
    )


STANDARD_RULES = standard_rules()


class Partitioner:
    """A mesh of ``devices``, ``num_partitions`` of them holding one copy of the model.

    Args:
        num_partitions: Size of the "model" axis; the rest of a slice's devices is its "data" axis.
            None: still to be chosen, see ``training.fit``.
        logical_axis_rules: (logical axis, mesh axes or None), the first that applies wins; None
            means ``standard_rules`` of the next two arguments.
        devices: Default: all devices of all processes, once they are asked for.
        fully_sharded: See ``standard_rules``.
        sequence_parallel: See ``standard_rules``.

    Raises:
        ValueError: ``num_partitions`` does not divide the number of a slice's devices (when the
            devices are first needed), or a rule names another mesh axis.
    """

    def __init__(
        self,
        num_partitions: int | None = 1,
        logical_axis_rules: LogicalAxisRules | None = None,
        devices: Sequence[jax.Device] | None = None,
        *,
        fully_sharded: bool = False,
        sequence_parallel: bool = False,
    ):
        if logical_axis_rules and (fully_sharded or sequence_parallel):
            raise ValueError(
                "logical_axis_rules came together with fully_sharded or sequence_parallel: give "
                "either, as those stand for rules; see partition.standard_rules."
            )
        self.num_partitions = num_partitions
        self.fully_sharded, self.sequence_parallel = fully_sharded, sequence_parallel
        rules = logical_axis_rules or standard_rules(
            fully_sharded=fully_sharded, sequence_parallel=sequence_parallel
        )
        self.rules = tuple((logical, axes) for logical, axes in rules)
        for logical, axes in self.rules:
            if not set(_tuple(axes)) <= set(AXES):
                raise ValueError(
                    f"logical_axis_rules maps {logical!r} to {axes!r}; "
                    f"the mesh has the axes {', '.join(map(repr, AXES))} (None: not split)."
                )
        self._given_devices = devices
        if devices is not None and num_partitions is not None:
            self.mesh  # noqa: B018  an error now rather than later

    def on(self, devices: Sequence[jax.Device], **changes: Any) -> "Partitioner":
        """The same on other devices, or with another ``num_partitions`` and the like."""
        options = {
            "num_partitions": self.num_partitions,
            "fully_sharded": self.fully_sharded,
            "sequence_parallel": self.sequence_parallel,
        } | changes
        named = {"fully_sharded", "sequence_parallel"} & changes.keys()
        if self.rules != standard_rules(
            fully_sharded=self.fully_sharded, sequence_parallel=self.sequence_parallel
        ):
            if named:
                raise ValueError(
                    f"{', '.join(sorted(named))} cannot change a partitioner of other rules."
                )
            options["logical_axis_rules"] = self.rules
        return Partitioner(devices=devices, **options)

    @functools.cached_property
    def devices(self) -> list[jax.Device]:
        """All devices, or those given."""
        return jax.devices() if self._given_devices is None else list(self._given_devices)

    @functools.cached_property
    def mesh(self) -> Mesh:
        """Axes "slice", "data" and "model"; neighbours on the network are neighbours here."""
        slices = _by_slice(self.devices)
        count = len(slices[0])
        if len({len(devices) for devices in slices}) > 1:
            raise ValueError(f"Slices have {[len(devices) for devices in slices]} devices.")
        if self.num_partitions is None:
            raise ValueError(
                "NUM_PARTITIONS is None: training chooses it; give a number to other programs."
            )
        if self.num_partitions < 1 or count % self.num_partitions:
            divisors = [n for n in range(1, count + 1) if count % n == 0]
            raise ValueError(
                f"num_partitions is {self.num_partitions}, which does not divide the {count} "
                f"devices; choose one of {', '.join(map(str, divisors))}."
            )
        shape = (count // self.num_partitions, self.num_partitions)
        return Mesh(np.stack([_arranged(shape, devices) for devices in slices]), AXES)

    @property
    def rows_multiple(self) -> int:
        """Parts into which the rows of a batch are split."""
        return self.mesh.shape["slice"] * self.mesh.shape["data"]

    @property
    def replicated(self) -> NamedSharding:
        """Every device holds everything."""
        return NamedSharding(self.mesh, PartitionSpec())

    @property
    def batch_sharding(self) -> NamedSharding:
        """Rows split over slices and the data axis."""
        return NamedSharding(self.mesh, PartitionSpec(ROWS))

    @property
    def microbatches_sharding(self) -> NamedSharding:
        """As ``batch_sharding``, of arrays whose first axis counts microbatches."""
        return NamedSharding(self.mesh, PartitionSpec(None, ROWS))

    @contextlib.contextmanager
    def context(self) -> Iterator[None]:
        """Inside, a network's logical sharding constraints have a meaning; trace under it."""
        # Flax asks for the abstract mesh: under `with mesh:` all its constraints did nothing.
        abstract = self.mesh.abstract_mesh
        with jax.sharding.use_abstract_mesh(abstract), partitioning.axis_rules(self.rules):
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
        axes: list[str | tuple[str, ...] | None] = []
        used: set[str] = set()
        for name, size in zip(names, shape, strict=True):
            choices = [axis for logical, axis in self.rules if logical == name]
            if not choices:
                raise ValueError(
                    f"Parameter {path} has the logical axis {name!r}, which no rule names; "
                    f"known: {', '.join(logical for logical, _ in self.rules)}. "
                    "Add it to logical_axis_rules."
                )
            # A mesh axis splits a parameter once: a later rule for the same name may still apply.
            axis = next((axis for axis in choices if used.isdisjoint(_tuple(axis))), None)
            parts = math.prod(self.mesh.shape[part] for part in _tuple(axis))
            if size % parts and axis == "data":
                axis = None  # few values such as a norm's, or an odd table: every device has it
            elif size % parts:
                raise ValueError(
                    f"Parameter {path}: its axis {name!r} of size {size} cannot be split over "
                    f"{parts} devices (mesh axis {axis!r}). Lower num_partitions, "
                    f"or map {name!r} to None in logical_axis_rules."
                )
            used.update(_tuple(axis))
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
        """Raises ValueError unless rows divide evenly over microbatches and data axis."""
        data = self.rows_multiple
        unit = data * num_microbatches
        if num_microbatches < 1 or batch_size < 1 or batch_size % unit:
            parts = "" if num_microbatches == 1 else f"into {num_microbatches} microbatches "
            raise ValueError(
                f"A batch of {batch_size} rows cannot be split {parts}over {data} devices (mesh "
                f"axes 'slice', 'data'): make it a multiple of {unit}, or raise num_partitions "
                f"(now {self.mesh.shape['model']}) to shorten the data axis."
            )

    def shard_batch(self, batch: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
        """This host's rows of a batch as global arrays.

        Raises:
            ValueError: The rows cannot be split over the data axis.
        """
        own = sum(  # parts of the rows that this host has devices at
            any(device.process_index == jax.process_index() for device in row)
            for row in self.mesh.devices.reshape(self.rows_multiple, -1)
        )
        rows = len(next(iter(batch.values()))) * self.rows_multiple // own
        self.check_batch_size(rows)
        return {
            name: jax.make_array_from_process_local_data(self.batch_sharding, np.asarray(value))
            for name, value in batch.items()
        }


def _tuple(axes: str | tuple[str, ...] | None) -> tuple[str, ...]:
    return () if axes is None else (axes,) if isinstance(axes, str) else axes


def _by_slice(devices: Sequence[jax.Device]) -> list[list[jax.Device]]:
    slices: dict[int, list[jax.Device]] = {}
    for device in devices:
        # Processes of a CPU may be slices to JAX; between them is no other network.
        index = 0 if device.platform == "cpu" else getattr(device, "slice_index", 0)
        slices.setdefault(index, []).append(device)
    return [slices[index] for index in sorted(slices)]


def _arranged(shape: tuple[int, int], devices: Sequence[jax.Device]) -> np.ndarray:
    """Devices of one slice by data and model: rings of the torus where its shape allows them."""
    if devices[0].platform == "cpu":
        return np.asarray(devices).reshape(shape)
    return mesh_utils.create_device_mesh(shape, devices, allow_split_physical_axes=True)


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
