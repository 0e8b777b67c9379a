"""XNLI: inference in 15 languages (Conneau et al. 2018, arXiv:1809.05053)."""

from xlt_jax.data import prompts
from xlt_jax.metrics import classification
from xlt_jax.registry.benchmarks import Benchmark, Request, register


def prompt(row: dict) -> dict | None:
    """An example of the row's language."""
    return prompts.inference(row["premise"], row["hypothesis"], row["label"])


def of_language(row: dict, language: str) -> dict:
    """The columns of one language out of a row that holds all fifteen."""
    hypotheses = dict(zip(row["hypothesis"]["language"], row["hypothesis"]["translation"]))
    return row | {"premise": row["premise"][language], "hypothesis": hypotheses[language]}


BENCHMARK = register(
    Benchmark(
        name="xnli",
        description="Does a premise entail or contradict a hypothesis, or neither?",
        languages=tuple("ar bg de el en es fr hi ru sw th tr ur vi zh".split()),
        source="tfds:xnli:1.1.0",
        select=of_language,
        splits={"validation": "validation", "test": "test"},
        prompt=prompt,
        request=Request.RANK,
        kind="pair",
        metric=classification.accuracy,
        example_score=classification.exact,
        main_metric="accuracy",
        chance=prompts.largest_class,
        max_target_tokens=8,
        citation="Conneau et al. 2018; CC BY-NC 4.0",
    )
)
