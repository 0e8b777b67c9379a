"""``python -m xlt_jax.evaluate``: scores a checkpoint on every task of a mixture."""

import json
import time

import gin
from etils import epath

from xlt_jax import configuration
from xlt_jax.data import mixtures, tokens
from xlt_jax.evaluation import predictions, zero_shot
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
) -> None:
    """Writes metrics and predictions of every task below ``output_dir``; arguments are T5X's.

    Raises:
        ValueError: Bad input, before the first compilation.
    """
    folder = epath.Path(output_dir)
    checkpoint.check_writable(folder)
    names = mixtures.get(dataset_cfg.mixture_or_task_name).tasks
    tables = {name: tokens.tokens(name, dataset_cfg.split, model.vocabulary) for name in names}
    evaluator = zero_shot.Evaluator(
        model.module,
        tables,
        model.vocabulary,
        max_input_tokens=dataset_cfg.task_feature_lengths["inputs"],
        shard_batch=partitioner.shard_batch,
        row_multiple=partitioner.mesh.shape["data"],
    )
    described = state.describe_params(model.module, partitioner)
    params, step = checkpoint.restore_params(restore_checkpoint_cfg, described)
    rows = sum(map(len, tables.values()))
    print(f"Scoring {restore_checkpoint_cfg.path}, step {step:,}: {len(tables)} tasks, {rows:,} rows.")

    start = time.monotonic()
    results = evaluator.run(params)
    seconds = time.monotonic() - start
    scores = predictions.write(folder / "inference_eval", step, results)
    (folder / "config.gin").write_text(gin.operative_config_str())
    (folder / "evaluation.json").write_text(
        json.dumps(
            {"checkpoint": str(restore_checkpoint_cfg.path), "step": step, "seconds": seconds}
        )
    )
    for name, value in scores.items():
        if name.startswith("mean/"):
            print(f"  {name.removeprefix('mean/'):<28} {value:.3f}")
    print(f"{rows:,} rows in {seconds:.1f} s, {rows / seconds:,.0f} a second.")


if __name__ == "__main__":
    configuration.run_program("xlt_jax.evaluate", __doc__, evaluate)
