"""XNLI: inference in 15 languages (Conneau et al. 2018, arXiv:1809.05053)."""

from collections.abc import Sequence

from tasks import downloads, families
from xlt_jax.data import formats, prompts
from xlt_jax.registry import xtreme
from xlt_jax.registry.benchmarks import (
    Benchmark,
    Example,
    Files,
    Overlap,
    Row,
    Tfds,
    register,
)

_SPLITS = {"validation": "dev", "test": "test"}
_ENGLISH = ("train", "validation")
_original = formats.table("language", "gold_label", "sentence1", "sentence2")
read_xtreme = formats.table("premise", "hypothesis", "label", quoted=True, header=False)


def read_original(path, language: str):
    """Rows of one language out of the file that holds all fifteen."""
    for row in _original(path):
        if row["language"] == language:
            yield {
                "premise": row["sentence1"],
                "hypothesis": row["sentence2"],
                "label": row["gold_label"],
            }


def of_language(row: Row, language: str) -> Row:
    """The columns of one language out of a row of TFDS, which holds all fifteen."""
    hypotheses = dict(zip(row["hypothesis"]["language"], row["hypothesis"]["translation"]))
    return {**row, "premise": row["premise"][language], "hypothesis": hypotheses[language]}


def prompt(row: Row) -> dict | None:
    """``xnli: premise: ... hypothesis: ...`` -> ``1``."""
    return prompts.inference(row["premise"], row["hypothesis"], row["label"])


def label_names(examples: Sequence[Example], predictions: Sequence[str]) -> list[str]:
    """Predictions as XTREME's files have them: the names of the labels."""
    names = dict(zip("012", prompts.INFERENCE_LABELS))
    return [names.get(prediction, prediction) for prediction in predictions]


BENCHMARK = register(
    Benchmark(
        name="xnli",
        description="Does a premise entail or contradict a hypothesis, or neither?",
        languages=xtreme.task("xnli").languages,
        source=(
            Files("XNLI-1.0/xnli.{split}.tsv", read_original, _SPLITS),
            # As XTREME's script leaves them, without the labels of the test set.
            Files("xnli/{split}-{language}.tsv", read_xtreme, {"validation": "dev"}),
            Files("nc/xnli/{split}-{language}.tsv", read_xtreme, {"validation": "dev"}),
            Tfds("xnli:1.1.0", {"validation": "validation", "test": "test"}, select=of_language),
        ),
        prompt=prompt,
        **families.PAIRS,
        export=label_names,
        parallel=True,
        overlaps=(
            Overlap(
                "mnli",
                dict.fromkeys(_SPLITS, _ENGLISH),
                "XNLI was made in MultiNLI's manner, from the same ten genres.",
                texts=False,
            ),
        ),
        english_training=("mnli.en",),
        version="2",
        citation="Conneau et al. 2018",
        licence="CC BY-NC 4.0",
        downloads=(
            downloads.known(
                "https://dl.fbaipublicfiles.com/XNLI/XNLI-1.0.zip", "XNLI-1.0.zip", unpack=True
            ),
        ),
    )
)
