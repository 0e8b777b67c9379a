"""What stages and arms cost: steps, examples, tokens, floating-point operations, seconds."""

from collections.abc import Sequence
from dataclasses import dataclass

from xlt_jax.report.stages import StageRun
from xlt_jax.report.tables import Results


@dataclass(frozen=True)
class CostRow:
    """What an arm, or one stage, cost; None where unknown.

    Attributes:
        name: Of the stage, or of all stages of the arm.
        arm: None for a stage that several arms share.
        seeds: Of an arm: how many it was run with; its numbers are means over them.
        goodput: Of a stage that was started again: the share of its time that was progress.
    """

    name: str
    arm: str | None
    seeds: int
    steps: float | None
    examples: float | None
    tokens: float | None
    flops: float | None
    seconds: float | None
    version: str | None
    goodput: float | None = None


@dataclass(frozen=True)
class Forgetting:
    """Loss on an earlier stage's mixture, before and after a stage, in nats per token."""

    stage: str
    mixture: str
    before: float
    after: float
    first_step: int
    last_step: int


def stage_costs(results: Results) -> list[CostRow]:
    """Of every stage that ran, in the order of the recipe."""
    known = [stage for stage in results.study.stages if stage.status != "not run"]
    return [
        CostRow(
            s.name, s.arm, 1, s.steps, s.examples, s.tokens, s.flops, s.seconds, s.version,
            s.goodput,
        )
        for s in known
    ]  # fmt: skip


def arm_costs(results: Results) -> list[CostRow]:
    """Of every arm, from its first stage on, means over seeds; None when a stage is unknown.

    A stage that several evaluations of the arm go back to counts once.
    """
    rows = []
    for arm in results.arms:
        runs = [
            _chains(results, stages)
            for (name, _), stages in results.study.scored.items()
            if name == arm
        ]
        training = [[stage for stage in run if stage.training is not None] for run in runs]
        rows.append(
            CostRow(
                name=" → ".join(dict.fromkeys(stage.role for run in runs for stage in run)),
                arm=arm,
                seeds=len(runs),
                steps=_mean([_sum([s.steps for s in run]) for run in training]),
                examples=_mean([_sum([s.examples for s in run]) for run in training]),
                tokens=_mean([_sum([s.tokens for s in run]) for run in training]),
                flops=_mean([_sum([s.flops for s in run]) for run in training]),
                seconds=_mean([_sum([s.seconds for s in run]) for run in runs]),
                version=None,
            )
        )
    return rows


def budget_sentence(rows: Sequence[CostRow]) -> str:
    """Whether the arms were trained for the same number of steps, in words."""
    known = {row.arm: row.steps for row in rows if row.steps is not None}
    if len(known) < 2:
        return ""
    if len(set(known.values())) == 1:
        return f"All arms have the same budget: {next(iter(known.values())):,.0f} training steps."
    most = max(known.values())
    least = [f"{arm} has {steps:,.0f}" for arm, steps in known.items() if steps < most]
    return (
        f"The arms' budgets are not equal: the largest is {most:,.0f} training steps, "
        f"{', '.join(least)}. A difference between such arms is one of budget too."
    )


def forgetting(results: Results) -> list[Forgetting]:
    """Of every stage that measured it: the first and the last value of each earlier mixture."""
    rows = []
    for stage in results.study.stages:
        values: dict[str, list[tuple[int, float]]] = {}
        for line in stage.curve:
            for key, value in line.items():
                parts = key.split("/")
                if parts[0] == "forgetting" and parts[-1] == "nll" and len(parts) > 2:
                    values.setdefault("/".join(parts[1:-1]), []).append((line["step"], value))
        for mixture, found in values.items():
            (first, before), (last, after) = min(found), max(found)
            if last > first:
                rows.append(Forgetting(stage.name, mixture, before, after, first, last))
    return rows


def _chains(results: Results, scored: Sequence[StageRun]) -> list[StageRun]:
    """Every stage of the scored stages' chains, once."""
    places = {stage.folder for stage in scored}
    stages: dict = {}
    for audits in results.audits.values():
        for audit in audits:
            if audit.chain[-1].folder in places:
                stages |= {stage.folder.resolve(): stage for stage in audit.chain}
    return list(stages.values())


def _sum(values: Sequence[float | None]) -> float | None:
    return None if not values or None in values else sum(values)


def _mean(values: Sequence[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return sum(found) / len(found) if found and len(found) == len(values) else None
