"""AfriQA: questions in African languages, answered in English or French (Ogundepo et al. 2023,
arXiv:2305.06897).

Here with the passage that has the answer: a task is called by the language of the question.
Passages are English, those of Fon French. Bemba is left out, and Wolof has no such passages.
"""

from tasks import families
from xlt_jax.data import formats, prompts
from xlt_jax.registry.benchmarks import Benchmark, Download, Files, Row, register

# Language of the question and of the passage.
_PAIRS = {
    "fon": "fon.fr", "ha": "hau.en", "ig": "ibo.en", "rw": "kin.en", "sw": "swa.en",
    "tw": "twi.en", "yo": "yor.en", "zu": "zul.en",
}  # fmt: skip
# Split -> its name, and the languages that have it.
_SPLITS = {
    "train": ("train", _PAIRS.keys() - {"sw"}),
    "validation": ("dev", _PAIRS.keys() - {"sw", "yo"}),
    "test": ("test", _PAIRS.keys()),
}
_NAME = "gold_span_passages.afriqa.{language}.{split}.json"
_URL = "https://raw.githubusercontent.com/masakhane-io/afriqa/main/data/gold_passages"


def prompt(row: Row) -> dict | None:
    """``question: ... context: ...`` -> the answer in the passage; some rows have no passage."""
    if not row["context"]:
        return None
    return prompts.question(row["question_lang"], row["context"], row["answer_pivot"]["text"])


BENCHMARK = register(
    Benchmark(
        name="afriqa",
        description="Which span of an English or French passage answers a question of Africa?",
        languages=tuple(_PAIRS),
        source=tuple(
            Files(
                f"{folder}/{_NAME}",
                formats.json_lines,
                {split: spelled},
                {code: pair for code, pair in _PAIRS.items() if code in codes},
            )
            for folder in ("afriqa", "afriqa*/data/gold_passages/*")
            for split, (spelled, codes) in _SPLITS.items()
        ),
        prompt=prompt,
        **families.QUESTIONS,
        english_training=("squad.en",),
        citation="Ogundepo et al. 2023",
        licence="CC BY 4.0",
        downloads=tuple(
            Download(f"{_URL}/{pair[:3]}/{name}", f"afriqa/{name}")
            for spelled, codes in _SPLITS.values()
            for pair in (_PAIRS[code] for code in sorted(codes))
            for name in [_NAME.format(language=pair, split=spelled)]
        ),
    )
)
