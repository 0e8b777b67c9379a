"""Universal NER: entities that people marked in UD's treebanks (Mayhew et al. 2024,
arXiv:2311.09122).

A benchmark for each treebank, ``uner_pud`` for the one that is parallel over languages. Text in
mT5's format, as WikiANN's.
"""

from collections.abc import Iterator

from tasks import families
from tasks.xtreme_r import udpos
from xlt_jax.data import formats, prompts
from xlt_jax.registry.benchmarks import Benchmark, Download, Files, Overlap, Row, register

_ALL = {"train": "train", "validation": "dev", "test": "test"}
_TEST = {"test": "test"}
# Treebank -> splits and languages; the repository of each is UNER_Language-TREEBANK.
_TREEBANKS = {
    "bosque": (_ALL, {"pt": "Portuguese-Bosque"}),
    "ddt": (_ALL, {"da": "Danish-DDT"}),
    "ewt": (_ALL, {"en": "English-EWT"}),
    "gja": (_TEST, {"ceb": "Cebuano-GJA"}),
    "gsd": (_ALL, {"zh": "Chinese-GSD"}),
    "gsdsimp": (_ALL, {"zh": "Chinese-GSDSIMP"}),
    "pud": (
        _TEST,
        {
            "de": "German-PUD",
            "en": "English-PUD",
            "pt": "Portuguese-PUD",
            "ru": "Russian-PUD",
            "sv": "Swedish-PUD",
            "zh": "Chinese-PUD",
        },
    ),
    "set": (_ALL, {"hr": "Croatian-SET", "sr": "Serbian-SET"}),
    "snk": (_ALL, {"sk": "Slovak-SNK"}),
    "talbanken": (_ALL, {"sv": "Swedish-Talbanken"}),
    "trg": (_TEST, {"tl": "Tagalog-TRG"}),
    "ugnayan": (_TEST, {"tl": "Tagalog-Ugnayan"}),
}
_URL = "https://raw.githubusercontent.com/UniversalNER"
_columns = formats.tagged_words(word=1, tag=2)


def read_iob2(path, language: str) -> Iterator[Row]:
    """Sentences; tags other than of persons, organisations and places count as O."""
    for row in _columns(path):
        yield row | {"tags": prompts.tags_of(prompts.ENTITY_LABELS, row["tags"])}


def _overlaps(treebank: str) -> tuple[Overlap, ...]:
    splits, repositories = _TREEBANKS[treebank]
    same = {split: (split,) for split in splits}
    found = []
    if set(repositories) & set(udpos.BENCHMARK.languages):
        note = "UNER marks entities in the sentences of a UD treebank, split by split."
        found.append(Overlap(udpos.BENCHMARK.name, same, note))
    if treebank == "gsdsimp":
        note = "The same sentences in traditional and in simplified characters."
        found.append(Overlap("uner_gsd", same, note))
    return tuple(found)


def _benchmark(treebank: str) -> Benchmark:
    splits, repositories = _TREEBANKS[treebank]
    name = f"{{language}}_{treebank}-ud-{{split}}.iob2"
    return Benchmark(
        name=f"uner_{treebank}",
        description="Which persons, organisations and places does a sentence name?",
        languages=tuple(repositories),
        source=(
            Files(f"uner/{name}", read_iob2, splits),
            Files(f"UNER_*/{name}", read_iob2, splits),
        ),
        prompt=lambda row: prompts.entities(row["tokens"], row["tags"]),
        **families.ENTITIES,
        parallel=treebank == "pud",
        overlaps=_overlaps(treebank),
        english_training=("uner_ewt.en",),
        citation="Mayhew et al. 2024",
        licence="of each treebank, CC BY-SA 4.0 or 3.0",
        downloads=tuple(
            Download(
                f"{_URL}/UNER_{repository}/master/{code}_{treebank}-ud-{split}.iob2",
                f"uner/{code}_{treebank}-ud-{split}.iob2",
            )
            for code, repository in repositories.items()
            for split in splits.values()
        ),
    )


BENCHMARKS = tuple(register(_benchmark(treebank)) for treebank in _TREEBANKS)
