"""Stages as processes, run with a small program in place of training."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from xlt_jax.recipes import runner
from xlt_jax.recipes.stage import Recipe, Stage

REPOSITORY = Path(__file__).parents[2]

# Counts to STEPS, saves after each step, resumes; writes start and end times; fails if FAIL is set.
FAKE = """
import json, os, pathlib, signal, sys, time
flags = dict(word.removeprefix("--gin.").split("=", 1) for word in sys.argv[1:] if "gin." in word)
value = lambda name, default=None: eval(flags[name]) if name in flags else default
folder = pathlib.Path(value("MODEL_DIR") or value("EVAL_OUTPUT_DIR"))
if "INITIAL_CHECKPOINT_PATH" in flags:
    assert (pathlib.Path(value("INITIAL_CHECKPOINT_PATH")) / "step").exists()
stop = []
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda number, frame: stop.append(number))
saved = folder / "step"
step = int(saved.read_text()) if saved.exists() else 0
started = time.time()
print(f"begin at {step}", flush=True)
while step < value("STEPS", 1) and not stop:
    step += 1
    print(f"step {step}", end="\\r", flush=True)
    time.sleep(value("STEP_S", 0.0))
    saved.write_text(str(step))
if value("FAIL", 0):
    sys.exit("ValueError: planted failure")
if stop:
    print(f"saved on signal {stop[0]}", flush=True)
    sys.exit(0)
cores = sorted(os.sched_getaffinity(0))
(folder / "times.json").write_text(json.dumps([started, time.time(), cores]))
"""


def launch(folder: Path) -> dict:
    program = folder / "fake.py"
    program.write_text(FAKE)
    fake = (sys.executable, str(program))
    report = (sys.executable, "-c", "import sys; print('report of', sys.argv[1])")
    return {"train": fake, "evaluate": fake, "report": report}


def recipe(gin: str, **bindings) -> Recipe:
    """pretrain, then two arms; ``bindings`` is stage -> its bindings."""
    stages = [Stage("pretrain", (gin,), bindings.get("pretrain", {}))]
    for arm in ("a", "b"):
        name = f"{arm}_finetune"
        stages.append(Stage(name, (gin,), bindings.get(name, {}), start_from="pretrain", arm=arm))
    return Recipe("fake", "Two arms.", tuple(stages), {"a": "First.", "b": "Second."})


@pytest.fixture
def place(tmp_path):
    """Folder with a gin file, an output folder and a ``go(recipe, ...) -> (status, text)``."""

    class Place:
        gin = str(tmp_path / "run.gin")
        out = tmp_path / "out"

        def go(self, experiment, **options):
            console = Console(width=200, record=True, file=io.StringIO())
            status = runner.run(
                experiment, self.out, launch=launch(tmp_path), console=console, **options
            )
            return status, console.export_text()

        def step(self, stage):
            return int((self.out / stage / "step").read_text())

    Path(Place.gin).write_text(
        "include 'part.gin'\nX = 1\n".replace("part", str(tmp_path / "part"))
    )
    (tmp_path / "part.gin").write_text("Y = 1\n")
    return Place()


def test_runs_in_order_then_skips_what_is_finished(place):
    status, text = place.go(recipe(place.gin))
    assert status == 0
    assert "report of" in text
    for stage in ("pretrain", "a_finetune", "b_finetune"):
        done = json.loads((place.out / stage / "done.json").read_text())
        assert done["seconds"] > 0 and done["code_version"] and done["command"][0] == "python"
        assert (place.out / stage / "log.txt").read_text() == "begin at 0\nstep 1\n"
    times = (place.out / "pretrain" / "times.json").read_text()
    status, text = place.go(recipe(place.gin))
    assert status == 0
    assert text.count("finished before, skipped") == 3
    assert (place.out / "pretrain" / "times.json").read_text() == times


def test_a_finished_stage_counts_whichever_engine_ran_it(place):
    place.go(recipe(place.gin), engine="t5x", arms=["a"])
    done = json.loads((place.out / "pretrain" / "done.json").read_text())
    assert done["engine"] == "t5x" and done["command"][2] == "t5x.train"
    status, text = place.go(recipe(place.gin))
    assert status == 0
    assert text.count("finished before, skipped") == 2


def test_an_unfinished_stage_of_another_engine_starts_anew(place):
    place.go(recipe(place.gin, pretrain={"FAIL": 1}))
    (record,) = [json.loads((place.out / "pretrain" / "stage.json").read_text())]
    assert record["engine"] == "xlt_jax"
    status, text = place.go(recipe(place.gin, pretrain={"FAIL": 1}), engine="t5x")
    assert status == 1
    assert "[pretrain] runs again: it was begun with --engine=xlt_jax" in text


def test_an_engine_that_is_not_installed_is_named(place, monkeypatch):
    monkeypatch.setattr(runner.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"t5x is not installed.*make t5x"):
        runner.run(recipe(place.gin), place.out, engine="t5x")


def test_arms_filter_runs_only_what_they_need(place):
    status, _ = place.go(recipe(place.gin), arms=["b"])
    assert status == 0
    assert (place.out / "b_finetune" / "done.json").exists()
    assert not (place.out / "a_finetune").exists()
    with pytest.raises(ValueError, match="no arm 'bb'; did you mean 'b'"):
        place.go(recipe(place.gin), arms=["bb"])


def test_failure_stops_with_log_path_and_last_lines_then_goes_on(place):
    status, text = place.go(recipe(place.gin, a_finetune={"FAIL": 1}))
    assert status == 1
    assert str(place.out / "a_finetune" / "log.txt") in text
    assert "ValueError: planted failure" in text
    assert "Not started: b_finetune" in text
    assert not (place.out / "b_finetune").exists()
    status, text = place.go(recipe(place.gin))
    assert status == 0
    assert "[pretrain] finished before" in text
    assert "[a_finetune] runs again: the command changed (--gin.FAIL=1)" in text


def test_with_keep_going_a_failure_stops_what_starts_from_it_only(place):
    experiment = recipe(place.gin, a_finetune={"FAIL": 1})
    stages = (*experiment.stages, Stage("a_score", (place.gin,), start_from="a_finetune", arm="a"))
    status, text = place.go(replace(experiment, stages=stages), keep_going=True)
    assert status == 1
    assert "[a_finetune] failed (1)" in text and "Not started: a_score" in text
    assert (place.out / "b_finetune" / "done.json").exists()
    assert "report of" in text  # says what is missing


def test_seeds_of_an_earlier_call_stay_in_the_record(place):
    for seeds in ((0,), (2, 1)):
        assert place.go(recipe(place.gin).with_seeds(seeds))[0] == 0
    record = json.loads((place.out / "recipe.json").read_text())
    assert record["seeds"] == [0, 1, 2]
    assert {entry["name"] for entry in record["stages"]} == {
        f"{name}.seed{seed}"
        for name in ("pretrain", "a_finetune", "b_finetune")
        for seed in (0, 1, 2)
    }
    assert all((place.out / entry["name"] / "done.json").exists() for entry in record["stages"])


def test_says_how_much_is_left(place):
    _, text = place.go(recipe(place.gin))
    assert "1 of 3 stages are done, about 1 min left." in text


@pytest.mark.parametrize("changed", ["bindings", "gin file", "included file"])
def test_a_changed_recipe_runs_again_and_says_why(place, changed):
    place.go(recipe(place.gin))
    first = json.loads((place.out / "a_finetune" / "done.json").read_text())["run_id"]
    new = recipe(place.gin)
    if changed == "bindings":
        new, reason = recipe(place.gin, pretrain={"STEPS": 2}), "--gin.STEPS=2"
    else:
        reason = "run.gin" if changed == "gin file" else "part.gin"
        path = Path(place.gin).parent / reason
        path.write_text(path.read_text() + "Z = 1\n")
    status, text = place.go(new)
    assert status == 0
    assert "[pretrain] runs again" in text and reason in text
    if changed == "bindings":
        assert "[a_finetune] runs again: pretrain was run again" in text
    assert json.loads((place.out / "a_finetune" / "done.json").read_text())["run_id"] != first
    assert (place.out / "replaced" / "pretrain.1" / "done.json").exists()


def test_moving_the_folder_is_no_change(place):
    place.go(recipe(place.gin))
    place.out = place.out.rename(place.out.with_name("moved"))
    _, text = place.go(recipe(place.gin))
    assert text.count("finished before, skipped") == 3


def test_stages_run_at_the_same_time_but_after_what_they_start_from(place):
    slow = {name: {"STEPS": 1, "STEP_S": 0.7} for name in ("pretrain", "a_finetune", "b_finetune")}
    status, _ = place.go(recipe(place.gin, **slow), parallel=2)
    assert status == 0
    pretrain, a, b = (json.loads((place.out / name / "times.json").read_text()) for name in slow)
    assert pretrain[1] <= min(a[0], b[0])
    all_cores = sorted(os.sched_getaffinity(0))
    assert pretrain[2] == all_cores  # alone, it has the machine
    if len(all_cores) > 1:
        assert max(a[0], b[0]) < min(a[1], b[1])
        assert not set(a[2]) & set(b[2])
        assert sorted(a[2] + b[2]) == all_cores


RUN = """
import sys
sys.path[:0] = {paths}
from test_runner import launch, recipe
from xlt_jax.recipes import runner
import pathlib
folder = pathlib.Path(sys.argv[1])
slow = dict(pretrain=dict(STEPS=40, STEP_S=0.05))
sys.exit(runner.run(recipe(str(folder / "run.gin"), **slow), folder / "out", launch=launch(folder)))
"""


def start_runner(place) -> subprocess.Popen:
    code = RUN.format(paths=[str(REPOSITORY), str(Path(__file__).parent)])
    words = [sys.executable, "-c", code, str(Path(place.gin).parent)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    until(lambda: (place.out / "pretrain" / "step").exists())
    return process


def until(condition, timeout_s: float = 20.0) -> None:
    limit = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < limit, "nothing happened"
        time.sleep(0.02)


@pytest.mark.parametrize(
    "number, status", [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["SIGTERM", "SIGINT"]
)
def test_signals_reach_the_stage_which_saves_and_resumes(place, number, status):
    process = start_runner(place)
    process.send_signal(number)
    text, _ = process.communicate(timeout=20)
    assert process.returncode == status
    assert f"saved on signal {number.value}" in (place.out / "pretrain" / "log.txt").read_text()
    assert not (place.out / "pretrain" / "done.json").exists()
    assert "goes on from the last checkpoints" in text
    saved = place.step("pretrain")
    assert 0 < saved < 40
    slow = {"pretrain": {"STEPS": 40, "STEP_S": 0.05}}
    status, text = place.go(recipe(place.gin, **slow))
    assert status == 0
    assert "[pretrain] resumes" in text
    assert f"begin at {saved}" in (place.out / "pretrain" / "log.txt").read_text()
    assert place.step("pretrain") == 40


def test_killed_runner_keeps_the_folder_locked_until_its_stage_ends(place):
    process = start_runner(place)
    process.kill()
    process.communicate(timeout=20)
    with pytest.raises(ValueError, match=f"in use by the runner with process id {process.pid}"):
        place.go(recipe(place.gin))
    until(lambda: (place.out / "pretrain" / "times.json").exists())
    time.sleep(0.3)
    status, text = place.go(recipe(place.gin, pretrain={"STEPS": 40, "STEP_S": 0.05}))
    assert status == 0
    assert "[pretrain] resumes" in text


def test_missing_gin_file_stops_before_anything_runs(place):
    with pytest.raises(ValueError, match=r"runn\.gin' does not exist .*did you mean .*run\.gin"):
        place.go(recipe(str(Path(place.gin).with_name("runn.gin"))))
    assert not place.out.exists()


def test_folder_that_cannot_be_made_is_named(place):
    place.out = Path(place.gin) / "out"  # below a file
    with pytest.raises(ValueError, match=r"Cannot write into .*--out"):
        place.go(recipe(place.gin))
