"""``python -m bench.topologies``: which mT5 trains on which TPUs, by the TPU compiler.

Every cell is one program of ``xlt_jax.aot`` in a process of its own, 1,024 rows of 512 + 128 packed
tokens, the partitioning chosen by it. Finished cells stay in the output folder: the same command
goes on where it was stopped. With T5X_PATH (its folders, joined by ':') T5X's step is compiled for
the same topologies as some of ours, side by side.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys
import time

from bench.process import ROOT
from xlt_jax import files

GIB = 2**30
SIZES = ("small", "base", "large", "xl", "xxl")
# Pods on which each size is trained: chips of v3, v5e and v6e in two directions, v4 and v5p three.
FLAT = {"small": "4x8", "base": "8x16", "large": "8x8", "xl": "8x16", "xxl": "16x16"}
CUBES = {"small": "2x2x4", "base": "4x4x4", "large": "4x4x4", "xl": "4x4x4", "xxl": "4x4x8"}
CHIPS = {"v3": FLAT, "v4": CUBES, "v5e": FLAT, "v5p": CUBES, "v6e": FLAT}
# Without rematerialisation where memory allows it.
PLAIN = ("small", "base")
# T5X's step beside ours: size, topology, rows, partitions.
PEERS = (
    ("base", "v4:2x2x2", 128, 1),
    ("base", "v4:2x2x2", 128, 2),
    ("large", "v5e:4x4", 128, 4),
    ("xl", "v4:4x4x4", 512, 4),
    ("xxl", "v5e:16x16", 1024, 8),
)


def main() -> int:
    """Compiles what is missing, then writes and prints the tables."""
    parser = argparse.ArgumentParser("python -m bench.topologies", description=__doc__)
    parser.add_argument("--out", default=str(ROOT / "runs" / "topologies"))
    parser.add_argument("--sizes", default=",".join(SIZES))
    parser.add_argument("--chips", default=",".join(CHIPS))
    parser.add_argument("--parallel", type=int, default=1, help="cells at a time, 4 GiB each")
    parser.add_argument("--peers", action=argparse.BooleanOptionalAction, default=True)
    flags = parser.parse_args()
    out = pathlib.Path(flags.out)
    cells = [
        (f"{size}_{chip}", ours(size, f"{chip}:{CHIPS[chip][size]}"))
        for size in flags.sizes.split(",")
        for chip in flags.chips.split(",")
    ]
    if flags.peers:
        cells += [(name, command) for *_, name, command in peer_cells()]
    missing = [
        cell for cell in cells if "error" in (read(out / f"{cell[0]}.json") or {"error": ""})
    ]

    def fill(number: int, name: str, command: list[str]) -> None:
        begin = time.monotonic()
        record = run(command, out / f"{name}.log")
        files.write_text(out / f"{name}.json", json.dumps(record, indent=1) + "\n")
        seconds = time.monotonic() - begin
        print(f"[{number}/{len(missing)}] {name}: {seconds:.0f} s", flush=True)

    with concurrent.futures.ThreadPoolExecutor(flags.parallel) as pool:
        for done in [
            pool.submit(fill, number, *cell) for number, cell in enumerate(missing, start=1)
        ]:
            done.result()
    text = table(out) + "\n" + peers_table(out)
    files.write_text(out / "tables.md", text)
    print(text)
    return 0


def ours(size: str, topology: str, rows: int = 1024, partitions: int | None = None) -> list[str]:
    """The command of one cell."""
    bindings = [f"BATCH_SIZE={rows}", f"NUM_PARTITIONS={partitions}"]
    if partitions:
        bindings += ["FULLY_SHARDED=True", f"SEQUENCE_PARALLEL={partitions > 1}"]
    if size in PLAIN and not partitions:
        bindings += ["mt5.T5Config.remat_policy='none'"]
    return [
        *(sys.executable, "-m", "xlt_jax.aot", "--gin_file=gin/finetune.gin"),
        *("--gin_file=gin/pod.gin", f"--gin_file=gin/models/mt5_{size}.gin"),
        *(f"--gin.{binding}" for binding in bindings),
        *(f"--topology={topology}", "--steps=train", "--json=-"),
    ]


def peer_cells() -> list[tuple]:
    """Size, topology, rows, partitions, name and command: ours, and T5X's where it is found."""
    cells = []
    for size, topology, rows, partitions in PEERS:
        case = f"{size}_{topology.replace(':', '_')}_{rows}_{partitions}"
        key = (size, topology, rows, partitions)
        cells.append((*key, f"ours_{case}", ours(*key)))
        if os.environ.get("T5X_PATH"):
            worker = [sys.executable, "-m", "bench.worker_t5x_topology", *map(str, key)]
            cells.append((*key, f"t5x_{case}", worker))
    return cells


def run(command: list[str], log: pathlib.Path) -> dict:
    """The figures that a program printed as JSON, or why there are none."""
    log.parent.mkdir(parents=True, exist_ok=True)
    paths = [str(ROOT), *os.environ.get("T5X_PATH", "").split(os.pathsep)]
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")]),
    }
    with log.open("w") as stream:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=stream, text=True
        )
    if done.returncode:
        return {"error": log.read_text()[-500:]}
    return json.loads(done.stdout)[-1]


def table(out: pathlib.Path) -> str:
    """Markdown of the cells that there are."""
    lines = [
        "| mT5 | topology | chips | partitioning | memory | exchanged by a chip and step "
        "| FLOPs compiled / model | rematerialised |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for size in SIZES:
        for chip in CHIPS:
            if cell := read(out / f"{size}_{chip}.json"):
                remat = "no" if size in PLAIN else "all"
                lines.append(f"| {size} | {' | '.join(columns(cell))} | {remat} |")
    return "\n".join(lines) + "\n"


def columns(cell: dict) -> list[str]:
    """One row but its first and last columns."""
    if "error" in cell:
        return ["?", "", "", cell["error"].replace("\n", " ")[-200:], "", ""]
    mesh = {axis: size for axis, size in cell["mesh"].items() if size > 1}
    split = " x ".join(f"{axis} {size}" for axis, size in mesh.items())
    split += ", fully sharded" if cell.get("fully_sharded") else ""
    memory = f"{cell['needed_bytes'] / GIB:.1f} of {cell['hbm_bytes'] / GIB:.1f} GiB"
    per_chip = cell["devices"] // cell["chips"]
    memory += " a core" if per_chip > 1 else ""
    if not cell["fits"]:
        return [cell["topology"], str(cell["chips"]), split, f"does not fit: {memory}", "", ""]
    sent = per_chip * sum(cell["sent_bytes"].values()) / GIB
    ratio = cell["compiled_flops"] / cell["model_flops"]
    return [cell["topology"], str(cell["chips"]), split, memory, f"{sent:.1f} GiB", f"{ratio:.2f}"]


def peers_table(out: pathlib.Path) -> str:
    """Markdown of ours beside T5X's."""
    lines = [
        "| mT5 | topology | rows | model partitions | | memory | FLOPs of a device |",
        "|---|---|---|---|---|---|---|",
    ]
    for size, topology, rows, partitions, name, _ in peer_cells():
        cell = read(out / f"{name}.json")
        if cell is None:
            continue
        figures = [cell.get("error", "")[-200:], ""]
        if "error" not in cell:
            memory = f"{cell['needed_bytes'] / GIB:.1f} of {cell['hbm_bytes'] / GIB:.1f} GiB"
            flops = f"{cell['compiled_flops']:.3g}" if cell["fits"] else ""
            figures = [memory if cell["fits"] else f"does not fit: {memory}", flops]
        who = "ours" if name.startswith("ours") else "T5X"
        row = [size, topology, str(rows), str(partitions), who, *figures]
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines) + "\n" if len(lines) > 2 else ""


def read(path: pathlib.Path) -> dict | None:
    """A cell's figures."""
    return json.loads(path.read_text()) if path.exists() else None


if __name__ == "__main__":
    sys.exit(main())
