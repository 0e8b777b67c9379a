"""PAWS-X: adversarial paraphrases in seven languages (Yang et al. 2019, arXiv:1908.11828).

The English training set is human, the others are machine translations. Row i is the same pair in
every language.
"""

from collections.abc import Sequence

from tasks import downloads, families
from xlt_jax.data import formats, prompts
from xlt_jax.registry.benchmarks import (
    Benchmark,
    Example,
    Files,
    Overlap,
    Row,
    Tfds,
    register,
)

_LANGUAGES = ("de", "en", "es", "fr", "ja", "ko", "zh")
_XTREME = {"train": "train", "validation": "dev"}
_TWO_THOUSAND = {"validation": "dev", "test": "test"}
read_table = formats.table("sentence1", "sentence2", "label")
read_xtreme = formats.table("sentence1", "sentence2", "label", quoted=True, header=False)


def prompt(row: Row) -> dict | None:
    """``paws sentence1: ... sentence2: ...`` -> ``paraphrase``."""
    return prompts.paraphrase(row["sentence1"], row["sentence2"], row["label"], row["split"])


def label_numbers(examples: Sequence[Example], predictions: Sequence[str]) -> list[str]:
    """Predictions as XTREME's files have them: 0 or 1."""
    names = {name: str(number) for number, name in enumerate(prompts.PARAPHRASE_LABELS)}
    return [names.get(prediction, prediction) for prediction in predictions]


BENCHMARK = register(
    Benchmark(
        name="pawsx",
        description="Do two sentences that share most of their words mean the same?",
        languages=_LANGUAGES,
        source=(
            Files("pawsx/test-{language}.labelled.tsv", read_table, {"test": ""}),
            Files("x-final/{language}/train.tsv", read_table, {"train": ""}, {"en": "en"}),
            Files(
                "x-final/{language}/translated_train.tsv",
                read_table,
                {"train": ""},
                {code: code for code in _LANGUAGES if code != "en"},
            ),
            Files("x-final/{language}/{split}_2k.tsv", read_table, _TWO_THOUSAND),
            # As XTREME's script leaves them, without the labels of the test set.
            Files("pawsx/{split}-{language}.tsv", read_xtreme, _XTREME),
            Tfds("paws_x_wiki/{language}:1.0.0"),
        ),
        prompt=prompt,
        **families.PAIRS,
        export=label_numbers,
        parallel=True,
        overlaps=(
            Overlap(
                "paws_wiki",
                {split: (split,) for split in ("train", "validation", "test")},
                "PAWS-X is a part of PAWS-Wiki and its translation, split by split.",
            ),
        ),
        english_training=("pawsx.en",),
        version="2",
        citation="Yang et al. 2019",
        licence="free for any purpose with attribution",
        downloads=(
            downloads.known(
                "https://storage.googleapis.com/paws/pawsx/x-final.tar.gz",
                "x-final.tar.gz",
                unpack=True,
            ),
        ),
    )
)
