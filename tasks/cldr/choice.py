"""cldr_choice: which of two continuations fits a localised statement? Two choices, as XCOPA."""

from tasks.cldr import chance, facts
from xlt_jax.metrics import classification
from xlt_jax.registry import benchmarks

_KINDS = ("name", "date", "money", "measure")


def plan(draw: facts.Draw, index: int) -> tuple:
    """(all facts, premise facts, premise style, right, wrong, choices' style, place of the right).

    Premise: three names, of which the right choice is one; or a value, of which it is another form.
    """
    kind = draw.choice(_KINDS)
    if kind == "name":
        *premise, wrong = draw.names(4)
        right, style, choice_style = draw.choice(premise), "plain", "plain"
    else:
        premise = [draw.fact(kind)]
        right, wrong = premise[0], draw.other(premise[0])
        style, choice_style = draw.styles(kind)
    return (*premise, wrong), tuple(premise), style, right, wrong, choice_style, index % 2


def render(
    language: str, about: tuple, premise: tuple, style: str, right, wrong, choice_style: str, place
) -> dict:
    """One row."""
    choices = [facts.written(language, fact, choice_style) for fact in (wrong, right)]
    return {
        "premise": facts.joined(language, [facts.say(language, fact, style) for fact in premise]),
        "choices": tuple(choices if place else choices[::-1]),
        "answer": choices[1],
    }


def prompt(row: benchmarks.Row) -> dict:
    """``choice: Friday, March 7, 2014 | 5/1/99 | 3/7/14`` -> ``3/7/14``."""
    choices = row["choices"]
    inputs = f"choice: {row['premise']} | {' | '.join(choices)}"
    texts = (row["premise"],)
    return {"inputs": inputs, "targets": row["answer"], "choices": choices, "texts": texts}


BENCHMARK = benchmarks.register(
    benchmarks.Benchmark(
        name="cldr_choice",
        description="Which of two localised phrases says what the statement says?",
        languages=facts.LANGUAGES,
        source=facts.rows("cldr_choice", plan, render, english_train=facts.ENGLISH_TRAIN_ROWS),
        prompt=prompt,
        request=benchmarks.Request.RANK,
        kind="choice",
        metric=classification.accuracy,
        example_score=classification.exact,
        main_metric="accuracy",
        chance=chance.one_of_choices,
        max_target_tokens=32,
        english_training=("cldr_choice.en",),
        parallel=True,
        citation=facts.CITATION,
    )
)
