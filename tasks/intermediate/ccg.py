"""CCGbank: supertags of the Penn Treebank's words (Hockenmaier and Steedman 2007).

Read from the user's own copy, which is licensed. Sections 02 to 21 are for training, 00 for
development and 23 for testing, as is usual. The prompt is ours: each word is followed by its
category. There is no closed list of categories, and so no constraint: sections 02 to 21 have some
1,200, and other sections have more.
"""

import re
from collections.abc import Iterator, Sequence

from xlt_jax.data import formats, prompts
from xlt_jax.metrics import classification
from xlt_jax.registry.benchmarks import Benchmark, Files, Request, Row, register

_FOLDER = "[Cc][Cc][Gg]bank*/data/AUTO"
_TRAIN = tuple(f"{number:02}" for number in range(2, 22))
# (<L category tag tag word category-with-indices>)
_LEAF = re.compile(r"\(<L (\S+) \S+ \S+ (\S+) \S+>\)")


def read_auto(path, language: str) -> Iterator[Row]:
    """Words and lexical categories of a file of derivations, one a line below its id."""
    row_id = ""
    for line in formats.lines(path):
        if line.startswith("ID="):
            row_id = line.split()[0].removeprefix("ID=")
        elif leaves := _LEAF.findall(line):
            yield {
                "id": row_id,
                "tokens": [word for _, word in leaves],
                "tags": [category for category, _ in leaves],
            }


def read_training_sections(path, language: str) -> Iterator[Row]:
    """The same, of files in the folders of sections 02 to 21."""
    return read_auto(path, language) if path.parent.name in _TRAIN else iter(())


def right_tags(reference: str, prediction: str) -> tuple[int, int, int]:
    """(right, predicted, wanted) words of a sentence; ``parse`` gives every word a tag."""
    wanted, given = reference.split(), prediction.split()
    return sum(map(str.__eq__, wanted, given)), len(given), len(wanted)


def accuracy(references: Sequence[str], predictions: Sequence[str]) -> dict[str, float]:
    """``{"accuracy": share of all words with the right category}``."""
    classification.check_lengths(references, predictions)
    counts = list(map(right_tags, references, predictions))
    return {"accuracy": sum(right for right, _, _ in counts) / sum(size for _, _, size in counts)}


BENCHMARK = register(
    Benchmark(
        name="ccg",
        description="Which category of combinatory categorial grammar has each word?",
        languages=("en",),
        source=(
            Files(f"{_FOLDER}/*/*.auto", read_training_sections, {"train": ""}),
            Files(f"{_FOLDER}/{{split}}/*.auto", read_auto, {"validation": "00", "test": "23"}),
        ),
        prompt=lambda row: prompts.tagged_words("ccg", row["tokens"], row["tags"]),
        parse=prompts.tagged_words_parser(None, otherwise="O"),
        request=Request.GENERATE,
        kind="tagging",
        metric=accuracy,
        example_counts=right_tags,
        main_metric="accuracy",
        chance=prompts.no_answer,
        max_target_tokens=1024,
        domain="news",
        citation="Hockenmaier and Steedman 2007",
        licence="LDC User Agreement",
        manual=(
            "CCGbank is LDC2005T13 of the Linguistic Data Consortium and needs a licence: unpack "
            "your copy so that ccgbank_1_1/data/AUTO/00/wsj_0001.auto lies below the data folder. "
            "Without one, train on udpos.en instead: its parts of speech are free."
        ),
    )
)
