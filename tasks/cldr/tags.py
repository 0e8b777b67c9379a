"""cldr_tags: what is each token of a localised sentence part of? As part-of-speech tagging."""

import re

from tasks.cldr import chance, facts, forms
from xlt_jax.metrics import tagging
from xlt_jax.registry import benchmarks

OTHER = "other"  # "and", 、
_SHORT_STYLES = {
    "name": ("plain",),
    "date": ("long", "medium"),
    "money": ("symbol", "code"),
    "measure": ("long", "short"),
}


def plan(draw: facts.Draw, index: int) -> tuple:
    """(facts, style of each): two facts of different kinds, or three of which one is no name."""
    if index % 2:
        kinds = draw.sample(list(_SHORT_STYLES), 2)
    else:
        kinds = ["name", "name", draw.choice(("date", "money", "measure"))]
        draw.shuffle(kinds)
    about = tuple(draw.short_name() if kind == "name" else draw.fact(kind) for kind in kinds)
    return about, tuple(draw.choice(_SHORT_STYLES[kind]) for kind in kinds)


def render(language: str, about: tuple, styles: tuple) -> dict:
    """One row."""
    items = [
        tuple(
            (part, f"{_tag(fact)}.{field or ''}")
            for part, field in facts.say(language, fact, style)
        )
        for fact, style in zip(about, styles)
    ]
    pairs = tokenised(forms.forms(language).join(items), language in forms.UNSPACED)
    return {"tokens": [token for token, _ in pairs], "tags": [tag for _, tag in pairs]}


def tokenised(sentence: forms.Form, unspaced: bool) -> list[tuple[str, str]]:
    """(token, tag) of a sentence whose fields are ``tag.field``.

    Tokens end at spaces. Without spaces between words they also begin with each field of a
    pattern, text between fields going with the one before, and the list pattern stands alone. A
    token of several parts has the tag of the first that is not the list pattern.
    """
    tokens: list[list[str]] = []
    open_token = False
    for part, label in sentence:
        tag, _, field = label.partition(".") if label else (OTHER, "", "list")
        if unspaced and (field or tag == OTHER):
            open_token = False
        for piece in re.findall(r"\s+|\S+", part):
            if piece.isspace():
                open_token = False
            elif open_token:
                tokens[-1][0] += piece
                tokens[-1][1] = tag if tokens[-1][1] == OTHER else tokens[-1][1]
            else:
                tokens.append([piece, tag])
                open_token = True
        if unspaced and tag == OTHER:
            open_token = False
    return [(token, tag) for token, tag in tokens]


def prompt(row: benchmarks.Row) -> dict:
    """``tags: Peru and March 7, 2014`` -> ``place other date date date``."""
    return {"inputs": f"tags: {' '.join(row['tokens'])}", "targets": " ".join(row["tags"])}


def _tag(fact: facts.Fact) -> str:
    if fact.kind != "name":
        return fact.kind
    return "language" if fact.key.startswith("language:") else "place"


BENCHMARK = benchmarks.register(
    benchmarks.Benchmark(
        name="cldr_tags",
        description="Tags the tokens of a localised sentence: place, language, date, money ...",
        languages=facts.LANGUAGES,
        source=facts.rows("cldr_tags", plan, render, english_train=facts.ENGLISH_TRAIN_ROWS),
        prompt=prompt,
        request=benchmarks.Request.GENERATE,
        kind="tagging",
        metric=tagging.tag_accuracy,
        example_score=tagging.sentence_accuracy,
        main_metric="token_accuracy",
        chance=chance.tags,
        max_target_tokens=16,
        english_training=("cldr_tags.en",),
        parallel=True,
        citation=facts.CITATION,
    )
)
