"""CrossNER: entities of five domains, each with its own labels (Liu et al. 2021, arXiv:2012.04373).

Sentences of Wikipedia. A benchmark for each domain, since none has the labels of another; texts in
mT5's format but for the name of the domain.
"""

import functools
from collections.abc import Mapping

from tasks import families
from xlt_jax.data import formats, prompts
from xlt_jax.registry.benchmarks import Benchmark, Download, Files, register

_ALL = ("country", "event", "location", "misc", "organisation", "person")
LABELS: Mapping[str, tuple[str, ...]] = {
    "ai": (
        *(label for label in _ALL if label != "event"),
        *("algorithm", "conference", "field", "metrics", "product", "programlang", "researcher"),
        *("task", "university"),
    ),
    "literature": (*_ALL, "award", "book", "literarygenre", "magazine", "poem", "writer"),
    "music": (
        *_ALL,
        *("album", "award", "band", "musicalartist", "musicalinstrument", "musicgenre", "song"),
    ),
    "politics": (*_ALL, "election", "politicalparty", "politician"),
    "science": (
        *_ALL,
        *("academicjournal", "astronomicalobject", "award", "chemicalcompound", "chemicalelement"),
        *("discipline", "enzyme", "protein", "scientist", "theory", "university"),
    ),
}
_SPLITS = {"train": "train", "validation": "dev", "test": "test"}
_URL = "https://raw.githubusercontent.com/zliucr/CrossNER/main/ner_data"
_table = formats.tagged_words()


def _benchmark(domain: str) -> Benchmark:
    labels = LABELS[domain]
    return Benchmark(
        name=f"crossner_{domain}",
        description=f"Which entities, of {len(labels)} types, does a sentence on {domain} name?",
        languages=("en",),
        source=tuple(
            Files(pattern, _table, _SPLITS)
            for pattern in (
                f"crossner/{domain}/{{split}}.txt",
                f"CrossNER*/ner_data/{domain}/{{split}}.txt",
                f"domain/crossner.{domain}.{{split}}.txt",
            )
        ),
        prompt=lambda row: prompts.entities(row["tokens"], row["tags"], prefix=f"tag {domain}"),
        **families.ENTITIES
        | {
            "parse": functools.partial(prompts.parse_entities, labels=labels),
            "constraint": functools.partial(prompts.entity_constraint, labels=labels),
            "max_target_tokens": 256,
        },
        domain="scientific" if domain in ("ai", "science") else "general",
        citation="Liu et al. 2021",
        licence="MIT",
        downloads=tuple(
            Download(f"{_URL}/{domain}/{split}.txt", f"crossner/{domain}/{split}.txt")
            for split in _SPLITS.values()
        ),
    )


BENCHMARKS = tuple(register(_benchmark(domain)) for domain in LABELS)
