"""Reads the folders of an experiment: arms, seeds, stages, and what each scored.

Layout of an experiment: ``recipe.json`` (from ``xlt_jax.recipes``) and one folder for each stage.
A folder without ``recipe.json`` is also read: it, or each folder in it that has scores and is not
the start of another one, is an arm; ``english.seed1`` is seed 1 of arm ``english``.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xlt_jax.report import scores
from xlt_jax.report.scores import Cell, Key, RawTask, Run
from xlt_jax.report.stages import (
    METRICS,
    StageRun,
    parent,
    read_json,
    read_stage,
    score_folder,
    without_seed,
)


@dataclass(frozen=True)
class Study:
    """All that a report is made from.

    Attributes:
        title: Name of the recipe or folder.
        description: From the recipe, else empty.
        question: What the study asks, from the recipe, else empty.
        scale: From the recipe, else empty.
        selection: By what checkpoints of target stages were chosen; empty: the last ones were
            taken. None where no recipe says.
        arms: Arm -> description; also those without results.
        comparisons: (arm, baseline), the question first.
        stages: In the recipe's order.
        scored: (arm, seed) -> its stages with scores; those without are missing.
        cells: Arm -> (benchmark, language) -> score over the seeds.
        notes: What is missing or odd, for the reader.
    """

    title: str
    description: str
    question: str
    scale: str
    selection: str | None
    arms: Mapping[str, str]
    comparisons: tuple[tuple[str, str], ...]
    stages: tuple[StageRun, ...]
    scored: Mapping[Run, tuple[StageRun, ...]]
    cells: Mapping[str, Mapping[Key, Cell]] = field(repr=False)
    notes: tuple[str, ...]

    @property
    def seeds(self) -> tuple[int, ...]:
        """All seeds that are in some cell, sorted; empty where no stage has a seed."""
        found = {s for cells in self.cells.values() for cell in cells.values() for s in cell.seeds}
        return tuple(sorted(found - {None}))


def read(folders: Sequence[Path]) -> Study:
    """The experiment in these folders; with several, arms are called ``folder/arm``.

    Raises:
        ValueError: A folder does not exist or holds no scores at all.
    """
    studies = [_read_folder(Path(folder)) for folder in folders]
    if len(studies) == 1:
        return studies[0]
    return _join(studies)


def _read_folder(folder: Path) -> Study:
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder; name the folder of a run or experiment.")
    recipe = read_json(folder / "recipe.json")
    if recipe is None:
        stages, asked = _without_recipe(folder)
        recipe = {"name": folder.resolve().name, "arms": dict.fromkeys((a for a, _ in asked), "")}
    else:
        stages = [read_stage(folder / entry["name"], entry) for entry in recipe["stages"]]
        asked = {}
        for stage in stages:
            if stage.arm and stage.program == "evaluate":
                asked.setdefault((stage.arm, stage.seed), []).append(stage)
    raw, scored, notes = {}, {}, []
    for run, of_run in asked.items():
        found = tuple(stage for stage in of_run if score_folder(stage.folder))
        if found:
            scored[run] = found
            raw[run], said = _merge(found)
            notes += said
    notes = [*_missing(recipe["arms"], stages, asked, scored), *notes]
    cells, cell_notes = scores.join_seeds(raw)
    if not any(cells.values()):
        raise ValueError(
            f"{folder} holds no scores: no <task>{METRICS} in it, in its folders, or in their "
            "inference_eval/. Run the evaluation first. " + " ".join(notes)
        )
    return Study(
        title=recipe["name"],
        description=recipe.get("description") or "",
        question=recipe.get("question") or "",
        scale=recipe.get("scale") or "",
        selection=recipe.get("selection"),
        arms=recipe["arms"],
        comparisons=_comparisons(recipe),
        stages=tuple(stages),
        scored=scored,
        cells=cells,
        notes=(*notes, *cell_notes),
    )


def _merge(stages: Sequence[StageRun]) -> tuple[dict[Key, RawTask], list[str]]:
    """Tasks of all stages that scored one arm and seed; a later stage's score wins."""
    tasks: dict[Key, RawTask] = {}
    notes = []
    for stage in stages:
        found = scores.read_tasks(stage, score_folder(stage.folder))
        if twice := sorted(set(tasks) & set(found)):
            names = ", ".join(f"{benchmark}.{code}" for benchmark, code in twice)
            notes.append(f"{names}: scored more than once; {stage.name} counts.")
        tasks |= found
    return tasks, notes


def _missing(
    arms: Mapping[str, str],
    stages: Sequence[StageRun],
    asked: Mapping[Run, Sequence[StageRun]],
    scored: Mapping[Run, Sequence[StageRun]],
) -> list[str]:
    """Arms, seeds and stages without scores, and which of their stages did not end."""
    notes = []
    for arm in arms:
        if not any(a == arm for a, _ in scored):
            reasons = _unfinished(stage for stage in stages if stage.arm == arm)
            notes.append(f"Arm {arm} has no results: {reasons or 'no scores in its folder'}.")
            continue
        for run, of_run in asked.items():
            lacking = [stage for stage in of_run if stage not in scored.get(run, ())]
            if run[0] != arm or not lacking:
                continue
            mine = [s for s in stages if s.arm == arm and s.seed == run[1] and s.program == "train"]
            reasons = _unfinished([*mine, *lacking])
            who = f"Arm {arm}" if run[1] is None else f"Arm {arm}, seed {run[1]},"
            what = "results" if run not in scored else f"results of {_names(lacking)}"
            notes.append(f"{who} has no {what}: {reasons or 'no scores in the folder'}.")
    return notes


def _unfinished(stages: Iterable[StageRun]) -> str:
    return ", ".join(
        f"{stage.name} is {stage.status}" for stage in stages if stage.status != "done"
    )


def _names(stages: Sequence[StageRun]) -> str:
    return ", ".join(stage.name for stage in stages)


def _comparisons(recipe: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """As the recipe says, else each later arm with each earlier one, at most three arms' worth."""
    if recipe.get("comparisons"):
        return tuple((arm, baseline) for arm, baseline in recipe["comparisons"])
    arms = list(recipe["arms"])
    if len(arms) > 3:
        return tuple((arm, arms[0]) for arm in arms[1:])
    return tuple((arm, earlier) for i, arm in enumerate(arms) for earlier in arms[:i])


def _without_recipe(folder: Path) -> tuple[list[StageRun], dict[Run, list[StageRun]]]:
    places = [folder] if score_folder(folder) else sorted(p for p in folder.iterdir() if p.is_dir())
    stages = {place.resolve(): read_stage(place, {}) for place in places}
    known = {place: stage for place, stage in stages.items() if stage.status != "not run"}
    starts = {
        found.folder.resolve() for stage in known.values() if (found := parent(stage, stages)[0])
    }
    scored: dict[Run, list[StageRun]] = {}
    for place, stage in known.items():
        if place not in starts and score_folder(stage.folder):
            scored.setdefault(without_seed(place.name), []).append(stage)
    return list(known.values()), scored


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
        question=" ".join(study.question for study in studies).strip(),
        scale=", ".join(dict.fromkeys(study.scale for study in studies if study.scale)),
        selection=studies[0].selection if len({s.selection for s in studies}) == 1 else None,
        arms=arms,
        comparisons=tuple(within) or _comparisons({"arms": arms}),
        stages=tuple(stage for study in studies for stage in study.stages),
        scored={(named(s, arm), seed): x for s in studies for (arm, seed), x in s.scored.items()},
        cells={named(s, arm): cells for s in studies for arm, cells in s.cells.items()},
        notes=tuple(note for study in studies for note in study.notes),
    )
