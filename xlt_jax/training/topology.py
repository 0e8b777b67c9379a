"""Described TPU slices: devices to compile for on a machine that has none."""

import importlib.util
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

import jax
from jax.experimental import topologies

from xlt_jax.registry import chips

# Else the compiler asks the cloud's metadata which machine this is, waits for an answer, and
# complains on the screen that there is none.
_ENVIRONMENT = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_STDERR_LOG_LEVEL": "3",
    "TPU_MIN_LOG_LEVEL": "3",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}


@dataclass(frozen=True)
class Topology:
    """One or several slices.

    Attributes:
        name: Such as "v5e:16x16", of one slice.
        slices: Their number.
        chip: Its published figures.
        devices: As JAX sees them: a chip of v2 and v3 is two.
    """

    name: str
    slices: int
    chip: chips.Chip
    devices: Sequence[jax.Device]

    @property
    def num_chips(self) -> int:
        """Of all slices."""
        return self.slices * math.prod(_bounds(self.name))

    @property
    def devices_per_chip(self) -> int:
        """2 of v2 and v3, else 1."""
        return len(self.devices) // self.num_chips

    @property
    def title(self) -> str:
        """The name, with the number of slices if there are several."""
        return self.name if self.slices == 1 else f"{self.slices} x {self.name}"


def described(name: str, slices: int = 1) -> Topology:
    """The topology ``name``, by the compiler's own description.

    Args:
        name: Chip and number of chips in each direction, "v5e:16x16" or "v4:4x4x8".
        slices: So many of them, joined by the data-centre network.

    Raises:
        ValueError: Not a topology, or the TPU compiler is not installed.
    """
    chip = chips.named(name.partition(":")[0])
    if chip.torus_axes == 0 or not _bounds(name):
        raise ValueError(
            f"{name!r} is no topology; give a TPU and its numbers of chips, such as "
            f"{'v4:4x4x8' if chip.torus_axes == 3 else chip.name + ':4x4'!r}."
        )
    if slices < 1:
        raise ValueError(f"slices is {slices}: give 1 or more.")
    if importlib.util.find_spec("libtpu") is None:
        raise ValueError(
            "The TPU compiler, which needs no TPU, is not installed: run `make aot` and put "
            ".venv/tpu on PYTHONPATH, or pip install libtpu."
        )
    for variable, value in _ENVIRONMENT.items():
        os.environ.setdefault(variable, value)
    options = {"chip_config_name": "megacore"} if chip.name == "v4" else {}  # one device a chip
    if math.prod(_bounds(name)) == 1:  # a host with one chip
        options["chips_per_host_bounds"] = (1, 1, 1)
    if slices > 1:
        options["num_slices"] = slices
    try:
        found = topologies.get_topology_desc(name, platform="tpu", **options)
    except Exception as error:
        # Such as: "v5e:3x5" is not divisible by the given (or default) chips_per_host_bounds.
        raise ValueError(f"The TPU compiler refuses the topology {name!r}: {error}") from error
    return Topology(name, slices, chip, tuple(found.devices))


def _bounds(name: str) -> list[int]:
    sizes = name.partition(":")[2]
    return [int(size) for size in sizes.split("x")] if re.fullmatch(r"\d+(x\d+)*", sizes) else []
