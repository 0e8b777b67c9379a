"""Social IQa: why people do things and what follows (Sap et al. 2019, arXiv:1904.09728).

Trained on before COPA for XCOPA, as XTREME-R does.
"""

from tasks import downloads, families
from xlt_jax.data import formats, prompts
from xlt_jax.registry.benchmarks import Benchmark, Files, Row, register

_SPLITS = {"train": "trn", "validation": "dev", "test": "tst"}


def prompt(row: Row) -> dict | None:
    """``socialiqa: context question choice1: ...`` -> the right answer."""
    texts = (row["context"], row["question"])
    answers = [row[f"answer{letter}"] for letter in "ABC"]
    right = "ABC".index(row["correct"])
    return prompts.multiple_choice("socialiqa", " ".join(texts), answers, right, texts)


BENCHMARK = register(
    Benchmark(
        name="social_i_qa",
        description="Which of three answers to a question about a social situation is likely?",
        languages=("en",),
        source=tuple(
            Files(f"{folder}/socialIQa_v1.4_{{split}}.jsonl", formats.json_lines, _SPLITS)
            for folder in ("social_i_qa", "siqa")
        ),
        prompt=prompt,
        **families.CHOICES,
        max_target_tokens=64,
        citation="Sap et al. 2019",
        licence="CC BY 4.0",
        downloads=(
            downloads.known(
                "https://maartensap.github.io/social-iqa/data/socialIQa_v1.4.tgz",
                "siqa/socialIQa_v1.4.tgz",
                unpack=True,
            ),
        ),
    )
)
