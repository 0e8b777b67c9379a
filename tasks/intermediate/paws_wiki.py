"""PAWS-Wiki: adversarial paraphrases from Wikipedia (Zhang, Baldridge and He 2019,
arXiv:1904.01130).

PAWS-X has its training pairs, and 2,000 each of its 8,000 pairs for development and for testing.
"""

from tasks import downloads, families
from tasks.extra import pawsx
from xlt_jax.registry.benchmarks import Benchmark, Files, Tfds, register

BENCHMARK = register(
    Benchmark(
        name="paws_wiki",
        description="Do two sentences that share most of their words mean the same?",
        languages=("en",),
        source=(
            Files(
                "paws_wiki/final/{split}.tsv",
                pawsx.read_table,
                {"train": "train", "validation": "dev", "test": "test"},
            ),
            Tfds("paws_wiki/labeled_final_tokenized:1.1.0"),
        ),
        prompt=pawsx.BENCHMARK.prompt,
        **families.PAIRS,
        citation="Zhang, Baldridge and He 2019",
        licence=pawsx.BENCHMARK.licence,
        downloads=(
            downloads.known(
                "https://storage.googleapis.com/paws/english/paws_wiki_labeled_final.tar.gz",
                "paws_wiki/paws_wiki_labeled_final.tar.gz",
                unpack=True,
            ),
        ),
    )
)
