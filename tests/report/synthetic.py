"""Writes the folders of an experiment as the runner, training and evaluation leave them."""

import json
from pathlib import Path

import numpy as np

STEP = 300
BENCHMARKS = {  # name -> (metric, chance)
    "cldr_choice": ("accuracy", 0.25),
    "cldr_pairs": ("accuracy", 1 / 3),
    "cldr_qa": ("f1", 0.05),
    "cldr_retrieval": ("accuracy", 0.005),
    "cldr_tags": ("token_accuracy", 0.4),
}
ARMS = {"none": "No intermediate stage.", "english": "In English.", "multitask": "In many."}
INTERMEDIATE = {"english": ("en",), "multitask": ("en", "de", "sw")}


def write_experiment(
    root: Path,
    *,
    codes: tuple[str, ...],
    score=lambda arm, benchmark, code: 0.5,
    n: int = 200,
    arms: tuple[str, ...] = tuple(ARMS),
    benchmarks: tuple[str, ...] = tuple(BENCHMARKS),
    curves: bool = False,
    seeds: tuple[int, ...] = (),
) -> Path:
    """``score(arm, benchmark, code)`` is the share of right rows; the same rows are hard.

    With ``seeds`` all stages but the first have one, as ``name.seed1``, and ``score`` takes it as a
    fourth argument.
    """
    stages = [stage("pretrain", None, "train", None)]
    write_training(root / "pretrain", None, {f"cldr_text.{c}": False for c in codes}, curves=curves)
    for arm in ARMS:
        for seed in seeds or (None,):
            stages += _write_arm(
                root, arm, seed, codes, n, benchmarks,
                score=score if arm in arms else None, curves=curves,
            )  # fmt: skip
    recipe = {
        "name": "synthetic",
        "description": "Known scores.",
        "arms": ARMS,
        "comparisons": [["multitask", "english"], ["multitask", "none"], ["english", "none"]],
        "stages": stages,
    }
    if seeds:
        recipe |= {"seeds": list(seeds), "scale": "local", "question": "Is it better in many?"}
    write_json(root / "recipe.json", recipe)
    return root


def _write_arm(root, arm, seed, codes, n, benchmarks, *, score, curves) -> list[dict]:
    """Stages of an arm in a seed; without ``score`` its evaluation was not run."""
    suffix, start, stages = "" if seed is None else f".seed{seed}", "pretrain", []
    if arm in INTERMEDIATE:
        name = f"{arm}_intermediate{suffix}"
        stages.append(stage(name, arm, "train", start, seed))
        tasks = {f"cldr_kind.{code}": True for code in INTERMEDIATE[arm]}
        write_training(root / name, start, tasks, curves=curves)
        start = name
    trained, scored = f"{arm}_finetune{suffix}", f"{arm}_zero_shot{suffix}"
    stages.append(stage(trained, arm, "train", start, seed))
    tasks = {f"{name}.en": True for name in benchmarks}
    write_training(root / trained, start, tasks, curves=curves)
    stages.append(stage(scored, arm, "evaluate", trained, seed))
    if score:
        for benchmark in benchmarks:
            for code in codes:
                where = (arm, benchmark, code) if seed is None else (arm, benchmark, code, seed)
                right = round(n * score(*where))
                write_task(root / scored, benchmark, code, [1.0] * right + [0.0] * (n - right))
        write_json(root / scored / "done.json", done(stages[-1]))
    return stages


def write_task(
    scored: Path,
    benchmark: str,
    code: str,
    scores: list[float],
    *,
    metrics: dict | None = None,
    answers: list[tuple[str, str]] | None = None,
    texts: list[list[str]] | None = None,
    **facts,
) -> None:
    """Metrics and rows; the order of hardness is the same in every arm.

    ``metrics`` are all of them, the main one first (the mean of the scores without it); ``answers``
    are (target, prediction) and ``texts`` hashes of each row; ``facts`` go into the metrics' line.
    """
    metric, chance = BENCHMARKS.get(benchmark, (next(iter(metrics or {"f1": 0})), 0.0))
    folder = scored / "inference_eval"
    folder.mkdir(parents=True, exist_ok=True)
    order = np.random.default_rng(len(scores)).permutation(len(scores))
    rows = [
        {"input": {"id": f"r{i}", "inputs": ""}, "target": "", "prediction": "", "score": scores[j]}
        for i, j in enumerate(order)
    ]
    for row, (target, prediction) in zip(rows, answers or ()):
        row |= {"target": target, "prediction": prediction}
    for row, hashes in zip(rows, texts or ()):
        row["texts"] = hashes
    line = {"step": STEP, "aaa_other": 0.987, metric: sum(scores) / len(scores)}
    line |= {"n": len(scores), "chance": chance, "truncated": 0} | (metrics or {}) | facts
    write_lines(
        folder / f"{benchmark}.{code}-metrics.jsonl", [line | {"step": 1, metric: 0.0}, line]
    )
    write_lines(folder / f"{benchmark}.{code}-{STEP:06}.jsonl", rows)


def write_training(folder: Path, start: str | None, tasks: dict, *, curves: bool = False) -> None:
    """``tasks``: name -> labelled."""
    data = {
        "initial_checkpoint": f"runs/elsewhere/{start}" if start else None,
        "first_step": 0,
        "steps": 100,
        "tasks": {
            name: {
                "examples": 640,
                "labelled": labelled,
                "benchmark": name.split(".")[0],
                "language": name.split(".")[1],
                "kind": "other",
            }
            for name, labelled in tasks.items()
        },
    }
    write_json(folder / "training_data.json", data)
    write_json(folder / "done.json", done(stage(folder.name, None, "train", start)))
    if curves:
        noise = np.random.default_rng(len(folder.name)).normal(0, 0.05, 20)
        write_lines(
            folder / "metrics.jsonl",
            [
                {"step": 5 * (i + 1), "loss": 5 * np.exp(-i / 7) + 1 + noise[i], "accuracy": 0.5,
                 "tokens_per_s": 1000.0, "steps_per_s": 2.0}
                for i in range(20)
            ],
        )  # fmt: skip


def stage(
    name: str, arm: str | None, program: str, start: str | None, seed: int | None = None
) -> dict:
    shell = f"python -m xlt_jax.{program} \\\n    --gin.MODEL_DIR=\"'runs/x/{name}'\""
    entry = {"name": name, "arm": arm, "program": program, "start_from": start, "shell": shell}
    return entry if seed is None else entry | {"seed": seed}


def done(entry: dict) -> dict:
    return entry | {"stage": entry["name"], "seconds": 61.2, "code_version": "0.1 abc"}


def write_json(path: Path, record: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record))


def write_lines(path: Path, lines: list[dict]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
