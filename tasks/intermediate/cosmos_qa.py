"""Cosmos QA: commonsense reading comprehension (Huang et al. 2019, arXiv:1909.00277)."""

from xlt_jax.data import prompts
from xlt_jax.metrics import classification
from xlt_jax.registry.benchmarks import Benchmark, Request, register

BENCHMARK = register(
    Benchmark(
        name="cosmos_qa",
        description="Which of four answers to a question about a story is the likely one?",
        languages=("en",),
        source="tfds:cosmos_qa:1.0.0",
        splits={"train": "train", "validation": "validation"},
        prompt=lambda row: prompts.multiple_choice(
            "cosmosqa",
            f"question: {row['question']} context: {row['context']}",
            [row[f"answer{number}"] for number in range(4)],
            row["label"],
        ),
        request=Request.RANK,
        kind="choice",
        metric=classification.accuracy,
        example_score=classification.exact,
        main_metric="accuracy",
        chance=prompts.one_of_choices,
        max_target_tokens=64,
        citation="Huang et al. 2019; CC BY 4.0",
    )
)
