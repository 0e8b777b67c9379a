"""``python -m xlt_jax.score --predictions DIR --labels DIR``: scores a submission to XTREME(-R)."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from xlt_jax import files
from xlt_jax.evaluation import submission, summary
from xlt_jax.evaluation.summary import Results, Score
from xlt_jax.metrics import classification, mining, retrieval, span_qa, tagging
from xlt_jax.registry import xtreme


def main(arguments: list[str] | None = None) -> int:
    """Exit status of the command line: 0 when something was scored, 2 for bad input."""
    parser = argparse.ArgumentParser(prog="python -m xlt_jax.score", description=__doc__)
    parser.add_argument(
        "--predictions", type=Path, required=True, metavar="DIR", help="holds TASK/test-LANGUAGE.*"
    )
    parser.add_argument(
        "--labels", type=Path, required=True, metavar="DIR", help="gold files, in the same layout"
    )
    parser.add_argument("--version", choices=xtreme.VERSIONS, default="xtreme-r")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write scores in full precision")
    parser.add_argument("--verbose", action="store_true", help="show every language")
    options = parser.parse_args(arguments)
    try:
        results = score(options.predictions, options.labels, options.version)
        if options.json:
            _write(options.json, json.dumps(summary.as_json(results), indent=2) + "\n")
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    summary.show(results, verbose=options.verbose)
    return 0


def score(predictions: Path, labels: Path, version: str = "xtreme-r") -> Results:
    """Scores every file of predictions that has labels.

    Raises:
        ValueError: A folder does not exist, a file is not in its layout, or nothing can be scored.
    """
    for folder in (predictions, labels):
        if not folder.is_dir():
            raise ValueError(f"{folder} is not a folder. Name one that holds TASK/test-LANGUAGE.*.")
    scores: dict[str, dict[str, Score]] = {}
    notes = _surplus_files(predictions, version)
    for name, task in xtreme.tasks(version).items():
        for language in task.languages:
            if not (predictions / name / task.file_name(language)).is_file():
                continue
            if not (labels / name / task.file_name(language)).is_file():
                notes.append(f"{name}.{language}: predictions without labels, not scored")
                continue
            found = score_language(predictions, labels, task, language)
            scores.setdefault(name, {})[language] = found
            notes += [f"{name}.{language}: {note}" for note in found.notes]
    if not scores:
        raise ValueError(_nothing_scored(predictions, labels, version))
    return summary.of_scores(scores, version, notes)


def score_language(predictions: Path, labels: Path, task: xtreme.Task, language: str) -> Score:
    """Scores one file of predictions as the official program does.

    Raises:
        ValueError: A file is not in its layout.
    """
    if task.name == "bucc2018":
        gold = submission.read_labels(labels, task.name, language)
        given = submission.read_predictions(predictions, task.name, language)
        pairs = [(source, target) for source, ids in given.items() for target in ids.split()]
        return Score(_percent(mining.pair_f1(gold, pairs), task))
    matched = submission.read_matched(predictions, labels, task.name, language)
    metrics = _metrics(matched, task, language)
    notes = [
        _counted(matched.missing, "without a prediction, counted as wrong"),
        _counted(matched.extra, "of predictions not in the labels, ignored"),
    ]
    if metrics.get("well_formed", 1.0) < 1.0:
        malformed = round((1 - metrics["well_formed"]) * len(matched.targets))
        notes.append(f"{malformed} sentences with another number of tags, cut or filled up with O")
    known = submission.LABELS.get(task.name)
    if known and not set(known) & set(matched.predictions):
        notes.append(f"not one prediction is a label ({', '.join(known)})")
    return Score(_percent(metrics, task), tuple(filter(None, notes)))


def _metrics(matched: submission.Matched, task: xtreme.Task, language: str) -> dict[str, float]:
    """Metrics in 0..1."""
    if task.group == "qa":
        # A question without a prediction is wrong even where "" would be an exact match.
        rows = [(t, p) for t, p in zip(matched.targets, matched.predictions) if p is not None]
        if not rows:
            return dict.fromkeys(task.metrics, 0.0)
        manner = f"mlqa.{language}" if task.name == "mlqa" else "squad"
        answered = span_qa.squad(*zip(*rows), manner)
        return {name: value * len(rows) / len(matched.targets) for name, value in answered.items()}
    targets, predictions = matched.targets, [text or "" for text in matched.predictions]
    if task.group == "structured":
        score = tagging.pos_f1 if task.name == "udpos" else tagging.entity_f1
        return score(targets, predictions)
    if task.metrics == ("map_at_20",):
        return retrieval.map_at_20(targets, predictions)
    return classification.accuracy(targets, predictions)


def _percent(metrics: Mapping[str, float], task: xtreme.Task) -> dict[str, float]:
    return {name: 100 * metrics[name] for name in task.metrics}


def _counted(ids: Sequence[str], what: str) -> str:
    return f"{len(ids)} ids {what}, the first is {ids[0]}" if ids else ""


def _surplus_files(predictions: Path, version: str) -> list[str]:
    """Notes on what lies in the folder and is not part of the version."""
    tasks, notes = xtreme.tasks(version), []
    for folder in sorted(path for path in predictions.iterdir() if path.is_dir()):
        if folder.name not in tasks:
            notes.append(f"{folder.name}: not a task of {version}, not scored")
            continue
        task = tasks[folder.name]
        expected = {task.file_name(language) for language in task.languages}
        surplus = sorted(path.name for path in folder.iterdir() if path.name not in expected)
        if surplus:
            names = " ".join(surplus[:5]) + (" ..." if len(surplus) > 5 else "")
            notes.append(f"{task.name}: {len(surplus)} files not of {version}, ignored: {names}")
    return notes


def _nothing_scored(predictions: Path, labels: Path, version: str) -> str:
    expected = ", ".join(
        f"{name}/{task.file_name(task.languages[0])}"
        for name, task in xtreme.tasks(version).items()
    )
    found = " ".join(sorted(path.name for path in predictions.iterdir())[:12]) or "nothing"
    return (
        f"No file of {predictions} could be scored with {labels}. {version} has {expected} and so "
        f"on; the folder of predictions has {found}."
    )


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_text(path, text)
    except OSError as error:
        raise ValueError(
            f"Cannot write {path}: {error.strerror}. Name another file with --json."
        ) from error


if __name__ == "__main__":
    sys.exit(main())
