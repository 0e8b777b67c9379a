"""XQuAD: SQuAD's questions translated by people (Artetxe et al. 2020, arXiv:1910.11856)."""

from tasks import downloads, families
from xlt_jax.data import formats, prompts
from xlt_jax.registry import xtreme
from xlt_jax.registry.benchmarks import Benchmark, Files, Overlap, Tfds, register

_LANGUAGES = xtreme.task("xquad").languages
_URL = "https://raw.githubusercontent.com/deepmind/xquad/master"
OVERLAPS = tuple(
    Overlap(
        name,
        {"test": ("validation",)},
        "XQuAD's 240 paragraphs and their questions are of SQuAD 1.1's development set.",
    )
    for name in ("squad", "squad_v2", "squad_sentences")
)

BENCHMARK = register(
    Benchmark(
        name="xquad",
        description="Which span of a paragraph answers the question?",
        languages=_LANGUAGES,
        source=(
            Files("xquad/xquad.{language}.json", formats.squad, {"test": "test"}),
            Tfds(
                "xquad/{language}:3.0.0",
                {"test": "test"},
                {code: code for code in _LANGUAGES if code != "ro"},
            ),
        ),
        prompt=lambda row: prompts.question(
            row["question"], row["context"], row["answers"]["text"]
        ),
        **families.QUESTIONS,
        parallel=True,
        overlaps=OVERLAPS,
        english_training=("squad.en",),
        version="2",
        citation="Artetxe et al. 2020",
        licence="CC BY-SA 4.0",
        downloads=tuple(
            downloads.known(f"{_URL}/xquad.{code}.json", f"xquad/xquad.{code}.json")
            for code in _LANGUAGES
        ),
    )
)
