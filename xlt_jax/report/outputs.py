"""Outputs that are no answer: malformed ones, and those in another script than the language's."""

from dataclasses import dataclass

import numpy as np

from xlt_jax.report import script
from xlt_jax.report.scores import Cell
from xlt_jax.report.tables import SOURCE, Results


@dataclass(frozen=True)
class OutputRow:
    """Of one arm in one benchmark, means over the languages other than English.

    Attributes:
        malformed: Share of rows; None where it was not counted.
        wrong_script: Share of rows; None where the answers are no text of the language.
        worst: Languages with the most wrong script, and their shares, the largest first.
        num_languages: Behind ``wrong_script``.
    """

    arm: str
    benchmark: str
    malformed: float | None
    wrong_script: float | None
    worst: tuple[tuple[str, float], ...]
    num_languages: int


def output_rows(results: Results) -> list[OutputRow]:
    """One for each benchmark and arm of which anything is known."""
    texts = text_benchmarks(results)
    rows = []
    for benchmark in results.benchmarks:
        for arm in results.arms:
            cells = {
                code: cell
                for (b, code), cell in results.study.cells[arm].items()
                if b == benchmark and code != SOURCE
            }
            malformed = [x for cell in cells.values() if (x := malformed_share(cell)) is not None]
            shares = {c: x for c, cell in cells.items() if (x := script_share(cell)) is not None}
            if benchmark not in texts:
                shares = {}
            if malformed or shares:
                worst = sorted(shares.items(), key=lambda item: (-item[1], item[0]))
                rows.append(
                    OutputRow(
                        arm=arm,
                        benchmark=benchmark,
                        malformed=float(np.mean(malformed)) if malformed else None,
                        wrong_script=float(np.mean([*shares.values()])) if shares else None,
                        worst=tuple((code, share) for code, share in worst[:3] if share),
                        num_languages=len(shares),
                    )
                )
    return rows


def text_benchmarks(results: Results) -> frozenset[str]:
    """Benchmarks whose answers are text of the language, by their own references.

    Names of classes are in Latin letters in every language; so it is the languages of other
    scripts that tell, and a benchmark without any is left out.
    """
    letters: dict[str, int] = {}
    right: dict[str, int] = {}
    for arm in results.arms:
        for (benchmark, code), cell in results.study.cells[arm].items():
            for score in cell.seeds.values():
                if score.script and not script.is_latin(code):
                    letters[benchmark] = letters.get(benchmark, 0) + score.script.with_letters
                    right[benchmark] = right.get(benchmark, 0) + score.script.in_script
    return frozenset(name for name, number in letters.items() if right[name] > number / 2)


def malformed_share(cell: Cell) -> float | None:
    """Mean over seeds; None where it was not counted."""
    counts = [(score.malformed, score.n) for score in cell.seeds.values()]
    if any(malformed is None or not n for malformed, n in counts):
        return None
    return float(np.mean([malformed / n for malformed, n in counts]))


def script_share(cell: Cell) -> float | None:
    """Share of answers in another script, mean over seeds; None where no row can tell."""
    found = [score.script for score in cell.seeds.values()]
    if any(counted is None or not counted.in_script for counted in found):
        return None
    return float(np.mean([counted.wrong / counted.in_script for counted in found]))
