"""Runs a recipe: one process per stage, finished ones skipped, interrupted ones resumed.

Each stage's folder has ``stage.json`` (written at its start: what was asked for), ``log.txt`` (all
it printed) and ``done.json`` (written on success). ``recipe.json`` beside them tells the report
which stages make an arm.
"""

import contextlib
import fcntl
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from xlt_jax import files
from xlt_jax.recipes.stage import (
    ENGINES,
    REPORT_MODULE,
    Recipe,
    Stage,
    arguments,
    command,
    gin_texts,
    select,
    shell_text,
)

POLL_S = 0.1
PLAIN_INTERVAL_S = 10.0  # between two progress lines of a stage when output is not a terminal
LOG_TAIL_LINES = 15
# Lines that are log and not progress: absl's prefix, indented code of warnings and tracebacks.
_NOT_PROGRESS = re.compile(r"^([IWEF]\d{4} |\s|Traceback )")
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

# program (or "report") -> words before the stage's arguments
Launcher = Mapping[str, Sequence[str]]


def launcher(engine: str = "xlt_jax") -> dict[str, tuple[str, ...]]:
    """How each program is started: this interpreter and the program's module."""
    modules = {**ENGINES[engine], "report": REPORT_MODULE}
    return {name: (sys.executable, "-m", module) for name, module in modules.items()}


def dry_run(
    recipe: Recipe,
    out: Path,
    *,
    arms: Collection[str] | None = None,
    engine: str = "xlt_jax",
) -> str:
    """The commands of all stages as a shell script; nothing is started or read."""
    blocks = [f"# {recipe.name}: {recipe.description}"]
    for stage in select(recipe, arms):
        after = f", after {stage.start_from}" if stage.start_from else ""
        words = command(stage, out, engine=engine)
        blocks.append(f"# {stage.name}{after}\n{shell_text(words)}")
    blocks.append(f"# report\n{shell_text(_report_command(out))}")
    return "\n\n".join(blocks) + "\n"


def run(
    recipe: Recipe,
    out: Path,
    *,
    arms: Collection[str] | None = None,
    engine: str = "xlt_jax",
    parallel: int = 1,
    keep_going: bool = False,
    report: bool = True,
    launch: Launcher | None = None,
    console: Console | None = None,
) -> int:
    """Runs what is not finished, then the report.

    Args:
        recipe: The experiment, with a stage for each seed.
        out: Its folder.
        arms: Only these and what they need; None means all.
        engine: A key of ``stage.ENGINES``: whose programs run what is not finished.
        parallel: Stages that may run at the same time; each then gets its share of the CPU cores.
        keep_going: Whether a stage that fails stops only those that start from it.
        report: Whether to build ``<out>/report`` at the end.
        launch: Replaces ``launcher()``; tests pass small programs.
        console: Where to print; standard output when None.

    Returns:
        Exit status: 0, 1 after a failure, 130 or 143 after SIGINT or SIGTERM.

    Raises:
        ValueError: An arm or gin file is unknown, ``parallel`` is below 1, the engine is not
            installed, the folder cannot be written, or another runner works in it.
    """
    if parallel < 1:
        raise ValueError(f"parallel is {parallel}; it must be 1 or more.")
    if launch is None and importlib.util.find_spec(engine) is None:
        raise ValueError(f"{engine} is not installed for {sys.executable}: run `make t5x`.")
    stages = select(recipe, arms)
    for stage in recipe.stages:  # all of them: recipe.json describes the whole experiment
        gin_texts(stage.gin)
    with _locked(out) as lock, _Signals() as signals:
        _write_recipe(recipe, out, engine=engine)
        runner = _Runner(
            stages=stages,
            out=out,
            engine=engine,
            parallel=parallel,
            keep_going=keep_going,
            launch=launch or launcher(engine),
            progress=_Progress(console or Console(highlight=False)),
            signals=signals,
            lock=lock,
        )
        return runner.run(report=report)


def plan(stage: Stage, out: Path, *, engine: str = "xlt_jax") -> dict[str, Any]:
    """What is asked of a stage now, as ``stage.json`` and ``done.json`` keep it.

    ``start_from_run`` is the ``run_id`` of the stage it starts from, None while that one is not
    finished.
    """
    parent = _read_json(out / stage.start_from / "done.json") if stage.start_from else None
    words = command(stage, out, engine=engine)
    return {
        "stage": stage.name,
        "arm": stage.arm,
        "seed": stage.seed,
        "program": stage.program,
        "engine": engine,
        "start_from": stage.start_from,
        "start_from_run": parent["run_id"] if parent else None,
        "out": out.as_posix(),
        "command": list(words),
        "shell": shell_text(words),
        "gin": gin_texts(stage.gin),
    }


def changes(asked: Mapping[str, Any], kept: Mapping[str, Any]) -> list[str]:
    """Why what was run (``kept``) is not what is asked for; empty when it is.

    Moving the folder of the experiment is no change, nor is the engine of a stage that is finished.
    """
    reasons = []
    engine = kept.get("engine", asked["engine"])
    if engine != asked["engine"] and "finished" not in kept:
        reasons.append(f"it was begun with --engine={engine}")
    here, there = (
        [word.replace(record["out"], "<out>") for word in record["command"][3:]]
        for record in (asked, kept)
    )
    if here != there:
        different = [word for word in there if word not in here]
        different += [word for word in here if word not in there]
        reasons.append(f"the command changed ({', '.join(different) or 'order of flags'})")
    for path in sorted({*asked["gin"], *kept["gin"]}):
        if asked["gin"].get(path) != kept["gin"].get(path):
            reasons.append(f"{path} changed")
    if asked["start_from_run"] != kept["start_from_run"]:
        reasons.append(f"{asked['start_from']} was run again")
    return reasons


def code_version() -> str:
    """Version of the package with the commit of the checkout, ``+changes`` when files differ."""
    try:
        version = metadata.version("xlt-jax")
    except metadata.PackageNotFoundError:
        version = "source"
    git = ["git", "-C", str(Path(__file__).parent)]
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        quiet = {"check": True, "capture_output": True, "text": True}
        commit = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], **quiet).stdout.strip()
        changed = subprocess.run(
            [*git, "status", "--porcelain", "--untracked-files=no"], **quiet
        ).stdout.strip()
        version += f" {commit}{'+changes' if changed else ''}"
    return version


@dataclass
class _Child:
    """A process that writes into a log; it does not need us, should we be killed."""

    name: str
    process: subprocess.Popen
    log: Path
    read_bytes: int  # of the log, so far
    started: float
    cores: tuple[int, ...]
    stage: Stage | None

    def new_progress(self) -> str | None:
        """The last line since the last call that looks like progress."""
        with self.log.open("rb") as file:
            file.seek(self.read_bytes)
            new = file.read()
        complete = new[: max(new.rfind(b"\n"), new.rfind(b"\r")) + 1]
        self.read_bytes += len(complete)
        lines = _ANSI.sub("", complete.decode("utf-8", errors="replace")).splitlines()
        return next((x for x in reversed(lines) if x and not _NOT_PROGRESS.match(x)), None)


@dataclass
class _Runner:
    stages: tuple[Stage, ...]
    out: Path
    engine: str
    parallel: int
    keep_going: bool
    launch: Launcher
    progress: "_Progress"
    signals: "_Signals"
    lock: TextIO
    children: list[_Child] = field(default_factory=list)
    failed: list[_Child] = field(default_factory=list)

    def _plan(self, stage: Stage) -> dict[str, Any]:
        return plan(stage, self.out, engine=self.engine)

    def run(self, *, report: bool) -> int:
        waiting = list(self.stages)
        finished: set[str] = set()
        with self.progress:
            while (waiting or self.children) and not self._halted():
                ready = [s for s in waiting if s.start_from is None or s.start_from in finished]
                done = {stage.name for stage in ready if self._skip(stage)}
                if done:
                    finished |= done
                    waiting = [stage for stage in waiting if stage.name not in done]
                    continue
                if not ready and not self.children:
                    break  # what waits starts from a stage that failed
                for stage, cores in zip(ready, self._free_shares(len(ready))):
                    waiting.remove(stage)
                    self._start_stage(stage, cores)
                succeeded = self._collect()
                finished |= succeeded
                if succeeded:
                    self._show_outlook(waiting)
            if not self._halted() and report:
                self._report()
            self._wind_down()
        return self._exit_status(waiting)

    def _halted(self) -> bool:
        failed = bool(self.failed) and not self.keep_going
        return failed or self.signals.received is not None

    def _show_outlook(self, waiting: list[Stage]) -> None:
        """How much of the experiment is left, by the time that stages of its programs took."""
        left = [*waiting, *(child.stage for child in self.children)]
        if not left:
            return
        seconds: dict[str, list[float]] = {}
        for stage in self.stages:
            if done := _read_json(self.out / stage.name / "done.json"):
                seconds.setdefault(stage.program, []).append(done["seconds"])
        known = [sum(took) / len(took) for took in seconds.values()]
        means = {name: sum(took) / len(took) for name, took in seconds.items()}
        total = sum(means.get(stage.program, sum(known) / len(known)) for stage in left)
        minutes = max(1, round(total / min(self.parallel, len(left)) / 60))
        self.progress.say(
            f"{len(self.stages) - len(left)} of {len(self.stages)} stages are done, about "
            f"{minutes} min left."
        )

    def _free_shares(self, stages: int) -> list[tuple[int, ...]]:
        """Disjoint sets of idle CPU cores for at most this many stages that are ready."""
        used = {core for child in self.children for core in child.cores}
        idle = sorted(os.sched_getaffinity(0) - used)
        count = min(stages, self.parallel - len(self.children), len(idle))
        return [tuple(idle[i::count]) for i in range(count)]

    def _skip(self, stage: Stage) -> bool:
        """Whether the stage is finished, as it is asked for now."""
        done = _read_json(self.out / stage.name / "done.json")
        if done is None or changes(self._plan(stage), done):
            return False
        self.progress.say(f"[{stage.name}] finished before, skipped ({done['seconds']:.0f} s)")
        return True

    def _start_stage(self, stage: Stage, cores: tuple[int, ...]) -> None:
        folder = self.out / stage.name
        asked = self._plan(stage)
        kept = _read_json(folder / "done.json") or _read_json(folder / "stage.json")
        reasons = changes(asked, kept) if kept else []
        if reasons:
            moved = _move_aside(folder)
            self.progress.say(
                f"[{stage.name}] runs again: {'; '.join(reasons)}. The earlier run is in {moved}."
            )
            kept = None
        record = asked | {
            "run_id": kept["run_id"] if kept else uuid.uuid4().hex[:12],
            "seconds": kept["seconds"] if kept else 0.0,
        }
        folder.mkdir(parents=True, exist_ok=True)
        _write_json(folder / "stage.json", record)
        self.progress.say(
            f"[{stage.name}] {'resumes' if kept else 'starts'}, log in {folder / 'log.txt'}\n"
            f"{record['shell']}"
        )
        words = [*self.launch[stage.program], *arguments(stage, self.out, self.engine)]
        self.children.append(self._start(stage.name, words, folder / "log.txt", cores, stage))

    def _start(
        self,
        name: str,
        words: list[str],
        log: Path,
        cores: tuple[int, ...],
        stage: Stage | None = None,
    ) -> _Child:
        environment = os.environ | {"PYTHONUNBUFFERED": "1"}
        if self.parallel > 1:
            environment["OMP_NUM_THREADS"] = str(len(cores))
        read_bytes = log.stat().st_size if log.exists() else 0
        with log.open("ab") as file:
            process = subprocess.Popen(
                words,
                stdout=file,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,  # Ctrl-C reaches the child through us, once
                pass_fds=(self.lock.fileno(),),  # a child that outlives us keeps the folder locked
            )
        if self.parallel > 1:
            with contextlib.suppress(ProcessLookupError):  # it may be gone already
                os.sched_setaffinity(process.pid, cores)
        return _Child(name, process, log, read_bytes, time.monotonic(), cores, stage)

    def _collect(self) -> set[str]:
        """Waits a moment; names of the stages that have succeeded since."""
        time.sleep(POLL_S)
        self._show_progress()
        succeeded = set()
        for child in [child for child in self.children if child.process.poll() is not None]:
            self.children.remove(child)
            # Interrupted programs may save and exit with 0: that is not the end of the stage.
            success = child.process.returncode == 0 and self.signals.received is None
            if self._finish(child, success=success):
                succeeded.add(child.name)
            elif self.signals.received is None:
                self.failed.append(child)
        return succeeded

    def _show_progress(self) -> None:
        for child in self.children:
            if line := child.new_progress():
                self.progress.update(child.name, line)

    def _finish(self, child: _Child, *, success: bool) -> bool:
        self.progress.remove(child.name, child.new_progress())
        if child.stage is None:
            return success
        folder = self.out / child.stage.name
        record = _read_json(folder / "stage.json")
        record["seconds"] = round(record["seconds"] + time.monotonic() - child.started, 3)
        _write_json(folder / "stage.json", record)
        if success:
            record |= {
                "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
                "code_version": code_version(),
                "python": sys.executable,
            }
            _write_json(folder / "done.json", record)
            self.progress.say(f"[{child.name}] done in {record['seconds']:.0f} s")
        return success

    def _report(self) -> None:
        words = [*self.launch["report"], *_report_command(self.out)[3:]]
        folder = self.out / "report"
        folder.mkdir(parents=True, exist_ok=True)
        log = folder / "log.txt"
        log.unlink(missing_ok=True)
        cores = tuple(sorted(os.sched_getaffinity(0)))
        self.progress.say(f"[report] starts\n{shell_text(_report_command(self.out))}")
        self.children.append(self._start("report", words, log, cores))
        while self.children and not self._halted():
            if self._collect():
                self.progress.say(log.read_text(encoding="utf-8").rstrip())

    def _wind_down(self) -> None:
        """Stops what still runs, by the signal that came or SIGTERM, and waits for its save."""
        if not self.children:
            return
        number = self.signals.received or signal.SIGTERM
        names = ", ".join(child.name for child in self.children)
        self.progress.say(f"Waiting for {names} to save and stop.")
        for child in self.children:
            child.process.send_signal(number)
        while any(child.process.poll() is None for child in self.children):
            if self.signals.count > 1:  # asked twice: do not wait for the save
                for child in self.children:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(child.process.pid, signal.SIGKILL)
            time.sleep(POLL_S)
            self._show_progress()
        for child in self.children:
            self._finish(child, success=False)
        self.children.clear()

    def _exit_status(self, waiting: list[Stage]) -> int:
        for child in self.failed:
            code = child.process.returncode
            how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"failed ({code})"
            self.progress.say(
                f"[{child.name}] {how}. Log: {child.log}\n"
                f"{_tail(child.log)}\n"
                f"Not started: {', '.join(stage.name for stage in waiting) or 'none'}. "
                "The same command goes on from here."
            )
        if self.signals.received is not None:
            self.progress.say("Stopped. The same command goes on from the last checkpoints.")
            return 128 + self.signals.received
        return 1 if self.failed else 0


class _Signals:
    """Remembers SIGINT and SIGTERM instead of dying from them, while it is entered."""

    def __init__(self):
        self.received: int | None = None
        self.count = 0

    def __enter__(self) -> "_Signals":
        numbers = (signal.SIGINT, signal.SIGTERM)
        self._before = {number: signal.signal(number, self._note) for number in numbers}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _frame: object) -> None:
        self.received = self.received or number
        self.count += 1


class _Progress:
    """One live line per running stage on a terminal; else a plain line at intervals."""

    def __init__(self, console: Console):
        self.console = console
        self._lines: dict[str, str] = {}
        self._printed: dict[str, float] = {}
        self._live = Live(console=console, refresh_per_second=4, transient=True)

    def __enter__(self) -> "_Progress":
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.console.is_terminal:
            self._live.stop()

    def say(self, text: str) -> None:
        self.console.print(Text(text), soft_wrap=True)

    def update(self, name: str, line: str) -> None:
        self._lines[name] = line
        if self.console.is_terminal:
            self._show()
        elif time.monotonic() - self._printed.get(name, -PLAIN_INTERVAL_S) >= PLAIN_INTERVAL_S:
            self._printed[name] = time.monotonic()
            self.say(f"[{name}] {line}")

    def remove(self, name: str, line: str | None) -> None:
        """Ends the stage's line; its last one (``line``, or that of the last update) stays."""
        last = line or self._lines.get(name)
        self._lines.pop(name, None)
        if self.console.is_terminal:
            self._show()
        if last:
            self.say(f"[{name}] {last}")

    def _show(self) -> None:
        lines = [
            Text(f"[{name}] {line}", no_wrap=True, overflow="ellipsis")
            for name, line in sorted(self._lines.items())
        ]
        self._live.update(Group(*lines))


@contextlib.contextmanager
def _locked(out: Path) -> Iterator[TextIO]:
    """Holds ``<out>/.lock``, which every child inherits: a folder has one writer.

    Raises:
        ValueError: The folder cannot be written, or is in use.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        file = (out / ".lock").open("a+", encoding="utf-8")
    except OSError as error:
        raise ValueError(
            f"Cannot write into {out}: {error.strerror}. Name another folder with --out."
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise ValueError(
                f"{out} is in use by the runner with process id {file.read().strip()} or by one of "
                "its stages. Wait for it, stop it, or name another folder with --out."
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield file


def _write_recipe(recipe: Recipe, out: Path, *, engine: str) -> None:
    """What the report needs to know: arms, their stages, what is compared with what.

    Stages of seeds that an earlier call ran in this folder stay.
    """
    path = out / "recipe.json"
    stages = {
        stage.name: {
            "name": stage.name,
            "arm": stage.arm,
            "seed": stage.seed,
            "program": stage.program,
            "start_from": stage.start_from,
            "shell": shell_text(command(stage, out, engine=engine)),
        }
        for stage in recipe.stages
    }
    known = (_read_json(path) or {}).get("stages", [])
    before = [entry for entry in known if entry.get("seed") not in (None, *recipe.seeds)]
    record = {
        "name": recipe.name,
        "description": recipe.description,
        "question": recipe.question,
        "scale": recipe.scale,
        "selection": recipe.selection,
        "seeds": sorted({*recipe.seeds, *(entry["seed"] for entry in before)}),
        "arms": dict(recipe.arms),
        "comparisons": [list(pair) for pair in recipe.comparisons],
        "stages": [*stages.values(), *before],
    }
    _write_json(path, record)


def _report_command(out: Path) -> tuple[str, ...]:
    return ("python", "-m", REPORT_MODULE, out.as_posix())


def _move_aside(folder: Path) -> Path:
    """Where the folder of a changed stage now lies; nothing is deleted."""
    kept = folder.parent / "replaced"
    kept.mkdir(exist_ok=True)
    number = 1
    while (kept / f"{folder.name}.{number}").exists():
        number += 1
    return folder.rename(kept / f"{folder.name}.{number}")


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(f"    {line}" for line in lines[-LOG_TAIL_LINES:])


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ValueError(
            f"{path} is not JSON ({error}). Delete it to run the stage anew."
        ) from None


def _write_json(path: Path, record: Mapping[str, Any]) -> None:
    """Whole or not at all."""
    files.write_text(path, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
