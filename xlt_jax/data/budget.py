"""What a run will draw from each task of its mixture: rates, tokens, and how often rows repeat."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from xlt_jax.data.mixtures import Size

MOST_EPOCHS = 4  # times that a task's rows are seen before it is worth a warning


@dataclass(frozen=True)
class TaskBudget:
    """One task of a run.

    Attributes:
        task: ``benchmark.language``.
        size: Of its training split.
        rate: Probability for one example.
        token_share: Its part of all tokens drawn.
        examples: That are expected to be drawn.
        tokens: Of those, inputs and targets.
        epochs: Times that each of its rows is seen.
    """

    task: str
    size: Size
    rate: float
    token_share: float
    examples: float
    tokens: float
    epochs: float


def expected(
    rates: Mapping[str, float], sizes: Mapping[str, Size], examples: float
) -> list[TaskBudget]:
    """What ``examples`` draws give of every task, in the order of ``rates``."""
    per_example = {task: sizes[task].tokens / sizes[task].rows for task in rates}
    mean = sum(rate * per_example[task] for task, rate in rates.items())
    return [
        TaskBudget(
            task=task,
            size=sizes[task],
            rate=rate,
            token_share=rate * per_example[task] / mean,
            examples=rate * examples,
            tokens=rate * examples * per_example[task],
            epochs=rate * examples / sizes[task].rows,
        )
        for task, rate in rates.items()
    ]


def warning(budgets: Sequence[TaskBudget]) -> str | None:
    """A sentence on tasks that are repeated more than ``MOST_EPOCHS`` times, or None."""
    repeated = sorted(
        (one for one in budgets if one.epochs > MOST_EPOCHS), key=lambda one: -one.epochs
    )
    if not repeated:
        return None
    named = ", ".join(f"{one.task} {one.epochs:.1f} times" for one in repeated[:5])
    more = f" and {len(repeated) - 5} more" if len(repeated) > 5 else ""
    return (
        f"Warning: the rows of {len(repeated)} of {len(budgets)} tasks are repeated more than "
        f"{MOST_EPOCHS} times: {named}{more}. Lower their share or the number of steps."
    )
