"""ANLI: English inference written against models, in three rounds (Nie et al. 2020,
arXiv:1910.14599).

A benchmark for each round, as TFDS has them; ANLI as a whole is their mixture.
"""

from tasks import downloads, families
from xlt_jax.data import formats, prompts
from xlt_jax.registry.benchmarks import Benchmark, Files, Tfds, register

_SPLITS = {"train": "train", "validation": "dev", "test": "test"}


def _benchmark(number: int) -> Benchmark:
    return Benchmark(
        name=f"anli_r{number}",
        description="Does a premise entail or contradict a hypothesis meant to fool a model?",
        languages=("en",),
        source=(
            *(
                Files(f"{folder}/R{number}/{{split}}.jsonl", formats.json_lines, _SPLITS)
                for folder in ("anli_v1.0", "anli_v0.1")
            ),
            Tfds(f"anli/r{number}:0.1.0"),
        ),
        prompt=lambda row: prompts.inference(row["context"], row["hypothesis"], row["label"]),
        **families.PAIRS,
        citation="Nie et al. 2020",
        licence="CC BY-NC 4.0",
        downloads=(
            downloads.known(
                "https://dl.fbaipublicfiles.com/anli/anli_v0.1.zip", "anli_v0.1.zip", unpack=True
            ),
        ),
    )


BENCHMARKS = tuple(register(_benchmark(number)) for number in (1, 2, 3))
