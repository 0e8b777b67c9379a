"""AfriSenti: sentiment of tweets in African languages (Muhammad et al. 2023, arXiv:2302.08956).

Portuguese is Mozambican, Swahili Kenyan and Tanzanian. There is no English training set. Algerian
and Moroccan Arabic, Oromo and Tigrinya are left out. The prompt is ours.
"""

from xlt_jax.data import formats, prompts
from xlt_jax.metrics import classification
from xlt_jax.registry.benchmarks import Benchmark, Download, Files, Request, register

SENTIMENTS = ("negative", "neutral", "positive")
_SPLITS = {"train": "train", "validation": "dev", "test": "test"}
_ISO3 = {
    "am": "amh", "ha": "hau", "ig": "ibo", "pcm": "pcm", "pt": "por", "rw": "kin", "sw": "swa",
    "ts": "tso", "tw": "twi", "yo": "yor",
}  # fmt: skip
_URL = "https://raw.githubusercontent.com/afrisenti-semeval/afrisent-semeval-2023/main/data"
_table = formats.table("tweet", "label")


def metric(references, predictions) -> dict[str, float]:
    """Accuracy, and macro F1 over the labels that occur."""
    return classification.accuracy(references, predictions) | classification.macro_f1(
        references, predictions
    )


BENCHMARK = register(
    Benchmark(
        name="afrisenti",
        description="Is a tweet negative, neutral or positive?",
        languages=tuple(_ISO3),
        source=(
            Files("afrisenti/{language}.{split}.tsv", _table, _SPLITS, _ISO3),
            Files("afrisenti/{language}/{split}.tsv", _table, _SPLITS, _ISO3),
            Files("afrisent-semeval-2023*/data/{language}/{split}.tsv", _table, _SPLITS, _ISO3),
        ),
        prompt=lambda row: prompts.classification(
            "afrisenti", row["tweet"], row["label"], SENTIMENTS
        ),
        request=Request.RANK,
        kind="classification",
        metric=metric,
        example_score=classification.exact,
        main_metric="accuracy",
        chance=prompts.largest_class,
        max_target_tokens=8,
        domain="social media",
        citation="Muhammad et al. 2023",
        licence="CC BY 4.0",
        downloads=tuple(
            Download(f"{_URL}/{iso3}/{split}.tsv", f"afrisenti/{iso3}.{split}.tsv")
            for iso3 in _ISO3.values()
            for split in _SPLITS.values()
        ),
    )
)
