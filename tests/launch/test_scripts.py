"""What holds for every script of launch/: help, dry runs, refusals, shellcheck."""

import pathlib
import re
import shutil
import subprocess
import sys

import pytest
from desk import AWKWARD, LAUNCH, TPU, commands

SCRIPTS = sorted(path.name for path in LAUNCH.glob("[!_]*.sh"))
TRAIN = ("--", "--gin.MODEL_DIR='gs://bucket/x'", *AWKWARD)
# Calls of every script in its ways. Their answers let each end well at once.
CASES = {
    "tpu_create.sh": [
        (*TPU, "--type=v4-8", "--spot", "--gcloud_flag=--labels=a=b c", "--project=p"),
        (*TPU, "--type=v5litepod-16", "--queued", "--spot"),
    ],
    "tpu_setup.sh": [TPU],
    "tpu_run.sh": [(*TPU, *TRAIN)],
    "tpu_logs.sh": [TPU, (*TPU, "--worker=all", "--lines=7")],
    "tpu_stop.sh": [TPU],
    "tpu_tensorboard.sh": [(*TPU, "--logdir=runs/a b", "--port=7007")],
    "tpu_copy.sh": [
        ("--from=gs://bucket/a b", "--to=here/a b"),
        (*TPU, "--from=runs/a b", "--to=here/a b"),
    ],
    "tpu_delete.sh": [(*TPU, "--yes"), (*TPU, "--queued", "--yes", "--project=p")],
    "tpu_watch.sh": [
        (*TPU, "--type=v4-64", "--spot", "--gcloud_flag=--network=my net", *TRAIN),
        (*TPU, "--type=v4-64", "--queued", "--project=p", "--version=v", *TRAIN),
    ],
    "gpu_run.sh": [("--gpus=0,1", *TRAIN), TRAIN],
    "slurm.sh": [
        ("--nodes=2", "--gpus_per_node=8", "--time=1:00:00", *TRAIN),
        (
            *("--nodes=1", "--gpus_per_node=1", "--time=5", "--partition=a b", "--account=c"),
            *("--cpus_per_task=8", "--sbatch_flag=--comment=it's", "--sbatch_flag=-v", *TRAIN),
        ),
    ],
    "kubernetes.sh": [
        ("apply", "--name=my-run", "--image=a/b:1", "--pods=2", "--gpus=8", *TRAIN),
        ("follow", "--name=my-run", "--namespace=team"),
        ("delete", "--name=my-run", "--yes"),
    ],
}
PROGRAMS = {"slurm.sh": "sbatch", "kubernetes.sh": "kubectl", "gpu_run.sh": None}  # else gcloud
CALLS = [(script, call) for script, calls in CASES.items() for call in calls]
NAMES = [f"{script}-{CASES[script].index(call)}" for script, call in CALLS]


def every_call(function):
    return pytest.mark.parametrize(("script", "call"), CALLS, ids=NAMES)(function)


def every_script(function):
    return pytest.mark.parametrize("script", SCRIPTS)(function)


def all_goes_well(desk):
    """Slices come into being, are set up, run and end; worker 0 has results."""
    (desk.home / "xlt_jax/runs/a b").mkdir(parents=True)
    desk.answers(
        ("queued-resources list", "", "my-tpu\tACTIVE"),
        ("queued-resources describe", "ACTIVE"),
        ("tpu-vm list", "other\tREADY", "other\tREADY\nmy-tpu\tREADY"),
        ("_worker.sh status", "bare\nbare", "idle\nidle", "exit 0\nexit 0"),
        ("--command=tar", "worker"),
        ("scp my-tpu:", "worker"),
    )


def rehearsed(call):
    """The call with --dry_run, ahead of what follows --."""
    at = call.index("--") if "--" in call else len(call)
    return (*call[:at], "--dry_run", *call[at:])


def subcommand(call):
    return () if call[0].startswith("-") else call[:1]


def test_every_script_has_a_case():
    assert sorted(CASES) == SCRIPTS


@every_script
def test_help_explains_every_option(desk, script):
    texts = [desk.run(script, option) for option in ("-h", "--help")]
    assert texts[0].returncode == texts[1].returncode == 0
    assert texts[0].stdout == texts[1].stdout
    assert f"launch/{script}" in texts[0].stdout
    for call in CASES[script]:
        refusal = desk.run(script, *subcommand(call), "--nmae=x")
        assert refusal.returncode == 2
        options = re.search(r"There are:((?: --[a-z_]+)+)\.", refusal.stderr)[1].split()
        assert "--dry_run" in options
        missing = [option for option in options if option not in texts[0].stdout]
        assert not missing
    assert not desk.calls()


@every_call
def test_a_dry_run_needs_no_program_and_prints_what_a_run_calls(desk, script, call):
    all_goes_well(desk)
    before = desk.files()
    rehearsal = desk.run(script, *rehearsed(call), programs=False)
    assert rehearsal.returncode == 0, rehearsal.stderr
    assert not desk.calls()
    assert desk.files() == before
    result = desk.run(script, *call)
    assert result.returncode == 0, result.stderr
    printed = [command for command in commands(rehearsal.stdout) if command[0] != "cd"]
    assert printed
    called = [
        [str(desk.root / ".venv/bin/python"), *argv[1:]] if argv[0] == "python" else argv
        for argv in desk.calls()
    ]
    if script == "gpu_run.sh":  # env is called with the interpreter, which is then called
        called = called[:1]
    assert called == printed
    assert not list(desk.folder.rglob("pwned"))


@every_script
def test_missing_program_is_named(desk, script):
    program = PROGRAMS.get(script, "gcloud")
    if program is None:
        program = str(desk.root / ".venv/bin/python")
        (desk.root / ".venv/bin/python").unlink()
    result = desk.run(script, *CASES[script][0], programs=False)
    assert result.returncode == 2
    assert f"error: {program} was not found. " in result.stderr
    assert not desk.calls()


@every_call
def test_failure_of_the_program_is_failure(desk, script, call):
    desk.answers(("", 7))
    patience = ("--attempts=1",) if script == "tpu_watch.sh" else ()
    result = desk.run(script, *patience, *call)
    assert result.returncode in (1, 7)
    assert len(desk.calls("gcloud", "kubectl", "sbatch", "python")) == 1


@every_script
def test_without_arguments_it_says_what_is_missing(desk, script):
    result = desk.run(script)
    assert result.returncode == 2
    assert re.match(r"error: (--\w+ is|The first argument|Arguments of)", result.stderr)
    assert not desk.calls()


@every_script
def test_wrong_arguments_are_refused(desk, script):
    call = CASES[script][0]
    first = subcommand(call)
    for wrong, says in (
        ("--nmae=x", "Unknown option --nmae"),
        ("--na me=x", "Unknown option '--na me'"),
        ("word", "Unexpected argument word"),
        ("-y", "Unexpected argument -y"),
        ("", "Unexpected argument ''"),
        ("--dry_run=yes", "--dry_run takes no value"),
    ):
        result = desk.run(script, *first, wrong, *call[len(first) :])
        assert result.returncode == 2
        assert says in result.stderr
    assert not desk.calls()


@every_script
def test_a_value_may_follow_as_a_word_and_may_not_be_empty(desk, script):
    call = CASES[script][0]
    first, at = subcommand(call), call.index("--") if "--" in call else len(call)
    words = [word for option in call[:at] for word in option.split("=", 1)]
    expected = desk.run(script, *rehearsed(call))
    assert expected.stdout
    assert desk.run(script, *words, "--dry_run", *call[at:]).stdout == expected.stdout
    name = call[len(first)].split("=")[0]
    assert f"{name} is empty." in desk.run(script, *first, f"{name}=").stderr
    assert f"{name} needs a value." in desk.run(script, *first, name).stderr


def test_shellcheck():
    path = pathlib.Path(sys.executable).parent / "shellcheck"
    program = str(path) if path.exists() else shutil.which("shellcheck")
    assert program, "shellcheck is missing: pip install -r requirements-test.lock"
    files = sorted(str(path) for path in LAUNCH.glob("*.sh"))
    result = subprocess.run([program, *files], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_script_can_be_executed_and_stops_at_the_first_failure():
    for path in LAUNCH.glob("*.sh"):
        text = path.read_text()
        assert "set -euo pipefail" in text or '_lib.sh"\n' in text, path
        if path.name in SCRIPTS or path.name == "_slurm_job.sh":
            assert path.stat().st_mode & 0o111, path
            assert text.startswith("#!/usr/bin/env bash\n# "), path
