"""``python -m xlt_jax.report RUN... [--out DIR]``: page, tables and figures of an experiment.

``index.html`` has everything and opens offline. Beside it: ``scores.csv`` (every score of every
seed), ``tables/`` (Markdown and LaTeX), ``figures/`` (PNG and PDF), ``tensorboard/`` (HParams).
"""

import argparse
import sys
from pathlib import Path

from xlt_jax import files
from xlt_jax.report import exports, hparams, page, plots, runs, sheets, words
from xlt_jax.report.tables import Results


def main(arguments: list[str] | None = None) -> int:
    """Exit status of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m xlt_jax.report",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of an experiment")
    parser.add_argument("--out", type=Path, help="where to write (default: the first RUN/report)")
    options = parser.parse_args(arguments)
    try:
        print(build(options.runs, options.out or options.runs[0] / "report"))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def build(folders: list[Path], out: Path) -> str:
    """Writes the report; returns its answer and where it lies.

    Raises:
        ValueError: Nothing to report, or ``out`` cannot be written.
    """
    results = Results(runs.read(folders))
    made, drawn = sheets.sheets(results), plots.figures(results)
    contents = {"scores.csv": exports.scores_csv(results).encode()}
    for sheet in made:
        contents[f"tables/{sheet.name}.md"] = exports.markdown(sheet).encode()
        contents[f"tables/{sheet.name}.tex"] = exports.latex(sheet).encode()
    for name, draw in drawn.items():
        for kind, content in plots.files(draw).items():
            contents[f"figures/{name}.{kind}"] = content
    contents["index.html"] = page.html(results, drawn, made).encode()
    try:
        for name, content in contents.items():
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            files.write_bytes(out / name, content)
        hparams.write(results, out / "tensorboard")
    except OSError as error:
        raise ValueError(
            f"Cannot write into {out}: {error.strerror}. Name another folder with --out."
        ) from error
    notes = "".join(f"\nNote: {note}" for note in results.left_out())
    where = f"{out / 'index.html'}, {out / 'scores.csv'}, {out / 'tables'}, {out / 'figures'}"
    return f"{words.answer(results)}{notes}\nReport: {where}"


if __name__ == "__main__":
    sys.exit(main())
