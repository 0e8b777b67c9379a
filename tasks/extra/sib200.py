"""SIB-200: topics of FLORES-200's sentences (Adelani et al. 2024, arXiv:2309.07445).

The same sentences in every language; here the 50 of XTREME-R. The prompt is ours.
"""

from tasks import families
from xlt_jax.data import formats, prompts
from xlt_jax.registry import languages
from xlt_jax.registry.benchmarks import Benchmark, Download, Files, register

TOPICS = (
    "entertainment",
    "geography",
    "health",
    "politics",
    "science/technology",
    "sports",
    "travel",
)
_SPLITS = {"train": "train", "validation": "dev", "test": "test"}
# FLORES-200's codes; of languages with several, the one that SIB-200 has.
_FLORES = {
    code: next(alias for alias in languages.get(code).aliases if len(alias) == 8)
    for code in languages.XTREME_R
}
_URL = "https://raw.githubusercontent.com/dadelani/sib-200/main/data/annotated"
_table = formats.table("index_id", "category", "text", quoted=True)

BENCHMARK = register(
    Benchmark(
        name="sib200",
        description="What is a sentence about?",
        languages=languages.XTREME_R,
        source=(
            Files("sib200/{language}.{split}.tsv", _table, _SPLITS, _FLORES),
            Files("sib200/{language}/{split}.tsv", _table, _SPLITS, _FLORES),
            Files("sib-200*/data/annotated/{language}/{split}.tsv", _table, _SPLITS, _FLORES),
        ),
        prompt=lambda row: prompts.classification("sib200", row["text"], row["category"], TOPICS),
        **families.CLASSES,
        kind="classification",
        chance=prompts.largest_class,
        max_target_tokens=8,
        parallel=True,
        english_training=("sib200.en",),
        citation="Adelani et al. 2024",
        licence="text CC BY-SA 4.0 (FLORES-200), labels Apache 2.0",
        downloads=tuple(
            Download(f"{_URL}/{flores}/{split}.tsv", f"sib200/{flores}.{split}.tsv")
            for flores in _FLORES.values()
            for split in _SPLITS.values()
        ),
    )
)
