"""XCOPA: causal choice in 11 languages (Ponti et al. 2020, arXiv:2005.00333).

Trained on Social IQa, then COPA (Ruder et al. 2021, arXiv:2104.07412). The prompt is ours.
"""

from collections.abc import Sequence

from tasks import downloads, families
from xlt_jax.data import formats, prompts
from xlt_jax.registry import xtreme
from xlt_jax.registry.benchmarks import Benchmark, Example, Files, Overlap, Row, register

_LANGUAGES = xtreme.task("xcopa").languages
_SPLITS = {"validation": "val", "test": "test"}
_URL = "https://raw.githubusercontent.com/cambridgeltl/xcopa/master/data"


def prompt(row: Row) -> dict | None:
    """``copa: premise What was the cause? choice1: ... choice2: ...`` -> the right choice."""
    return prompts.multiple_choice(
        "copa",
        f"{row['premise']} What was the {row['question']}?",
        (row["choice1"], row["choice2"]),
        int(row["label"]),
        texts=(row["premise"],),
    )


def choice_numbers(examples: Sequence[Example], predictions: Sequence[str]) -> list[str]:
    """Predictions as XTREME's files have them: 0 or 1, the number of the choice."""
    return [
        str(example["choices"].index(prediction)) if prediction in example["choices"] else "-1"
        for example, prediction in zip(examples, predictions, strict=True)
    ]


BENCHMARK = register(
    Benchmark(
        name="xcopa",
        description="Which of two sentences is the likely cause or effect of a premise?",
        languages=_LANGUAGES,
        source=(
            Files("xcopa/{split}.{language}.jsonl", formats.json_lines, _SPLITS),
            Files("xcopa/data/{language}/{split}.{language}.jsonl", formats.json_lines, _SPLITS),
            # As XTREME's script leaves them, where every label of the test set is 0.
            Files("xcopa/{split}-{language}.jsonl", formats.json_lines, {"validation": "val"}),
        ),
        prompt=prompt,
        **families.CHOICES,
        export=choice_numbers,
        parallel=True,
        overlaps=(
            Overlap(
                "copa",
                {"validation": ("validation",)},
                "XCOPA's rows are translations of COPA's, in the same order.",
            ),
        ),
        max_target_tokens=64,
        english_training=("social_i_qa.en", "copa.en"),
        citation="Ponti et al. 2020",
        licence="CC BY 4.0",
        downloads=tuple(
            downloads.known(
                f"{_URL}/{language}/{split}.{language}.jsonl", f"xcopa/{split}.{language}.jsonl"
            )
            for language in _LANGUAGES
            for split in ("val", "test")
        ),
    )
)
