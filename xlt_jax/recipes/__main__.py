"""``python -m xlt_jax.recipes list`` and ``python -m xlt_jax.recipes run NAME``."""

import argparse
import sys
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from xlt_jax.recipes import runner, stage, study

_WIDTH_IN_FILES = 160  # columns, where the output is no terminal


def main(words: list[str] | None = None) -> int:
    """Exit status of the command line ``words``."""
    options = _parser().parse_args(words)
    try:
        return _list() if options.action == "list" else _run(options)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m xlt_jax.recipes", description="Experiments of several stages."
    )
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("list", help="table of all recipes")
    run = actions.add_parser("run", help="run a recipe, or go on with it")
    run.add_argument("name", help="see: python -m xlt_jax.recipes list")
    run.add_argument("--out", type=Path, help="folder of the experiment (default: runs/NAME)")
    run.add_argument("--dry_run", action="store_true", help="print the commands and stop")
    run.add_argument("--arms", help="comma-separated; only these and the stages they need")
    run.add_argument("--seeds", help="comma-separated, instead of the recipe's own")
    run.add_argument("--scale", choices=study.SCALES, help="of a study (default: local)")
    run.add_argument(
        "--target",
        choices=study.TARGETS,
        help="one model for all target tasks, or one for each (default: by scale)",
    )
    run.add_argument(
        "--select",
        action="store_true",
        help="stop target training early and keep what is best on English validation data",
    )
    run.add_argument(
        "--engine",
        choices=stage.ENGINES,
        default="xlt_jax",
        help="whose programs train and evaluate (t5x: see `make t5x`)",
    )
    run.add_argument(
        "--parallel",
        type=int,
        default=1,
        metavar="N",
        help="stages at the same time on one CPU machine, each with its share of the cores",
    )
    run.add_argument(
        "--keep_going",
        action="store_true",
        help="when a stage fails, go on with those that do not start from it",
    )
    run.add_argument("--no_report", action="store_true", help="leave out the report at the end")
    return parser


def _list() -> int:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("recipe", "stages", "seeds", "arms", "description"):
        table.add_column(title, overflow="fold", no_wrap=title == "recipe")
    for recipe in stage.all_recipes().values():
        stages, seeds = recipe.with_seeds().stages, ", ".join(map(str, recipe.seeds))
        about = recipe.question or recipe.description
        table.add_row(recipe.name, str(len(stages)), seeds, ", ".join(recipe.arms), about)
    Console(width=None if sys.stdout.isatty() else _WIDTH_IN_FILES).print(table)
    return 0


def _run(options: argparse.Namespace) -> int:
    if options.select and options.engine == "t5x":
        raise ValueError("--select needs --engine=xlt_jax: T5X trains to its last step.")
    choices = {"scale": options.scale, "target": options.target, "select": options.select}
    recipe = stage.get(options.name, **choices).with_seeds(_seeds(options.seeds))
    at = f"_{recipe.scale}" if recipe.scale not in ("", "local") else ""
    out = options.out or Path("runs") / f"{recipe.name}{at}"
    arms = [arm.strip() for arm in options.arms.split(",")] if options.arms else None
    if options.dry_run:
        print(runner.dry_run(recipe, out, arms=arms, engine=options.engine), end="")
        return 0
    return runner.run(
        recipe,
        out,
        arms=arms,
        engine=options.engine,
        parallel=options.parallel,
        keep_going=options.keep_going,
        report=not options.no_report,
    )


def _seeds(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        return [int(word) for word in text.split(",")]
    except ValueError:
        raise ValueError(f"--seeds is {text!r}; give whole numbers such as 0,1,2.") from None


if __name__ == "__main__":
    sys.exit(main())
