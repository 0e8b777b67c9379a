"""MultiNLI: English inference in ten genres (Williams et al. 2018, arXiv:1704.05426)."""

from xlt_jax.data import prompts
from xlt_jax.metrics import classification
from xlt_jax.registry.benchmarks import Benchmark, Request, register

BENCHMARK = register(
    Benchmark(
        name="mnli",
        description="Does a premise entail or contradict a hypothesis, or neither?",
        languages=("en",),
        source="tfds:multi_nli:1.1.0",
        splits={"train": "train", "validation": "validation_matched"},
        prompt=lambda row: prompts.inference(row["premise"], row["hypothesis"], row["label"]),
        request=Request.RANK,
        kind="pair",
        metric=classification.accuracy,
        example_score=classification.exact,
        main_metric="accuracy",
        chance=prompts.largest_class,
        max_target_tokens=8,
        citation="Williams et al. 2018; OANC and CC licences",
    )
)
