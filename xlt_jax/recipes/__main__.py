"""``python -m xlt_jax.recipes list`` and ``python -m xlt_jax.recipes run NAME``."""

import argparse
import sys
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from xlt_jax.recipes import runner, stage


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
    run.add_argument("--seed", type=int, help="RANDOM_SEED of all training stages")
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
    run.add_argument("--no_report", action="store_true", help="leave out the report at the end")
    return parser


def _list() -> int:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("recipe", "stages", "arms", "description"):
        table.add_column(title, overflow="fold", no_wrap=title == "recipe")
    for recipe in stage.all_recipes().values():
        arms = ", ".join(recipe.arms)
        table.add_row(recipe.name, str(len(recipe.stages)), arms, recipe.description)
    Console().print(table)
    return 0


def _run(options: argparse.Namespace) -> int:
    recipe = stage.get(options.name)
    out = options.out or Path("runs") / recipe.name
    arms = [arm.strip() for arm in options.arms.split(",")] if options.arms else None
    if options.dry_run:
        script = runner.dry_run(recipe, out, arms=arms, seed=options.seed, engine=options.engine)
        print(script, end="")
        return 0
    return runner.run(
        recipe,
        out,
        arms=arms,
        seed=options.seed,
        engine=options.engine,
        parallel=options.parallel,
        report=not options.no_report,
    )


if __name__ == "__main__":
    sys.exit(main())
