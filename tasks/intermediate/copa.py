"""COPA: choice of plausible alternatives in English (Roemmele et al. 2011), in XCOPA's form."""

from tasks import downloads, families
from tasks.xtreme_r import xcopa
from xlt_jax.data import formats
from xlt_jax.registry.benchmarks import Benchmark, Files, Tfds, register

_SPLITS = {"train": "train", "validation": "val"}

BENCHMARK = register(
    Benchmark(
        name="copa",
        description="Which of two sentences is the likely cause or effect of a premise?",
        languages=("en",),
        source=(
            Files("copa/{split}.{language}.jsonl", formats.json_lines, _SPLITS),
            Files("xcopa/{split}-{language}.jsonl", formats.json_lines, _SPLITS),
            Files("COPA/{split}.jsonl", formats.json_lines, _SPLITS),
            Tfds("super_glue/copa:1.0.2", {"train": "train", "validation": "validation"}),
        ),
        prompt=lambda row: xcopa.prompt(row),
        **families.CHOICES,
        max_target_tokens=64,
        citation="Roemmele et al. 2011",
        licence="BSD 2-Clause",
        downloads=(
            downloads.known(
                "https://dl.fbaipublicfiles.com/glue/superglue/data/v2/COPA.zip",
                "COPA.zip",
                unpack=True,
            ),
        ),
    )
)
