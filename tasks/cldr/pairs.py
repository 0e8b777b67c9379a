"""cldr_pairs: does one localised statement agree with another? Inference, as XNLI."""

from tasks.cldr import chance, facts
from xlt_jax.metrics import classification
from xlt_jax.registry import benchmarks

LABELS = ("agree", "contradict", "neither")
_KINDS = ("name", "date", "money", "measure")


def plan(draw: facts.Draw, index: int) -> tuple:
    """(all facts, premise items, hypothesis item, label); an item is (facts, style).

    The premise is a list of three names, a day, an amount or a measure; every fourth has an
    item of another kind beside it. The hypothesis says the same otherwise or names a member of the
    list (agree), says another value or a name not in the list (contradict), or is of a kind that
    the premise does not have (neither). Kinds are equally common under each label.
    """
    label = LABELS[index % 3]
    first, second, absent, _ = draw.sample(_KINDS, 4)
    style, other_style = draw.styles(first) if first != "name" else ("plain", "plain")
    about = tuple(draw.names(4) if first == "name" else [draw.fact(first)])
    premise = [(about[:3], style)]
    if label == "neither":
        hypothesis = draw.fact(absent)
        other_style = draw.choice(facts.STYLES[absent])
    elif label == "agree":
        hypothesis = draw.choice(about[:3])
    else:
        hypothesis = about[3] if first == "name" else draw.other(about[0])
    if draw.random() < 0.25:
        beside = draw.fact(second)
        premise.insert(draw.randrange(2), ((beside,), draw.choice(facts.STYLES[second])))
    every = (*(fact for items, _ in premise for fact in items), hypothesis)
    return every, tuple(premise), (hypothesis, other_style), label


def render(language: str, about: tuple, premise: tuple, hypothesis: tuple, label: str) -> dict:
    """One row."""
    items = [facts.say(language, fact, style) for group, style in premise for fact in group]
    return {
        "premise": facts.joined(language, items),
        "hypothesis": facts.written(language, *hypothesis),
        "label": label,
    }


def prompt(row: benchmarks.Row) -> dict:
    """``pairs: March 7, 2014 | 3/7/14`` -> ``agree``."""
    texts = row["premise"], row["hypothesis"]
    inputs = f"pairs: {texts[0]} | {texts[1]}"
    return {"inputs": inputs, "targets": row["label"], "choices": LABELS, "texts": texts}


BENCHMARK = benchmarks.register(
    benchmarks.Benchmark(
        name="cldr_pairs",
        description="Do two localised statements agree, contradict each other, or neither?",
        languages=facts.LANGUAGES,
        source=facts.rows("cldr_pairs", plan, render, english_train=facts.ENGLISH_TRAIN_ROWS),
        prompt=prompt,
        request=benchmarks.Request.RANK,
        kind="pair",
        metric=classification.accuracy,
        example_score=classification.exact,
        main_metric="accuracy",
        chance=chance.commonest,
        max_target_tokens=8,
        english_training=("cldr_pairs.en",),
        parallel=True,
        citation=facts.CITATION,
    )
)
