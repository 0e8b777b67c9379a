"""What a training run shows and writes while it runs: lines, metrics.jsonl, TensorBoard."""

import contextlib
import json
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
from etils import epath

from xlt_jax import configuration, files
from xlt_jax.evaluation.tensorboard import ScalarWriter
from xlt_jax.training import monitor, state


def weighted_means(metrics: list[Mapping[str, Any]]) -> dict[str, float]:
    """Means of the logs that are (sum, weight)."""
    means = {}
    for name, value in metrics[0].items():
        if isinstance(value, tuple):
            total, weight = (sum(float(entry[name][part]) for entry in metrics) for part in (0, 1))
            means[name] = total / max(weight, 1e-9)
    return means


def on_host(metrics: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Of steps as plain numbers, so that JSON gives back what it was given."""
    return [
        {
            name: tuple(map(float, value)) if isinstance(value, tuple | list) else float(value)
            for name, value in entry.items()
        }
        for entry in jax.device_get(metrics)
    ]


class RunLog:
    """A run's lines on the screen, metrics.jsonl and TensorBoard; only process 0 writes."""

    def __init__(self, folder: epath.Path, writes: bool):
        self._folder, self._writes = folder, writes
        self._start_step = None
        self._waited_s = 0.0
        self._lines: list[str] = []  # of metrics.jsonl
        self.flops_per_step: float | None = None

    def start(
        self, number: int, total_steps: int, described, tables, lengths, summarize_config_fn
    ) -> None:
        """Says what will be trained on what, and warns of rows that are cut."""
        self._total_steps, self._timed_from = total_steps, number
        self._time = self._start_time = time.monotonic()
        if not self._writes:
            return
        self._train = ScalarWriter(self._folder / "train")
        self._training_eval = ScalarWriter(self._folder / "training_eval")
        if (self._folder / "metrics.jsonl").exists():  # resumed: forget what came after
            lines = files.read_text(self._folder / "metrics.jsonl").splitlines()
            self._lines = [line for line in lines if json.loads(line)["step"] <= number]
        rows = sum(map(len, tables))
        print(
            f"{state.num_parameters(described.params):,} parameters, {jax.device_count()} "
            f"{jax.devices()[0].platform} device(s), {len(tables)} tasks with {rows:,} rows."
        )
        for field in ("inputs", "targets"):
            cut = sum(
                int((table.field(field).lengths > lengths[field]).sum())
                for table in tables
                if not table.noise
            )
            if cut:
                print(f"Warning: {cut:,} of {rows:,} {field} exceed {lengths[field]} tokens: cut.")
        files.write_text(self._folder / "parameters.txt", state.parameter_table(described.params))
        summarize_config_fn(self._folder, self._train, number)

    def say(self, sentence: str | None) -> None:
        """Prints a line, once for all processes; None for nothing."""
        if self._writes and sentence:
            print(sentence, flush=True)

    def warn(self, sentence: str) -> None:
        """Prints a warning to stderr, once for all processes."""
        if self._writes:
            print(f"\nWarning: {sentence}", file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """What is done inside is no part of the steps' time."""
        start = time.monotonic()
        try:
            yield
        finally:
            self._time += time.monotonic() - start

    def train(self, number: int, metrics: list[Mapping[str, Any]], waited_s: float) -> None:
        """Logs the means over the steps since the last call.

        Args:
            number: Of the last step.
            metrics: Of the training steps, ``on_host``; the first may be an earlier process's.
            waited_s: Seconds that this process has waited for batches so far.
        """
        if not self._writes:
            return
        seconds, self._time = time.monotonic() - self._time, time.monotonic()
        input_wait = (waited_s - self._waited_s) / seconds
        self._waited_s = waited_s
        if bad := sum(bool(entry["bad"]) for entry in metrics):
            self.warn(f"{bad} of the {len(metrics)} steps up to {number:,} were bad.")
        scalars = {
            "loss": float(np.mean([entry["loss"] for entry in metrics])),
            **weighted_means(metrics),
            "grad_norm": float(np.mean([entry["grad_norm"] for entry in metrics])),
            "learning_rate": metrics[-1]["learning_rate"],
            "bad_steps": bad,
            **self._speed(metrics[-max(1, number - self._timed_from) :], seconds),
            "input_wait": input_wait,
            **monitor.memory(),
        }
        self._timed_from = number
        self._train.write(number, scalars)
        more = {"flops_per_step": self.flops_per_step, "time": time.time()}
        self._lines.append(json.dumps({"step": number, **scalars, **more}))
        if self._start_step is None:  # the first period holds the compilation
            self._start_step, self._start_time = number, self._time
            left = "?"
        else:
            rate = (number - self._start_step) / (self._time - self._start_time)
            left = configuration.duration((self._total_steps - number) / rate)
        line = (
            f"step {number:,}/{self._total_steps:,}  loss {scalars['nll']:.3f}  "
            f"accuracy {scalars['accuracy']:.3f}  lr {scalars['learning_rate']:.2g}  "
            f"grad {scalars['grad_norm']:.3g}  {scalars['tokens_per_s']:,.0f} tokens/s  left {left}"
        )
        configuration.show_progress(line)

    def _speed(self, metrics: list[Mapping[str, Any]], seconds: float) -> dict[str, float]:
        tokens_per_s = sum(float(entry["tokens"]) for entry in metrics) / seconds
        step_s = seconds / len(metrics)
        return {
            "tokens_per_s": tokens_per_s,
            "tokens_per_s_per_chip": tokens_per_s / monitor.num_chips(),
            "steps_per_s": 1 / step_s,
            "step_s": step_s,
            **monitor.utilisation(self.flops_per_step, step_s),
        }

    def loss(self, number: int, means: Mapping[str, float]) -> None:
        """Logs the loss on the evaluation split."""
        if self._writes:
            self._training_eval.write(number, means)
            configuration.end_progress()
            print(
                "  validation: " + "  ".join(f"{k} {v:.3f}" for k, v in means.items()), flush=True
            )

    def forgetting(self, number: int, mixture: str, means: Mapping[str, float]) -> None:
        """Logs the loss on what an earlier stage was trained on."""
        if self._writes:
            value = {f"forgetting/{mixture}/nll": means["nll"]}
            self._training_eval.write(number, value)
            self._lines.append(json.dumps({"step": number, **value}))
            configuration.end_progress()
            print(f"  {mixture}: nll {means['nll']:.3f}", flush=True)

    def examples(self, number: int, examples: Mapping[str, int]) -> None:
        """Logs how many examples of each task, benchmark and language have been seen."""
        if not self._writes:
            return
        scalars: dict[str, int] = {}
        for task, count in examples.items():
            benchmark, language = task.rsplit(".", 1)
            for name in (f"task/{task}", f"benchmark/{benchmark}", f"language/{language}"):
                scalars[f"examples/{name}"] = scalars.get(f"examples/{name}", 0) + count
        self._train.write(number, scalars)
        self._write_lines()

    def scores(self, number: int, scores: Mapping[str, float]) -> None:
        """Logs a zero-shot evaluation and shows its means."""
        if self._writes:
            configuration.end_progress()
            self._training_eval.write(number, scores)
            shown = "  ".join(f"{k} {v:.3f}" for k, v in scores.items() if k.startswith("mean/"))
            print(f"  zero-shot: {shown}", flush=True)

    def finish(self) -> None:
        """Closes the files."""
        if self._writes:
            configuration.end_progress()
            self._write_lines()
            self._train.close()
            self._training_eval.close()

    def keep(self) -> None:
        """Puts metrics.jsonl on disk, so that a checkpoint never knows more than it."""
        if self._writes:
            self._write_lines()

    def _write_lines(self) -> None:
        files.write_text(
            self._folder / "metrics.jsonl", "".join(f"{line}\n" for line in self._lines)
        )
