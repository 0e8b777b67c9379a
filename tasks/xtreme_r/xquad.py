"""XQuAD: SQuAD's questions translated by people (Artetxe et al. 2020, arXiv:1910.11856)."""

from xlt_jax.data import prompts
from xlt_jax.metrics import span_qa
from xlt_jax.registry.benchmarks import Benchmark, Request, register

BENCHMARK = register(
    Benchmark(
        name="xquad",
        description="Which span of a paragraph answers the question?",
        languages=("ar", "de", "el", "en", "es", "hi", "ru", "th", "tr", "vi", "zh"),
        source="tfds:xquad/{language}:3.0.0",
        splits={"test": "test"},
        prompt=lambda row: prompts.question(
            row["question"], row["context"], row["answers"]["text"]
        ),
        request=Request.GENERATE,
        kind="qa",
        metric=span_qa.squad,
        example_score=span_qa.f1,
        main_metric="f1",
        chance=prompts.no_answer,
        max_target_tokens=64,
        citation="Artetxe et al. 2020; CC BY-SA 4.0",
    )
)
