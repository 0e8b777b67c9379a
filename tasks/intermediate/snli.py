"""SNLI: English inference on captions of photographs (Bowman et al. 2015, arXiv:1508.05326)."""

from tasks import downloads, families
from tasks.intermediate import mnli
from xlt_jax.data import formats, prompts
from xlt_jax.registry.benchmarks import Benchmark, Files, Tfds, register

_SPLITS = {"train": "train", "validation": "dev", "test": "test"}

BENCHMARK = register(
    Benchmark(
        name="snli",
        description="Does a caption entail or contradict a hypothesis, or neither?",
        languages=("en",),
        source=(
            Files("snli_1.0/snli_1.0_{split}.jsonl", mnli.read_original, _SPLITS),
            Files(
                "nli_en/snli.{split}*.csv",
                formats.table("premise", "hypothesis", "label", delimiter=",", quoted=True),
                {"validation": "dev"},
            ),
            Tfds("snli:1.1.0"),
        ),
        prompt=lambda row: prompts.inference(row["premise"], row["hypothesis"], row["label"]),
        **families.PAIRS,
        citation="Bowman et al. 2015",
        licence="CC BY-SA 4.0",
        downloads=(
            downloads.known(
                "https://nlp.stanford.edu/projects/snli/snli_1.0.zip", "snli_1.0.zip", unpack=True
            ),
        ),
    )
)
