"""``python -m xlt_jax.evaluate``: scores a checkpoint on every task of a mixture."""

import json
import time
from collections.abc import Callable

import optax
from etils import epath

from xlt_jax import configuration
from xlt_jax.convert import restore
from xlt_jax.evaluation import predictions, zero_shot
from xlt_jax.evaluation.tensorboard import ScalarWriter
from xlt_jax.training import checkpoint, partition, state
from xlt_jax.training.config import DatasetConfig, RestoreCheckpointConfig
from xlt_jax.training.model import EncoderDecoderModel


def evaluate(
    *,
    model: EncoderDecoderModel,
    dataset_cfg: DatasetConfig,
    restore_checkpoint_cfg: RestoreCheckpointConfig,
    partitioner: partition.Partitioner,
    output_dir: str,
    summarize_config_fn: Callable = configuration.summarize_config,
    inference_evaluator_cls: Callable[..., zero_shot.Evaluator] = zero_shot.of_mixture,
) -> None:
    """Writes metrics and predictions of every task below ``output_dir``; arguments are T5X's.

    Raises:
        ValueError: Bad input, before the first compilation.
    """
    folder = epath.Path(output_dir)
    checkpoint.writable_folder(folder)
    evaluator = inference_evaluator_cls(
        model.module, model.vocabulary, dataset_cfg, partitioner, on_progress=Progress()
    )
    described = state.describe(model.module, optax.identity(), partitioner)
    opened = restore.open_weights(restore_checkpoint_cfg.path, restore_checkpoint_cfg.mode)
    params = restore.restore_params(opened, described.params, strict=restore_checkpoint_cfg.strict)
    step = opened.step
    print(f"Scoring {opened.path} ({opened.format}), step {step:,}.", flush=True)

    start = time.monotonic()
    with partitioner.context():
        results = evaluator.run(params)
    seconds = time.monotonic() - start
    scores = predictions.scalars(results)
    predictions.write(folder / "inference_eval", step, results)
    writer = ScalarWriter(folder / "inference_eval")
    writer.write(step, scores)
    writer.close()
    summarize_config_fn(folder, None, step)
    (folder / "evaluation.json").write_text(
        json.dumps({"checkpoint": opened.path, "step": step, "seconds": seconds})
    )
    for name, value in scores.items():
        if name.startswith("mean/"):
            print(f"  {name.removeprefix('mean/'):<28} {value:.3f}")
    rows = sum(result.n for result in results.values())
    print(
        f"{len(results)} tasks, {rows:,} rows in {seconds:.1f} s: {rows / seconds:,.0f} a second."
    )


class Progress:
    """A line with the rate and the time left, every few seconds."""

    def __init__(self, period_s: float = 5.0):
        self._start = self._shown = time.monotonic()
        self._period_s = period_s

    def __call__(self, done: int, total: int) -> None:
        """Takes the number of rows done, and of all."""
        now = time.monotonic()
        if now - self._shown < self._period_s and done < total:
            return
        self._shown = now
        rate = done / (now - self._start)
        left = configuration.duration((total - done) / rate)
        configuration.show_progress(f"{done:,}/{total:,} rows  {rate:,.0f} a second  left {left}")
        if done == total:
            configuration.end_progress()


if __name__ == "__main__":
    configuration.run_program("xlt_jax.evaluate", __doc__, evaluate)
