"""The parts of the benchmark: what is run, how often, and in which order."""

import contextlib
import importlib.util
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from bench import machine, shapes
from bench.process import ROOT, Worker, WorkerError
from bench.results import OURS, Report, Result, Skipped, rates
from xlt_jax.registry import languages

T5X, TRANSFORMERS, SEQIO = "T5X", "transformers", "SeqIO"
TRANSFORMERS_BFLOAT16 = "transformers, bfloat16"
SAME_ANSWERS = 0.99  # share; the rest may be near ties, which rounding decides

# Peak memory of one process at mt5_small's shape, rounded up; nothing is started that cannot fit.
NEEDED_GIB = {OURS: 9, T5X: 7, TRANSFORMERS: 6}


@dataclass(frozen=True)
class Settings:
    """Of one run of the benchmark.

    Attributes:
        quick: Smaller counts: to see that it works, not to quote.
        shapes: Names of the network shapes.
        t5x_path: Folders for T5X's worker; empty skips it.
        transformers_python: Interpreter for transformers' worker.
        logs: Folder of the workers' logs.
    """

    quick: bool
    shapes: tuple[str, ...]
    t5x_path: tuple[str, ...]
    transformers_python: str
    logs: pathlib.Path


def say(text: str) -> None:
    """A line of progress."""
    print(text, file=sys.stderr, flush=True)


# ------------------------------------------------------------------------------- the parts
def ceiling(settings: Settings, report: Report) -> None:
    """Matrix products: what no network can exceed."""
    sizes = [512] if settings.quick else [2048, 3072, 4096]
    with Worker("bench.worker_ours", settings.logs / "ceiling.log") as worker:
        runs = worker.call("ceiling", sizes=sizes, repeats=5)["gflops"]
    note = f"jnp.dot float32, n = {', '.join(map(str, sizes))}"
    report.results.append(Result("ceiling", "matrix product", OURS, "GFLOP/s", tuple(runs), note))


def train(settings: Settings, report: Report) -> None:
    """Tokens per second of training steps; the systems take turns."""
    counts = {  # rounds, steps in each
        "tiny": (2, 5) if settings.quick else (7, 40),
        "mt5_small": (2, 1) if settings.quick else (5, 2),
    }
    top = report.ours("matrix product")
    for name in settings.shapes:
        shape, (rounds, steps) = shapes.SHAPES[name], counts[name]
        measured = f"training, {name}"
        with neural_workers(settings, report, "train", name) as workers:
            made = set_up(workers, report, "train", "train_setup", shape=name)
            answers = take_turns(workers, report, "train", measured, rounds, "train", steps=steps)
        for system, runs in answers.items():
            seconds = [run["seconds"] / steps for run in runs]
            gflops = shape.train_flops / np.median(seconds) / 1e9
            note = (
                f"{made[system]['parameters'] / 1e6:.3g}M parameters, {rounds} x {steps} steps, "
                f"{np.median(seconds):.3g} s/step, {gflops:.0f} GFLOP/s"
            )
            if top:
                note += f" = {gflops / top.median:.0%} of the ceiling"
            note += f", peak {runs[-1]['peak_mib'] / 1024:.1f} GiB"
            per_second = rates(shapes.TRAIN_TOKENS, seconds)
            report.results.append(Result("train", measured, system, "tokens/s", per_second, note))


def objectives(settings: Settings, report: Report) -> None:
    """Steps per second of each training objective; it takes turns with the plain one.

    What the table shows as ours is the plain one: how many times as long the others take.
    """
    counts = {  # rounds, steps in each
        "tiny": (2, 5) if settings.quick else (7, 20),
        "mt5_small": (2, 1) if settings.quick else (3, 1),
    }
    for name in settings.shapes:
        rounds, steps = counts[name]
        needed = 2 * NEEDED_GIB[OURS] if name == "mt5_small" else 4
        if needed > machine.available_gib():
            why = f"needs {needed} GiB of memory, {machine.available_gib():.1f} are left"
            report.skipped.append(Skipped(f"objectives, {name}", OURS, why))
            continue
        measured, plain = f"objectives, {name}", []
        for objective in shapes.OBJECTIVES:
            with contextlib.ExitStack() as stack:
                workers = {
                    system: stack.enter_context(
                        Worker("bench.worker_ours", settings.logs / f"objectives_{system}.log")
                    )
                    for system in (OURS, objective)
                }
                for system, worker in workers.items():
                    kind = "" if system == OURS else objective
                    worker.call("train_setup", shape=name, objective=kind)
                answers = take_turns(
                    workers, report, "objectives", measured, rounds, "train", steps=steps
                )
            seconds = {
                system: np.median([run["seconds"] / steps for run in runs])
                for system, runs in answers.items()
            }
            peaks = {system: runs[-1]["peak_mib"] / 1024 for system, runs in answers.items()}
            plain += [run["seconds"] / steps for run in answers[OURS]]
            note = (
                f"{seconds[objective] / seconds[OURS]:.2f} times the plain step beside it, "
                f"{seconds[objective]:.3g} s, peak {peaks[objective]:.2f} GiB "
                f"(plain {peaks[OURS]:.2f})"
            )
            per_second = rates(1, [run["seconds"] / steps for run in answers[objective]])
            report.results.append(
                Result("objectives", measured, objective, "steps/s", per_second, note)
            )
        report.results.append(
            Result("objectives", measured, OURS, "steps/s", rates(1, plain), "plain cross entropy")
        )


def evaluate(settings: Settings, report: Report) -> None:
    """Examples per second of zero-shot evaluation; the systems take turns.

    All have the parameters that ours made, and their outputs are compared with ours.
    """
    for name in settings.shapes:
        with (
            neural_workers(settings, report, "evaluate", name) as workers,
            tempfile.TemporaryDirectory(prefix="xlt_bench_") as folder,
        ):
            if OURS not in workers:
                continue
            arguments = {"shape": name, "quick": settings.quick, "folder": f"{folder}/weights"}
            set_up(workers, report, "evaluate", "evaluate_setup", **arguments)
            for spec in shapes.eval_specs(name, settings.quick):
                evaluate_set(settings, report, workers, spec, name)


def evaluate_set(
    settings: Settings,
    report: Report,
    workers: dict[str, Worker],
    spec: shapes.SetSpec,
    shape: str,
) -> None:
    """All results of one set."""
    rounds = 1 if settings.quick or (shape != "tiny" and spec.name.startswith("qa")) else 2

    def turns(systems: dict[str, Worker], measured: str, name: str) -> dict[str, list[dict]]:
        return take_turns(systems, report, "evaluate", measured, rounds, "evaluate", name=name)

    measured = f"zero-shot {spec.name}, {shape}"
    leave_out = T5X if spec.t5x_rows == 0 else None
    systems = {system: worker for system, worker in workers.items() if system != leave_out}
    answers = turns(systems, measured, spec.name)
    if TRANSFORMERS in systems:
        half = {TRANSFORMERS_BFLOAT16: systems[TRANSFORMERS]}
        answers |= turns(half, measured, f"{spec.name} in bfloat16")
    wanted = [x.answer_tokens for task in shapes.eval_set(spec) for x in task]
    ours = answers[OURS][0]["answers"] if OURS in answers else None
    for system, runs in answers.items():
        add_evaluation(report, measured, system, spec, runs, wanted, ours)
    if spec.name == "pairs" and OURS in systems:
        measured = f"zero-shot {spec.name} by ranking, {shape}"
        for runs in turns({OURS: systems[OURS]}, measured, f"{spec.name}_rank").values():
            add_evaluation(report, measured, OURS, spec, runs, None, None)


def start(settings: Settings, report: Report) -> None:
    """Seconds from the training command to its first step, in a fresh cache folder."""
    repeats = 1 if settings.quick else 3
    with tempfile.TemporaryDirectory(prefix="xlt_bench_") as folder:
        folder = pathlib.Path(folder)
        states = [("nothing cached: first start ever", 1, lambda: None)]
        if not settings.quick:
            forget = lambda: shutil.rmtree(folder / "cache" / "compiled")  # noqa: E731
            states.append(("tokens cached, compilation cold", repeats, forget))
        states.append(("tokens and compilation cached", repeats, lambda: None))
        for name, runs, prepare in states:
            seconds, whole = [], []
            for number in range(runs):
                prepare()
                run_seconds, run_whole = first_step(folder, settings.logs / "start.log")
                seconds.append(run_seconds)
                whole.append(run_whole)
                say(f"  start, {name}: {run_seconds:.2f} s ({number + 1}/{runs})")
            note = f"demo's pre-training; whole command of one step {np.median(whole):.1f} s"
            report.results.append(
                Result("start", f"first step, {name}", OURS, "s", tuple(seconds), note)
            )


def mixture(settings: Settings, report: Report) -> None:
    """Start of a mixture of many tasks, up to its first batch."""
    large, small = (4, 8) if settings.quick else (20, 180)
    tasks = large + small
    cold = f"mixture of {tasks}: first batch, nothing cached"
    warm = f"mixture of {tasks}: first batch, tokens cached"
    memory = f"mixture of {tasks}: peak memory"
    runs: dict[tuple[str, str], list[dict]] = {}
    peers = {} if importlib.util.find_spec("seqio") else None
    if peers is None:
        report.skipped.append(Skipped("mixture", SEQIO, "seqio is not installed"))
    with tempfile.TemporaryDirectory(prefix="xlt_bench_") as folder:
        folder = pathlib.Path(folder)
        say(f"  writing {large} files of 1,500 rows, {small} of 60, and a vocabulary")
        write_files(folder, large, small)
        for number in range(1 if settings.quick else 2):
            for name in (cold, warm):
                environment = {
                    "XLT_CACHE_DIR": str(folder / f"cache{number}"),
                    "XLT_DATA_DIR": str(folder),
                }
                with Worker(
                    "bench.worker_ours", settings.logs / "mixture.log", environment=environment
                ) as worker:
                    result = {
                        **worker.call("mixture", folder=str(folder)),
                        "import": worker.import_s,
                    }
                runs.setdefault((name, OURS), []).append(result)
                say(f"  {name}, {OURS}: {result['seconds']:.2f} s")
            if peers is None:
                continue
            try:
                with Worker("bench.worker_seqio", settings.logs / "mixture_seqio.log") as worker:
                    result = {
                        **worker.call("mixture", folder=str(folder)),
                        "import": worker.import_s,
                    }
            except WorkerError as error:
                report.skipped.append(Skipped("mixture", SEQIO, str(error), failed=True))
                peers = None
                continue
            say(f"  {cold}, {SEQIO}: {result['seconds']:.2f} s")
            for name in (cold, warm):  # SeqIO keeps no tokens: it starts the same way every time
                runs.setdefault((name, SEQIO), []).append(result)
    for (name, system), found in runs.items():
        imports = float(np.median([run["import"] for run in found]))
        note = f"{large} x 1,500 and {small} x 60 rows; imports before that {imports:.1f} s"
        seconds = tuple(run["seconds"] for run in found)
        report.results.append(Result("mixture", name, system, "s", seconds, note))
    for system in dict.fromkeys(system for _, system in runs):
        peaks = tuple(run["peak_mib"] for run in runs[cold, system])
        note = "of the process, imports included, nothing cached"
        report.results.append(Result("mixture", memory, system, "MiB", peaks, note))


def convert(settings: Settings, report: Report) -> None:
    """Seconds and memory of importing a Hugging Face folder, beside loading it."""
    shape = "tiny" if settings.quick else "mt5_base"
    rounds = 1 if settings.quick else 2
    with tempfile.TemporaryDirectory(prefix="xlt_bench_") as folder:
        folder = pathlib.Path(folder)
        with neural_workers(settings, report, "convert", "tiny", (OURS, TRANSFORMERS)) as workers:
            if OURS not in workers:
                return
            workers[OURS].call("write_folder", shape=shape, folder=str(folder / "weights"))
            size_mib = sum(file.stat().st_size for file in (folder / "weights").iterdir()) / 2**20
            say(f"  a folder of {shape}'s shape, {size_mib:,.0f} MiB")
            measured = f"loading {shape}'s folder"
            answers = take_turns(
                workers, report, "convert", measured, rounds, "load", folder=str(folder / "weights")
            )
        for system, runs in answers.items():
            seconds = tuple(run["seconds"] for run in runs)
            note = f"{size_mib:,.0f} MiB float32, file in the system's cache"
            report.results.append(Result("convert", measured, system, "s", seconds, note))
        command = [sys.executable, "-m", "xlt_jax.convert", "import", str(folder / "weights")]
        seconds, peaks = [], []
        for number in range(rounds):
            target = str(folder / f"run{number}")
            run_seconds, peak_mib = measured_command(
                [*command, target], settings.logs / "convert.log"
            )
            say(f"  import of {shape}'s folder: {run_seconds:.2f} s ({number + 1}/{rounds})")
            seconds.append(run_seconds)
            peaks.append(peak_mib)
        note = "the whole command: read, transpose, check, write our checkpoint"
        report.results.append(
            Result("convert", f"import of {shape}'s folder", OURS, "s", tuple(seconds), note)
        )
        note = f"{np.median(peaks) / size_mib:.2f} times the folder's size"
        report.results.append(
            Result("convert", "import: peak memory", OURS, "MiB", tuple(peaks), note)
        )


PARTS: dict[str, Callable[[Settings, Report], None]] = {
    part.__name__: part for part in (ceiling, train, objectives, evaluate, start, mixture, convert)
}


# ------------------------------------------------------------------------------- systems
@contextlib.contextmanager
def neural_workers(
    settings: Settings,
    report: Report,
    part: str,
    shape: str,
    systems: Sequence[str] = (OURS, T5X, TRANSFORMERS),
) -> Iterator[dict[str, Worker]]:
    """Workers of those systems that are present and fit into memory; says which are left out."""
    wanted = {OURS: ("bench.worker_ours", {})}
    if T5X not in systems:
        pass
    elif settings.t5x_path:
        wanted[T5X] = ("bench.worker_t5x", {"path": settings.t5x_path})
    else:
        report.skipped.append(Skipped(f"{part}, {shape}", T5X, "T5X_PATH is not set"))
    python = settings.transformers_python
    if has_transformers(python):
        wanted[TRANSFORMERS] = ("bench.worker_transformers", {"python": python})
    else:
        why = f"{python} cannot import torch and transformers (see --transformers_python)"
        report.skipped.append(Skipped(f"{part}, {shape}", TRANSFORMERS, why))

    free = machine.available_gib()
    with contextlib.ExitStack() as stack:
        workers = {}
        for system, (module, options) in wanted.items():
            needed = NEEDED_GIB[system] if shape == "mt5_small" else 2
            if needed > free:
                why = f"needs {needed} GiB of memory, {free:.1f} are left"
                report.skipped.append(Skipped(f"{part}, {shape}", system, why))
                continue
            free -= needed
            log = settings.logs / f"{part}_{shape}_{system}.log"
            try:
                workers[system] = stack.enter_context(Worker(module, log, **options))
            except WorkerError as error:
                fail(workers, report, f"{part}, {shape}", system, error)
        yield workers


def has_transformers(python: str) -> bool:
    """Whether that interpreter has torch and transformers, without importing them."""
    code = (
        "import importlib.util as u; "
        "raise SystemExit(not (u.find_spec('torch') and u.find_spec('transformers')))"
    )
    try:
        return subprocess.run([python, "-c", code], capture_output=True).returncode == 0
    except OSError:  # no such program
        return False


def set_up(workers: dict[str, Worker], report: Report, part: str, job: str, **arguments) -> dict:
    """Answers of the job by system, one system after the other."""
    answers = {}
    for system, worker in list(workers.items()):
        begin = time.perf_counter()
        try:
            answers[system] = worker.call(job, **arguments)
        except WorkerError as error:
            fail(workers, report, f"{part}, {arguments['shape']}", system, error)
            continue
        say(f"  {arguments['shape']}, {system}: ready after {time.perf_counter() - begin:.1f} s")
    return answers


def take_turns(
    workers: dict[str, Worker],
    report: Report,
    part: str,
    measured: str,
    rounds: int,
    job: str,
    **arguments,
) -> dict[str, list[dict]]:
    """Answers of every round by system: A B A B, so that a slow minute hits all of them."""
    answers: dict[str, list[dict]] = {}
    for number in range(rounds):
        for system, worker in list(workers.items()):
            try:
                answer = worker.call(job, **arguments)
            except WorkerError as error:
                fail(workers, report, part, system, error)
                continue
            answers.setdefault(system, []).append(answer)
            say(f"  {measured}, {system}: {answer['seconds']:.2f} s ({number + 1}/{rounds})")
    return {system: runs for system, runs in answers.items() if len(runs) == rounds}


def fail(
    workers: dict[str, Worker], report: Report, part: str, system: str, error: WorkerError
) -> None:
    """Notes a failure and goes on without that system."""
    say(f"  {system} failed: {error}")
    report.skipped.append(Skipped(part, system, str(error), failed=True))
    workers.pop(system, None)


def add_evaluation(
    report: Report,
    measured: str,
    system: str,
    spec: shapes.SetSpec,
    runs: Sequence[dict],
    wanted_tokens: Sequence[int] | None,
    ours: Sequence[Sequence[int]] | None,
) -> None:
    """Adds a result if the system decoded what it should have.

    Args:
        report: Gets the result, or why there is none.
        measured: Name of the result.
        system: Whose.
        spec: Of the set.
        runs: Answers of the worker: seconds, numbers of the examples, ids of their answers.
        wanted_tokens: Length of each answer of the set; None: any.
        ours: Our answers of the set, to compare; bfloat16 may differ from them.
    """
    rows, note = runs[0]["rows"], runs[0].get("note", "")
    lengths = [len(answer) for answer in runs[0]["answers"]]
    if wanted_tokens is not None and lengths != [wanted_tokens[row] for row in rows]:
        why = "answers have other lengths than they should: not comparable"
        report.skipped.append(Skipped(measured, system, why, failed=True))
        return
    note = f"{spec.examples} examples of {spec.languages} tasks, " + (f"{note}, " if note else "")
    if ours is not None and system != OURS:
        same = sum(answer == ours[row] for row, answer in zip(rows, runs[0]["answers"]))
        if same < SAME_ANSWERS * len(rows) and system != TRANSFORMERS_BFLOAT16:
            why = f"only {same} of {len(rows)} answers are ours: not comparable"
            report.skipped.append(Skipped(measured, system, why, failed=True))
            return
        note += f"{same} of {len(rows)} answers are ours, "
    note += f"peak {runs[-1]['peak_mib'] / 1024:.1f} GiB"
    per_second = rates(len(rows), [run["seconds"] for run in runs])
    report.results.append(Result("evaluate", measured, system, "examples/s", per_second, note))


# ------------------------------------------------------------------------------- start of training
def first_step(folder: pathlib.Path, log: pathlib.Path) -> tuple[float, float]:
    """Seconds from starting the command to its first logged step, and to its end.

    Raises:
        WorkerError: The command failed.
    """
    command = [
        sys.executable, "-u", "-m", "xlt_jax.train",
        "--gin_file=gin/pretrain.gin", "--gin_file=gin/local.gin",
        f"--gin.MODEL_DIR='{folder / 'run'}'", "--gin.LOCAL_STEPS=1",
    ]  # fmt: skip
    shutil.rmtree(folder / "run", ignore_errors=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {
        "JAX_PLATFORMS": "cpu",
        **os.environ,
        "XLT_CACHE_DIR": str(folder / "cache"),
        "PYTHONPATH": str(ROOT),
    }
    begin = time.perf_counter()
    first = None
    with (
        open(log, "w", encoding="utf-8") as file,
        subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=file, text=True
        ) as process,
    ):
        for line in process.stdout:
            file.write(line)
            file.flush()
            if first is None and re.match(r"step 1/", line):
                first = time.perf_counter() - begin
    whole = time.perf_counter() - begin
    if process.returncode or first is None:
        raise WorkerError(f"training ended with status {process.returncode} (log: {log})")
    return first, whole


def measured_command(command: Sequence[str], log: pathlib.Path) -> tuple[float, float]:
    """Seconds and peak MiB of a command.

    Raises:
        WorkerError: The command failed.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {"JAX_PLATFORMS": "cpu", **os.environ, "PYTHONPATH": str(ROOT)}
    begin = time.perf_counter()
    with open(log, "w", encoding="utf-8") as file:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=file, stderr=file)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise WorkerError(f"{' '.join(command[1:4])} ended with {process.returncode} (log: {log})")
    return time.perf_counter() - begin, usage.ru_maxrss / 2**10


# ------------------------------------------------------------------------------- files of a mixture
def write_files(folder: pathlib.Path, large: int, small: int) -> None:
    """TSV files of synthetic text, a SentencePiece model of theirs, and ``facts.json``.

    Text has the statistics that matter here: paragraphs of 223 characters, words with Zipf's
    frequencies, a vocabulary of 8,000.
    """
    import sentencepiece

    generator = np.random.default_rng(0)
    syllables = [first + second for first in "bdfgklmnprstvz" for second in "aeiou"]
    words = np.array(
        ["".join(generator.choice(syllables, generator.integers(1, 5))) for _ in range(20_000)]
    )
    frequency = 1.0 / np.arange(1, len(words) + 1)
    frequency /= frequency.sum()

    codes = languages.XTREME_R
    counts = [1500] * large + [60] * small
    tasks = [(f"bench_files_{n // len(codes)}", codes[n % len(codes)]) for n in range(len(counts))]
    for (benchmark, language), rows in zip(tasks, counts):
        lengths = np.clip(generator.normal(223, 80, rows), 20, 800)
        lines = ["inputs\ttargets"]
        for length in lengths:
            drawn = " ".join(words[generator.choice(len(words), 90, p=frequency)])
            lines.append(f"{drawn[: int(length)]}\t{' '.join(drawn.split()[:4])}")
        (folder / benchmark).mkdir(exist_ok=True)
        path = folder / benchmark / f"{language}.train.tsv"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        if language == tasks[0][1] and benchmark == tasks[0][0]:
            sample = lines[1:]
    sentencepiece.SentencePieceTrainer.Train(
        sentence_iterator=iter(sample),
        model_prefix=str(folder / "vocabulary"),
        vocab_size=8000,
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    facts = {
        "tasks": tasks,
        "rows": counts,
        "vocabulary": str(folder / "vocabulary.model"),
        "feature_lengths": {"inputs": 256, "targets": 32},
        "batch_size": 32,
    }
    (folder / "facts.json").write_text(json.dumps(facts), encoding="utf-8")
