"""This machine: processor, memory, load, versions."""

import datetime
import importlib.metadata
import os
import pathlib
import platform

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "seqio", "tensorflow")


def describe() -> dict:
    """What a reader must know to compare figures; versions are this interpreter's."""
    return {
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "processor": _processor(),
        "cores": cores(),
        "memory_gib": round(_meminfo("MemTotal"), 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
    }


def cores() -> int:
    """Logical processors this process may use: every system gets as many threads."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def available_gib() -> float:
    """Memory that programs can still get; infinite where the system does not say."""
    return _meminfo("MemAvailable")


def load() -> float:
    """Runnable processes over the last minute."""
    return round(os.getloadavg()[0], 2)


def busy_s() -> tuple[float, float]:
    """Processor seconds used so far by all programs, and by this one with its ended children.

    The first is 0 where the system does not say.
    """
    times = os.times()
    own = times.user + times.system + times.children_user + times.children_system
    stat = pathlib.Path("/proc/stat")
    if not stat.exists():
        return 0.0, own
    user, nice, system, _, _, irq, softirq, *_ = map(int, stat.read_text().split()[1:11])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK"), own


def _processor() -> str:
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _meminfo(field: str) -> float:
    meminfo = pathlib.Path("/proc/meminfo")
    if meminfo.exists():
        for line in meminfo.read_text(encoding="utf-8").splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) / 2**20
    return float("inf")


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
