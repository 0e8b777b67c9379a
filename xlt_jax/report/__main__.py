"""``python -m xlt_jax.report RUN... [--out DIR]``: index.html and scores.csv of an experiment."""

import argparse
import sys
from pathlib import Path

from xlt_jax import files
from xlt_jax.report import page, runs, words
from xlt_jax.report.tables import Results


def main(arguments: list[str] | None = None) -> int:
    """Exit status of the command line."""
    parser = argparse.ArgumentParser(prog="python -m xlt_jax.report", description=__doc__)
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
    texts = {"scores.csv": results.csv_text(), "index.html": page.html(results)}
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            files.write_text(out / name, text)
    except OSError as error:
        raise ValueError(
            f"Cannot write into {out}: {error.strerror}. Name another folder with --out."
        ) from error
    notes = "".join(f"\nNote: {note}" for note in results.left_out())
    return f"{words.answer(results)}{notes}\nReport: {out / 'index.html'}, {out / 'scores.csv'}"


if __name__ == "__main__":
    sys.exit(main())
