"""WikiANN: named entities from Wikipedia links (Pan et al. 2017; Rahimi et al. 2019)."""

from xlt_jax.data import prompts
from xlt_jax.metrics import classification
from xlt_jax.registry import languages
from xlt_jax.registry.benchmarks import Benchmark, Request, register

BENCHMARK = register(
    Benchmark(
        name="wikiann",
        description="Which persons, organisations and places does a sentence name?",
        languages=tuple(code for code in languages.select() if code not in ("ht", "wo")),
        source="tfds:wikiann/{language}:1.0.0",
        prompt=lambda row: prompts.entities(row["tokens"], row["spans"]),
        request=Request.GENERATE,
        kind="tagging",
        metric=classification.accuracy,
        example_score=classification.exact,
        main_metric="accuracy",
        chance=prompts.no_answer,
        max_target_tokens=128,
        citation="Pan et al. 2017; ODC-BY",
    )
)
