"""Tatoeba: which English sentence translates a sentence (Artetxe and Schwenk 2019,
arXiv:1812.10464).

Nothing is trained on it; XTREME-R embeds with a model fine-tuned on SQuAD. A prediction is the
number of a row.
"""

from collections.abc import Sequence

from tasks import downloads
from xlt_jax.data import formats, prompts
from xlt_jax.metrics import classification
from xlt_jax.registry import languages, xtreme
from xlt_jax.registry.benchmarks import (
    Benchmark,
    Example,
    Files,
    Request,
    Row,
    Tfds,
    register,
)

_LANGUAGES = xtreme.task("tatoeba").languages
_ISO3 = {
    code: next(alias for alias in languages.get(code).aliases if len(alias) == 3)
    for code in _LANGUAGES
} | {"fa": "pes", "sw": "swh", "tl": "tgl", "zh": "cmn"}
_URL = "https://raw.githubusercontent.com/facebookresearch/LASER/main/data/tatoeba/v1"


def read_pairs(path, language: str):
    """Sentences and their translations, line by line."""
    english = formats.lines(formats.sibling(path, ".eng"))
    for own, translation in zip(formats.lines(path), english, strict=True):
        yield {"sentence": own.strip(), "english": translation.strip()}


def stripped(row: Row, language: str) -> Row:
    """TFDS's row; each of its sentences keeps its final newline."""
    return {"sentence": row["source_sentence"].strip(), "english": row["target_sentence"].strip()}


def sorted_places(examples: Sequence[Example], predictions: Sequence[str]) -> list[str]:
    """Predicted rows as places in XTREME's file of English sentences, which is sorted as text."""
    order = sorted(range(len(examples)), key=lambda row: examples[row]["english"])
    place = {row: position for position, row in enumerate(order)}
    return [str(place[int(prediction)]) for prediction in predictions]


_SOURCE = (
    Files("tatoeba/tatoeba.{language}-eng.{language}", read_pairs, {"test": "test"}, _ISO3),
    # What TFDS calls train is the test set.
    Tfds(
        "tatoeba/tatoeba_{language}:1.0.0",
        {"test": "train"},
        {code: code for code in xtreme.task("tatoeba", "xtreme").languages},
        stripped,
    ),
)
_DOWNLOADS = tuple(
    downloads.known(f"{_URL}/tatoeba.{iso3}-eng.{end}", f"tatoeba/tatoeba.{iso3}-eng.{end}")
    for iso3 in _ISO3.values()
    for end in (iso3, "eng")
)
_CITATION = "Artetxe and Schwenk 2019, from Tatoeba.org"
_LICENCE = "CC BY 2.0 FR"

ENGLISH = register(
    Benchmark(
        name="tatoeba_english",
        description="The English sentences that Tatoeba's are searched among.",
        languages=_LANGUAGES,
        source=_SOURCE,
        prompt=lambda row: {"inputs": row["english"], "targets": ""},
        request=Request.CANDIDATES,
        kind="retrieval",
        citation=_CITATION,
        licence=_LICENCE,
        downloads=_DOWNLOADS,
    )
)
BENCHMARK = register(
    Benchmark(
        name="tatoeba",
        description="Which English sentence translates the sentence?",
        languages=_LANGUAGES,
        source=_SOURCE,
        prompt=lambda row: {
            "inputs": row["sentence"],
            "targets": str(row["number"]),
            "english": row["english"],
            "texts": (row["sentence"], row["english"]),
        },
        request=Request.EMBED,
        candidates=ENGLISH.name,
        kind="retrieval",
        metric=classification.accuracy,
        example_score=classification.exact,
        main_metric="accuracy",
        chance=prompts.one_of_rows,
        export=sorted_places,
        english_training=("squad.en",),
        citation=_CITATION,
        licence=_LICENCE,
        downloads=_DOWNLOADS,
    )
)
