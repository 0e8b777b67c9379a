"""cldr_convert: rewrite a localised phrase in another form; intermediate task in 49 languages."""

from tasks.cldr import chance, facts
from xlt_jax.metrics import classification
from xlt_jax.registry import benchmarks

_TO = {"date": ("long", "medium", "short"), "measure": ("long", "short")}


def plan(draw: facts.Draw, index: int) -> tuple:
    """(all facts, style given, style wanted): a list of two to reverse, a date or a measure.

    A full date is never wanted: its day of the week cannot be read off the others.
    """
    kind = ("name", "date", "date", "measure")[index % 4]
    if kind == "name":
        return tuple(draw.names(2)), "plain", "reversed"
    wanted = draw.choice(_TO[kind])
    given = draw.choice([style for style in facts.STYLES[kind] if style != wanted])
    return (draw.fact(kind),), given, wanted


def render(language: str, about: tuple, given: str, wanted: str) -> dict:
    """One row."""
    if wanted == "reversed":
        text, answer = facts.listed(language, about), facts.listed(language, about[::-1])
    else:
        text, answer = (facts.written(language, about[0], style) for style in (given, wanted))
    return {"text": text, "wanted": wanted, "answer": answer}


def prompt(row: benchmarks.Row) -> dict:
    """``long: 3/7/14`` -> ``March 7, 2014``."""
    return {"inputs": f"{row['wanted']}: {row['text']}", "targets": row["answer"]}


BENCHMARK = benchmarks.register(
    benchmarks.Benchmark(
        name="cldr_convert",
        description="Rewrites a localised date, measure or list in another form.",
        languages=facts.LANGUAGES,
        source=facts.rows("cldr_convert", plan, render, english_train=facts.ENGLISH_TRAIN_ROWS),
        prompt=prompt,
        request=benchmarks.Request.GENERATE,
        kind="other",
        metric=classification.accuracy,
        example_score=classification.exact,
        main_metric="accuracy",
        chance=chance.commonest,
        max_target_tokens=32,
        parallel=True,
        citation=facts.CITATION,
    )
)
