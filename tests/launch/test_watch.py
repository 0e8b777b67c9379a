"""tpu_watch.sh against scripted states: what it does next, how long it waits, when it ends."""

import shlex

import pytest
from desk import TPU

CALL = (*TPU, "--type=v4-64", "--spot", "--poll_seconds=45", "--backoff_seconds=10")
TRAIN = ("--", "--gin.MODEL_DIR='gs://bucket/x'", "a b")


def told(desk):
    """What the calls amount to, in order, without the looks."""
    words = []
    for program, *rest in desk.calls("gcloud", "sleep"):
        text = " ".join(rest)
        if program == "sleep":
            words.append(f"sleep {text}")
        for part, word in (
            ("tpus tpu-vm create", "create"),
            ("queued-resources create", "create queued"),
            ("tpus tpu-vm delete", "delete"),
            ("queued-resources delete", "delete queued"),
            ("_worker.sh setup", "set up"),
            ("_worker.sh start", "start"),
            ("_worker.sh stop", "stop"),
        ):
            if part in text:
                words.append(word)
    return words


def watch(desk, slices, runs, *options, failing=()):
    """slices: what the lists show, look after look; runs: what the workers say when asked."""
    rows = [
        f"other\tREADY\nmy-tpu\t{state}" if isinstance(state, str) else state for state in slices
    ]
    rows = ["other\tREADY" if row == "other\tREADY\nmy-tpu\t" else row for row in rows]
    desk.answers(
        *failing,
        ("tpu-vm list", *rows),
        ("queued-resources list", *rows),
        ("describe", "ACTIVE"),
        ("_worker.sh status", *runs),
    )
    return desk.run("tpu_watch.sh", *CALL, *options, *TRAIN)


def test_preempted_twice_then_finished(desk):
    slices = [
        *("", "READY", "READY", "READY", "PREEMPTED"),
        *("", "READY", "READY", "READY", "TERMINATED"),
        *("", "CREATING", "READY"),
    ]
    runs = [*2 * ("bare\nbare", "idle", "running\nrunning"), "bare", "idle", "running", "exit 0"]
    result = watch(desk, slices, runs)
    assert result.returncode == 0, result.stderr
    assert told(desk) == [
        *("create", "set up", "start", "sleep 45", "delete", "sleep 10"),
        *("create", "set up", "start", "sleep 45", "delete", "sleep 10"),  # it ran: 10, not 20
        *("create", "sleep 45", "set up", "start", "sleep 45"),
    ]
    starts = [call for call in desk.calls("gcloud") if "_worker.sh start" in call[-1]]
    assert len(starts) == 3
    assert starts[0] == starts[1] == starts[2]  # the same command resumes
    assert "The run has ended. The TPU goes on and costs" in result.stderr


@pytest.mark.parametrize("state", ["SUSPENDED", "FAILED"])
def test_a_queued_resource_is_asked_for_again(desk, state):
    slices = ["WAITING_FOR_RESOURCES", "ACTIVE", state, "DELETING", "", "ACTIVE"]
    result = watch(desk, slices, ["running", "bare", "idle", "exit 0"], "--queued")
    assert result.returncode == 0, result.stderr
    assert told(desk) == [
        *("sleep 45", "sleep 45", "delete queued", "sleep 10", "sleep 45"),
        *("create queued", "set up", "start"),
    ]
    create = next(call for call in desk.calls("gcloud") if "create" in call)
    assert "--spot" in create
    assert create[:4] == ["gcloud", "compute", "tpus", "queued-resources"]


def test_a_run_that_failed_is_started_again_on_all_workers(desk):
    runs = ["running\nexit 1\nrunning", "exit 0"]
    assert watch(desk, ["READY"], runs).returncode == 0
    assert told(desk) == ["stop", "sleep 10", "start"]


def test_workers_that_end_one_after_the_other(desk):
    assert watch(desk, ["READY"], ["running\nexit 0", "exit 0\nexit 0"]).returncode == 0
    assert told(desk) == ["sleep 45"]


@pytest.mark.parametrize("runs", ["idle\nrunning", "exit 0\nexit 20", "idle\nexit 0"])
def test_workers_that_disagree_are_started_together(desk, runs):
    assert watch(desk, ["READY"], [runs, "exit 0"]).returncode == 0
    assert told(desk) == ["stop", "sleep 10", "start"]


def test_one_worker_without_set_up(desk):
    assert watch(desk, ["READY"], ["idle\nbare", "exit 0"]).returncode == 0
    assert told(desk) == ["set up"]


def test_refused_arguments_end_it(desk):
    result = watch(desk, ["READY"], ["idle", "exit 2\nrunning"])
    assert result.returncode == 2
    assert "refused its arguments" in result.stderr
    assert told(desk) == ["start"]


def test_what_was_refused_before_is_tried_again(desk):
    assert watch(desk, ["READY"], ["exit 2\nexit 2", "running", "exit 0"]).returncode == 0
    assert told(desk) == ["start", "sleep 45"]


def test_workers_are_asked_for_the_run_of_these_arguments(desk):
    result = watch(desk, ["READY"], ["other\nother"])
    assert result.returncode == 2 and "another run goes on" in result.stderr
    assert told(desk) == []
    asked = [call[-1] for call in desk.calls("gcloud") if "status" in call[-1]]
    assert shlex.split(asked[0].removeprefix("--command="))[3:6] == [*TRAIN[1:], "||"]


def test_waits_double_up_to_half_an_hour_and_attempts_end(desk):
    result = watch(
        desk, [""], [], "--attempts=10", "--backoff_seconds=20", failing=[("tpu-vm create", 1)]
    )
    assert result.returncode == 1
    assert "trouble 10 of 10, so this ends" in result.stderr
    waits = [20, 40, 80, 160, 320, 640, 1280, 1800, 1800]
    assert [word for word in told(desk) if word != "create"] == [f"sleep {wait}" for wait in waits]
    assert told(desk).count("create") == 10


def test_no_answer_is_not_taken_for_no_slice(desk):
    """gcloud that fails, or a worker that cannot be reached, never leads to a second slice."""
    result = watch(desk, [1, "READY"], [255, "gcloud said something", "exit 0"])
    assert result.returncode == 0, result.stderr
    assert told(desk) == ["sleep 10", "sleep 20", "sleep 40"]


def test_a_slice_of_a_similar_name_is_not_taken_for_it(desk):
    desk.answers(
        ("tpu-vm list", "my-tpu-2\tPREEMPTED\na-my-tpu\tREADY", "my-tpu\tREADY"),
        ("_worker.sh status", "exit 0"),
    )
    assert desk.run("tpu_watch.sh", *CALL, *TRAIN).returncode == 0
    assert told(desk) == ["create"]


def test_steps_that_fail_are_tried_again(desk):
    failing = [("_worker.sh setup", 1, ""), ("_worker.sh start", 1, ""), ("delete", 1, "")]
    slices = ["PREEMPTED", "PREEMPTED", "READY"]
    runs = ["bare", "bare", "idle", "idle", "exit 0"]
    assert watch(desk, slices, runs, failing=failing).returncode == 0
    assert told(desk) == [
        *("delete", "sleep 10", "delete", "sleep 20"),
        *("set up", "sleep 40", "set up", "start", "sleep 80", "start"),
    ]


@pytest.mark.parametrize(
    "argument",
    ["--gin.MODEL_DIR='runs/x'", "--gin.MODEL_DIR='gs://'", "--gin.DIR='gs://b/x'", "gs://b/x"],
)
def test_the_model_folder_must_outlive_the_slice(desk, argument):
    result = desk.run("tpu_watch.sh", *CALL, "--", argument)
    assert result.returncode == 2
    assert "--gin.MODEL_DIR=\"'gs://...'\"" in result.stderr
    assert not desk.calls()
