"""The tasks of XTREME and XTREME-R: groups, languages, metrics and files of a submission.

Sources: Hu et al. 2020, arXiv:2003.11080 (XTREME, 9 tasks); Ruder et al. 2021, arXiv:2104.07412
(XTREME-R, 10 tasks); the lists of evaluate.py in github.com/google-research/xtreme. Languages of
LAReQA, which that program does not score: github.com/google-research-datasets/lareqa.
"""

import difflib
from dataclasses import dataclass

VERSIONS = ("xtreme", "xtreme-r")
GROUPS = ("classification", "structured", "qa", "retrieval")
SOURCE = "en"  # the language of the labelled training data


@dataclass(frozen=True)
class Task:
    """One task of one version.

    Attributes:
        name: As the folder of a submission is called.
        group: One of ``GROUPS``.
        languages: Codes of ``registry/languages.py``, sorted.
        metrics: Names of the metrics. The task's score is the first, for question answering the
            mean of both.
        suffix: Ending of a submission's files, ``test-LANGUAGE.SUFFIX``.
    """

    name: str
    group: str
    languages: tuple[str, ...]
    metrics: tuple[str, ...]
    suffix: str

    def file_name(self, language: str) -> str:
        """``test-LANGUAGE.SUFFIX``.

        Raises:
            ValueError: The task does not have the language.
        """
        if language not in self.languages:
            raise ValueError(
                f"Task {self.name!r} has no language {language!r}; it has "
                f"{' '.join(self.languages)}."
            )
        return f"test-{language}.{self.suffix}"


# name | group | metrics | suffix | languages in XTREME | languages that XTREME-R adds. A task of
# XTREME that XTREME-R has dropped adds "-"; one that is new there has none in XTREME.
_TABLE = """
xnli     |classification|accuracy           |tsv  |ar bg de el en es fr hi ru sw th tr ur vi zh|
pawsx    |classification|accuracy           |tsv  |de en es fr ja ko zh|-
xcopa    |classification|accuracy           |jsonl||et ht id it qu sw ta th tr vi zh
udpos    |structured    |f1 precision recall|tsv  |af ar bg de el en es et eu fa fi fr he hi hu id it ja kk ko mr nl pt ru ta te th tl tr ur vi yo zh|lt pl ro uk wo
panx     |structured    |f1 precision recall|tsv  |af ar bg bn de el en es et eu fa fi fr he hi hu id it ja jv ka kk ko ml mr ms my nl pt ru sw ta te th tl tr ur vi yo zh|az gu lt pa pl qu ro uk
xquad    |qa            |f1 em              |json |ar de el en es hi ru th tr vi zh|ro
mlqa     |qa            |f1 em              |json |ar de en es hi vi zh|
tydiqa   |qa            |f1 em              |json |ar bn en fi id ko ru sw te|
bucc2018 |retrieval     |f1 precision recall|tsv  |de fr ru zh|-
tatoeba  |retrieval     |accuracy           |tsv  |af ar bg bn de el es et eu fa fi fr he hi hu id it ja jv ka kk ko ml mr nl pt ru sw ta te th tl tr ur vi zh|az lt pl ro uk
mewslix  |retrieval     |map_at_20          |json ||ar de en es fa ja pl ro ta tr uk
lareqa   |retrieval     |map_at_20          |json ||ar de el en es hi ru th tr vi zh
"""  # noqa: E501


def tasks(version: str = "xtreme-r") -> dict[str, Task]:
    """Name -> task, in the order of the groups.

    Raises:
        ValueError: The version is not one of ``VERSIONS``.
    """
    if version not in VERSIONS:
        raise ValueError(f"Unknown version {version!r}; known: {', '.join(VERSIONS)}.")
    return dict(_BY_VERSION[version])


def task(name: str, version: str | None = None) -> Task:
    """The task of that name; without a version XTREME-R's, or XTREME's where it was dropped.

    Raises:
        ValueError: Unknown name or version; the message has the known ones.
    """
    known = tasks(version) if version else tasks("xtreme") | tasks("xtreme-r")
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"; did you mean {close[0]!r}?" if close else "."
        raise ValueError(
            f"Unknown task {name!r} of {version or 'XTREME and XTREME-R'}{hint} Known: "
            f"{' '.join(known)}."
        )
    return known[name]


def _parse(table: str) -> dict[str, dict[str, Task]]:
    by_version: dict[str, dict[str, Task]] = {version: {} for version in VERSIONS}
    for line in table.strip().splitlines():
        name, group, metrics, suffix, first, added = map(str.strip, line.split("|"))
        languages = {"xtreme": first.split()}
        languages["xtreme-r"] = [] if added == "-" else first.split() + added.split()
        for version, codes in languages.items():
            if codes:
                by_version[version][name] = Task(
                    name, group, tuple(sorted(codes)), tuple(metrics.split()), suffix
                )
    return by_version


_BY_VERSION = _parse(_TABLE)
