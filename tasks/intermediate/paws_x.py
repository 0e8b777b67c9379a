"""PAWS-X: adversarial paraphrases in seven languages (Yang et al. 2019, arXiv:1908.11828).

The English training set is human, the others are machine translations.
"""

from xlt_jax.data import prompts
from xlt_jax.metrics import classification
from xlt_jax.registry.benchmarks import Benchmark, Request, register

BENCHMARK = register(
    Benchmark(
        name="paws_x",
        description="Do two sentences that share most of their words mean the same?",
        languages=("de", "en", "es", "fr", "ja", "ko", "zh"),
        source="tfds:paws_x_wiki/{language}:1.0.0",
        prompt=lambda row: prompts.paraphrase(row["sentence1"], row["sentence2"], row["label"]),
        request=Request.RANK,
        kind="pair",
        metric=classification.accuracy,
        example_score=classification.exact,
        main_metric="accuracy",
        chance=prompts.largest_class,
        max_target_tokens=8,
        citation="Yang et al. 2019; free for any purpose with attribution",
    )
)
