"""Published zero-shot scores on XTREME's tasks, and which of a study's stand beside them.

Each was read in the source that its row names; "quoted" sources restate another paper's numbers.
All models were trained on English labels only. Averages are over the languages that XTREME has in
the task (XTREME-R's for its own tasks), in percent. Left out: translate-train, scores that were
selected on other languages' development sets, Tatoeba (XTREME's has no training before it).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from xlt_jax.registry import xtreme
from xlt_jax.report import xtreme_r
from xlt_jax.report.tables import SOURCE, Results

SOURCES = {
    "mt5": "README of github.com/google-research/multilingual-t5, November 2020",
    "mt5 quotes": "quoted in the README of github.com/google-research/multilingual-t5",
    "rembert": "Chung et al. 2020, arXiv:2010.12821, Table 16 (other models quoted there)",
    "xlm-align": "README of github.com/CZWin32768/XLM-Align",
    "ernie-m": "quoted in the README of ERNIE-M, github.com/PaddlePaddle/ERNIE",
    "awesome": "Dou and Neubig 2021, arXiv:2101.08231, Table 9",
    "xcopa": "README of github.com/cambridgeltl/xcopa (Social IQa, then COPA)",
    "mewslix": (
        "mel/mewsli-x.md of google-research's dense_representations_for_entity_retrieval, test set"
    ),
    "gte": "model card of gte-multilingual-mlm-base (own runs)",
}
OVERALL = "overall"  # all ten tasks of XTREME-R

# model | source | benchmark metric value, ...
_TABLE = """
mT5-Small   | mt5 | xnli accuracy 67.5, panx f1 50.5, xquad f1 58.1, mlqa f1 54.6, tydiqa f1 36.4
mT5-Base    | mt5 | xnli accuracy 75.4, panx f1 55.7, xquad f1 67.0, mlqa f1 64.6, tydiqa f1 59.1
mT5-Large   | mt5 | xnli accuracy 81.1, panx f1 58.5, xquad f1 77.8, mlqa f1 71.2, tydiqa f1 68.4
mT5-XL      | mt5 | xnli accuracy 82.9, panx f1 65.5, xquad f1 79.5, mlqa f1 73.5, tydiqa f1 77.8
mT5-XXL     | mt5 | xnli accuracy 85.0, panx f1 69.2, xquad f1 82.5, mlqa f1 76.0, tydiqa f1 82.0
mBERT       | mt5 quotes | xnli accuracy 65.4, panx f1 62.2, xquad f1 64.5, mlqa f1 61.4, tydiqa f1 59.7
XLM         | mt5 quotes | xnli accuracy 69.1, panx f1 61.2, xquad f1 59.8, mlqa f1 48.5, tydiqa f1 43.6
XLM-R Large | rembert | xnli accuracy 79.2, udpos f1 73.8, panx f1 65.4, xquad f1 76.6, xquad em 60.8, mlqa f1 71.6, mlqa em 53.2, tydiqa f1 65.1, tydiqa em 45.0
X-STILTs    | rembert | xnli accuracy 80.0, udpos f1 74.9, panx f1 64.0, xquad f1 78.7, xquad em 63.3, mlqa f1 72.4, mlqa em 53.7, tydiqa f1 76.0, tydiqa em 59.5
RemBERT     | rembert | xnli accuracy 80.8, udpos f1 76.5, panx f1 70.1, xquad f1 79.6, xquad em 64.0, mlqa f1 73.1, mlqa em 55.0, tydiqa f1 77.0, tydiqa em 63.0
XLM-R Base  | xlm-align | xnli accuracy 75.0, udpos f1 75.6, panx f1 61.8, xquad f1 71.9, xquad em 56.4, mlqa f1 65.1, mlqa em 47.2, tydiqa f1 55.4, tydiqa em 38.3
XLM-Align Base | xlm-align | xnli accuracy 76.2, udpos f1 76.0, panx f1 63.7, xquad f1 74.7, xquad em 59.0, mlqa f1 68.1, mlqa em 49.8, tydiqa f1 62.1, tydiqa em 44.8
mBERT       | awesome | xnli accuracy 65.5
mBERT       | ernie-m | mlqa f1 57.7, mlqa em 41.6
XLM         | ernie-m | mlqa f1 61.6, mlqa em 43.5
XLM-R Base  | ernie-m | mlqa f1 63.7, mlqa em 46.3
InfoXLM Base | ernie-m | mlqa f1 67.9, mlqa em 49.7
XLM-R Large | ernie-m | mlqa f1 70.7, mlqa em 52.7
InfoXLM Large | ernie-m | mlqa f1 73.6, mlqa em 55.2
XLM-R Large | xcopa | xcopa accuracy 68.69
mBERT       | mewslix | mewslix map_at_20 41.45
XLM-R Large | mewslix | mewslix map_at_20 52.51
XLM-R Base  | gte | overall score 62.02
gte-multilingual-mlm-base | gte | overall score 64.44
"""  # noqa: E501


@dataclass(frozen=True)
class Published:
    """One published average.

    Attributes:
        model: Its name.
        benchmark: A task of ``registry/xtreme.py``, or ``OVERALL``.
        metric: As the study's files call it.
        percent: The value.
        languages: It is the mean over them; none for ``OVERALL``.
        source: Where it was read.
    """

    model: str
    benchmark: str
    metric: str
    percent: float
    languages: tuple[str, ...]
    source: str


@dataclass(frozen=True)
class Beside:
    """A published average and the study's own over the same languages, in percent, by arm."""

    published: Published
    ours: Mapping[str, float]


def records() -> tuple[Published, ...]:
    """All of the table, by benchmark in the order of XTREME-R's groups."""
    order = [*xtreme.tasks("xtreme-r"), OVERALL]
    return tuple(sorted(_RECORDS, key=lambda one: (order.index(one.benchmark), one.metric)))


def beside(results: Results) -> list[Beside]:
    """The published averages for which an arm has all languages, on the test set, zero-shot."""
    lines = xtreme_r.rows(results)
    overall = lines[-1].arms if lines else {}
    found = []
    for one in records():
        ours = {}
        for arm in results.arms:
            if one.benchmark == OVERALL:
                whole = all(
                    _comparable(results, arm, name, code)
                    for name, task in xtreme.tasks("xtreme-r").items()
                    for code in task.languages
                )
                value = overall[arm].percent if whole else None
            else:
                value = _average(results, arm, one)
            if value is not None:
                ours[arm] = value
        if ours:
            found.append(Beside(one, ours))
    return found


def _average(results: Results, arm: str, one: Published) -> float | None:
    if not all(_comparable(results, arm, one.benchmark, code) for code in one.languages):
        return None
    cells = [results.study.cells[arm][one.benchmark, code] for code in one.languages]
    if any(one.metric not in cell.metrics for cell in cells):
        return None
    return 100 * float(np.mean([cell.metrics[one.metric] for cell in cells]))


def _comparable(results: Results, arm: str, benchmark: str, code: str) -> bool:
    """Whether the arm has the test set's score, zero-shot or in English."""
    cell = results.study.cells[arm].get((benchmark, code))
    if cell is None or cell.splits != ("test",):
        return False
    return code == SOURCE or not results.exposure(arm, benchmark, code).refused


def _parse() -> list[Published]:
    found = []
    for line in _TABLE.strip().splitlines():
        model, source, scores = map(str.strip, line.split("|"))
        for score in scores.split(", "):
            benchmark, metric, value = score.split()
            in_xtreme = benchmark in xtreme.tasks("xtreme")
            version = "xtreme" if in_xtreme else "xtreme-r"
            codes = () if benchmark == OVERALL else xtreme.task(benchmark, version).languages
            found.append(Published(model, benchmark, metric, float(value), codes, SOURCES[source]))
    return found


_RECORDS = _parse()
