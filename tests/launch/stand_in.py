"""Stands in for a program: notes how it was called, and answers from the table of the test."""

import fcntl
import os
import sys

FOLDER = os.environ["STAND_IN"]
WATCHED = ("env", "mkdir", "rm", "tar")


def answer(argv: list[str]):
    """The next answer of the first rule whose words are in the call."""
    with open(f"{FOLDER}/answers", "r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        rules = eval(file.read())  # of the test; json takes longer to import than all else
        for words, answers in rules:
            if words in " ".join(argv):
                found = answers.pop(0) if len(answers) > 1 else answers[0]
                file.seek(0)
                file.truncate()
                file.write(repr(rules))
                return found
    return ""


def on_worker(argv: list[str]) -> int:
    """Does what gcloud would do on a worker, whose home is FOLDER/worker."""
    import shutil  # slow to import, and rarely needed
    import subprocess

    tools = f"{FOLDER}/bin:{os.environ['TOOLS']}"
    environment = {**os.environ, "HOME": f"{FOLDER}/worker", "PATH": tools}
    if "scp" in argv:
        at = argv.index("scp")
        paths = [path.replace("my-tpu:", f"{FOLDER}/worker/") for path in argv[at + 1 : at + 3]]
        shutil.copy(*paths)
        return 0
    [command] = [word for word in argv if word.startswith("--command=")]
    return subprocess.run(
        ["bash", "-c", command.removeprefix("--command=")],
        cwd=f"{FOLDER}/worker",
        env=environment,
        check=False,
    ).returncode


def main() -> int:
    program = os.path.basename(sys.argv[0])
    argv = [program, *sys.argv[1:]]
    with open(f"{FOLDER}/calls", "a") as file:
        file.write(repr(argv) + "\n")
    if program in WATCHED:
        os.execv(f"{os.environ['TOOLS']}/{program}", argv)
    found = answer(argv)
    if found == "worker":
        return on_worker(argv)
    if isinstance(found, int):
        return found
    print(found)
    return 0


sys.exit(main())
