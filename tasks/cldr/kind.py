"""cldr_kind: what kind of thing a name or phrase is; intermediate task in 49 languages."""

from tasks.cldr import chance, facts
from xlt_jax.metrics import classification
from xlt_jax.registry import benchmarks

LABELS = ("place", "language", "city", "date", "month", "money", "measure", "percent")


def plan(draw: facts.Draw, index: int) -> tuple:
    """(the fact, its style, its kind); kinds take turns."""
    label = LABELS[index % len(LABELS)]
    fact = draw.name(label) if label in facts.NAME_KINDS else draw.fact(label)
    return (fact,), draw.choice(facts.STYLES[fact.kind]), label


def render(language: str, about: tuple, style: str, label: str) -> dict:
    """One row."""
    return {"text": facts.written(language, about[0], style), "label": label}


def prompt(row: benchmarks.Row) -> dict:
    """``kind: Lithuania`` -> ``place``."""
    return {
        "inputs": f"kind: {row['text']}",
        "targets": row["label"],
        "choices": LABELS,
        "texts": (row["text"],),
    }


BENCHMARK = benchmarks.register(
    benchmarks.Benchmark(
        name="cldr_kind",
        description="What kind of thing a localised name, date, amount or measure is.",
        languages=facts.LANGUAGES,
        source=facts.rows("cldr_kind", plan, render, english_train=facts.ENGLISH_TRAIN_ROWS),
        prompt=prompt,
        request=benchmarks.Request.RANK,
        kind="classification",
        metric=classification.accuracy,
        example_score=classification.exact,
        main_metric="accuracy",
        chance=chance.commonest,
        max_target_tokens=8,
        parallel=True,
        citation=facts.CITATION,
    )
)
