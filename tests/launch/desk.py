"""A checkout of the scripts, and stand-ins for the programs that they call."""

import ast
import pathlib
import shlex
import shutil
import subprocess

LAUNCH = pathlib.Path(__file__).parents[2] / "launch"
STAND_INS = ("gcloud", "kubectl", "sbatch", "srun", "scontrol", "sleep")
WATCHED = ("env", "mkdir", "rm", "tar")  # recorded, then run
SENT = ("setup.py", "requirements.lock", "xlt_jax", "tasks", "gin")  # to workers, with launch/
# Nothing else is on PATH: no test can reach a real gcloud.
TOOLS = """awk basename bash cat cp date dirname env grep gzip hostname mkdir mv nohup rm sed seq
    setsid sleep sort tail tar touch""".split()

TPU = ("--name=my-tpu", "--zone=us-central2-b")
AWKWARD = (
    "--gin_file=a b.gin",
    "it's",
    'a "word"',
    "$(touch pwned) `touch pwned` $HOME ${HOME} $$",
    "two\nlines\n",
    "back\\slash\\n \\",
    "",
    "* ? [a] ~ {a,b} !",
    "é & | ; < > ( ) # %s @NAME@",
    "-x",
    "--",
    "--dry_run",
)


class Desk:
    """A checkout in a folder with an awkward name, stand-ins, and one TPU worker's home folder."""

    def __init__(self, folder: pathlib.Path, stand_ins: pathlib.Path, tools: pathlib.Path):
        self.folder = folder
        self.stand_ins, self.tools = stand_ins, tools
        self.root = folder / "it's a $checkout"
        self.home = folder / "worker"
        self.calls_file = folder / "calls"
        self.answers_file = folder / "answers"
        for path in (self.root, self.home, folder / "elsewhere", folder / "bin"):
            path.mkdir()
        (self.root / "launch").symlink_to(LAUNCH)
        for name in SENT:
            (self.root / name).touch()
        (self.root / ".venv/bin").mkdir(parents=True)
        (self.root / ".venv/bin/python").symlink_to(stand_ins / "python")
        self.answers()

    def program(self, path: pathlib.Path, text: str) -> None:
        """Makes a shell script."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!{shutil.which('bash')}\n{text}\n")
        path.chmod(0o755)

    def answers(self, *rules: tuple) -> None:
        """(words, answer, ...): calls with these words are answered in turn, the last one again.

        An answer is what is printed, an exit status, or "worker": do it in the worker's home.
        """
        self.answers_file.write_text(repr([[words, list(rest)] for words, *rest in rules]))

    def run(self, script: str, *arguments: str, typed: str = "", programs: bool = True):
        """The finished process of a script of launch/, called from another folder.

        Without ``programs`` none that the scripts call can be found.
        """
        return subprocess.run(
            [self.root / "launch" / script, *arguments],
            cwd=self.folder / "elsewhere",
            env=self.environment(*([self.stand_ins] if programs else [])),
            input=typed,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def environment(self, *folders: pathlib.Path) -> dict[str, str]:
        return {
            "PATH": ":".join(map(str, (self.folder / "bin", *folders, self.tools))),
            "HOME": str(self.folder / "elsewhere"),
            "LC_ALL": "C.UTF-8",
            "STAND_IN": str(self.folder),
            "TOOLS": str(self.tools),
        }

    def worker(self, *command: str) -> subprocess.CompletedProcess:
        """The finished process of _worker.sh, on the worker."""
        return subprocess.run(
            ["bash", "xlt_jax/launch/_worker.sh", *command],
            cwd=self.home,
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def worker_checkout(self, python: str = "") -> pathlib.Path:
        """A set-up checkout on the worker, whose interpreter is the shell script ``python``."""
        checkout = self.home / "xlt_jax"
        checkout.mkdir()
        (checkout / "launch").symlink_to(LAUNCH)
        self.program(checkout / ".venv/bin/python", python)
        (checkout / ".venv/installed").touch()
        return checkout

    def calls(self, *programs: str) -> list[list[str]]:
        """What was called so far, or only these programs."""
        if not self.calls_file.exists():
            return []
        calls = [ast.literal_eval(line) for line in self.calls_file.read_text().splitlines()]
        return [call for call in calls if not programs or call[0] in programs]

    def files(self) -> set[str]:
        """Everything below the checkout and the folder that scripts are called from."""
        found = [*self.root.rglob("*"), *(self.folder / "elsewhere").rglob("*")]
        return {str(path) for path in found}


def commands(text: str) -> list[list[str]]:
    """Commands that a dry run printed, as the shell would read them."""
    found, lines = [], []
    for line in text.splitlines(keepends=True):
        lines.append(line)
        try:
            found.append(shlex.split("".join(lines)))
        except ValueError:  # inside quotes: the command goes on in the next line
            continue
        lines = []
    assert not lines, f"unfinished command: {lines}"
    return found
