"""cldr_parallel: localised phrases with their English and the gold alignment; unlabelled."""

from tasks.cldr import facts, forms
from xlt_jax.registry import benchmarks

_KINDS = ("name", "date", "money", "measure")


def plan(draw: facts.Draw, index: int) -> tuple:
    """(facts): a list of names or values of two kinds, in their fullest styles."""
    if index % 4 == 0:
        return (tuple(draw.names(3)),)
    return (tuple(draw.fact(kind) for kind in draw.sample(_KINDS, 2)),)


def render(language: str, about: tuple) -> dict:
    """One row; tokens are segments of the pattern: a month, a number, a unit, a whole name."""
    source, target = (_sentence(code, about) for code in (language, "en"))
    source_segments, target_segments = (
        [(part.strip(), field) for part, field in side if part.strip()] for side in (source, target)
    )
    return {
        "language": language,
        "source": forms.text(source),
        "target": forms.text(target),
        "source_tokens": [part for part, _ in source_segments],
        "target_tokens": [part for part, _ in target_segments],
        "alignment": [
            [i, j]
            for i, (_, field) in enumerate(source_segments)
            for j, (_, other) in enumerate(target_segments)
            if field is not None and field == other
        ],
    }


def _sentence(language: str, about: tuple) -> forms.Form:
    items = [forms.labelled(facts.say(language, fact), str(i)) for i, fact in enumerate(about)]
    return forms.forms(language).join(items)


def prompt(row: benchmarks.Row) -> list[dict]:
    """Both directions: ``de en: März 2014`` and ``en de: March 2014``."""
    code, source, target = row["language"], row["source"], row["target"]
    return [
        {"inputs": f"{code} en: {source}", "targets": target},
        {"inputs": f"en {code}: {target}", "targets": source},
    ]


BENCHMARK = benchmarks.register(
    benchmarks.Benchmark(
        name="cldr_parallel",
        description="Localised phrases and their English, with gold word alignment.",
        languages=tuple(code for code in facts.LANGUAGES if code != "en"),
        source=facts.rows("cldr_parallel", plan, render, train=1000),
        prompt=prompt,
        request=benchmarks.Request.TRAIN_ONLY,
        kind="parallel",
        labelled=False,
        parallel=True,
        citation=facts.CITATION,
    )
)
