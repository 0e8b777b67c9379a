"""The runs of an experiment as sessions of TensorBoard's HParams view."""

import shutil
from pathlib import Path

import numpy as np

from xlt_jax.evaluation.tensorboard import ScalarWriter
from xlt_jax.report.cost import arm_costs
from xlt_jax.report.tables import SOURCE, Results


def write(results: Results, folder: Path) -> None:
    """One folder for each arm and seed, ``arm.seed0``: settings, costs, and mean scores.

    Arms are groups of their seeds. ``zero_shot/<benchmark>`` is the mean over languages that are
    zero-shot in every arm, ``zero_shot/mean`` that over benchmarks, ``english/mean`` English.

    Args:
        results: Of the experiment.
        folder: Is replaced.
    """
    unfinished = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(unfinished, ignore_errors=True)
    costs = {row.arm: row for row in arm_costs(results)}
    means = {(row.arm, row.benchmark): row.by_seed for row in results.summary}
    for arm, seed in results.study.scored:
        if arm not in results.arms:
            continue
        name = arm if seed is None else f"{arm}.seed{seed}"
        values = {"arm": arm, "study": results.study.title, "scale": results.study.scale}
        values |= {} if seed is None else {"seed": float(seed)}
        for fact in ("steps", "tokens"):
            if (amount := getattr(costs[arm], fact)) is not None:
                values[fact] = float(amount)
        scores = {
            f"zero_shot/{benchmark or 'mean'}": by_seed[seed]
            for (owner, benchmark), by_seed in means.items()
            if owner == arm and seed in by_seed
        }
        english = [
            cell.seeds[seed].value
            for (_, code), cell in results.study.cells[arm].items()
            if code == SOURCE and seed in cell.seeds
        ]
        if english:
            scores["english/mean"] = float(np.mean(english))
        writer = ScalarWriter(unfinished / name)
        writer.hparams(values, group=arm)
        writer.write(0, scores)
        writer.close()
    if unfinished.exists():
        shutil.rmtree(folder, ignore_errors=True)
        unfinished.replace(folder)
