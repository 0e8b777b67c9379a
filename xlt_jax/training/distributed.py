"""Several processes as one run: how they find each other, which rows are theirs, how they agree."""

import collections
import importlib.util
import os
import pathlib
import re
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

PORT = 8476
METHODS = ("auto", "tpu", "slurm", "kubernetes", "none")
START_LIMIT_S = 300  # how long processes wait for each other; XLT_START_LIMIT_S
HEARTBEAT_S = 30  # a process that is silent for so long is dead, and ends the others
# What a device or its compiler says of itself, and not of another process.
_OWN_FAULT = re.compile(r"EXHAUSTED|INVALID_ARGUMENT|UNIMPLEMENTED|NOT_FOUND")
PEER_LOST = 74  # exit code of a process that another one left alone: start all of them again


@dataclass(frozen=True)
class Place:
    """One process among several.

    Attributes:
        coordinator: HOST:PORT of process 0; None on TPUs, whose metadata tell JAX everything.
        count: Number of processes; None likewise.
        index: This one's number, from 0; None likewise.
    """

    coordinator: str | None = None
    count: int | None = None
    index: int | None = None


def find(
    method: str | None,
    coordinator_address: str | None,
    process_count: str | None,
    process_index: str | None,
    environment: Mapping[str, str],
) -> Place | None:
    """This process's place; None where it is the only one.

    Args:
        method: One of ``METHODS``; None is "none".
        coordinator_address: As the command line has it; with the next two, instead of a method.
        process_count: Likewise.
        process_index: Likewise.
        environment: ``os.environ``.

    Raises:
        ValueError: A flag or variable is missing, or is no number in its range.
    """
    method = method or "none"
    if method not in METHODS:
        raise ValueError(f"--distributed is {method!r}; allowed: {', '.join(METHODS)}.")
    flags = {
        "--coordinator_address": coordinator_address,
        "--process_count": process_count,
        "--process_index": process_index,
    }
    given = {name: value for name, value in flags.items() if value is not None}
    if given:
        if method != "none":
            raise ValueError(
                f"--distributed={method} finds the processes by itself; leave out "
                f"{', '.join(given)}, or --distributed."
            )
        return _place(flags, *flags, what="a run of several processes")
    if method == "auto":
        method = _detected(environment)
    if method == "slurm":
        if nodes := environment.get("SLURM_JOB_NODELIST"):
            environment = {**environment, "SLURM_JOB_NODELIST": first_host(nodes)}
        names = ("SLURM_JOB_NODELIST", "SLURM_NTASKS", "SLURM_PROCID")
        return _place(environment, *names, what="--distributed=slurm (start it with srun)")
    if method == "kubernetes":
        names = ("XLT_COORDINATOR", "JOB_COMPLETIONS", "JOB_COMPLETION_INDEX")
        if "JOB_COMPLETIONS" not in environment:
            names = ("XLT_COORDINATOR", "XLT_PROCESS_COUNT", "JOB_COMPLETION_INDEX")
        what = "--distributed=kubernetes (an indexed job; XLT_COORDINATOR is the name of its first "
        return _place(environment, *names, what=what + "pod in the headless service)")
    return Place() if method == "tpu" else None


def _place(values: Mapping, coordinator: str, count: str, index: str, *, what: str) -> Place:
    """The place that three variables or flags name."""
    missing = [name for name in (coordinator, count, index) if not values.get(name)]
    if missing:
        raise ValueError(f"{what} needs {', '.join(missing)}, which is not set: set it.")
    for name in (count, index):
        if not str(values[name]).isdecimal():
            raise ValueError(f"{name} is {values[name]!r}; give a whole number.")
    number, total = int(values[index]), int(values[count])
    if number >= total:
        raise ValueError(f"{index} is {number} and {count} {total}: give a number from 0 to below.")
    host, colon, port = values[coordinator].rpartition(":")
    if not colon:
        host, port = port, str(PORT)
    if not host or not port.isdecimal():
        raise ValueError(f"{coordinator} is {values[coordinator]!r}; give HOST or HOST:PORT.")
    return Place(f"{host}:{port}", total, number)


def _detected(environment: Mapping[str, str]) -> str:
    """The method that fits this machine; a TPU's own metadata win over who started the process."""
    if environment.get("JAX_PLATFORMS", "tpu").startswith("tpu") and (
        environment.get("TPU_WORKER_HOSTNAMES") or _has_tpu()
    ):
        return "tpu"
    if "JOB_COMPLETION_INDEX" in environment:
        return "kubernetes"
    return "slurm" if int(environment.get("SLURM_NTASKS") or 1) > 1 else "none"


def _has_tpu() -> bool:
    """Devices as v4 and earlier name them, or as later ones do where JAX has the TPU compiler."""
    devices = pathlib.Path("/dev")
    return any(devices.glob("accel[0-9]*")) or (
        any(devices.glob("vfio/[0-9]*")) and importlib.util.find_spec("libtpu") is not None
    )


def first_host(node_list: str) -> str:
    """The first host of Slurm's ``node[001-003,007]-ib,gpu5``: ``node001-ib``."""
    first = re.match(r"(?:[^,\[]|\[[^\]]*\])*", node_list)[0]
    return re.sub(r"\[([^\],-]+)[^\]]*\]", r"\1", first)


def start(place: Place | None) -> None:
    """Joins the other processes; before anything touches a device.

    Raises:
        OSError: The coordinator, or some process, did not come within XLT_START_LIMIT_S, or the
            port is taken: starting again may help.
        ValueError: Two processes have one number.
    """
    if place is None:
        return
    # Its handler of SIGTERM would take the signal from ours, and from programs that have none.
    jax.config.update("jax_enable_preemption_service", False)
    limit_s = int(os.environ.get("XLT_START_LIMIT_S") or START_LIMIT_S)
    times = {"initialization_timeout": limit_s, "heartbeat_timeout_seconds": HEARTBEAT_S}
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    if place.coordinator is None:
        try:
            jax.distributed.initialize(**times)
        except Exception as error:
            raise ConnectionError(
                "--distributed=tpu: the TPU's other hosts were not found in this machine's "
                f"metadata, or did not come within {limit_s} s. Is it a TPU? Else leave the flag "
                f"out. Cause: {error}"
            ) from error
        return
    (_call_roll if place.index == 0 else _answer)(place, limit_s)
    slurm = "SLURM_PROCID" in os.environ  # there JAX gives each process of a host its own GPU
    jax.distributed.initialize(
        place.coordinator,
        place.count,
        place.index,
        cluster_detection_method="slurm" if slurm else "deactivate",
        **times,
    )


# JAX ends a process without a Python error when others do not come in time: first they meet here.
def _call_roll(place: Place, limit_s: float) -> None:
    """Returns when each other process has said its number; process 0's part."""
    end, waiting = time.monotonic() + limit_s, {}
    again: collections.Counter[int] = collections.Counter()
    try:
        both = {"family": socket.AF_INET6, "dualstack_ipv6": True}
        port = int(place.coordinator.rpartition(":")[2])
        server = socket.create_server(
            ("", port), backlog=place.count, **both if socket.has_dualstack_ipv6() else {}
        )
    except OSError as error:
        raise OSError(
            f"Process 0 cannot listen at the port of {place.coordinator} ({error}): choose another "
            "port in --coordinator_address, or end what uses it."
        ) from error
    with server:
        while len(waiting) < place.count - 1:
            server.settimeout(max(0.01, end - time.monotonic()))
            try:
                connection, _ = server.accept()
                connection.settimeout(1.0)
                said = connection.recv(64).decode("ascii", "replace")
            except OSError:
                said = ""
            if re.fullmatch(r"process \d+\n", said):
                number = int(said.split()[1])
                if number in waiting:
                    # One that was started again, while its first connection still stands here; or
                    # two, each of which comes again as soon as the other takes its place.
                    again[number] += 1
                    if again[number] > 10:
                        raise ValueError(
                            f"Two processes say that they are number {number} of {place.count}: "
                            "give each its own --process_index."
                        )
                    waiting[number].close()
                waiting[number] = connection
            if time.monotonic() > end:
                missing = sorted(set(range(1, place.count)) - set(waiting))
                raise TimeoutError(
                    f"Of {place.count} processes number {', '.join(map(str, missing))} did not "
                    f"come to {place.coordinator} within {limit_s} s: are they started? "
                    "XLT_START_LIMIT_S changes the limit."
                )
        for connection in waiting.values():
            connection.sendall(b"go\n")
            connection.close()


def _answer(place: Place, limit_s: float) -> None:
    """Returns when process 0 has heard from everyone; the others' part."""
    host, _, port = place.coordinator.rpartition(":")
    end = time.monotonic() + limit_s
    while True:
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=limit_s) as found:
                found.sendall(f"process {place.index}\n".encode())
                if found.recv(8) != b"go\n":
                    raise ConnectionError("it has closed the connection")
                return
        except OSError as error:
            if time.monotonic() > end:
                raise TimeoutError(
                    f"The coordinator {place.coordinator} did not answer within {limit_s} s "
                    f"({error}). Is process 0 running there, and the port open? XLT_START_LIMIT_S "
                    "changes the limit."
                ) from error
        time.sleep(0.2)


def is_several() -> bool:
    """Whether this run has other processes; starts no device where it is alone."""
    return jax.distributed.is_initialized() and jax.process_count() > 1


def lost_peer(error: BaseException | None) -> BaseException | None:
    """Of an error and those that caused it the one that says that another process is gone."""
    if not is_several():
        return None
    while error is not None:
        if isinstance(error, jax.errors.JaxRuntimeError) and not _OWN_FAULT.search(str(error)):
            return error
        error = error.__cause__ or error.__context__
    return None


# ------------------------------------------------------------------------------------- rows
def own_rows(sharding: NamedSharding, batch_size: int) -> np.ndarray:
    """Numbers of the rows of a global batch that this process's devices hold, ascending."""
    spans = sharding.addressable_devices_indices_map((batch_size,)).values()
    return np.unique(np.concatenate([np.arange(batch_size)[span] for span in spans]))


def global_arrays(batch: Mapping[str, np.ndarray], sharding: NamedSharding) -> dict[str, jax.Array]:
    """Global arrays of a batch that every process has whole."""
    return {
        name: jax.make_array_from_callback(value.shape, sharding, value.__getitem__)
        for name, value in batch.items()
    }


def fetch(array: jax.Array) -> np.ndarray:
    """The whole array on every process, which all of them ask for in the same order."""
    if array.is_fully_addressable or array.is_fully_replicated:
        return np.asarray(array)
    return multihost_utils.process_allgather(array, tiled=True)


# ------------------------------------------------------------------------------------- agreement
def from_first(value: int) -> int:
    """Process 0's value on every process."""
    if jax.process_count() == 1:
        return value
    return int(multihost_utils.broadcast_one_to_all(np.int64(value)))


def any_process(flag: bool) -> bool:
    """Whether the flag is set on some process; all of them have to call."""
    if jax.process_count() == 1:
        return flag
    return bool(multihost_utils.process_allgather(np.int32(flag)).any())


class Agreement:
    """Whether some process asks to stop, known to all of them at the same step.

    A request is answered ``LAG`` calls later, so that no process waits for the step it has just
    enqueued. One process alone is answered at once.
    """

    LAG = 2

    def __init__(self):
        self._alone = jax.process_count() == 1
        self._waiting: collections.deque[jax.Array] = collections.deque()
        if self._alone:
            return
        firsts = {device.process_index: device for device in reversed(jax.devices())}
        devices = [firsts[index] for index in sorted(firsts)]
        mesh = Mesh(np.asarray(devices), ("process",))
        self._sharding = NamedSharding(mesh, PartitionSpec("process"))
        self._highest = jax.jit(
            lambda flags: flags.max(), out_shardings=NamedSharding(mesh, PartitionSpec())
        )

    def reached(self, request: int) -> int:
        """The highest request of any process, 0 for none; every process calls once a step."""
        if self._alone:
            return request
        own = np.asarray([request], np.int32)
        flags = jax.make_array_from_process_local_data(self._sharding, own)
        self._waiting.append(self._highest(flags))
        return int(self._waiting.popleft()) if len(self._waiting) > self.LAG else 0
