"""Reads the folders of an experiment: scores, rows, training data, curves and commands.

Layout of an experiment: ``recipe.json`` (from ``xlt_jax.recipes``) and one folder for each stage.
A folder without ``recipe.json`` is also read: it, or each folder in it that has scores and is not
the start of another one, is an arm.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Rows = Mapping[str, tuple[float, float]]  # id -> (score times weight, weight)
_METRICS = "-metrics.jsonl"
_FACTS = {
    "step",
    "n",
    "chance",
    "truncated",
    "malformed",
    "split",
    "main_metric",
}  # keys that are no metric


@dataclass(frozen=True)
class Cell:
    """Score of one arm in one benchmark and language.

    Attributes:
        metric: Name of the main metric.
        value: 0..1.
        chance: The best guess without reading the input, 0..1; None when unknown.
        n: Test rows.
        rows: Row id -> (score times weight, weight), whose sums' ratio is the value; empty when
            the predictions are missing.
    """

    metric: str
    value: float
    chance: float | None
    n: int
    rows: Rows = field(repr=False)


@dataclass(frozen=True)
class StageRun:
    """One stage as its folder shows it.

    Attributes:
        name: Name of the folder.
        folder: Where it is.
        arm: None when shared, or when no recipe says.
        program: "train" or "evaluate".
        status: "done", "not finished" or "not run".
        start_from: Path it started from, by its own record; None for none.
        command: For a shell; empty when unknown.
        seconds: Wall time; None when unknown.
        version: Version of the code.
        training: ``training_data.json``, or None.
        curve: Lines of ``metrics.jsonl``.
    """

    name: str
    folder: Path
    arm: str | None
    program: str
    status: str
    start_from: str | None
    command: str
    seconds: float | None
    version: str | None
    training: Mapping[str, Any] | None
    curve: tuple[Mapping[str, float], ...] = field(repr=False)

    @property
    def steps(self) -> int | None:
        """Optimizer steps taken in this stage."""
        if self.training is not None:
            return self.training["steps"] - (self.training.get("first_step") or 0)
        return None

    @property
    def tokens(self) -> int | None:
        """Tokens trained on, without padding."""
        if not self.curve or "tokens_per_s" not in self.curve[0]:
            return None
        total, before = 0.0, (self.training or {}).get("first_step") or 0
        for line in self.curve:
            total += line["tokens_per_s"] / line["steps_per_s"] * (line["step"] - before)
            before = line["step"]
        return round(total)

    @property
    def examples(self) -> int | None:
        """Training examples seen; None also where T5X trained, which does not count them."""
        if self.training is None:
            return None
        counts = [task.get("examples") for task in self.training["tasks"].values()]
        return None if None in counts else sum(counts)


@dataclass(frozen=True)
class Study:
    """All that a report is made from.

    Attributes:
        title: Name of the recipe or folder.
        description: From the recipe, else empty.
        arms: Arm -> description; also those without results.
        comparisons: (arm, baseline), the question first.
        stages: In the recipe's order.
        scored: Arm -> its scored stage; arms without results are missing.
        cells: Arm -> (benchmark, language) -> score.
        notes: What is missing or odd, for the reader.
    """

    title: str
    description: str
    arms: Mapping[str, str]
    comparisons: tuple[tuple[str, str], ...]
    stages: tuple[StageRun, ...]
    scored: Mapping[str, StageRun]
    cells: Mapping[str, Mapping[tuple[str, str], Cell]] = field(repr=False)
    notes: tuple[str, ...]


def read(folders: Sequence[Path]) -> Study:
    """The experiment in these folders; with several, arms are called ``folder/arm``.

    Raises:
        ValueError: A folder does not exist or holds no scores at all.
    """
    studies = [_read_folder(Path(folder)) for folder in folders]
    if len(studies) == 1:
        return studies[0]
    return _join(studies)


def parent(stage: StageRun) -> tuple[StageRun | None, str | None]:
    """The stage whose checkpoint this one started from, and why it cannot be read if it cannot.

    Both None: it started from nothing.
    """
    if stage.start_from is None:
        return None, None
    path = Path(stage.start_from)
    places = [path, *path.parents, stage.folder.parent / path.name]
    # A checkpoint inside a run (<run>/checkpoint_1000) and a run that was moved with its siblings.
    places += [stage.folder.parent / part for part in reversed(path.parts)]
    for place in places:
        if (place / "training_data.json").is_file():
            return _read_stage(place, {}), None
    return None, f"{stage.name} started from {stage.start_from}, which has no training_data.json"


def _read_folder(folder: Path) -> Study:
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder; name the folder of a run or experiment.")
    recipe = _read_json(folder / "recipe.json")
    if recipe is None:
        stages, scored = _without_recipe(folder)
        recipe = {"name": folder.resolve().name, "arms": dict.fromkeys(scored, "")}
    else:
        stages = [_read_stage(folder / entry["name"], entry) for entry in recipe["stages"]]
        scored = {stage.arm: stage for stage in stages if stage.arm and stage.program == "evaluate"}
        scored = {arm: stage for arm, stage in scored.items() if _score_folder(stage.folder)}
    notes = []
    for arm in recipe["arms"]:
        if arm not in scored:
            lacking = [s for s in stages if s.arm == arm and s.status != "done"]
            reasons = ", ".join(f"{stage.name} is {stage.status}" for stage in lacking)
            notes.append(f"Arm {arm} has no results: {reasons or 'no scores in its folder'}.")
    raw = {arm: _read_scores(_score_folder(stage.folder)) for arm, stage in scored.items()}
    cells, cell_notes = _choose_metrics(raw)
    if not any(cells.values()):
        raise ValueError(
            f"{folder} holds no scores: no <task>{_METRICS} in it, in its folders, or in their "
            "inference_eval/. Run the evaluation first. " + " ".join(notes)
        )
    return Study(
        title=recipe["name"],
        description=recipe.get("description", ""),
        arms=recipe["arms"],
        comparisons=_comparisons(recipe),
        stages=tuple(stages),
        scored=scored,
        cells=cells,
        notes=(*notes, *cell_notes),
    )


def _comparisons(recipe: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """As the recipe says, else each later arm with each earlier one, at most three arms' worth."""
    if recipe.get("comparisons"):
        return tuple((arm, baseline) for arm, baseline in recipe["comparisons"])
    arms = list(recipe["arms"])
    if len(arms) > 3:
        return tuple((arm, arms[0]) for arm in arms[1:])
    return tuple((arm, earlier) for i, arm in enumerate(arms) for earlier in arms[:i])


def _without_recipe(folder: Path) -> tuple[list[StageRun], dict[str, StageRun]]:
    places = (
        [folder] if _score_folder(folder) else sorted(p for p in folder.iterdir() if p.is_dir())
    )
    stages = {place.resolve(): _read_stage(place, {}) for place in places}
    known = {place: stage for place, stage in stages.items() if stage.status != "not run"}
    starts = {found.folder.resolve() for stage in known.values() if (found := parent(stage)[0])}
    scored = {
        stage.folder.resolve().name: stage
        for place, stage in known.items()
        if place not in starts and _score_folder(stage.folder)
    }
    return list(known.values()), scored


def _read_stage(folder: Path, entry: Mapping[str, Any]) -> StageRun:
    """The stage in ``folder``; ``entry`` is what the recipe says of it."""
    done = _read_json(folder / "done.json")
    record = done or _read_json(folder / "stage.json") or {}
    training = _read_json(folder / "training_data.json")
    program = entry.get("program") or record.get("program")
    program = program or ("train" if training is not None else "evaluate")
    if training is not None:
        start_from = training["initial_checkpoint"]
    else:
        evaluation = _read_json(folder / "evaluation.json") or {}
        start_from = evaluation.get("checkpoint") or _sibling(folder, record, entry)
    if done or (not record and (training is not None or _score_folder(folder))):
        status = "done"
    else:
        status = "not finished" if record else "not run"
    curves = [path for path in (folder / "metrics.jsonl", folder / "train" / "metrics.jsonl")]
    curve = next((tuple(_read_lines(path)) for path in curves if path.exists()), ())
    return StageRun(
        name=entry.get("name", folder.resolve().name),
        folder=folder,
        arm=entry.get("arm", record.get("arm")),
        program=program,
        status=status,
        start_from=start_from or None,
        command=record.get("shell") or entry.get("shell") or "",
        seconds=record.get("seconds"),
        version=record.get("code_version"),
        training=training,
        curve=curve,
    )


def _sibling(folder: Path, record: Mapping, entry: Mapping) -> str | None:
    name = record.get("start_from") or entry.get("start_from")
    return str(folder.parent / name) if name else None


def _score_folder(folder: Path) -> Path | None:
    for place in (folder / "inference_eval", folder):
        if any(place.glob(f"*{_METRICS}")):
            return place
    return None


def _read_scores(folder: Path) -> dict[tuple[str, str], tuple[dict, Rows]]:
    """(benchmark, language) -> (last line of metrics, rows)."""
    scores = {}
    for path in sorted(folder.glob(f"*{_METRICS}")):
        task = path.name.removesuffix(_METRICS)
        benchmark, _, language = task.rpartition(".")
        lines = list(_read_lines(path))
        if not lines or not benchmark:
            continue
        last = max(lines, key=lambda line: line["step"])
        rows = folder / f"{task}-{last['step']:06}.jsonl"
        scores[benchmark, language] = last, _row_scores(rows) if rows.exists() else {}
    return scores


def _row_scores(path: Path) -> Rows:
    rows: dict[str, tuple[float, float]] = {}
    for number, line in enumerate(_read_lines(path)):
        if "score" not in line:  # SeqIO's own logger wrote it
            return {}
        name = str(line["input"].get("id", number))
        weight = float(line.get("weight", 1.0))
        shares = float(line["score"]) * weight, weight
        rows[f"{name}#{number}" if name in rows else name] = shares
    return rows


def _mean(rows: Rows) -> float:
    shares, weights = zip(*rows.values())
    return sum(shares) / sum(weights) if sum(weights) else 0.0


def _choose_metrics(raw: Mapping[str, Mapping]) -> tuple[dict[str, dict], list[str]]:
    """Cells of every arm, with one main metric for each benchmark.

    The file says which, or it is the metric that is the mean of the rows' scores.
    """
    main = _main_metrics(raw)
    cells: dict[str, dict] = {}
    notes = []
    for arm, scores in raw.items():
        cells[arm] = {}
        odd, rowless = [], []
        for (benchmark, language), (line, rows) in scores.items():
            metric = main[benchmark]
            if metric not in line:
                notes.append(f"{arm}: {benchmark}.{language} has no {metric}; it is left out.")
                continue
            cell = Cell(metric, line[metric], line.get("chance"), line.get("n", len(rows)), rows)
            cells[arm][benchmark, language] = cell
            if not rows:
                rowless.append(f"{benchmark}.{language}")
            elif abs(_mean(rows) - cell.value) > 1e-4:
                odd.append(f"{benchmark}.{language}")
        if rowless:
            notes.append(f"{arm}: no predictions, so no interval: {', '.join(rowless)}.")
        if odd:
            notes.append(
                f"{arm}: the value is not the mean of the rows' scores, to which its interval "
                f"belongs: {', '.join(odd)}."
            )
    return cells, notes


def _main_metrics(raw: Mapping[str, Mapping]) -> dict[str, str]:
    votes: dict[str, Counter] = {}
    for scores in raw.values():
        for (benchmark, _), (line, rows) in scores.items():
            names = [name for name in line if name not in _FACTS]
            mean = _mean(rows) if rows else None
            close = [n for n in names if mean is not None and abs(line[n] - mean) < 1e-4]
            said = [line["main_metric"]] if "main_metric" in line else close or names
            votes.setdefault(benchmark, Counter()).update(said)
    return {benchmark: counter.most_common(1)[0][0] for benchmark, counter in votes.items()}


def _join(studies: Sequence[Study]) -> Study:
    def named(study: Study, arm: str) -> str:
        return arm if arm == study.title else f"{study.title}/{arm}"

    arms = {named(s, arm): text for s in studies for arm, text in s.arms.items()}
    if len(arms) < sum(len(study.arms) for study in studies):
        raise ValueError("Two of the folders have the same name: rename one of them.")
    within = [(named(s, a), named(s, b)) for s in studies for a, b in s.comparisons]
    return Study(
        title=" and ".join(study.title for study in studies),
        description=" ".join(study.description for study in studies).strip(),
        arms=arms,
        comparisons=tuple(within) or _comparisons({"arms": arms}),
        stages=tuple(stage for study in studies for stage in study.stages),
        scored={named(s, arm): stage for s in studies for arm, stage in s.scored.items()},
        cells={named(s, arm): cells for s in studies for arm, cells in s.cells.items()},
        notes=tuple(note for study in studies for note in study.notes),
    )


def _read_json(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}). Run its stage again.") from error


def _read_lines(path: Path) -> list[dict[str, Any]]:
    lines = []
    for number, text in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if text.strip():
            try:
                lines.append(json.loads(text))
            except ValueError as error:
                raise ValueError(
                    f"{path}, line {number} is not JSON ({error}). Run its stage again."
                ) from error
    return lines
