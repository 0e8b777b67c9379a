"""MultiNLI: English inference in ten genres (Williams et al. 2018, arXiv:1704.05426)."""

from tasks import downloads, families
from xlt_jax.data import formats, prompts
from xlt_jax.registry.benchmarks import Benchmark, Files, Tfds, register

_SPLITS = {"train": "train", "validation": "dev_matched"}


def read_original(path, language: str):
    """Rows with the names of TFDS's columns."""
    for row in formats.json_lines(path):
        yield {
            "premise": row["sentence1"],
            "hypothesis": row["sentence2"],
            "label": row["gold_label"],
        }


BENCHMARK = register(
    Benchmark(
        name="mnli",
        description="Does a premise entail or contradict a hypothesis, or neither?",
        languages=("en",),
        source=(
            Files("multinli_1.0/multinli_1.0_{split}.jsonl", read_original, _SPLITS),
            # As XTREME prepares it for XNLI; its development set is XNLI's.
            Files(
                "xnli/{split}-{language}.tsv",
                formats.table("premise", "hypothesis", "label", quoted=True, header=False),
                {"train": "train"},
            ),
            Files(
                "nli_en/mnli.{split}*.csv",
                formats.table("premise", "hypothesis", "label", delimiter=",", quoted=True),
                {"validation": "dev"},
            ),
            Tfds("multi_nli:1.1.0", {"train": "train", "validation": "validation_matched"}),
        ),
        prompt=lambda row: prompts.inference(row["premise"], row["hypothesis"], row["label"]),
        **families.PAIRS,
        version="2",
        citation="Williams et al. 2018",
        licence="OANC and others",
        downloads=(
            downloads.known(
                "https://cims.nyu.edu/~sbowman/multinli/multinli_1.0.zip",
                "multinli_1.0.zip",
                unpack=True,
            ),
        ),
    )
)
