"""Checks 'zero-shot': what an arm was trained on, stage by stage, against what it is scored on."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from xlt_jax.registry import languages
from xlt_jax.report.runs import StageRun, parent


class Exposure(enum.Enum):
    """What labelled training an arm had before it is scored in a benchmark and language."""

    ZERO_SHOT = "zero-shot"  # no labels in the language
    LANGUAGE_SEEN = "language seen"  # labels of other benchmarks in the language
    TASK_SEEN = "task-language seen"  # labels of this benchmark in the language
    UNCHECKED = "not checked"  # a stage of the arm has no record


@dataclass(frozen=True)
class Trained:
    """Labelled training of one benchmark in one language, in one stage."""

    stage: str
    benchmark: str
    language: str
    examples: int | None


@dataclass(frozen=True)
class Audit:
    """What one arm was trained on.

    Attributes:
        chain: Stages from the first to the scored one, as their records link them.
        labelled: All labelled training.
        unlabelled: Stage -> languages of unlabelled text.
        gap: Why the chain cannot be followed to its start; None when it can.
    """

    chain: tuple[StageRun, ...]
    labelled: tuple[Trained, ...]
    unlabelled: Mapping[str, tuple[str, ...]]
    gap: str | None

    def exposure(self, benchmark: str, language: str) -> Exposure:
        """How much the arm has seen before it is scored there."""
        code = canonical(language)
        seen = {trained.benchmark for trained in self.labelled if trained.language == code}
        if benchmark in seen:
            return Exposure.TASK_SEEN
        if self.gap:
            return Exposure.UNCHECKED
        return Exposure.LANGUAGE_SEEN if seen else Exposure.ZERO_SHOT


def audit(scored: StageRun) -> Audit:
    """Follows ``initial_checkpoint`` from the scored stage to the start."""
    chain = [scored]
    gap = None
    while True:
        earlier, gap = parent(chain[0])
        if earlier is None:
            break
        if earlier.folder.resolve() in [stage.folder.resolve() for stage in chain]:
            gap = f"{chain[0].name} and {earlier.name} start from each other"
            break
        chain.insert(0, earlier)
    if gap is None and all(stage.training is None for stage in chain):
        gap = f"{scored.name} has no record of the checkpoint that it scored"
    labelled = []
    unlabelled: dict[str, tuple[str, ...]] = {}
    for stage in chain:
        text: set[str] = set()
        for name, task in (stage.training or {"tasks": {}})["tasks"].items():
            if task.get("examples") == 0:
                continue
            benchmark = task.get("benchmark") or name.rpartition(".")[0]
            language = canonical(task.get("language") or name.rpartition(".")[2])
            if task.get("labelled", True):
                labelled.append(Trained(stage.name, benchmark, language, task.get("examples")))
            else:
                text.add(language)
        if text:
            unlabelled[stage.name] = tuple(sorted(text))
    return Audit(tuple(chain), tuple(labelled), unlabelled, gap)


def canonical(language: str) -> str:
    """The registry's code of the language, or what came when the registry lacks it."""
    try:
        return languages.get(language).code
    except ValueError:
        return language
