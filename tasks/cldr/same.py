"""cldr_same: do two strings say the same? Intermediate task in 49 languages.

Also for one kind of fact alone, as a domain: ``cldr_same_money`` and so on.
"""

import functools

from tasks.cldr import chance, facts
from xlt_jax.metrics import classification
from xlt_jax.registry import benchmarks

LABELS = ("yes", "no")
# Kind of fact -> the domain whose part it takes in studies of domains.
DOMAINS = {"name": "general", "date": "news", "money": "financial", "measure": "scientific"}


def plan(draw: facts.Draw, index: int, kinds: tuple[str, ...] = tuple(DOMAINS)) -> tuple:
    """(all facts, first facts, style, second facts, style, label).

    Lists of two names in two orders, with one replaced under "no"; values in two styles, of which
    one is another value under "no".
    """
    label = LABELS[index % 2]
    kind = draw.choice(kinds)
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
    texts = row["first"], row["second"]
    inputs = f"same: {texts[0]} | {texts[1]}"
    return {"inputs": inputs, "targets": row["label"], "choices": LABELS, "texts": texts}


def _benchmark(name: str, kinds: tuple[str, ...], domain: str) -> benchmarks.Benchmark:
    planned = functools.partial(plan, kinds=kinds)
    return benchmarks.Benchmark(
        name=name,
        description="Do two localised phrases say the same?",
        languages=facts.LANGUAGES,
        source=facts.rows(name, planned, render, english_train=facts.ENGLISH_TRAIN_ROWS),
        prompt=prompt,
        request=benchmarks.Request.RANK,
        kind="pair",
        domain=domain,
        metric=classification.accuracy,
        example_score=classification.exact,
        main_metric="accuracy",
        chance=chance.commonest,
        max_target_tokens=8,
        parallel=True,
        citation=facts.CITATION,
    )


BENCHMARK = benchmarks.register(_benchmark("cldr_same", tuple(DOMAINS), "general"))
BY_KIND = tuple(
    benchmarks.register(_benchmark(f"cldr_same_{kind}", (kind,), domain))
    for kind, domain in DOMAINS.items()
)
