"""The report's files beside the page: CSV of every score, tables in Markdown and LaTeX."""

import csv
import io
import re

from xlt_jax.report import outputs
from xlt_jax.report.sheets import Bold, Sheet
from xlt_jax.report.tables import Results

CSV_COLUMNS = (
    "arm", "seed", "benchmark", "language", "metric", "value", "chance", "n", "split", "exposure",
    "malformed", "wrong_script",
)  # fmt: skip
_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "−": "$-$",
    "–": "--",
    "±": r"$\pm$",
    "×": r"$\times$",
    "→": r"$\to$",
    "…": r"\dots{}",
    "\n": " ",
}


def scores_csv(results: Results) -> str:
    """``scores.csv``: one line for each arm, seed, benchmark and language.

    ``value`` and ``chance`` are shares; ``exposure`` is how zero-shot the score is in the arm;
    ``malformed`` and ``wrong_script`` are numbers of rows, empty where not known.
    """
    texts = outputs.text_benchmarks(results)
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for arm in results.arms:
        for (benchmark, code), cell in sorted(results.study.cells[arm].items()):
            for seed, score in cell.seeds.items():
                counted = score.script if benchmark in texts else None
                values = (
                    arm, seed, benchmark, code, score.metric, f"{score.value:.6g}",
                    None if score.chance is None else f"{score.chance:.6g}", score.n, score.split,
                    results.exposure(arm, benchmark, code).value, score.malformed,
                    counted and counted.wrong,
                )  # fmt: skip
                writer.writerow(["" if value is None else value for value in values])
    return file.getvalue()


def markdown(sheet: Sheet) -> str:
    """A pipe table below its caption."""
    aligned = [":--" if i < sheet.text_columns else "--:" for i in range(len(sheet.head))]
    lines = [_pipes(map(_markdown_cell, sheet.head)), _pipes(aligned)]
    lines += [_pipes(map(_markdown_cell, row)) for row in sheet.rows]
    return f"{_markdown_cell(sheet.caption)}\n\n" + "\n".join(lines) + "\n"


def latex(sheet: Sheet) -> str:
    """A ``tabular`` that needs no package beyond LaTeX's own and UTF-8, with its caption above."""
    columns = "".join("l" if i < sheet.text_columns else "r" for i in range(len(sheet.head)))
    lines = [
        f"% {_one_line(sheet.caption)}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\hline",
        _row(sheet.head),
        r"\hline",
        *map(_row, sheet.rows),
        r"\hline",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def _pipes(cells) -> str:
    return f"| {' | '.join(cells)} |"


def _markdown_cell(text: str) -> str:
    escaped = re.sub(r"([\\|*`<\[\]])", r"\\\1", _one_line(text))
    escaped = re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", escaped)  # within a word it marks nothing
    return f"**{escaped}**" if isinstance(text, Bold) else escaped


def _row(cells) -> str:
    return " & ".join(map(_latex_cell, cells)) + r" \\"


def _latex_cell(text: str) -> str:
    escaped = "".join(_LATEX.get(character, character) for character in text)
    # A cell that begins with a bracket would be read as an option of the line's end before it.
    escaped = f"{{}}{escaped}" if escaped.startswith(("[", "*")) else escaped
    return rf"\textbf{{{escaped}}}" if isinstance(text, Bold) else escaped


def _one_line(text: str) -> str:
    return " ".join(text.split())
