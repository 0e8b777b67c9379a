"""Published figures of accelerators: what a chip can do at best, for utilisation and estimates."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Chip:
    """One accelerator chip.

    Attributes:
        name: As in the names of topologies, such as "v5e" of "v5e:16x16".
        device_kind: How JAX's ``device_kind`` begins.
        flops_per_s: Of bfloat16 matrix products, an addition and a multiplication counted as two.
        hbm_bytes: Memory.
        hbm_bytes_per_s: Its bandwidth.
        link_bytes_per_s: Of one link to a neighbouring chip, in one direction.
        torus_axes: Dimensions in which a chip has neighbours, two of them in each; 0: a switch
            stands between chips, and there is one link.
        network_bytes_per_s: Of each chip's share in the network between slices or hosts.
        devices: As JAX sees them: two of v2 and v3, whose cores have a half of the memory each.
    """

    name: str
    device_kind: str
    flops_per_s: float
    hbm_bytes: float
    hbm_bytes_per_s: float
    link_bytes_per_s: float
    torus_axes: int
    network_bytes_per_s: float
    devices: int = 1


# TPUs: cloud.google.com/tpu/docs, "System architecture" of each generation; links and network:
# "How to Scale Your Model" (jax-ml.github.io/scaling-book), part 2. GPUs: NVIDIA's data sheets
# (SXM, without sparsity); network: one 400 Gbit/s adapter for each GPU, 200 of A100.
CHIPS = tuple(
    Chip(*row)
    for row in (
        ("v2", "TPU v2", 45e12, 16e9, 700e9, 62.5e9, 2, 6.25e9, 2),
        ("v3", "TPU v3", 123e12, 32e9, 900e9, 100e9, 2, 6.25e9, 2),
        ("v4", "TPU v4", 275e12, 32e9, 1228e9, 45e9, 3, 6.25e9),
        ("v5e", "TPU v5 lite", 197e12, 16e9, 819e9, 45e9, 2, 3.125e9),
        ("v5p", "TPU v5", 459e12, 95e9, 2765e9, 90e9, 3, 6.25e9),
        ("v6e", "TPU v6 lite", 918e12, 32e9, 1640e9, 90e9, 2, 12.5e9),
        ("a100", "NVIDIA A100", 312e12, 80e9, 2039e9, 300e9, 0, 25e9),
        ("h100", "NVIDIA H100", 989e12, 80e9, 3350e9, 450e9, 0, 50e9),
        ("h200", "NVIDIA H200", 989e12, 141e9, 4800e9, 450e9, 0, 50e9),
    )
)


def of_device_kind(device_kind: str) -> Chip | None:
    """The chip of ``jax.devices()[0].device_kind``; None where it is not known, as of a CPU."""
    fitting = [chip for chip in CHIPS if device_kind.startswith(chip.device_kind)]
    return max(fitting, key=lambda chip: len(chip.device_kind), default=None)


def named(name: str) -> Chip:
    """The chip of a topology's name.

    Raises:
        ValueError: Unknown.
    """
    for chip in CHIPS:
        if chip.name == name:
            return chip
    known = ", ".join(chip.name for chip in CHIPS)
    raise ValueError(f"There are no figures of a chip {name!r}; known: {known}.")
