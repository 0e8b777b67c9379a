"""Reads an evaluation's files: metrics and rows of each task, joined over seeds."""

import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from xlt_jax.report import script
from xlt_jax.report.script import ScriptCount
from xlt_jax.report.stages import METRICS, StageRun, read_lines

Key = tuple[str, str]  # benchmark, language
Run = tuple[str, int | None]  # arm, seed; None for a stage that all seeds share
Rows = Mapping[str, tuple[float, float]]  # id -> (score times weight, weight)
# Keys of a metrics line that are no metric.
_FACTS = {"step", "n", "chance", "truncated", "malformed", "split", "main_metric"}


@dataclass(frozen=True)
class RowTexts:
    """Hashes of the scored rows' texts, to look for in training.

    Attributes:
        hashes: uint64.
        rows: Of each hash the number of its row.
    """

    hashes: np.ndarray
    rows: np.ndarray


@dataclass(frozen=True)
class Score:
    """One model's score in one benchmark and language.

    Attributes:
        stage: That scored it.
        metric: Name of the main metric.
        value: 0..1.
        metrics: All metrics, 0..1.
        chance: The best guess without reading the input, 0..1; None when unknown.
        n: Test rows.
        split: That was scored; None when unknown.
        truncated: Rows of which only the beginning was read; None when unknown.
        malformed: Rows whose output was not of the form asked for; None when unknown.
        script: How many predictions are in another script; None where it cannot be told.
        texts: None where the rows have no hashes.
        rows: Row id -> (score times weight, weight), whose sums' ratio is the value; empty when
            the predictions are missing.
    """

    stage: StageRun = field(repr=False)
    metric: str
    value: float
    metrics: Mapping[str, float]
    chance: float | None
    n: int
    split: str | None
    truncated: int | None
    malformed: int | None
    script: ScriptCount | None
    texts: RowTexts | None = field(repr=False)
    rows: Rows = field(repr=False)


@dataclass(frozen=True)
class Cell:
    """Score of one arm in one benchmark and language: the mean over its seeds.

    Attributes:
        seeds: Seed -> score; the key is None where no stage has a seed.
    """

    seeds: Mapping[int | None, Score]

    @property
    def value(self) -> float:
        """Mean over seeds, 0..1."""
        return float(np.mean([score.value for score in self.seeds.values()]))

    @property
    def metric(self) -> str:
        """Name of the main metric."""
        return self._first.metric

    @property
    def chance(self) -> float | None:
        """The best guess without reading the input, 0..1; None when unknown."""
        return self._first.chance

    @property
    def n(self) -> int:
        """Test rows of each seed."""
        return self._first.n

    @property
    def metrics(self) -> dict[str, float]:
        """Every metric's mean over seeds."""
        names = set.intersection(*(set(score.metrics) for score in self.seeds.values()))
        return {
            name: float(np.mean([score.metrics[name] for score in self.seeds.values()]))
            for name in self._first.metrics
            if name in names
        }

    @property
    def splits(self) -> tuple[str, ...]:
        """What was scored, "test" where the files do not say."""
        return tuple(sorted({score.split or "test" for score in self.seeds.values()}))

    @property
    def _first(self) -> Score:
        return next(iter(self.seeds.values()))


@dataclass(frozen=True)
class RawTask:
    """One task as a stage's files have it, before its main metric is known."""

    stage: StageRun
    line: Mapping
    rows: Rows
    malformed: int | None
    script: ScriptCount | None
    texts: RowTexts | None


def read_tasks(stage: StageRun, folder: Path) -> dict[Key, RawTask]:
    """(benchmark, language) -> the last step that ``stage`` scored in ``folder``."""
    tasks = {}
    for path in sorted(folder.glob(f"*{METRICS}")):
        task = path.name.removesuffix(METRICS)
        benchmark, _, language = task.rpartition(".")
        lines = read_lines(path)
        if not lines or not benchmark:
            continue
        last = max(lines, key=lambda line: line["step"])
        predictions = folder / f"{task}-{last['step']:06}.jsonl"
        found = read_lines(predictions) if predictions.exists() else []
        formed = [line["well_formed"] for line in found if "well_formed" in line]
        tasks[benchmark, language] = RawTask(
            stage=stage,
            line=last,
            rows=_row_scores(found),
            malformed=last.get("malformed", formed.count(False) if formed else None),
            script=script.count(language, map(_texts, found)) if found else None,
            texts=_row_texts(found),
        )
    return tasks


def join_seeds(
    raw: Mapping[Run, Mapping[Key, RawTask]],
) -> tuple[dict[str, dict[Key, Cell]], list[str]]:
    """Cells of every arm over the seeds that all arms have, and what a reader should know.

    A benchmark counts the seeds in which every arm that has the benchmark at all has it: the same
    seeds in all arms. What a stage without seed scored serves every seed.
    """
    scores, notes = _with_metric(raw)
    named = sorted({seed for _, seed in scores if seed is not None}) or [None]
    by_arm: dict[str, dict[int | None, dict[Key, Score]]] = {}
    for arm in dict.fromkeys(arm for arm, _ in scores):
        shared = scores.get((arm, None), {})
        own = {seed: scores[arm, seed] for seed in named if (arm, seed) in scores}
        # An arm without any seed is the same model in every seed of the others.
        seeds = [seed for seed in named if seed in own] if set(own) - {None} else named
        by_arm[arm] = {seed: {**shared, **own.get(seed, {})} for seed in seeds}
    cells: dict[str, dict[Key, Cell]] = {arm: {} for arm in by_arm}
    for benchmark in sorted({b for found in scores.values() for b, _ in found}):
        used, said = _seeds_of(benchmark, by_arm)
        notes += said
        for arm, seeds in used.items():
            tables = {
                seed: {code: s for (b, code), s in by_arm[arm][seed].items() if b == benchmark}
                for seed in seeds
            }
            for code in sorted(set().union(*tables.values())):
                lacking = [seed for seed in seeds if code not in tables[seed]]
                if lacking:
                    notes.append(
                        f"{arm} lacks {benchmark}.{code} in {seed_list(lacking)}: it is left out."
                    )
                    continue
                cells[arm][benchmark, code] = Cell({seed: tables[seed][code] for seed in seeds})
    return cells, notes


def seed_list(seeds: Iterable[int | None]) -> str:
    """``"seed 1"``, ``"seeds 0, 2"``."""
    names = [str(seed) for seed in seeds]
    return f"seed{'' if len(names) == 1 else 's'} {', '.join(names)}"


def _seeds_of(
    benchmark: str, by_arm: Mapping[str, Mapping[int | None, Mapping[Key, Score]]]
) -> tuple[dict[str, list[int | None]], list[str]]:
    """Arm -> the seeds that count in the benchmark, and notes."""
    having = {
        arm: [seed for seed, found in seeds.items() if any(b == benchmark for b, _ in found)]
        for arm, seeds in by_arm.items()
    }
    having = {arm: seeds for arm, seeds in having.items() if seeds}
    common = [
        seed for seed in next(iter(having.values())) if all(seed in s for s in having.values())
    ]
    if not common:
        own = "; ".join(f"{arm} has {seed_list(seeds)}" for arm, seeds in having.items())
        return having, [
            f"No seed of {benchmark} is in every arm ({own}): its seeds are not paired between "
            "arms."
        ]
    notes = []
    for seed in sorted({s for seeds in having.values() for s in seeds} - set(common)):
        lacking = ", ".join(arm for arm, seeds in having.items() if seed not in seeds)
        notes.append(
            f"Seed {seed} of {benchmark} is left out of every arm: no scores of it from {lacking}."
        )
    return {arm: common for arm in having}, notes


def _row_scores(lines: Sequence[Mapping]) -> Rows:
    rows: dict[str, tuple[float, float]] = {}
    once: dict[tuple[float, float], tuple[float, float]] = {}  # few differ, and rows are millions
    for number, line in enumerate(lines):
        if line.get("score") is None:  # SeqIO's own logger wrote it
            return {}
        name = str(line["input"].get("id", number))
        name = sys.intern(f"{name}#{number}" if name in rows else name)  # the same in every model
        weight = float(line.get("weight", 1.0))
        shares = float(line["score"]) * weight, weight
        rows[name] = once.setdefault(shares, shares)
    return rows


def _texts(line: Mapping) -> tuple[str | Sequence[str], str]:
    """(reference or several, prediction) of a row."""
    return line.get("target", ""), line.get("prediction", "")


def _row_texts(lines: Sequence[Mapping]) -> RowTexts | None:
    pairs = [
        (int(text, 16), number)
        for number, line in enumerate(lines)
        for text in line.get("texts") or ()
    ]
    if not pairs:
        return None
    hashes, rows = zip(*pairs)
    return RowTexts(np.array(hashes, np.uint64), np.array(rows))


def _mean(rows: Rows) -> float:
    shares, weights = zip(*rows.values())
    return sum(shares) / sum(weights) if sum(weights) else 0.0


def _with_metric(
    raw: Mapping[Run, Mapping[Key, RawTask]],
) -> tuple[dict[Run, dict[Key, Score]], list[str]]:
    """Scores with one main metric for each benchmark.

    The file says which, or it is the metric that is the mean of the rows' scores.
    """
    main = _main_metrics(raw)
    scores: dict[Run, dict[Key, Score]] = {}
    notes = []
    for (arm, seed), tasks in raw.items():
        who = arm if seed is None else f"{arm}, seed {seed}"
        scores[arm, seed] = {}
        odd, rowless = [], []
        for (benchmark, language), task in tasks.items():
            metric, line = main[benchmark], task.line
            if metric not in line:
                notes.append(f"{who}: {benchmark}.{language} has no {metric}; it is left out.")
                continue
            scores[arm, seed][benchmark, language] = Score(
                stage=task.stage,
                metric=metric,
                value=line[metric],
                metrics={name: line[name] for name in line if name not in _FACTS},
                chance=line.get("chance"),
                n=line.get("n", len(task.rows)),
                split=line.get("split"),
                truncated=line.get("truncated"),
                malformed=task.malformed,
                script=task.script,
                texts=task.texts,
                rows=task.rows,
            )
            if not task.rows:
                rowless.append(f"{benchmark}.{language}")
            elif abs(_mean(task.rows) - line[metric]) > 1e-4:
                odd.append(f"{benchmark}.{language}")
        if rowless:
            notes.append(f"{who}: no predictions, so no interval: {', '.join(rowless)}.")
        if odd:
            notes.append(
                f"{who}: the value is not the mean of the rows' scores, to which its interval "
                f"belongs: {', '.join(odd)}."
            )
    return scores, notes


def _main_metrics(raw: Mapping[Run, Mapping[Key, RawTask]]) -> dict[str, str]:
    votes: dict[str, Counter] = {}
    for tasks in raw.values():
        for (benchmark, _), task in tasks.items():
            line = task.line
            names = [name for name in line if name not in _FACTS]
            mean = _mean(task.rows) if task.rows else None
            close = [n for n in names if mean is not None and abs(line[n] - mean) < 1e-4]
            said = [line["main_metric"]] if "main_metric" in line else close or names
            votes.setdefault(benchmark, Counter()).update(said)
    return {benchmark: counter.most_common(1)[0][0] for benchmark, counter in votes.items()}
