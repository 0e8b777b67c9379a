"""TyDiQA-GoldP: questions asked by people who did not know the answer (Clark et al. 2020,
arXiv:2003.05002).

Its development set is what XTREME and XTREME-R score.
"""

from tasks import downloads, families
from xlt_jax.data import formats, prompts
from xlt_jax.registry.benchmarks import Benchmark, Files, Row, Tfds, register

_NAMES = {
    "ar": "arabic", "bn": "bengali", "en": "english", "fi": "finnish", "id": "indonesian",
    "ko": "korean", "ru": "russian", "sw": "swahili", "te": "telugu",
}  # fmt: skip
_SPLITS = {"train": "train", "validation": "dev", "test": "dev"}
_URL = "https://storage.googleapis.com/tydiqa/v1.1"


def read_all(path, language: str):
    """Rows of one language out of the training file of all: ids begin with its name."""
    return (row for row in formats.squad(path) if row["id"].startswith(f"{_NAMES[language]}-"))


def of_language(row: Row, language: str) -> Row | None:
    """The row if it is of the language: TFDS's training split mixes all."""
    return row if row["id"].startswith(f"{_NAMES[language]}-") else None


BENCHMARK = register(
    Benchmark(
        name="tydiqa",
        description="Which span of a paragraph answers the question?",
        languages=tuple(_NAMES),
        source=(
            Files("tydiqa/tydiqa-goldp-v1.1-train.json", read_all, {"train": "train"}),
            Files(
                "tydiqa/tydiqa-goldp-v1.1-dev/tydiqa-goldp-dev-{language}.json",
                formats.squad,
                {"validation": "dev", "test": "dev"},
                _NAMES,
            ),
            Files("tydiqa*/tydiqa.goldp.{language}.{split}.json", formats.squad, _SPLITS),
            Files("tydiqa/*/tydiqa.goldp.{language}.{split}.json", formats.squad, _SPLITS),
            Tfds(
                "tydi_qa/goldp:3.0.0",
                {
                    "train": "train",
                    "validation": "validation-{language}",
                    "test": "validation-{language}",
                },
                select=of_language,
            ),
        ),
        prompt=lambda row: prompts.question(
            row["question"], row["context"], row["answers"]["text"]
        ),
        **families.QUESTIONS,
        english_training=("tydiqa.en",),
        citation="Clark et al. 2020",
        licence="Apache 2.0",
        downloads=(
            downloads.known(
                f"{_URL}/tydiqa-goldp-v1.1-train.json", "tydiqa/tydiqa-goldp-v1.1-train.json"
            ),
            downloads.known(
                f"{_URL}/tydiqa-goldp-v1.1-dev.tgz", "tydiqa/tydiqa-goldp-v1.1-dev.tgz", unpack=True
            ),
        ),
    )
)
