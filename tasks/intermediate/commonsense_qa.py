"""CommonsenseQA (Talmor et al. 2019, arXiv:1811.00937), and JCommonsenseQA in Japanese (Kurihara,
Kawahara and Shibata 2022), which is no translation of it.
"""

from collections.abc import Iterator

from tasks import families
from xlt_jax.data import formats, prompts
from xlt_jax.registry.benchmarks import Benchmark, Download, Files, Row, register

_SPLITS = {"train": "train", "validation": "dev"}
_URL = "https://s3.amazonaws.com/commensenseqa"
_JAPANESE_SPLITS = {"train": "train", "validation": "valid", "test": "test"}
_JAPANESE_URL = (
    "https://raw.githubusercontent.com/yahoojapan/JGLUE/main/datasets/jcommonsenseqa-v1.3"
)


def read_original(path, language: str) -> Iterator[Row]:
    """Questions with the texts of their choices and the place of the right one."""
    for row in formats.json_lines(path):
        choices = {choice["label"]: choice["text"] for choice in row["question"]["choices"]}
        yield {
            "id": row["id"],
            "question": row["question"]["stem"],
            "choices": list(choices.values()),
            "label": list(choices).index(row["answerKey"]),
        }


def read_list(path, language: str) -> Iterator[Row]:
    """The same of one JSON list, where the answer is a text."""
    for row in formats.json_value(path):
        yield {
            "question": row["query"],
            "choices": row["cands"],
            "label": row["cands"].index(row["answer"]),
        }


def read_japanese(path, language: str) -> Iterator[Row]:
    """JGLUE's rows with the choices as a list."""
    for row in formats.json_lines(path):
        yield row | {"id": row["q_id"], "choices": [row[f"choice{n}"] for n in range(5)]}


def prompt(row: Row) -> dict | None:
    """``commonsenseqa: question choice1: ...`` -> the right choice."""
    return prompts.multiple_choice("commonsenseqa", row["question"], row["choices"], row["label"])


BENCHMARK = register(
    Benchmark(
        name="commonsense_qa",
        description="Which of five answers to a question of common sense is right?",
        languages=("en",),
        source=(
            Files("commonsense_qa/{split}_rand_split.jsonl", read_original, _SPLITS),
            Files("commonsense_qa/{split}.csqa.json", read_list, _SPLITS),
        ),
        prompt=prompt,
        **families.CHOICES,
        citation="Talmor et al. 2019",
        licence="MIT",
        downloads=tuple(
            Download(f"{_URL}/{split}_rand_split.jsonl", f"commonsense_qa/{split}_rand_split.jsonl")
            for split in _SPLITS.values()
        ),
    )
)
JAPANESE = register(
    Benchmark(
        name="jcommonsenseqa",
        description="Which of five answers to a Japanese question of common sense is right?",
        languages=("ja",),
        source=(
            Files("jcommonsenseqa/{split}-v1.3.json", read_japanese, _JAPANESE_SPLITS),
            Files("nli_other/jcommonsenseqa-{split}-v1.3.jsonl", read_japanese, _JAPANESE_SPLITS),
        ),
        prompt=prompt,
        **families.CHOICES,
        english_training=(f"{BENCHMARK.name}.en",),
        citation="Kurihara, Kawahara and Shibata 2022 (JGLUE)",
        licence="CC BY-SA 4.0",
        downloads=tuple(
            Download(f"{_JAPANESE_URL}/{split}-v1.3.json", f"jcommonsenseqa/{split}-v1.3.json")
            for split in _JAPANESE_SPLITS.values()
        ),
    )
)
