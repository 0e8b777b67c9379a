"""Making, setting up, using and deleting a TPU: what gcloud is told, and what workers then do."""

import re
import shutil
import subprocess
import time

import pytest
from desk import AWKWARD, LAUNCH, SENT, TPU

TPU_VM = ["gcloud", "compute", "tpus", "tpu-vm"]
QUEUE = ["gcloud", "compute", "tpus", "queued-resources"]
ZONE = "--zone=us-central2-b"


def wait_until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# ------------------------------------------------------------------------------------- create
def test_create_on_demand(desk):
    result = desk.run("tpu_create.sh", *TPU, "--type=v4-8", "--gcloud_flag=--labels=a=b c")
    assert result.returncode == 0
    assert desk.calls() == [
        [
            *(*TPU_VM, "create", "my-tpu", ZONE, "--accelerator-type=v4-8"),
            *("--version=tpu-ubuntu2204-base", "--labels=a=b c"),
        ]
    ]


def test_create_spot(desk):
    assert desk.run("tpu_create.sh", *TPU, "--type=v6e-8", "--spot", "--project=p").returncode == 0
    assert desk.calls() == [
        [
            *(*TPU_VM, "create", "my-tpu", ZONE, "--project=p", "--accelerator-type=v6e-8"),
            *("--version=v2-alpha-tpuv6e", "--spot"),
        ]
    ]


def test_create_queued_waits_until_it_is_active(desk):
    states = ("ACCEPTED", "WAITING_FOR_RESOURCES", 1, "PROVISIONING", "ACTIVE")
    desk.answers(("describe", *states))
    call = (*TPU, "--type=v5p-128", "--queued", "--spot", "--poll_seconds=9", "--version=mine")
    assert desk.run("tpu_create.sh", *call).returncode == 0
    create, *looks = desk.calls()
    assert create == [
        *(*QUEUE, "create", "my-tpu", ZONE, "--node-id=my-tpu", "--accelerator-type=v5p-128"),
        *("--runtime-version=mine", "--spot"),
    ]
    look = [*QUEUE, "describe", "my-tpu", ZONE, "--format=value(state.state)"]
    assert looks == [look, *4 * [["sleep", "9"], look]]


@pytest.mark.parametrize("state", ["FAILED", "SUSPENDED", "SUSPENDING", "DELETING"])
def test_create_queued_ends_when_it_cannot_become_active(desk, state):
    desk.answers(("describe", "ACCEPTED", state))
    result = desk.run("tpu_create.sh", *TPU, "--type=v4-8", "--queued")
    assert result.returncode == 1
    assert f"error: my-tpu is {state}." in result.stderr


def test_create_queued_ends_when_gcloud_keeps_failing(desk):
    desk.answers(("describe", 1, "ACCEPTED", 1))
    result = desk.run("tpu_create.sh", *TPU, "--type=v4-8", "--queued")
    assert result.returncode == 1
    assert "gcloud failed 10 times in a row" in result.stderr
    assert len(desk.calls("gcloud")) == 1 + 2 + 10


def test_create_has_software_for_known_types_only(desk):
    for chips in ("v2-8", "v3-32", "v4-8", "v5litepod-16", "v5p-8", "v6e-4"):
        assert desk.run("tpu_create.sh", *TPU, f"--type={chips}").returncode == 0
    result = desk.run("tpu_create.sh", *TPU, "--type=v9 x")
    assert result.returncode == 2
    assert "'v9 x' (known: v2- v3- " in result.stderr
    assert len(desk.calls()) == 6


@pytest.mark.parametrize("script", ["tpu_create.sh", "tpu_delete.sh", "tpu_run.sh", "tpu_watch.sh"])
def test_names_that_gcloud_would_take_for_something_else_are_refused(desk, script):
    for name in ("user@tpu", "a b", "tpu:", "*", "-tpu", "Tpu", "tpu-", "a" * 60):
        result = desk.run(script, f"--name={name}", "--zone=us-central2-b")
        assert result.returncode == 2
        assert result.stderr.startswith("error: --name must be at most 52 lower-case letters")
    assert "--zone must be" in desk.run(script, "--name=a", "--zone=a b").stderr
    assert not desk.calls()


@pytest.mark.parametrize(
    ("script", "options"),
    [
        ("tpu_create.sh", ("--type=v4-8", "--poll_seconds=0")),
        ("tpu_logs.sh", ("--lines=-1",)),
        ("tpu_logs.sh", ("--worker=-1",)),
        ("tpu_logs.sh", ("--worker=0,1",)),
        ("tpu_stop.sh", ("--save_seconds=1.5",)),
        ("tpu_tensorboard.sh", ("--port=6006;",)),
        ("tpu_watch.sh", ("--type=v4-8", "--attempts=many")),
    ],
)
def test_numbers_are_checked(desk, script, options):
    result = desk.run(script, *TPU, *options)
    assert result.returncode == 2
    assert f"error: {options[-1].split('=')[0]} must be a" in result.stderr
    assert not desk.calls()


def test_nothing_may_follow_where_nothing_is_passed_on(desk):
    for script in ("tpu_setup.sh", "tpu_delete.sh", "tpu_logs.sh", "tpu_stop.sh"):
        result = desk.run(script, *TPU, "--", "a b")
        assert result.returncode == 2
        assert "Nothing may follow --, but 'a b' did." in result.stderr
    assert not desk.calls()


# ------------------------------------------------------------------------------------- delete
def test_delete_wants_a_name(desk):
    result = desk.run("tpu_delete.sh", "--zone=us-central2-b", "--yes", typed="my-tpu\n")
    assert result.returncode == 2
    assert "--name is missing" in result.stderr
    assert not desk.calls()


@pytest.mark.parametrize("typed", ["", "\n", "y\n", "yes\n", "my-tpu-2\n", "my-tp*\n"])
def test_delete_wants_the_name_typed(desk, typed):
    result = desk.run("tpu_delete.sh", *TPU, typed=typed)
    assert result.returncode == 2
    assert "This deletes the TPU my-tpu in us-central2-b and its disks." in result.stderr
    assert "Nothing was deleted" in result.stderr
    assert not desk.calls()


def test_delete_after_the_name_was_typed(desk):
    assert desk.run("tpu_delete.sh", *TPU, typed="my-tpu\n").returncode == 0
    assert desk.calls() == [[*TPU_VM, "delete", "my-tpu", ZONE, "--quiet"]]


def test_delete_queued(desk):
    assert desk.run("tpu_delete.sh", *TPU, "--queued", "--yes").returncode == 0
    assert desk.calls() == [[*QUEUE, "delete", "my-tpu", ZONE, "--force", "--quiet"]]


# ------------------------------------------------------------------------------------- set up
def checkout_and_uv(desk):
    """Something to send, and the worker's python3, which notes its arguments.

    Its uv venv makes an interpreter that notes its own.
    """
    (desk.root / "launch").unlink()
    shutil.copytree(LAUNCH, desk.root / "launch")
    for name in SENT:
        source = LAUNCH.parent / name
        (desk.root / name).unlink()
        if source.is_file():
            shutil.copy(source, desk.root / name)
        else:
            (desk.root / name).mkdir()
            (desk.root / name / "file").write_text(name)
    note = 'printf "%s\\n" "$(basename "$0") $*" >> "$HOME/python_calls"'
    desk.program(
        desk.folder / "bin/python3",
        f"""{note}
        case $* in *"uv venv"*)
            mkdir -p .venv/bin
            cp "$0" .venv/bin/python
        esac""",
    )


def test_set_up_copies_the_checkout_and_installs(desk):
    checkout_and_uv(desk)
    desk.answers(("tpu-vm scp", "worker"), ("tpu-vm ssh", "worker"))
    (desk.home / "xlt_jax/tasks/removed_since").mkdir(parents=True)
    (desk.home / "xlt_jax/runs").mkdir()
    (desk.root / "tasks/__pycache__").mkdir()
    (desk.root / "runs").mkdir()
    result = desk.run("tpu_setup.sh", *TPU)
    assert result.returncode == 0, result.stderr
    checkout = desk.home / "xlt_jax"
    there = {path.name for path in checkout.iterdir()}
    assert there == {
        *(*SENT, "launch", ".venv", "runs"),
    }
    assert [path.name for path in (checkout / "tasks").iterdir()] == ["file"]
    sent = (desk.root / "requirements.lock").read_text()
    assert (checkout / "requirements.lock").read_text() == sent
    version = re.search(r"^jax==(.*)$", sent, flags=re.M)[1]
    install = "python -m pip install --quiet --disable-pip-version-check"
    assert (desk.home / "python_calls").read_text().splitlines() == [
        "python3 -m pip install --quiet --user uv>=0.9,<1",
        "python3 -m uv venv --quiet --clear --seed --python >=3.11.4,<3.13 .venv",
        f"{install} -r requirements.lock jax[tpu]=={version}",
        f"{install} --no-deps --no-build-isolation -e .",
    ]
    assert desk.worker("status").stdout == "idle\n"
    scp = next(call for call in desk.calls("gcloud") if "scp" in call)
    assert scp == [
        *(*TPU_VM, "scp", "build/my-tpu.tar.gz", "my-tpu:xlt_jax.tar.gz", ZONE, "--worker=all"),
    ]


def test_set_up_again_keeps_the_environment(desk):
    checkout_and_uv(desk)
    desk.answers(("tpu-vm scp", "worker"), ("tpu-vm ssh", "worker"))
    assert desk.run("tpu_setup.sh", *TPU).returncode == 0
    (desk.home / "python_calls").unlink()
    assert desk.run("tpu_setup.sh", *TPU).returncode == 0
    assert "uv" not in (desk.home / "python_calls").read_text()


def test_a_failed_set_up_is_no_set_up(desk):
    checkout_and_uv(desk)
    desk.program(desk.folder / "bin/python3", "exit 5")
    desk.answers(("tpu-vm scp", "worker"), ("tpu-vm ssh", "worker"))
    assert desk.run("tpu_setup.sh", *TPU).returncode == 5
    assert desk.worker("status").stdout == "bare\n"


# ------------------------------------------------------------------------------------- run
NOTE = 'for word; do printf "%s\\0" "$word"; done > "$HOME/arguments"; echo training'


def test_run_passes_every_argument_on(desk):
    checkout = desk.worker_checkout(f'{NOTE}; echo "$JAX_PLATFORMS" > "$HOME/platforms"')
    desk.answers(("tpu-vm ssh", "worker"))
    result = desk.run("tpu_run.sh", *TPU, "--", *AWKWARD)
    assert result.returncode == 0, result.stderr
    wait_until((checkout / "train.exit").exists)
    arguments = (desk.home / "arguments").read_text().split("\0")[:-1]
    assert arguments == ["-m", "xlt_jax.train", "--distributed=tpu", *AWKWARD]
    assert (desk.home / "platforms").read_text() == "tpu,cpu\n"
    assert "\ntraining\n" in (checkout / "train.log").read_text()
    assert desk.worker("status").stdout == "exit 0\n"
    assert not list(desk.folder.rglob("pwned"))
    [call] = desk.calls("gcloud")
    assert call[:7] == [*TPU_VM, "ssh", "my-tpu", ZONE]
    assert call[7] == "--worker=all"
    assert len(call) == 9


def test_run_wants_arguments(desk):
    result = desk.run("tpu_run.sh", *TPU)
    assert result.returncode == 2
    assert "Arguments of xlt_jax.train are missing" in result.stderr
    assert not desk.calls()


def test_a_worker_that_is_not_set_up_does_not_start(desk):
    checkout = desk.worker_checkout()
    (checkout / ".venv/installed").unlink()
    result = desk.worker("start", "x")
    assert result.returncode == 2
    assert "run launch/tpu_setup.sh first" in result.stderr
    assert desk.worker("status").stdout == "bare\n"


def test_a_run_goes_on_alone_and_stops_after_it_has_saved(desk):
    """The run outlives the call, refuses a second beside it, ends itself on SIGTERM; is resumed."""
    checkout = desk.worker_checkout(
        "trap 'echo saving; exit 143' TERM; echo ready; for n in {1..400}; do sleep 0.05; done"
    )
    assert desk.worker("start", "x").returncode == 0
    wait_until(lambda: "ready" in (checkout / "train.log").read_text())
    assert desk.worker("status").stdout == "running\n"
    second = desk.worker("start", "x")
    assert second.returncode == 2
    assert "a run goes on" in second.stderr
    assert desk.worker("stop", "20").stdout.endswith(": exit 143\n")
    assert desk.worker("status").stdout == "exit 143\n"
    assert "saving\n" in (checkout / "train.log").read_text()
    assert desk.worker("stop", "20").stdout.endswith(": no run goes on\n")
    desk.program(checkout / ".venv/bin/python", "echo resumed")
    assert desk.worker("start", "x").returncode == 0
    wait_until(lambda: desk.worker("status").stdout == "exit 0\n")
    text = (checkout / "train.log").read_text()  # one log of both
    assert text.index("saving") < text.index("resumed")


def test_the_status_of_another_run_is_not_this_runs(desk):
    checkout = desk.worker_checkout(
        '[ "$3" = --distributed=tpu ] || exit 9; [ "$4" != wait ] ||'
        " for n in {1..400}; do sleep 0.05; done"
    )
    assert desk.worker("start", *AWKWARD).returncode == 0
    wait_until((checkout / "train.exit").exists)
    assert desk.worker("status", *AWKWARD).stdout == "exit 0\n"
    assert desk.worker("status", *AWKWARD[1:]).stdout == "idle\n"
    assert desk.worker("start", "wait").returncode == 0
    assert desk.worker("status", "wait").stdout == "running\n"
    assert desk.worker("status", *AWKWARD).stdout == "other\n"
    desk.worker("stop", "20")


def test_a_run_that_does_not_stop_is_killed(desk):
    checkout = desk.worker_checkout(
        "trap '' TERM; echo ready; for n in {1..400}; do sleep 0.05; done"
    )
    desk.worker("start", "x")
    wait_until(lambda: "ready" in (checkout / "train.log").read_text())
    assert desk.worker("stop", "1").stdout.endswith(": exit 137\n")
    assert desk.worker("status").stdout == "exit 137\n"


def test_a_run_that_vanished_has_failed(desk):
    """The machine was started anew; its process number now belongs to another."""
    checkout = desk.worker_checkout()
    other = subprocess.Popen(["sleep", "30"])
    try:
        (checkout / "train.pid").write_text(f"{other.pid}\n")
        assert desk.worker("status").stdout == "exit 137\n"
        assert "no run goes on" in desk.worker("stop", "1").stdout
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_stop_tells_all_workers(desk):
    assert desk.run("tpu_stop.sh", *TPU, "--save_seconds=30").returncode == 0
    assert desk.calls() == [
        [
            *(*TPU_VM, "ssh", "my-tpu", ZONE, "--worker=all"),
            "--command=bash xlt_jax/launch/_worker.sh stop 30",
        ]
    ]


# ------------------------------------------------------------------------------------- look
def test_logs_end_with_the_run(desk):
    checkout = desk.worker_checkout("for n in 1 2 3; do echo step $n; sleep 0.1; done; exit 3")
    desk.answers(("tpu-vm ssh", "worker"))
    desk.worker("start", "x")
    result = desk.run("tpu_logs.sh", *TPU, "--lines=1000")
    lines = result.stdout.splitlines()
    assert lines[1:4] == ["step 1", "step 2", "step 3"]
    assert lines[-1].endswith(": exit 3")
    assert (checkout / "train.exit").read_text() == "3\n"
    result = desk.run("tpu_logs.sh", *TPU, "--worker=all", "--lines=2")  # afterwards, with names
    host, text = result.stdout.splitlines()[0].split(": ", 1)
    assert host
    assert text == "step 3"
    workers = [call[7] for call in desk.calls("gcloud")]
    assert workers == ["--worker=0", "--worker=all"]


def test_tensorboard_serves_what_the_tunnel_shows(desk):
    desk.worker_checkout(NOTE)
    desk.answers(("tpu-vm ssh", "worker"))
    assert desk.run("tpu_tensorboard.sh", *TPU, "--logdir=gs://a b/c", "--port=7").returncode == 0
    [call] = desk.calls("gcloud")
    assert call[-4:] == ["--", "-t", "-L", "7:localhost:7"]
    assert "--worker=0" in call
    assert (desk.home / "arguments").read_text().split("\0")[:-1] == [
        *("-m", "tensorboard.main", "--logdir=gs://a b/c", "--port=7", "--host=localhost"),
    ]


# ------------------------------------------------------------------------------------- copy
@pytest.mark.parametrize("option", [(), ("--checkpoints",)], ids=["without", "with"])
def test_copy_brings_results_without_checkpoints(desk, option):
    run = desk.home / "xlt_jax/runs/it's $x"
    for file in ("config.gin", "inference_eval/1.jsonl", "checkpoint_100/weights"):
        (run / file).parent.mkdir(parents=True, exist_ok=True)
        (run / file).write_text(file)
    desk.answers(("tpu-vm ssh", "worker"), ("tpu-vm scp", "worker"))
    result = desk.run("tpu_copy.sh", *TPU, "--from=runs/it's $x", "--to=my results", *option)
    assert result.returncode == 0, result.stderr
    there = desk.folder / "elsewhere/my results"
    copied = {str(path.relative_to(there)) for path in there.rglob("*") if path.is_file()}
    checkpoints = {"checkpoint_100/weights"} if option else set()
    assert copied == {"config.gin", "inference_eval/1.jsonl", *checkpoints}
    assert (there / "inference_eval/1.jsonl").read_text() == "inference_eval/1.jsonl"


@pytest.mark.parametrize("option", [(), ("--checkpoints",)], ids=["without", "with"])
def test_copy_from_a_bucket_needs_no_tpu(desk, option):
    call = ("--from=gs://bucket/run", "--to=x", "--project=p", *option)
    assert desk.run("tpu_copy.sh", *call).returncode == 0
    [copy] = desk.calls("gcloud")
    exclude = [word for word in copy if word.startswith("--exclude=")]
    rest = [word for word in copy if word not in exclude]
    assert rest == [
        *("gcloud", "storage", "rsync", "--recursive", "--project=p", "gs://bucket/run", "x"),
    ]
    assert len(exclude) == (not option)
    for pattern in exclude:  # as gcloud uses it: from the start of the path within the run
        match = re.compile(pattern.removeprefix("--exclude=")).match
        assert match("checkpoint_100/weights/0.0")
        assert match("a/checkpoint_100/weights")
        assert not match("inference_eval/checkpoint_scores.jsonl")
        assert not match("config.gin")


def test_copy_refuses_a_place_that_is_not_here(desk):
    for place in ("host:folder", "gs://bucket/x", "-x"):
        result = desk.run("tpu_copy.sh", *TPU, "--from=runs", f"--to={place}")
        assert result.returncode == 2
        assert "--to must be a folder here" in result.stderr
    assert not desk.calls()
