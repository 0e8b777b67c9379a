"""WikiANN's sentences without their labels: a little text in many languages to pre-train on.

What is pre-trained on it must not be scored on WikiANN.
"""

from collections.abc import Iterator

from tasks.xtreme_r import panx
from xlt_jax.data import sources
from xlt_jax.registry import benchmarks
from xlt_jax.registry.benchmarks import Benchmark, Request, Row, register

_SPLITS = "train,validation"  # of WikiANN: languages differ in what a copy of it has


def prompt(row: Row) -> dict:
    """Text alone: spans are cut out of its tokens later."""
    text = " ".join(row["tokens"])
    return {"inputs": "", "targets": text, "texts": (text,)}


BENCHMARK = register(
    Benchmark(
        name="panx_text",
        description="Sentences of Wikipedia for span corruption.",
        languages=panx.BENCHMARK.languages,
        source=panx.BENCHMARK.source,
        prompt=prompt,
        request=Request.TRAIN_ONLY,
        kind="text",
        labelled=False,
        noise=True,
        citation=panx.BENCHMARK.citation,
        licence=panx.BENCHMARK.licence,
        downloads=panx.BENCHMARK.downloads,
    )
)


def corpus() -> Iterator[str]:
    """Sentences of all languages that are on this machine, and English training rows as prompted.

    What a vocabulary of a small experiment is trained on; test sets are not read.

    Raises:
        ValueError: None is there.
    """
    tasks = [*BENCHMARK.task_names(), *(f"{name}.en" for name in ENGLISH)]
    found = False
    for benchmark, language in map(benchmarks.split_task, tasks):
        split = sources.first_split(benchmark, language, _SPLITS)
        for row in sources.rows(benchmark, language, split) if split else ():
            example = benchmark.prompt(row)
            if example:
                found = True
                yield f"{example['inputs']} {example['targets']}".strip()
    if not found:
        raise ValueError(
            f"There is no text of WikiANN below {sources.data_dir()}: name the folder of the data "
            "with --data_dir or XLT_DATA_DIR."
        )


# Their prefixes, answers and words are part of the vocabulary.
ENGLISH = ("mnli", "snli", "hellaswag", "cosmos_qa", "commonsense_qa", "squad", "udpos", "copa")
