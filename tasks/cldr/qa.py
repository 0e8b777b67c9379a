"""cldr_qa: which span of a localised context says what the question says? Extractive, as XQuAD."""

from tasks.cldr import chance, facts, forms
from xlt_jax.metrics import span_qa
from xlt_jax.registry import benchmarks

_KINDS = ("date", "money", "measure")


def plan(draw: facts.Draw, index: int) -> tuple:
    """(all facts, keys, (value, style) of each, place of the answer, the question's style).

    Three names with a date, an amount and a measure in random order; the question writes one of
    the values in another style than the context.
    """
    keys = draw.names(3)
    kinds = draw.sample(_KINDS, 3)
    place = draw.randrange(3)
    asked, answered = draw.styles(kinds[place])
    styles = [draw.choice(facts.STYLES[kind]) for kind in kinds]
    styles[place] = answered
    values = tuple((draw.fact(kind), style) for kind, style in zip(kinds, styles))
    every = (*keys, *(value for value, _ in values))
    return every, tuple(keys), values, place, asked


def render(language: str, about: tuple, keys: tuple, values: tuple, place: int, asked: str) -> dict:
    """One row."""
    valued = [facts.say(language, value, style) for value, style in values]
    pairs = [forms.bracketed(facts.say(language, key), said) for key, said in zip(keys, valued)]
    return {
        "context": facts.joined(language, pairs),
        "question": facts.written(language, values[place][0], asked),
        "answer": forms.text(valued[place]),
    }


def prompt(row: benchmarks.Row) -> dict:
    """``qa: 3/7/14 | Fiji (5 hr) and Peru (March 7, 2014)`` -> ``March 7, 2014``, a span."""
    return {"inputs": f"qa: {row['question']} | {row['context']}", "targets": row["answer"]}


BENCHMARK = benchmarks.register(
    benchmarks.Benchmark(
        name="cldr_qa",
        description="Which span of the localised context says the same as the question?",
        languages=facts.LANGUAGES,
        source=facts.rows("cldr_qa", plan, render, english_train=facts.ENGLISH_TRAIN_ROWS),
        prompt=prompt,
        request=benchmarks.Request.GENERATE,
        kind="qa",
        metric=span_qa.squad,
        example_score=span_qa.f1,
        main_metric="f1",
        chance=chance.one_of_three,
        max_target_tokens=24,
        english_training=("cldr_qa.en",),
        parallel=True,
        citation=facts.CITATION,
    )
)
