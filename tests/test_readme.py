"""README's commands work as a new user would type them, with fewer steps and one task."""

import pathlib
import re
import shlex
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
QUICK = {
    "train": ["--gin.LOCAL_STEPS=2", "--gin.BATCH_SIZE=2", "--gin.EVAL_STEPS=1"],
    "evaluate": ["--gin.MIXTURE_OR_TASK_NAME='cldr_pairs.sw'"],
}


def commands():
    """``python -m`` commands of the README's shell blocks, in order."""
    blocks = re.findall(r"^```sh\n(.*?)^```", README, flags=re.S | re.M)
    text = "".join(blocks).replace("\\\n", " ")
    lines = [shlex.split(line, comments=True) for line in text.splitlines()]
    return [line for line in lines if line[:2] == ["python", "-m"]]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return tmp_path_factory.mktemp("readme")


def test_there_are_commands():
    programs = [line[2] for line in commands()]
    for program in ("xlt_jax.train", "xlt_jax.evaluate", "xlt_jax.data", "xlt_jax.report"):
        assert program in programs


@pytest.mark.parametrize("line", commands(), ids=lambda line: " ".join(line)[:70])
def test_command(line, runs, user_environment):
    program = line[2].removeprefix("xlt_jax.")
    if program.startswith("t5x."):
        pytest.skip("tests/t5x/test_t5x_programs.py runs them where T5X is installed")
    if program == "report":
        pytest.skip("needs the whole demo; tests/report/ builds pages from synthetic runs")
    if program in ("aot", "bench.topologies"):
        pytest.skip("tests/test_aot.py compiles; the table takes hours")
    if program == "score":
        pytest.skip("tests/test_score.py writes submissions and scores them")
    arguments = [argument.replace("runs/", f"{runs}/") for argument in line[2:]]
    if "--gin_file=gin/local.gin" in line:
        arguments += QUICK[program]
    elif program in QUICK or line[2:4] == ["xlt_jax.recipes", "run"]:
        arguments.append("--dry_run")  # the real run needs data from the network, or minutes
    result = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env=user_environment,
        capture_output=True,
        text=True,
        check=False,
    )
    allowed = (0, 1) if line[2:4] == ["xlt_jax.data", "check"] else (0,)  # 1: data is missing
    assert result.returncode in allowed, result.stdout + result.stderr


def test_files_that_the_readme_names_exist():
    paths = set(re.findall(r"`((?:xlt_jax|tasks|gin|tests|bench|launch)/[\w/.]*[\w/])`", README))
    assert len(paths) > 10
    missing = [path for path in sorted(paths) if not (ROOT / path).exists()]
    assert not missing


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make ([a-z]+)|`make ([a-z]+)`", README, flags=re.M):
        assert re.search(rf"^{''.join(target)}:", makefile, flags=re.M), target
