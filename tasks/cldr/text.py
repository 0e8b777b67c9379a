"""cldr_text: monolingual localised lines for span corruption, and the text of the vocabulary."""

import datetime
import itertools
from collections.abc import Iterator

from tasks.cldr import facts, forms
from xlt_jax.registry import benchmarks

_STATEMENTS = (
    "names", "date", "date", "money", "measure", "relative", "event", "percent", "month", "compact",
    "interval",
)  # fmt: skip
_UNITS = ("year", "month", "week", "day", "hour", "minute", "second")
_PROMPTED_ROWS = 30  # of each benchmark and language, in the vocabulary's text


def plan(draw: facts.Draw, index: int) -> tuple:
    """(all facts, statements): three statements of different kinds, some in two forms."""
    statements = [_statement(draw, kind) for kind in draw.sample(_STATEMENTS, 3)]
    return tuple(fact for _, about, _ in statements for fact in about), tuple(statements)


def _statement(draw: facts.Draw, kind: str) -> tuple:
    if kind == "names":
        return kind, tuple(draw.names(3)), ()
    if kind == "event":
        return kind, (draw.name(), draw.fact("date")), ("plain", draw.choice(facts.STYLES["date"]))
    if kind == "interval":
        return kind, (draw.fact("date"), draw.fact("date")), ()
    if kind == "compact":
        return kind, (draw.fact("percent"),), ()
    if kind == "relative":
        number = draw.fact("measure")
        return kind, (number,), (draw.choice(_UNITS), draw.choice((1, -1)) * number.value)
    fact = draw.fact(kind)
    return kind, (fact,), draw.styles(kind) if len(facts.STYLES[kind]) > 1 else ("plain",)


def render(language: str, about: tuple, statements: tuple) -> dict:
    """One row."""
    lines = (forms.text(_form(language, *statement)) for statement in statements)
    return {"text": " ; ".join(lines)}


def _form(language: str, kind: str, about: tuple, how: tuple) -> forms.Form:
    writer = forms.forms(language)
    if kind == "names":
        return writer.join([facts.say(language, fact) for fact in about])
    if kind == "event":
        return forms.bracketed(*(facts.say(language, *pair) for pair in zip(about, how)))
    if kind == "interval":
        first, last = sorted(datetime.date.fromisoformat(fact.key) for fact in about)
        return writer.interval(first, last)
    if kind == "compact":
        return writer.compact(1000 * about[0].value)
    if kind == "relative":
        return writer.relative(*how) or facts.say(language, about[0])
    said = [facts.say(language, about[0], style) for style in how]
    return said[0] if len(said) == 1 or said[0] == said[1] else forms.bracketed(*said)


def prompt(row: benchmarks.Row) -> dict:
    """Text alone: spans are cut out of its tokens later."""
    return {"inputs": "", "targets": row["text"]}


BENCHMARK = benchmarks.register(
    benchmarks.Benchmark(
        name="cldr_text",
        description="Lines of localised names, dates, amounts and measures for span corruption.",
        languages=facts.LANGUAGES,
        source=facts.rows("cldr_text", plan, render),
        prompt=prompt,
        request=benchmarks.Request.TRAIN_ONLY,
        kind="text",
        labelled=False,
        noise=True,
        parallel=True,
        citation=facts.CITATION,
    )
)


def corpus() -> Iterator[str]:
    """Lines to train the vocabulary on, in a fixed order, the same for one version of Babel.

    For each language the names of the train split and all lines of cldr_text; then, for each other
    benchmark of this package and each language, the first 30 prompted train rows, which bring
    the prefixes and the labels. Nothing of validation or test.
    """
    for language in facts.LANGUAGES:
        writer = forms.forms(language)
        for entity in itertools.chain.from_iterable(facts.entities().values()):
            if facts.split_of(entity) == "train":
                yield forms.text(writer.name(entity))
        for row in BENCHMARK.source(language, "train"):
            yield row["text"]
    for benchmark in benchmarks.all_benchmarks():
        if not benchmark.name.startswith("cldr_") or benchmark.name == BENCHMARK.name:
            continue
        if any("-" in language for language in benchmark.languages):
            continue  # pairs of languages bring no other text
        for language in benchmark.languages:
            rows = itertools.islice(benchmark.source(language, "train"), _PROMPTED_ROWS)
            for row in rows:
                prompted = benchmark.prompt(row)
                for example in prompted if isinstance(prompted, list) else [prompted]:
                    yield f"{example['inputs']} {example['targets']}"
