"""cldr_retrieval: which English sentence says what a localised one says? As Tatoeba."""

from tasks.cldr import chance, facts
from xlt_jax.metrics import classification, retrieval
from xlt_jax.registry import benchmarks

_BESIDE = {"money": ("name", "symbol"), "measure": ("long", "short"), "name": ("plain", "plain")}


def plan(draw: facts.Draw, index: int) -> tuple:
    """(a day and something beside it, styles in the language, styles in English).

    Each pair of styles differs, so that English, too, is asked about other words.
    """
    kind = draw.choice(list(_BESIDE))
    here, there = _BESIDE[kind]
    return (draw.fact("date"), draw.fact(kind)), ("full", here), ("long", there)


def render(language: str, about: tuple, here: tuple, there: tuple) -> dict:
    """One row."""
    return {
        "source": facts.joined(language, [facts.say(language, *pair) for pair in zip(about, here)]),
        "english": facts.joined("en", [facts.say("en", *pair) for pair in zip(about, there)]),
    }


def prompt(row: benchmarks.Row) -> dict:
    """A query and the candidate that is right; all rows' targets are the candidates."""
    return {"inputs": row["source"], "targets": row["english"]}


BENCHMARK = benchmarks.register(
    benchmarks.Benchmark(
        name="cldr_retrieval",
        description="Which of 200 English sentences says what the localised sentence says?",
        languages=facts.LANGUAGES,
        source=facts.rows("cldr_retrieval", plan, render),
        prompt=prompt,
        request=benchmarks.Request.EMBED,
        kind="retrieval",
        metric=retrieval.accuracy_at_1,
        example_score=classification.exact,
        main_metric="accuracy",
        chance=chance.one_of_rows,
        parallel=True,
        citation=facts.CITATION,
    )
)
