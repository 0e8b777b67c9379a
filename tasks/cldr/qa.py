"""cldr_qa: which span of a localised context belongs to a key? Extractive, as XQuAD."""

from tasks.cldr import chance, facts, forms
from xlt_jax.metrics import span_qa
from xlt_jax.registry import benchmarks

_VALUES = {"date": ("medium", "short"), "measure": ("long", "short"), "percent": ("plain",)}


def plan(draw: facts.Draw, index: int) -> tuple:
    """(all facts, keys, (value, style) of each, place of the answer, whether its key is asked for).

    Three names with a date, a measure and a percentage in random order; every fourth question gives
    the value and asks for the name.
    """
    keys = draw.names(3)
    values = [
        (draw.fact(kind), draw.choice(_VALUES[kind])) for kind in draw.sample(list(_VALUES), 3)
    ]
    every = (*keys, *(value for value, _ in values))
    return every, tuple(keys), tuple(values), draw.randrange(3), index % 4 == 3


def render(language: str, about: tuple, keys: tuple, values: tuple, place: int, asks_key) -> dict:
    """One row."""
    named = [facts.say(language, key) for key in keys]
    valued = [facts.say(language, value, style) for value, style in values]
    context = facts.joined(language, [forms.bracketed(*pair) for pair in zip(named, valued)])
    key, value = forms.text(named[place]), forms.text(valued[place])
    question, answer = (value, key) if asks_key else (key, value)
    return {"context": context, "question": question, "answer": answer}


def prompt(row: benchmarks.Row) -> dict:
    """``qa: Peru | Fiji (5 hr), Peru (7%), and Oman (3/7/14)`` -> ``7%``; the answer is a span."""
    return {"inputs": f"qa: {row['question']} | {row['context']}", "targets": row["answer"]}


BENCHMARK = benchmarks.register(
    benchmarks.Benchmark(
        name="cldr_qa",
        description="Which span of the localised context stands with the key in question?",
        languages=facts.LANGUAGES,
        source=facts.rows("cldr_qa", plan, render),
        prompt=prompt,
        request=benchmarks.Request.GENERATE,
        kind="qa",
        metric=span_qa.squad,
        example_score=span_qa.f1,
        main_metric="f1",
        chance=chance.one_of_three,
        max_target_tokens=32,
        citation=facts.CITATION,
    )
)
