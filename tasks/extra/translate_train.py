"""English training sets in machine translation, to train on beside English ("translate-train").

XTREME's translations (Hu et al. 2020, arXiv:2003.11080), from its public bucket, a copy of which
goes below the data folder as ``xtreme_translations``, or from TFDS. XNLI's own are read where
XTREME's are not there: other translations of the same rows. PAWS-X's own are ``pawsx`` itself.
"""

import csv

from tasks.extra import pawsx
from tasks.xtreme_r import mlqa, tydiqa, xnli, xquad
from xlt_jax.data import formats, prompts
from xlt_jax.registry.benchmarks import (
    Benchmark,
    Download,
    Files,
    Overlap,
    Request,
    Row,
    Tfds,
    register,
)

_TRAIN = {"train": "train"}
_FOLDER = "xtreme_translations"
_URL = "https://storage.googleapis.com/xtreme_translations"
_five = formats.table(None, None, "premise", "hypothesis", "label", header=False)
_three = formats.table("premise", "hypo", "label")


def read_xnli_mt(path, language: str):
    """Rows of XNLI-MT-1.0 with the names of XTREME's columns."""
    for row in _three(path):
        yield row | {"hypothesis": row["hypo"]}


def read_pawsx(path, language: str):
    """Columns 3 to 5; rows of another form, of which the files have some, are dropped."""
    lines = (line + "\n" for line in formats.lines(path))
    for fields in csv.reader(lines, delimiter="\t"):
        if len(fields) == 5 and fields[4] in ("0", "1"):
            yield {"sentence1": fields[2], "sentence2": fields[3], "label": fields[4]}


def _question(row: Row) -> dict | None:
    return prompts.question(row["question"], row["context"], row["answers"]["text"])


def _benchmark(
    name, english, kind, languages, source, prompt, citation, licence, pattern
) -> Benchmark:
    return Benchmark(
        name=f"{name}_translate_train",
        description="English training rows in machine translation.",
        languages=tuple(languages),
        source=source,
        prompt=prompt,
        request=Request.TRAIN_ONLY,
        kind=kind,
        trains=(name, *(["mlqa"] if name == "xquad" else [])),
        overlaps=(
            Overlap(
                english, {"train": ("train",)}, "Its English training rows in machine translation."
            ),
        ),
        citation=f"{citation}; translations: Hu et al. 2020",
        licence=licence,
        downloads=tuple(
            Download(
                f"{_URL}/{pattern}".format(language=code),
                f"{_FOLDER}/{pattern}".format(language=code),
            )
            for code in languages
        ),
    )


def _others(languages) -> tuple[str, ...]:
    return tuple(code for code in languages if code != "en")


_XNLI = "XNLI/translate-train/en-{language}-translated.tsv"
_PAWSX = "PAWSX/translate-train/en-{language}-translated.tsv"
_SQUAD = "SQuAD/translate-train/squad.translate.train.en-{language}.json"
_TYDIQA = "TyDiQA-GoldP/translate-train/tydiqa.translate.train.en-{language}.json"

XNLI = register(
    _benchmark(
        "xnli",
        "mnli",
        "pair",
        _others(xnli.BENCHMARK.languages),
        (
            Files(f"{_FOLDER}/{_XNLI}", _five, _TRAIN),
            Files("XNLI-MT-1.0/multinli/multinli.train.{language}.tsv", read_xnli_mt, _TRAIN),
            Tfds("xtreme_xnli:1.1.0", _TRAIN, select=xnli.of_language),
        ),
        xnli.BENCHMARK.prompt,
        xnli.BENCHMARK.citation,
        xnli.BENCHMARK.licence,
        _XNLI,
    )
)
PAWSX = register(
    _benchmark(
        "pawsx",
        "pawsx",
        "pair",
        _others(pawsx.BENCHMARK.languages),
        (
            Files(f"{_FOLDER}/{_PAWSX}", read_pawsx, _TRAIN),
            Tfds("xtreme_pawsx/{language}:1.0.0", _TRAIN),
        ),
        pawsx.BENCHMARK.prompt,
        pawsx.BENCHMARK.citation,
        pawsx.BENCHMARK.licence,
        _PAWSX,
    )
)
# SQuAD in XQuAD's languages; MLQA's are among them.
XQUAD = register(
    _benchmark(
        "xquad",
        "squad",
        "qa",
        tuple(code for code in _others(xquad.BENCHMARK.languages) if code != "ro"),
        (
            Files(f"{_FOLDER}/{_SQUAD}", formats.squad, _TRAIN),
            Tfds("xquad/{language}:3.0.0", {"train": "translate-train"}),
        ),
        _question,
        "Rajpurkar et al. 2016",
        "CC BY-SA 4.0",
        _SQUAD,
    )
)
TYDIQA = register(
    _benchmark(
        "tydiqa",
        "tydiqa",
        "qa",
        _others(tydiqa.BENCHMARK.languages),
        (
            Files(f"{_FOLDER}/{_TYDIQA}", formats.squad, _TRAIN),
            Tfds("tydi_qa/goldp:3.0.0", {"train": "translate-train-{language}"}),
        ),
        _question,
        tydiqa.BENCHMARK.citation,
        tydiqa.BENCHMARK.licence,
        _TYDIQA,
    )
)
# Benchmark -> English tasks and translations to train on.
MIXTURES = {
    "xnli": ("mnli.en", *XNLI.task_names()),
    "pawsx": ("pawsx.en", *PAWSX.task_names()),
    "xquad": ("squad.en", *XQUAD.task_names()),
    "mlqa": ("squad.en", *(f"{XQUAD.name}.{c}" for c in _others(mlqa.BENCHMARK.languages))),
    "tydiqa": ("tydiqa.en", *TYDIQA.task_names()),
}
