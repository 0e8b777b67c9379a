"""Cosmos QA: commonsense reading comprehension (Huang et al. 2019, arXiv:1909.00277)."""

from tasks import downloads, families
from xlt_jax.data import formats, prompts
from xlt_jax.registry.benchmarks import Benchmark, Files, Tfds, register

_SPLITS = {"train": "train", "validation": "valid"}
_URL = "https://raw.githubusercontent.com/wilburOne/cosmosqa/master/data"
_table = formats.table(
    "context", "question", *(f"answer{n}" for n in range(4)), "label", delimiter=",", quoted=True
)

BENCHMARK = register(
    Benchmark(
        name="cosmos_qa",
        description="Which of four answers to a question about a story is the likely one?",
        languages=("en",),
        source=(
            Files("cosmos_qa/{split}.csv", _table, _SPLITS),
            Tfds("cosmos_qa:1.0.0", {"train": "train", "validation": "validation"}),
        ),
        prompt=lambda row: prompts.multiple_choice(
            "cosmosqa",
            f"question: {row['question']} context: {row['context']}",
            [row[f"answer{number}"] for number in range(4)],
            int(row["label"]),
            texts=(row["context"], row["question"]),
        ),
        **families.CHOICES,
        max_target_tokens=64,
        citation="Huang et al. 2019",
        licence="CC BY 4.0",
        downloads=tuple(
            downloads.known(f"{_URL}/{split}.csv", f"cosmos_qa/{split}.csv")
            for split in _SPLITS.values()
        ),
    )
)
