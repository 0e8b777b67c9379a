"""Results of an evaluation, and the files they are kept in (seqio's JSON logger's format).

In one folder, for each task: ``<task>-metrics.jsonl`` with one line for each evaluated step, and
``<task>-<step>.jsonl`` with one line for each row. A file appears or changes whole (written under
another name, then moved), so a killed process leaves no half-written one to be read.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from etils import epath

from xlt_jax import files
from xlt_jax.metrics import aggregate

_METRICS = "-metrics.jsonl"


@dataclass(frozen=True)
class Prediction:
    """One scored row.

    Attributes:
        id: The row's id in its benchmark.
        inputs: Text that the model read.
        target: The right answer, or several of which any is right.
        prediction: The model's answer.
        score: Its share in the main metric, 0..1; None in files that SeqIO wrote.
        weight: The main metric is the mean of scores by these weights.
        generated: The text that the model wrote, where the answer was made from it.
        texts: Hashes of the row's own texts, by which the report finds it in training sets.
    """

    id: str
    inputs: str
    target: str | Sequence[str]
    prediction: str
    score: float | None
    generated: str | None = None
    weight: float = 1.0
    texts: Sequence[str] = ()


@dataclass(frozen=True)
class TaskResult:
    """Scores of one task.

    Attributes:
        metrics: Name -> value in 0..1.
        main_metric: The one that tables show.
        n: Rows scored.
        chance: Value of the main metric for the best guess without reading the input.
        truncated: Rows with an input longer than the evaluator's limit, scored on its beginning.
        predictions: All rows, in the order of the table.
        malformed: Rows whose generated text was not of the form that the task asks for.
        split: That was scored.
    """

    metrics: Mapping[str, float]
    main_metric: str
    n: int
    chance: float | None
    truncated: int
    predictions: Sequence[Prediction]
    malformed: int = 0
    split: str = "test"


def write(folder: str | os.PathLike, step: int, results: Mapping[str, TaskResult]) -> None:
    """Writes predictions, then metrics, of every task; a step written before is replaced."""
    folder = epath.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for task, result in results.items():
        lines = map(_prediction_line, result.predictions)
        _write_lines(folder / f"{task}-{step:06}.jsonl", lines)
        _write_metrics(folder / f"{task}{_METRICS}", step, result)


def read_metrics(folder: str | os.PathLike) -> dict[str, dict[int, dict]]:
    """``{task: {step: {"<metric>": value, "n": rows, "chance": value, "truncated": rows}}}``."""
    paths = sorted(epath.Path(folder).glob(f"*{_METRICS}"))
    return {path.name.removesuffix(_METRICS): _read_steps(path) for path in paths}


def read_predictions(folder: str | os.PathLike, task: str, step: int) -> list[Prediction]:
    """Predictions of a task at a step, from our file or one of ``seqio.JSONLogger``.

    Raises:
        ValueError: There are none; the message names the steps that there are.
    """
    path = epath.Path(folder) / f"{task}-{step:06}.jsonl"
    if not path.exists():
        stems = [other.stem.rpartition("-")[2] for other in path.parent.glob(f"{task}-*.jsonl")]
        known = sorted(int(stem) for stem in stems if stem.isdecimal())
        raise ValueError(
            f"No predictions of {task!r} at step {step} in {folder}; steps there: "
            f"{' '.join(map(str, known)) or 'none'}."
        )
    return [
        Prediction(
            id=str(line["input"].get("id", number)),
            # SeqIO's "inputs" are token ids.
            inputs=line["input"].get("inputs_pretokenized", line["input"]["inputs"]),
            target=line["target"],
            prediction=line["prediction"],
            score=line.get("score"),
            generated=line.get("generated"),
            weight=line.get("weight", 1.0),
            texts=line.get("texts", ()),
        )
        for number, line in enumerate(_read_lines(path))
    ]


def scalars(results: Mapping[str, TaskResult]) -> dict[str, float]:
    """Curves for TensorBoard: every metric as ``<task>/<metric>``, and means of main metrics.

    ``mean/<benchmark>`` is over the languages evaluated, ``mean/english`` over benchmarks of their
    English, ``mean/non_english`` over benchmarks of the mean over their other languages.
    """
    curves = {
        f"{task}/{name}": value
        for task, result in results.items()
        for name, value in result.metrics.items()
    }
    scores = {task: result.metrics[result.main_metric] for task, result in results.items()}
    means = aggregate.by_benchmark(scores)
    curves |= {f"mean/{benchmark}": value for benchmark, value in means.items()}
    other = aggregate.without(scores, "en")
    english = {task: score for task, score in scores.items() if task not in other}
    for name, found in (("english", english), ("non_english", other)):
        if benchmarks := aggregate.by_benchmark(found).values():
            curves[f"mean/{name}"] = sum(benchmarks) / len(benchmarks)
    return curves


def _prediction_line(row: Prediction) -> dict:
    line = {
        "input": {"id": row.id, "inputs": row.inputs},
        "target": row.target,
        "prediction": row.prediction,
        "score": row.score,
    }
    if row.weight != 1.0:
        line["weight"] = row.weight
    if row.texts:
        line["texts"] = list(row.texts)
    return line if row.generated is None else line | {"generated": row.generated}


def _write_metrics(path: epath.Path, step: int, result: TaskResult) -> None:
    facts = {
        "main_metric": result.main_metric,
        "n": result.n,
        "chance": result.chance,
        "truncated": result.truncated,
        "malformed": result.malformed,
        "split": result.split,
    }
    steps = _read_steps(path) if path.exists() else {}
    steps[step] = {**result.metrics, **facts}
    _write_lines(path, ({"step": number, **steps[number]} for number in sorted(steps)))


def _read_steps(path: epath.Path) -> dict[int, dict]:
    return {line.pop("step"): line for line in _read_lines(path)}


def _read_lines(path: epath.Path) -> Iterator[dict]:
    with path.open("r", encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(
                    f"{path}, line {number} is not JSON ({error}). Delete the file and evaluate "
                    "again."
                ) from error


def _write_lines(path: epath.Path, lines: Iterable[dict]) -> None:
    files.write_text(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
