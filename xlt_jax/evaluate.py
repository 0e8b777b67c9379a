"""``python -m xlt_jax.evaluate``: scores a checkpoint on every task of a mixture."""

import json
import os
import time
from collections.abc import Callable, Mapping

import jax
import numpy as np
import optax
from etils import epath

from xlt_jax import configuration, files
from xlt_jax.arrays import Params
from xlt_jax.convert import restore
from xlt_jax.data import cache
from xlt_jax.evaluation import layers, measures, predictions, submission, summary, zero_shot
from xlt_jax.evaluation.parts import Parts, shard_of
from xlt_jax.evaluation.predictions import TaskResult
from xlt_jax.evaluation.tensorboard import ScalarWriter
from xlt_jax.registry import benchmarks, xtreme
from xlt_jax.training import checkpoint, fit, partition, state
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
    export_submission: str | None = None,
    alignment: str | None = None,
) -> None:
    """Writes metrics and predictions of every task below ``output_dir``; arguments are T5X's.

    What is computed is kept as it comes: the same command goes on where a killed one stopped. With
    XLT_EVAL_SHARD=0/4 ... 3/4 four processes share the work and the first writes the results. Those
    of ``training.distributed`` share every batch, for models that are larger than one host; what
    they computed is not kept.

    Args:
        model: Network and vocabulary.
        dataset_cfg: Mixture, split and longest input.
        restore_checkpoint_cfg: What is scored.
        partitioner: Of the devices.
        output_dir: Gets ``inference_eval/`` and ``evaluation.json``.
        summarize_config_fn: Writes the configuration.
        inference_evaluator_cls: Makes the evaluator.
        export_submission: A folder for the predictions in XTREME's layout, or None.
        alignment: Mixture of parallel pairs by which the languages' alignment is measured at each
            encoder layer, into ``inference_eval/alignment.jsonl``; None for no such measure.

    Raises:
        ValueError: Bad input, before the first compilation.
    """
    shard = shard_of(os.environ)
    several = jax.process_count() > 1
    if several and (shard[1] > 1 or alignment):
        raise ValueError(
            "Several processes of one evaluation take neither XLT_EVAL_SHARD nor --alignment: let "
            "one process measure the alignment, or each its own shard."
        )
    folder = epath.Path(output_dir)
    checkpoint.writable_folder(folder)
    first = jax.process_index() == 0
    opened = restore.open_weights(restore_checkpoint_cfg.path, restore_checkpoint_cfg.mode)
    choice = fit.for_reading(partitioner, model.module)
    partitioner = choice.partitioner
    if choice.is_ours and first:
        print(f"Partitioning: {choice.reason}.", flush=True)
    evaluator = inference_evaluator_cls(
        model.module,
        model.vocabulary,
        dataset_cfg,
        partitioner,
        on_progress=Progress() if first else None,
    )
    parallel = layers.open_tables(alignment, model.vocabulary) if alignment else []
    described = state.describe(model.module, optax.identity(), partitioner)
    params = restore.restore_params(opened, described.params, strict=restore_checkpoint_cfg.strict)
    step = opened.step
    if first:
        print(f"Scoring {opened.path} ({opened.format}), step {step:,}.", flush=True)
    if evaluator.missing and first:
        print(f"No data, skipped: {' '.join(evaluator.missing)}.", flush=True)

    start = time.monotonic()
    parts = None
    if not several:
        identity = cache.key(opened.path, str(step), evaluator.fingerprint, _sample(params))
        parts = Parts(folder / "inference_eval" / f".parts-{identity}", shard)
    with partitioner.context():
        results = evaluator.run(params, parts)
    seconds = time.monotonic() - start
    if results is None:
        print(f"Shard {shard[0]} of {shard[1]} is done in {seconds:.1f} s; shard 0 joins them.")
        return
    if not first:
        return
    scores = predictions.scalars(results)
    predictions.write(folder / "inference_eval", step, results)
    writer = ScalarWriter(folder / "inference_eval")
    writer.write(step, scores)
    writer.close()
    summarize_config_fn(folder, None, step)
    facts = {"checkpoint": opened.path, "step": step, "seconds": seconds}
    facts |= {"missing": list(evaluator.missing)}
    table = summary.of_results(results)
    if table:
        facts |= {"xtreme-r": summary.as_json(table)}
    files.write_text(folder / "evaluation.json", json.dumps(facts, indent=1) + "\n")
    if parts:
        parts.remove()
    if table:
        summary.show(table)
    for name, value in scores.items():
        if name.startswith("mean/"):
            print(f"  {name.removeprefix('mean/'):<28} {value:.3f}")
    rows = sum(result.n for result in results.values())
    print(
        f"{len(results)} tasks, {rows:,} rows in {seconds:.1f} s: {rows / seconds:,.0f} a second."
    )
    if alignment and not parallel:
        print(f"No data of {alignment}: the alignment of languages is not measured.")
    if parallel:
        print(
            f"Alignment of languages by layer, the mean over the tasks of {alignment}:", flush=True
        )
        found = layers.measures(model.module, params, parallel, on_progress=Progress("tasks"))
        measures.write(folder / "inference_eval", found)
        layers.show(found)
    if export_submission:
        export(export_submission, results, evaluator)


def export(
    folder: str | os.PathLike, results: Mapping[str, TaskResult], evaluator: zero_shot.Evaluator
) -> None:
    """Writes XTREME's submission files of the tasks that it has.

    Raises:
        ValueError: Some could not be written; the others are.
    """
    known = xtreme.tasks("xtreme") | xtreme.tasks("xtreme-r")
    written, faults = 0, []
    for task, result in results.items():
        benchmark, language = benchmarks.split_task(task)
        if benchmark.name not in known or language not in known[benchmark.name].languages:
            continue
        answers = [row.prediction for row in result.predictions]
        if benchmark.export:
            answers = benchmark.export(evaluator.tables[task].texts, answers)
        ids = [row.id for row in result.predictions]
        try:
            submission.write(folder, benchmark.name, language, list(zip(ids, answers, strict=True)))
            written += 1
        except ValueError as error:
            faults.append(str(error))
    print(f"{written} files of predictions in XTREME's layout are in {folder}.")
    if faults:
        raise ValueError("\n".join(faults))


def _sample(params: Params) -> str:
    """A few values of every parameter: another checkpoint under an old name has others."""
    leaves = jax.tree.leaves(params)
    return cache.key(*(np.asarray(leaf.ravel()[:8]).tobytes().hex() for leaf in leaves))


class Progress:
    """A line with the rate and the time left, every few seconds."""

    def __init__(self, what: str = "rows", period_s: float = 5.0):
        self._start = self._shown = time.monotonic()
        self._what, self._period_s = what, period_s

    def __call__(self, done: int, total: int) -> None:
        """Takes the number done, and of all."""
        now = time.monotonic()
        if now - self._shown < self._period_s and done < total:
            return
        self._shown = now
        rate = done / (now - self._start)
        decimals = 0 if rate >= 10 else 1
        left = configuration.duration((total - done) / rate)
        configuration.show_progress(
            f"{done:,}/{total:,} {self._what}  {rate:,.{decimals}f} a second  left {left}"
        )
        if done == total:
            configuration.end_progress()


if __name__ == "__main__":
    configuration.run_program(
        "xlt_jax.evaluate",
        __doc__,
        evaluate,
        {
            "export_submission": "folder for the predictions in XTREME's layout",
            "alignment": "mixture of parallel pairs: measure alignment by encoder layer",
        },
    )
