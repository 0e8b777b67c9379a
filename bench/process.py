"""Workers: one process per system, which does jobs sent over its standard input.

A process of its own keeps each system's memory, threads and caches away from the others', and
waiting on a pipe costs nothing, so that runs of several systems can take turns.
"""

import json
import os
import pathlib
import resource
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence

ROOT = pathlib.Path(__file__).resolve().parent.parent


class WorkerError(RuntimeError):
    """A worker ended or a job failed; the text says what and where the log is."""


class Worker:
    """A process that runs ``python -m module`` and ``serve``\\ s jobs.

    Args:
        module: Such as ``bench.worker_ours``.
        log: File for everything it prints.
        python: Interpreter.
        path: Folders to put on its PYTHONPATH.
        environment: Variables to add.
    """

    def __init__(
        self,
        module: str,
        log: pathlib.Path,
        *,
        python: str = sys.executable,
        path: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ):
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        folders = [str(ROOT), *path]
        settings = {
            "JAX_PLATFORMS": "cpu",
            "TF_CPP_MIN_LOG_LEVEL": "3",
            **os.environ,
            "PYTHONPATH": os.pathsep.join(folders),
            **(environment or {}),
        }
        start = time.perf_counter()
        with open(log, "w", encoding="utf-8") as file:
            self._process = subprocess.Popen(
                [python, "-m", module],
                cwd=ROOT,
                env=settings,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
            )
        self.facts = self._answer()
        self.import_s = time.perf_counter() - start

    def call(self, job: str, **arguments) -> dict:
        """The job's result; blocks.

        Raises:
            WorkerError: The job raised, or the process ended.
        """
        try:
            self._process.stdin.write(json.dumps({"job": job, "arguments": arguments}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # _answer says how it ended
        return self._answer()

    def close(self) -> None:
        """Ends the process."""
        self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _answer(self) -> dict:
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            last = lines[-1] if lines else "it printed nothing"
            raise WorkerError(f"ended with status {code}: {last} (log: {self.log})")
        answer = json.loads(line)
        if "error" in answer:
            raise WorkerError(f"{answer['error']} (log: {self.log})")
        return answer["result"]


def serve(facts: Mapping, jobs: Mapping[str, Callable[..., Mapping]]) -> None:
    """Answers jobs from standard input until it closes; for a worker's ``__main__``.

    Args:
        facts: Sent first, for example versions.
        jobs: By name; keyword arguments and result are JSON values. Every result gets ``peak_mib``.
    """
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print must not be taken for an answer

    def send(answer: Mapping) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    send({"result": dict(facts)})
    for line in sys.stdin:
        request = json.loads(line)
        try:
            result = jobs[request["job"]](**request["arguments"])
            send({"result": {**result, "peak_mib": peak_mib()}})
        except Exception as error:
            traceback.print_exc()
            first = (str(error).strip() or "no message").splitlines()[0]
            send({"error": f"{type(error).__name__}: {first}"})


def peak_mib() -> float:
    """Most memory this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
