"""HellaSwag: which ending continues a text (Zellers et al. 2019, arXiv:1905.07830)."""

from tasks import downloads, families
from xlt_jax.data import formats, prompts
from xlt_jax.registry.benchmarks import Benchmark, Files, Tfds, register

_SPLITS = {"train": "train", "validation": "val"}
_URL = "https://raw.githubusercontent.com/rowanz/hellaswag/master/data"

BENCHMARK = register(
    Benchmark(
        name="hellaswag",
        description="Which of four endings continues a text?",
        languages=("en",),
        source=(
            Files("hellaswag/hellaswag_{split}.jsonl", formats.json_lines, _SPLITS),
            Files("hellaswag/{split}*.jsonl", formats.json_lines, _SPLITS),
            Tfds("hellaswag:1.1.0", {"train": "train", "validation": "validation"}),
        ),
        prompt=lambda row: prompts.multiple_choice(
            "hellaswag", row.get("context") or row["ctx"], row["endings"], row["label"]
        ),
        **families.CHOICES,
        max_target_tokens=128,
        citation="Zellers et al. 2019",
        licence="MIT",
        downloads=tuple(
            downloads.known(f"{_URL}/hellaswag_{split}.jsonl", f"hellaswag/hellaswag_{split}.jsonl")
            for split in _SPLITS.values()
        ),
    )
)
