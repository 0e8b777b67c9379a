"""cldr_same: do two strings say the same? Intermediate task in 49 languages."""

from tasks.cldr import chance, facts
from xlt_jax.metrics import classification
from xlt_jax.registry import benchmarks

LABELS = ("yes", "no")
_KINDS = ("name", "date", "money", "measure")


def plan(draw: facts.Draw, index: int) -> tuple:
    """(all facts, first facts, style, second facts, style, label).

    Lists of two names in two orders, with one replaced under "no"; values in two styles, of which
    one is another value under "no".
    """
    label = LABELS[index % 2]
    kind = draw.choice(_KINDS)
    if kind == "name":
        one, two, three = draw.names(3)
        first, second = (one, two), ((two, one) if label == "yes" else (two, three))
        return tuple(dict.fromkeys((*first, *second))), first, "plain", second, "plain", label
    fact = draw.fact(kind)
    other = fact if label == "yes" else draw.other(fact)
    style, other_style = draw.styles(kind)
    return (fact, other), (fact,), style, (other,), other_style, label


def render(
    language: str, about: tuple, first: tuple, style: str, second: tuple, other_style: str, label
) -> dict:
    """One row."""
    sides = [
        facts.joined(language, [facts.say(language, fact, how) for fact in side])
        for side, how in ((first, style), (second, other_style))
    ]
    return {"first": sides[0], "second": sides[1], "label": label}


def prompt(row: benchmarks.Row) -> dict:
    """``same: 3/7/14 | March 7, 2014`` -> ``yes``."""
    inputs = f"same: {row['first']} | {row['second']}"
    return {"inputs": inputs, "targets": row["label"], "choices": LABELS}


BENCHMARK = benchmarks.register(
    benchmarks.Benchmark(
        name="cldr_same",
        description="Do two localised phrases say the same?",
        languages=facts.LANGUAGES,
        source=facts.rows("cldr_same", plan, render, english_train=facts.ENGLISH_TRAIN_ROWS),
        prompt=prompt,
        request=benchmarks.Request.RANK,
        kind="pair",
        metric=classification.accuracy,
        example_score=classification.exact,
        main_metric="accuracy",
        chance=chance.commonest,
        max_target_tokens=8,
        citation=facts.CITATION,
    )
)
