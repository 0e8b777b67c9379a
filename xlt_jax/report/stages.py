"""One stage as its folder shows it, and the stage that it started from."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from xlt_jax.training import goodput

METRICS = "-metrics.jsonl"
_SEED = re.compile(r"\.seed(\d+)$")


@dataclass(frozen=True)
class TrainingTexts:
    """Hashes of the texts of all labelled rows that a stage was trained on.

    Attributes:
        hashes: uint64, sorted; a text of several tasks is there once for each.
        tasks: Of each hash the number of its task.
        names: Of the tasks.
    """

    hashes: np.ndarray
    tasks: np.ndarray
    names: tuple[str, ...]


@dataclass(frozen=True)
class StageRun:
    """One stage as its folder shows it.

    Attributes:
        name: Name of the folder.
        folder: Where it is.
        arm: None when shared, or when no recipe says.
        seed: None when shared by all seeds, or when nothing says.
        program: "train" or "evaluate".
        status: "done", "not finished" or "not run".
        start_from: Path it started from, by its own record; None for none.
        command: For a shell; empty when unknown.
        seconds: Wall time; None when unknown.
        version: Version of the code.
        training: ``training_data.json``, or None.
        curve: Lines of ``metrics.jsonl``.
        restarts: Lines of ``restarts.jsonl``.
    """

    name: str
    folder: Path
    arm: str | None
    seed: int | None
    program: str
    status: str
    start_from: str | None
    command: str
    seconds: float | None
    version: str | None
    training: Mapping[str, Any] | None
    curve: tuple[Mapping[str, float], ...] = field(repr=False)
    restarts: tuple[Mapping[str, Any], ...] = field(repr=False, default=())

    @property
    def role(self) -> str:
        """The name without its seed: what it does, the same for all seeds."""
        return _SEED.sub("", self.name)

    @property
    def steps(self) -> int | None:
        """Optimizer steps taken in this stage."""
        if self.training is not None:
            return self.training["steps"] - (self.training.get("first_step") or 0)
        return None

    @property
    def tokens(self) -> int | None:
        """Tokens trained on, without padding."""
        return self._sum_over_steps(
            lambda line: line["tokens_per_s"] / line["steps_per_s"], ("tokens_per_s", "steps_per_s")
        )

    @property
    def flops(self) -> int | None:
        """Floating-point operations of all steps; None where the run did not count them."""
        return self._sum_over_steps(lambda line: line["flops_per_step"], ("flops_per_step",))

    @property
    def goodput(self) -> float | None:
        """Share of the time that was progress; None for a run that was never started again."""
        first_step = (self.training or {}).get("first_step") or 0
        return goodput.share(self.restarts, self.curve, first_step)

    @property
    def examples(self) -> int | None:
        """Training examples seen; None also where T5X trained, which does not count them."""
        if self.training is None:
            return None
        counts = [task.get("examples") for task in self.training["tasks"].values()]
        return None if None in counts else sum(counts)

    def texts(self) -> TrainingTexts | None:
        """What ``training_texts.npz`` holds; None when there is none."""
        path = self.folder / "training_texts.npz"
        if not path.is_file():
            return None
        try:
            with np.load(path, allow_pickle=False) as file:
                names = tuple(str(name) for name in file["names"])
                return TrainingTexts(file["hashes"].astype(np.uint64), file["tasks"], names)
        except (OSError, KeyError, ValueError) as error:
            raise ValueError(f"{path} cannot be read ({error}). Run its stage again.") from error

    def _sum_over_steps(self, per_step, keys: tuple[str, ...]) -> int | None:
        """Sum of ``per_step(line)`` over the steps up to each line since the one before."""
        lines = [line for line in self.curve if all(line.get(key) for key in keys)]
        if not lines:
            return None
        total, before = 0.0, (self.training or {}).get("first_step") or 0
        for line in lines:
            total += per_step(line) * (line["step"] - before)
            before = line["step"]
        return round(total)


def read_stage(folder: Path, entry: Mapping[str, Any]) -> StageRun:
    """The stage in ``folder``; ``entry`` is what the recipe says of it."""
    done = read_json(folder / "done.json")
    record = done or read_json(folder / "stage.json") or {}
    training = read_json(folder / "training_data.json")
    name = entry.get("name", folder.resolve().name)
    program = entry.get("program") or record.get("program")
    program = program or ("train" if training is not None else "evaluate")
    if training is not None:
        start_from = training["initial_checkpoint"]
    else:
        evaluation = read_json(folder / "evaluation.json") or {}
        start_from = evaluation.get("checkpoint") or _sibling(folder, record, entry)
    if done or (not record and (training is not None or score_folder(folder))):
        status = "done"
    else:
        status = "not finished" if record else "not run"
    curves = [path for path in (folder / "metrics.jsonl", folder / "train" / "metrics.jsonl")]
    curve = next((read_lines(path, cut_short=True) for path in curves if path.exists()), [])
    starts = folder / goodput.FILE
    seed = entry.get("seed", record.get("seed"))
    named = _SEED.search(name)
    return StageRun(
        name=name,
        folder=folder,
        arm=entry.get("arm", record.get("arm")),
        seed=int(named[1]) if seed is None and named else seed,
        program=program,
        status=status,
        start_from=start_from or None,
        command=record.get("shell") or entry.get("shell") or "",
        seconds=record.get("seconds"),
        version=record.get("code_version"),
        training=training,
        curve=tuple(curve),
        restarts=tuple(read_lines(starts)) if starts.exists() else (),
    )


def parent(
    stage: StageRun, known: Mapping[Path, StageRun] | None = None
) -> tuple[StageRun | None, str | None]:
    """The stage whose checkpoint this one started from, and why it cannot be read if it cannot.

    Both None: it started from nothing.

    Args:
        stage: Whose start is looked for.
        known: Folder -> stage, of those that need no second reading.
    """
    if stage.start_from is None:
        return None, None
    path = Path(stage.start_from)
    places = [path, *path.parents, stage.folder.parent / path.name]
    # A checkpoint inside a run (<run>/checkpoint_1000) and a run that was moved with its siblings.
    places += [stage.folder.parent / part for part in reversed(path.parts)]
    for place in places:
        if (place / "training_data.json").is_file():
            return (known or {}).get(place.resolve()) or read_stage(place, {}), None
    return None, f"{stage.name} started from {stage.start_from}, which has no training_data.json"


def score_folder(folder: Path) -> Path | None:
    """Where the stage's scores lie: the folder or its inference_eval/; None without any."""
    for place in (folder / "inference_eval", folder):
        if any(place.glob(f"*{METRICS}")):
            return place
    return None


def without_seed(name: str) -> tuple[str, int | None]:
    """``("english", 1)`` of ``"english.seed1"``; the seed is None where the name has none."""
    found = _SEED.search(name)
    return (name[: found.start()], int(found[1])) if found else (name, None)


def read_json(path: Path) -> dict[str, Any] | None:
    """The record in the file, or None when there is no file.

    Raises:
        ValueError: It is not JSON.
    """
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}). Run its stage again.") from error


def read_lines(path: Path, *, cut_short: bool = False) -> list[dict[str, Any]]:
    """The records of a file with one in each line.

    Args:
        path: The file.
        cut_short: Whether the last line may be unfinished, as a failed stage leaves it; it is
            dropped then.

    Raises:
        ValueError: A line is not JSON.
    """
    lines = []
    texts = path.read_text(encoding="utf-8").split("\n")
    for number, text in enumerate(texts, start=1):
        if text.strip():
            try:
                lines.append(json.loads(text))
            except ValueError as error:
                if cut_short and number == len(texts):
                    break
                raise ValueError(
                    f"{path}, line {number} is not JSON ({error}). Run its stage again."
                ) from error
    return lines


def _sibling(folder: Path, record: Mapping, entry: Mapping) -> str | None:
    name = record.get("start_from") or entry.get("start_from")
    return str(folder.parent / name) if name else None
