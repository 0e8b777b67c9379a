"""Checks 'zero-shot': what an arm was trained on, stage by stage, against what it is scored on."""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from xlt_jax.registry import languages
from xlt_jax.report.scores import RowTexts, Score
from xlt_jax.report.stages import StageRun, TrainingTexts, parent


class Exposure(enum.Enum):
    """What labelled training an arm had before it is scored in a benchmark and language.

    From the least to the most; the last two are in no zero-shot mean.
    """

    ZERO_SHOT = "zero-shot"  # no labels in the language
    LANGUAGE_SEEN = "language seen"  # labels of other benchmarks in the language
    UNCHECKED = "not checked"  # a stage of the arm has no record
    TEXT_SEEN = "text seen"  # labels on rows that share texts with the scored ones
    TASK_SEEN = "task-language seen"  # labels of this benchmark in the language

    @property
    def refused(self) -> bool:
        """Whether no mean that is called zero-shot may contain it."""
        return self in (Exposure.TEXT_SEEN, Exposure.TASK_SEEN)


@dataclass(frozen=True)
class Shared:
    """Splits of a benchmark that share with what a stage was trained on, by declaration.

    Attributes:
        benchmark: The scored one.
        splits: Of it.
        note: What they share.
        texts: Whether texts are the same; False: only their source is.
    """

    benchmark: str
    splits: tuple[str, ...]
    note: str
    texts: bool


@dataclass(frozen=True)
class Trained:
    """Labelled training of one benchmark in one language, in one stage.

    ``trains`` are the benchmarks whose task it is: itself, and the original of a translation.
    """

    stage: str
    benchmark: str
    trains: tuple[str, ...]
    language: str
    examples: int | None
    split: str | None = None
    shared: tuple[Shared, ...] = ()


@dataclass(frozen=True)
class Leak:
    """Scored rows whose texts a stage was trained on.

    Attributes:
        stage: Its role.
        task: That it was trained on.
        rows: Scored rows found there.
        of: All scored rows.
    """

    stage: str
    task: str
    rows: int
    of: int


@dataclass(frozen=True)
class Overlap:
    """A declared overlap between training and a scored split."""

    stage: str
    trained: str
    shared: Shared


@dataclass(frozen=True)
class Audit:
    """What one scored stage's model was trained on.

    Attributes:
        chain: Stages from the first to the scored one, as their records link them.
        labelled: All labelled training.
        unlabelled: Stage -> languages of unlabelled text.
        gap: Why the chain cannot be followed to its start; None when it can.
        texts: Stage -> hashes of its labelled rows' texts, of the stages that kept them.
    """

    chain: tuple[StageRun, ...]
    labelled: tuple[Trained, ...]
    unlabelled: Mapping[str, tuple[str, ...]]
    gap: str | None
    texts: Mapping[str, TrainingTexts]

    def exposure(self, benchmark: str, language: str, score: Score | None = None) -> Exposure:
        """How much the model has seen before it is scored there.

        Args:
            benchmark: Its name.
            language: Its code.
            score: What was scored: its split and texts; None asks for any split and no texts.
        """
        code = canonical(language)
        mine = [trained for trained in self.labelled if trained.language == code]
        seen = {name for trained in mine for name in trained.trains}
        if benchmark in seen:
            return Exposure.TASK_SEEN
        split = score.split if score else None
        if any(overlap.shared.texts for overlap in self.overlaps(benchmark, split)):
            return Exposure.TEXT_SEEN
        if score and self.leaks(score.texts, score.n):
            return Exposure.TEXT_SEEN
        if self.gap:
            return Exposure.UNCHECKED
        return Exposure.LANGUAGE_SEEN if seen else Exposure.ZERO_SHOT

    def overlaps(self, benchmark: str, split: str | None) -> list[Overlap]:
        """Declared overlaps of labelled training with this split; None stands for any."""
        return [
            Overlap(trained.stage, f"{trained.benchmark}.{trained.language}", shared)
            for trained in self.labelled
            for shared in trained.shared
            if shared.benchmark == benchmark and (split is None or split in shared.splits)
        ]

    def leaks(self, texts: RowTexts | None, num_rows: int) -> list[Leak]:
        """Rows whose hashes are among those of a stage's training rows."""
        if texts is None:
            return []
        found = []
        for stage, trained in self.texts.items():
            first = np.searchsorted(trained.hashes, texts.hashes, side="left")
            counts = np.searchsorted(trained.hashes, texts.hashes, side="right") - first
            if not counts.any():
                continue
            # Every place in ``trained`` that equals a hash, and the row that the hash is of.
            before = np.cumsum(counts) - counts
            places = np.arange(counts.sum()) + np.repeat(first - before, counts)
            rows, tasks = np.repeat(texts.rows, counts), trained.tasks[places]
            for task in np.unique(tasks):
                number = len(np.unique(rows[tasks == task]))
                found.append(Leak(stage, trained.names[task], number, num_rows))
        return found

    @property
    def without_texts(self) -> tuple[str, ...]:
        """Stages with labelled training that kept no hashes of its texts."""
        labelled = {trained.stage for trained in self.labelled}
        return tuple(
            stage.role
            for stage in self.chain
            if stage.role in labelled and stage.role not in self.texts
        )

    def intermediate_languages(self) -> frozenset[str]:
        """Languages of labelled training before the last training stage."""
        training = [stage.role for stage in self.chain if stage.training is not None]
        earlier = set(training[:-1])
        return frozenset(t.language for t in self.labelled if t.stage in earlier)


class Auditor:
    """Audits of the scored stages of a study; shared stages are read once."""

    def __init__(self, stages: Sequence[StageRun]):
        self._stages = {stage.folder.resolve(): stage for stage in stages}
        self._texts: dict[Path, TrainingTexts | None] = {}

    def audit(self, scored: StageRun) -> Audit:
        """Follows ``initial_checkpoint`` from the scored stage to the start."""
        chain = [scored]
        gap = None
        while True:
            earlier, gap = parent(chain[0], self._stages)
            if earlier is None:
                break
            if earlier.folder.resolve() in [stage.folder.resolve() for stage in chain]:
                gap = f"{chain[0].name} and {earlier.name} start from each other"
                break
            chain.insert(0, earlier)
        if gap is None and all(stage.training is None for stage in chain):
            gap = f"{scored.name} has no record of the checkpoint that it scored"
        labelled, unlabelled = [], {}
        for stage in chain:
            mine, text = _training(stage)
            labelled += mine
            if text:
                unlabelled[stage.role] = text
        texts = {stage.role: found for stage in chain if (found := self._texts_of(stage))}
        return Audit(tuple(chain), tuple(labelled), unlabelled, gap, texts)

    def _texts_of(self, stage: StageRun) -> TrainingTexts | None:
        place = stage.folder.resolve()
        if place not in self._texts:
            self._texts[place] = stage.texts()
        return self._texts[place]


def canonical(language: str) -> str:
    """The registry's code of the language, or what came when the registry lacks it."""
    try:
        return languages.get(language).code
    except ValueError:
        return language


def _training(stage: StageRun) -> tuple[list[Trained], tuple[str, ...]]:
    """Labelled training of a stage, and the languages of its unlabelled text."""
    labelled, text = [], set()
    for name, task in (stage.training or {"tasks": {}})["tasks"].items():
        if task.get("examples") == 0:
            continue
        benchmark = task.get("benchmark") or name.rpartition(".")[0]
        language = canonical(task.get("language") or name.rpartition(".")[2])
        if not task.get("labelled", True):
            text.add(language)
            continue
        shared = tuple(
            Shared(s["benchmark"], tuple(s["splits"]), s.get("note", ""), s.get("texts", True))
            for s in task.get("shared") or ()
        )
        labelled.append(
            Trained(
                stage=stage.role,
                benchmark=benchmark,
                trains=tuple(task.get("trains") or (benchmark,)),
                language=language,
                examples=task.get("examples"),
                split=task.get("split"),
                shared=shared,
            )
        )
    return labelled, tuple(sorted(text))
