"""``python -m bench``: measures this machine and prints figures beside those of other systems.

Peers are measured in the same call where they can be found: T5X with T5X_PATH set to its folders
(t5x, airio, jestimator, joined by ':'), transformers with an interpreter that has it, SeqIO where
it is installed. Nothing is quoted from elsewhere.
"""

import argparse
import json
import os
import pathlib
import sys
import time

from rich.console import Console

from bench import machine, parts, shapes
from bench.process import ROOT, WorkerError
from bench.results import OURS, Report, Skipped
from xlt_jax import files


def main(argv: list[str]) -> int:
    """Runs the parts; the exit status is 1 if something that was tried failed."""
    flags = parse(argv)
    out = pathlib.Path(flags.json)
    settings = parts.Settings(
        quick=flags.quick,
        shapes=flags.shapes,
        t5x_path=tuple(filter(None, os.environ.get("T5X_PATH", "").split(os.pathsep))),
        transformers_python=os.path.abspath(flags.transformers_python),
        logs=out.resolve().parent / "logs",
    )
    report, begin = Report(), time.monotonic()
    facts = machine.describe()
    facts |= {"quick": flags.quick, "load_before": machine.load(), "minutes": {}, "other_cores": {}}
    for number, name in enumerate(flags.only, start=1):
        parts.say(f"[{number}/{len(flags.only)}] {parts.PARTS[name].__doc__.splitlines()[0]}")
        part_begin, (all_before, own_before) = time.monotonic(), machine.busy_s()
        try:
            parts.PARTS[name](settings, report)
        except WorkerError as error:
            parts.say(f"  failed: {error}")
            report.skipped.append(Skipped(name, OURS, str(error), failed=True))
        seconds, (all_after, own_after) = time.monotonic() - part_begin, machine.busy_s()
        others = (all_after - all_before) - (own_after - own_before)
        facts["minutes"][name] = round(seconds / 60, 2)
        facts["other_cores"][name] = round(max(0.0, others) / seconds, 2)
        write(report, facts, out)  # after every part: a run that is killed keeps what it has
    show(report, facts, time.monotonic() - begin, out)
    return int(any(item.failed for item in report.skipped))


def parse(argv: list[str]) -> argparse.Namespace:
    """Flags; exits with the usage on unknown ones and unknown names."""
    parser = argparse.ArgumentParser("python -m bench", description=__doc__)
    names = {"only": tuple(parts.PARTS), "shapes": tuple(shapes.SHAPES)}
    for flag, allowed in names.items():
        parser.add_argument(f"--{flag}", default=",".join(allowed), help=f"of {','.join(allowed)}")
    parser.add_argument("--quick", action="store_true", help="small counts, not to be quoted")
    parser.add_argument("--json", default=str(ROOT / "runs" / "bench" / "results.json"))
    parser.add_argument(
        "--transformers_python",
        default=sys.executable,
        help="an interpreter with torch and transformers (default: this one)",
    )
    flags = parser.parse_args(argv)
    for flag, allowed in names.items():
        given = tuple(getattr(flags, flag).split(","))
        if unknown := [name for name in given if name not in allowed]:
            parser.error(f"--{flag}: unknown {', '.join(unknown)}; known: {', '.join(allowed)}")
        setattr(flags, flag, given)
    return flags


def write(report: Report, facts: dict, out: pathlib.Path) -> None:
    """The JSON file, renamed into place."""
    out.parent.mkdir(parents=True, exist_ok=True)
    files.write_text(out, json.dumps({"machine": facts, **report.as_json()}, indent=1) + "\n")


def show(report: Report, facts: dict, seconds: float, out: pathlib.Path) -> None:
    """Prints the machine, the table, and what was left out."""
    console = Console(width=None if sys.stdout.isatty() else 160)
    packages = ", ".join(f"{name} {version}" for name, version in facts["packages"].items())
    others = ", ".join(f"{name} {cores}" for name, cores in facts["other_cores"].items())
    console.print(
        f"\n{facts['processor']}, {facts['cores']} cores, {facts['memory_gib']} GiB, "
        f"{facts['system']}, Python {facts['python']}\n{packages}\n"
        f"load before {facts['load_before']}; cores that other programs used meanwhile: {others}",
        highlight=False,
    )
    if facts["quick"]:
        console.print("--quick: small counts, not to be quoted.")
    if max(facts["other_cores"].values()) > 0.1 * facts["cores"]:
        console.print(
            "Warning: other programs used the machine. Ratios suffer too: systems whose threads "
            "wait for each other lose most. Run again when it is idle."
        )
    console.print()
    console.print(report.table(), highlight=False)
    for item in report.skipped:
        label = "FAILED" if item.failed else "skipped"
        console.print(f"{label}: {item.part}, {item.system}: {item.why}", highlight=False)
    console.print(f"\n{seconds / 60:.1f} minutes. Written to {out}", highlight=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
