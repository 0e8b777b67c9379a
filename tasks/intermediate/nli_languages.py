"""Inference written in a language of its own, not translated: IndoNLI, KLUE-NLI, JNLI.

IndoNLI: Mahendra et al. 2021, arXiv:2110.14566. KLUE-NLI, Korean: Park et al. 2021,
arXiv:2105.09680; its test set is not public. JNLI, Japanese: Kurihara, Kawahara and Shibata 2022.
"""

from collections.abc import Iterator, Mapping

from tasks import families
from xlt_jax.data import formats, prompts
from xlt_jax.registry.benchmarks import Benchmark, Download, Files, Overlap, Row, register

_GITHUB = "https://raw.githubusercontent.com"
_INDONLI_SPLITS = {
    "train": "train",
    "validation": "val",
    "test": "test_lay",
    "test_expert": "test_expert",
}
_UD_PREMISES = Overlap(
    "udpos",
    dict.fromkeys(_INDONLI_SPLITS, ("train", "validation", "test")),
    "Some of IndoNLI's premises are sentences of UD's Indonesian treebanks, of which splits it "
    "does not say.",
)


def read_klue(path, language: str) -> Iterator[Row]:
    """The rows of a JSON list, with the name that others have for their label."""
    for row in formats.json_value(path):
        yield {"id": row["guid"], "label": row["gold_label"], **row}


def read_jnli(path, language: str) -> Iterator[Row]:
    """JGLUE's rows with the names that others have for their columns."""
    for row in formats.json_lines(path):
        yield row | {"premise": row["sentence1"], "hypothesis": row["sentence2"]}


def _benchmark(
    name: str,
    language: str,
    read,
    patterns: tuple[str, str],
    splits: Mapping[str, str],
    url: str,
    citation: str,
    licence: str,
    overlaps: tuple[Overlap, ...] = (),
) -> Benchmark:
    """A set of one language; files are fetched from ``url`` to the first of the patterns."""
    return Benchmark(
        name=name,
        description="Does a premise entail or contradict a hypothesis, or neither?",
        languages=(language,),
        source=tuple(Files(pattern, read, splits) for pattern in patterns),
        prompt=lambda row: prompts.inference(row["premise"], row["hypothesis"], row["label"]),
        **families.PAIRS,
        overlaps=overlaps,
        english_training=("mnli.en",),
        citation=citation,
        licence=licence,
        downloads=tuple(
            Download(f"{_GITHUB}/{url}".format(split=split), patterns[0].format(split=split))
            for split in splits.values()
        ),
    )


BENCHMARKS = tuple(
    register(benchmark)
    for benchmark in (
        _benchmark(
            "indonli",
            "id",
            formats.json_lines,
            ("indonli/{split}.jsonl", "nli_other/indonli.{split}.jsonl"),
            _INDONLI_SPLITS,
            "ir-nlp-csui/indonli/main/data/indonli/{split}.jsonl",
            "Mahendra et al. 2021",
            "none stated; the premises are CC BY-SA and Apache 2.0",
            overlaps=(_UD_PREMISES,),
        ),
        _benchmark(
            "klue_nli",
            "ko",
            read_klue,
            ("klue_nli/klue-nli-v1.1_{split}.json", "nli_other/klue-nli-v1.1_{split}*.json"),
            {"train": "train", "validation": "dev"},
            "KLUE-benchmark/KLUE/main/klue_benchmark/klue-nli-v1.1/klue-nli-v1.1_{split}.json",
            "Park et al. 2021",
            "CC BY-SA 4.0",
        ),
        _benchmark(
            "jnli",
            "ja",
            read_jnli,
            ("jnli/{split}-v1.3.json", "nli_other/jnli-{split}-v1.3*.jsonl"),
            {"train": "train", "validation": "valid", "test": "test"},
            "yahoojapan/JGLUE/main/datasets/jnli-v1.3/{split}-v1.3.json",
            "Kurihara, Kawahara and Shibata 2022 (JGLUE)",
            "CC BY-SA 4.0",
        ),
    )
)
