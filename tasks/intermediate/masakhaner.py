"""MasakhaNER 1.0 and 2.0: entities in African news (Adelani et al. 2021, arXiv:2103.11811; 2022,
arXiv:2210.12391).

Persons, organisations and places, as in the other sets of entities: dates count as O. Luo and
Ghomala', for which there is no row in the language registry, are left out.
"""

from collections.abc import Iterator

from tasks import families
from xlt_jax.data import formats, prompts
from xlt_jax.registry.benchmarks import Benchmark, Download, Files, Row, register

_SPLITS = {"train": "train", "validation": "dev", "test": "test"}
_ISO3 = {
    "am": "amh", "bm": "bam", "ee": "ewe", "fon": "fon", "ha": "hau", "ig": "ibo", "lg": "lug",
    "mos": "mos", "ny": "nya", "pcm": "pcm", "rw": "kin", "sn": "sna", "sw": "swa", "tn": "tsn",
    "tw": "twi", "wo": "wol", "xh": "xho", "yo": "yor", "zu": "zul",
}  # fmt: skip
_URL = "https://raw.githubusercontent.com/masakhane-io/masakhane-ner/main"
_columns = formats.tagged_words(delimiter=None)


def read_original(path, language: str) -> Iterator[Row]:
    """Sentences; tags other than of persons, organisations and places count as O."""
    for row in _columns(path):
        yield row | {"tags": prompts.tags_of(prompts.ENTITY_LABELS, row["tags"])}


def _benchmark(name: str, languages: str, folder: str, citation: str) -> Benchmark:
    codes = {code: _ISO3[code] for code in languages.split()}
    return Benchmark(
        name=name,
        description="Which persons, organisations and places does a sentence of the news name?",
        languages=tuple(codes),
        source=(
            Files(f"{name}/{{language}}/{{split}}.txt", read_original, _SPLITS, codes),
            Files(
                f"masakhane-ner*/{folder}/{{language}}/{{split}}.txt", read_original, _SPLITS, codes
            ),
        ),
        prompt=lambda row: prompts.entities(row["tokens"], row["tags"]),
        **families.ENTITIES,
        domain="news",
        english_training=("uner_ewt.en",),
        citation=citation,
        licence="CC BY-NC 4.0",
        downloads=tuple(
            Download(f"{_URL}/{folder}/{iso3}/{split}.txt", f"{name}/{iso3}/{split}.txt")
            for iso3 in codes.values()
            for split in _SPLITS.values()
        ),
    )


FIRST = register(
    _benchmark("masakhaner", "am ha ig lg pcm rw sw wo yo", "data", "Adelani et al. 2021")
)
SECOND = register(
    _benchmark(
        "masakhaner2",
        "bm ee fon ha ig lg mos ny pcm rw sn sw tn tw wo xh yo zu",
        "MasakhaNER2.0/data",
        "Adelani et al. 2022",
    )
)
