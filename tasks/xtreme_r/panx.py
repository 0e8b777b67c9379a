"""WikiANN (PAN-X): named entities from Wikipedia links (Pan et al. 2017; Rahimi et al. 2019).

Text in mT5's format, scored as tags by entity F1, as XTREME does.
"""

from tasks import downloads, families
from xlt_jax.data import formats, prompts
from xlt_jax.registry import xtreme
from xlt_jax.registry.benchmarks import Benchmark, Files, Row, Tfds, register

TAGS = ("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC")
_SPLITS = {"train": "train", "validation": "dev", "test": "test"}
_xtreme = formats.tagged_words()


def read_original(path, language: str):
    """The original files: each word has its language and a colon before it."""
    for row in _xtreme(path):
        yield row | {"tokens": [token.partition(":")[2].strip() for token in row["tokens"]]}


def named_tags(row: Row, language: str) -> Row:
    """TFDS's row with the names of its tags."""
    return {**row, "tags": [TAGS[tag] for tag in row["tags"]]}


BENCHMARK = register(
    Benchmark(
        name="panx",
        description="Which persons, organisations and places does a sentence name?",
        languages=xtreme.task("panx").languages,
        source=(
            Files("panx_dataset/{language}-{split}", read_original, _SPLITS),
            Files("panx_dataset/{language}/{split}", read_original, _SPLITS),
            Files("panx/{split}-{language}.tsv", _xtreme, _SPLITS),
            Tfds("wikiann/{language}:1.0.0", select=named_tags),
        ),
        prompt=lambda row: prompts.entities(row["tokens"], row["tags"]),
        **families.ENTITIES,
        english_training=("panx.en",),
        citation="Pan et al. 2017, splits of Rahimi et al. 2019",
        licence="none stated by the authors; the text is Wikipedia's, CC BY-SA 3.0",
        # XTREME's AmazonPhotos.zip under the address from which others serve it.
        downloads=(
            downloads.known(
                "https://s3.amazonaws.com/datasets.huggingface.co/wikiann/1.1.0/panx_dataset.zip",
                "panx_dataset/panx_dataset.zip",
                unpack=True,
            ),
        ),
    )
)
