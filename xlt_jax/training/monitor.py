"""How well the devices are used: memory, floating-point operations, a profile of some steps."""

import os

import jax
from etils import epath

from xlt_jax.registry import chips

PROFILE_AFTER = 10  # steps that a profile leaves out: compilation, caches that fill


def memory() -> dict[str, float]:
    """Bytes in use now and at most so far, of this process's fullest device; {} where unknown."""
    stats = [device.memory_stats() or {} for device in jax.local_devices()]
    names = {"bytes_in_use": "memory_in_use_bytes", "peak_bytes_in_use": "memory_peak_bytes"}
    return {
        ours: max(float(of[theirs]) for of in stats)
        for theirs, ours in names.items()
        if all(theirs in of for of in stats)
    }


def utilisation(flops_per_step: float | None, step_s: float) -> dict[str, float]:
    """The share of the chips' published peak that the model's own operations take; {} on CPU.

    Source: Chowdhery et al. 2022 (arXiv:2204.02311), appendix B, "model FLOPs utilization".
    """
    chip = chips.of_device_kind(jax.devices()[0].device_kind)
    if chip is None or not flops_per_step:
        return {}
    return {"flops_utilisation": flops_per_step / (step_s * num_chips() * chip.flops_per_s)}


def num_chips() -> float:
    """Of all processes; a device that is not known counts as one."""
    chip = chips.of_device_kind(jax.devices()[0].device_kind)
    return jax.device_count() / (chip.devices if chip else 1)


class Profile:
    """A trace for TensorBoard's profiler of some steps, in MODEL_DIR/profile."""

    def __init__(self, model_dir: str | os.PathLike, steps: int | str | None, writes: bool):
        """Nothing is traced yet.

        Args:
            model_dir: Of the run.
            steps: How many, after the first ten of this process; None for none.
            writes: Whether this process traces.

        Raises:
            ValueError: Not a positive whole number.
        """
        if steps is not None and not (str(steps).isdecimal() and int(steps) > 0):
            raise ValueError(f"--profile is {steps!r}; give a number of steps, 1 or more.")
        self._folder = epath.Path(model_dir) / "profile"
        self._left = int(steps) if steps is not None and writes else 0
        self._taken, self._tracing = 0, False

    def step(self, done: jax.Array) -> None:
        """Counts a step that was enqueued; ``done`` is something that it computes."""
        self._taken += 1
        if self._tracing:
            self._left -= 1
            if not self._left:
                jax.block_until_ready(done)
                self.close()
        elif self._left and self._taken == PROFILE_AFTER:
            jax.block_until_ready(done)
            jax.profiler.start_trace(os.fspath(self._folder))
            self._tracing = True

    def close(self) -> None:
        """Writes what was traced."""
        if self._tracing:
            jax.profiler.stop_trace()
            print(f"The profile is in {self._folder}: tensorboard --logdir shows it.", flush=True)
        self._tracing, self._left = False, 0
