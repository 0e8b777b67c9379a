"""SQuAD 1.1: extractive questions in English (Rajpurkar et al. 2016, arXiv:1606.05250)."""

from xlt_jax.data import prompts
from xlt_jax.metrics import span_qa
from xlt_jax.registry.benchmarks import Benchmark, Request, register

BENCHMARK = register(
    Benchmark(
        name="squad",
        description="Which span of a paragraph answers the question?",
        languages=("en",),
        source="tfds:squad/v1.1:3.0.0",
        splits={"train": "train", "validation": "validation"},
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
        citation="Rajpurkar et al. 2016; CC BY-SA 4.0",
    )
)
