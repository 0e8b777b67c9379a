"""What stages and arms cost: steps, examples, tokens, seconds."""

from collections.abc import Sequence
from dataclasses import dataclass

from xlt_jax.report.tables import Results


@dataclass(frozen=True)
class CostRow:
    """What an arm, or one stage, cost; None where unknown."""

    name: str
    arm: str | None
    steps: int | None
    examples: int | None
    tokens: int | None
    seconds: float | None
    version: str | None


def stage_costs(results: Results) -> list[CostRow]:
    """Of every stage that ran, in the order of the recipe."""
    known = [stage for stage in results.study.stages if stage.status != "not run"]
    return [
        CostRow(s.name, s.arm, s.steps, s.examples, s.tokens, s.seconds, s.version) for s in known
    ]


def arm_costs(results: Results) -> list[CostRow]:
    """Of every arm: its training stages from the first one on; None when one is unknown."""
    rows = []
    for arm in results.arms:
        chain = results.audits[arm].chain
        training = [stage for stage in chain if stage.training is not None]
        rows.append(
            CostRow(
                name=" → ".join(stage.name for stage in chain),
                arm=arm,
                steps=_sum([stage.steps for stage in training]),
                examples=_sum([stage.examples for stage in training]),
                tokens=_sum([stage.tokens for stage in training]),
                seconds=_sum([stage.seconds for stage in chain]),
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
        return f"All arms have the same budget: {next(iter(known.values())):,} training steps."
    most = max(known.values())
    least = [f"{arm} has {steps:,}" for arm, steps in known.items() if steps < most]
    return (
        f"The arms' budgets are not equal: the largest is {most:,} training steps, "
        f"{', '.join(least)}. A difference between such arms is one of budget too."
    )


def _sum(values: Sequence[float | None]) -> float | None:
    return None if not values or None in values else sum(values)
