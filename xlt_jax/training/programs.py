"""Programs compiled for described devices: what they need, compute and exchange, and a time.

The compiler is the one that the real machine runs; nothing here runs anything.
"""

import dataclasses
import functools
import math
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from xlt_jax.training import flops, hlo
from xlt_jax.training.topology import Topology

_OUT_OF_MEMORY = (
    r"Used ([\d.]+)([KMGT]) of ([\d.]+)([KMGT]) hbm",
    r"\(([\d.]+)([KMGT])\) exceeds available HBM \(([\d.]+)([KMGT])\)",
)


@dataclass(frozen=True)
class Memory:
    """Bytes of one device's HBM, by kind.

    Attributes:
        parameters: Float32, this device's parts.
        optimizer: Second moments and counters.
        batch: And what else comes from outside.
        temporaries: Activations, gradients, gathered weights, at their largest together.
        program: The code.
        others: What other programs of the run keep meanwhile, such as a teacher's parameters.
    """

    parameters: float
    optimizer: float
    batch: float
    temporaries: float
    program: float
    others: float = 0.0

    @property
    def total(self) -> float:
        """Their sum."""
        return sum(dataclasses.astuple(self))


@dataclass(frozen=True)
class Estimate:
    """Seconds of one step at published peak rates: a bound, not a measurement.

    Attributes:
        compute_s: Matrix products at the chip's peak.
        hbm_s: Arrays written and read once at the memory's bandwidth.
        exchange_s: By mesh axis, both directions of one link.
    """

    compute_s: float
    hbm_s: float
    exchange_s: Mapping[str, float]

    @property
    def least_s(self) -> float:
        """If everything overlaps."""
        return max(self.compute_s, self.hbm_s, *self.exchange_s.values(), 0.0)

    @property
    def most_s(self) -> float:
        """If nothing overlaps."""
        return self.compute_s + self.hbm_s + sum(self.exchange_s.values())


@dataclass(frozen=True)
class Report:
    """One compiled program, of one device where nothing else is said.

    Attributes:
        mesh: Size by axis.
        hbm_bytes: What the compiler lets a program use.
        needed_bytes: Used; where the program does not fit, what the compiler says it would be.
        memory: By kind; None where the program does not fit.
        compiled_flops: Of all matrix products; None likewise.
        model_flops: Without what is computed twice to save memory; None of a program whose length
            depends on what it computes.
        sent_bytes: By collective and mesh axes.
        estimate: See there.
        compile_s: Seconds of the compiler.
    """

    mesh: Mapping[str, int]
    hbm_bytes: float
    needed_bytes: float
    memory: Memory | None
    compiled_flops: float | None
    model_flops: float | None
    sent_bytes: Mapping[hlo.Collective, float]
    estimate: Estimate | None
    compile_s: float

    @property
    def fits(self) -> bool:
        """Whether the compiler made the program, and there is room for it beside the others."""
        return self.memory is not None and self.needed_bytes <= self.hbm_bytes

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        record = dataclasses.asdict(dataclasses.replace(self, sent_bytes={}))
        record["fits"] = self.fits
        record["sent_bytes"] = {
            f"{collective.kind} over {'+'.join(collective.axes) or 'none'}": size
            for collective, size in self.sent_bytes.items()
        }
        if self.estimate:
            record["estimate"] |= {"least_s": self.estimate.least_s, "most_s": self.estimate.most_s}
        return record


@functools.cache
def capacity(topology: Topology) -> float:
    """Bytes of HBM that the compiler gives a program on one device."""
    everywhere = NamedSharding(Mesh(np.asarray(topology.devices), ("all",)), PartitionSpec())
    absurd = jax.ShapeDtypeStruct((2**38,), jnp.int8, sharding=everywhere)
    try:
        jax.jit(lambda x: x + 1, out_shardings=everywhere).lower(absurd).compile()
    except jax.errors.JaxRuntimeError as error:
        found = out_of_memory(error)
        if found is not None:
            return found[1]
        raise
    raise AssertionError("A program of 512 GiB fitted.")


def out_of_memory(error: Exception) -> tuple[float, float] | None:
    """Bytes needed and bytes there, of the compiler's error; None of any other error."""
    text = str(error)
    if "RESOURCE_EXHAUSTED" not in text:
        return None
    for pattern in _OUT_OF_MEMORY:
        if found := re.search(pattern, text):
            needed, needed_unit, there, there_unit = found.groups()
            units = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
            return float(needed) * units[needed_unit], float(there) * units[there_unit]
    return math.nan, math.nan


def compile_step(
    topology: Topology,
    mesh: Mesh,
    function: Any,
    arguments: tuple,
    *,
    parameters: Any,
    optimizer: Any = (),
    others: Any = (),
    plain: Callable[[], Any] | None = None,
) -> Report:
    """Compiles a jitted function and reports what it needs.

    Args:
        topology: Its devices.
        mesh: Of these devices.
        function: Has ``trace``.
        arguments: Descriptions with shardings.
        parameters: Those among the arguments.
        optimizer: Likewise.
        others: Arrays beside the arguments that stay on the devices.
        plain: Traces the same computation without rematerialisation, to count its operations.

    Raises:
        jax.errors.JaxRuntimeError: The compiler failed for another reason than memory.
    """
    traced = function.trace(*arguments)
    model_flops = flops.matmul_flops(plain().jaxpr) / len(topology.devices) if plain else None
    begin = time.monotonic()
    shared = {"mesh": dict(mesh.shape), "hbm_bytes": capacity(topology)}
    try:
        compiled = traced.lower().compile()
    except jax.errors.JaxRuntimeError as error:
        found = out_of_memory(error)
        if found is None:
            raise
        return Report(
            **shared,
            needed_bytes=found[0] + local_bytes(others),
            memory=None,
            compiled_flops=None,
            model_flops=model_flops,
            sent_bytes={},
            estimate=None,
            compile_s=time.monotonic() - begin,
        )
    compile_s = time.monotonic() - begin
    work = hlo.work(compiled.as_text(), mesh.shape)
    used = compiled.memory_analysis()
    own = {"parameters": local_bytes(parameters), "optimizer": local_bytes(optimizer)}
    memory = Memory(
        **own,
        batch=max(0.0, used.argument_size_in_bytes - sum(own.values())),
        temporaries=used.temp_size_in_bytes + used.output_size_in_bytes - used.alias_size_in_bytes,
        program=used.generated_code_size_in_bytes,
        others=local_bytes(others),
    )
    return Report(
        **shared,
        needed_bytes=memory.total,
        memory=memory,
        compiled_flops=work.flops,
        model_flops=model_flops,
        sent_bytes=work.sent_bytes,
        estimate=estimate(topology, work),
        compile_s=compile_s,
    )


def estimate(topology: Topology, work: hlo.Work) -> Estimate:
    """Seconds of a program at its chip's published rates."""
    chip, share = topology.chip, topology.devices_per_chip
    exchange: dict[str, float] = {}
    for collective, size in work.sent_bytes.items():
        name = "+".join(collective.axes)
        rate = 2 * chip.link_bytes_per_s
        if "slice" in collective.axes:
            rate = chip.network_bytes_per_s
        exchange[name] = exchange.get(name, 0.0) + size * share / rate
    return Estimate(
        compute_s=work.flops * share / chip.flops_per_s,
        hbm_s=work.hbm_bytes * share / chip.hbm_bytes_per_s,
        exchange_s=exchange,
    )


def local_bytes(tree: Any) -> float:
    """Bytes of one device's parts of described arrays."""
    return float(
        sum(
            math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
            for leaf in jax.tree.leaves(tree)
        )
    )
