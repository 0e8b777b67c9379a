"""MLQA: questions over aligned Wikipedia paragraphs (Lewis et al. 2020, arXiv:1910.07475).

Question and paragraph in the same language, as XTREME-R takes it.
"""

from tasks import downloads, families
from xlt_jax.data import formats, prompts
from xlt_jax.metrics import span_qa
from xlt_jax.registry import xtreme
from xlt_jax.registry.benchmarks import Benchmark, Files, Tfds, register

_SPLITS = {"validation": "dev", "test": "test"}
_NAME = "{split}-context-{language}-question-{language}.json"


def metric(references, predictions, language: str) -> dict[str, float]:
    """F1 and EM in MLQA's manner of the language."""
    return span_qa.squad(references, predictions, f"mlqa.{language}")


def example_score(references, prediction: str, language: str) -> float:
    """F1 in MLQA's manner of the language."""
    return span_qa.f1(references, prediction, f"mlqa.{language}")


BENCHMARK = register(
    Benchmark(
        name="mlqa",
        description="Which span of a paragraph answers the question?",
        languages=xtreme.task("mlqa").languages,
        source=(
            Files(f"mlqa/{_NAME}", formats.squad, _SPLITS),
            Files(f"MLQA_V1/{{split}}/{_NAME}", formats.squad, _SPLITS),
            Files(f"mlqa/MLQA_V1/{{split}}/{_NAME}", formats.squad, _SPLITS),
            Tfds("mlqa/{language}:1.0.0", {"validation": "validation", "test": "test"}),
        ),
        prompt=lambda row: prompts.question(
            row["question"], row["context"], row["answers"]["text"]
        ),
        **families.QUESTIONS | {"metric": metric, "example_score": example_score},
        language_aware=True,
        parallel=True,  # in part: a question is there in four languages on average
        english_training=("squad.en",),
        citation="Lewis et al. 2020",
        licence="CC BY-SA 3.0",
        downloads=(
            downloads.known(
                "https://dl.fbaipublicfiles.com/MLQA/MLQA_V1.zip", "MLQA_V1.zip", unpack=True
            ),
        ),
    )
)
