"""The TPU compiler's programs: skipped where it is not installed (``make aot``)."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDERS = [str(ROOT), str(pathlib.Path(sys.prefix) / "tpu")]
LOCAL = ("--gin_file=gin/finetune.gin", "--gin_file=gin/local.gin")


def aot(*arguments, succeeds=True):
    if not (pathlib.Path(FOLDERS[1], "libtpu").is_dir() or importlib.util.find_spec("libtpu")):
        pytest.skip("libtpu is not installed")
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": os.pathsep.join([*FOLDERS, os.environ.get("PYTHONPATH", "")]),
    }
    environment.pop("XLA_FLAGS", None)
    done = subprocess.run(
        [sys.executable, "-m", "xlt_jax.aot", *LOCAL, *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode == 0) == succeeds, done.stderr
    return done


@pytest.fixture(scope="module")
def steps():
    done = aot("--topology=v5e:2x2", "--json=-")
    return {record["step"]: record for record in json.loads(done.stdout)}


def test_all_steps_are_compiled(steps):
    assert set(steps) == {"train", "eval", "decode"}
    for record in steps.values():
        assert record["fits"] and record["chips"] == record["devices"] == 4
        assert record["mesh"] == {"slice": 1, "data": 4, "model": 1}
        assert record["hbm_bytes"] == pytest.approx(15.75 * 2**30)
        assert sum(record["memory"].values()) == record["needed_bytes"] > 0


def test_parameters_and_gradients_are_those_of_the_model(steps):
    train = steps["train"]
    parameters = train["memory"]["parameters"]
    assert parameters == steps["decode"]["memory"]["parameters"]
    assert 2.5e6 < parameters / 4 < 3.5e6  # tiny.gin
    # Data parallel: every gradient is added up over 4 devices, at most in float32.
    sent = train["sent_bytes"]["all-reduce over data"]
    assert 0.5 * parameters < sent <= 1.05 * 2 * parameters * 3 / 4 * 1.1


def test_no_product_is_computed_twice(steps):
    for name in ("train", "eval"):
        ratio = steps[name]["compiled_flops"] / steps[name]["model_flops"]
        assert ratio == pytest.approx(1.0, abs=0.02)
    forward = steps["eval"]["model_flops"]
    assert steps["train"]["model_flops"] == pytest.approx(3 * forward, rel=0.02)


def test_two_slices_and_a_split_model():
    done = aot(
        *("--topology=v4:2x2x1", "--slices=2", "--steps=train", "--json=-"),
        *("--gin.NUM_PARTITIONS=2", "--gin.FULLY_SHARDED=True", "--gin.SEQUENCE_PARALLEL=True"),
    )
    (record,) = json.loads(done.stdout)
    assert record["mesh"] == {"slice": 2, "data": 2, "model": 2} and record["devices"] == 8
    kinds = {name.partition(" over ")[::2] for name in record["sent_bytes"]}
    assert any("slice" in axes for _, axes in kinds)
    assert any(axes == "model" for _, axes in kinds)


def test_a_teacher_is_compiled_and_in_memory_beside_the_step(steps):
    done = aot(
        *("--gin_file=gin/objectives/distillation.gin", "--gin.TEACHER_PATH='gs://not/here'"),
        *("--gin.NUM_PARTITIONS=2", "--topology=v5e:2x2", "--steps=train", "--json=-"),
    )
    teacher, train = json.loads(done.stdout)
    assert (teacher["step"], train["step"]) == ("teacher", "train")
    assert train["memory"]["others"] == teacher["memory"]["parameters"] > 0
    own = train["memory"]["parameters"] + train["memory"]["optimizer"]
    assert teacher["memory"]["others"] == own + 4  # the step's number
    for record in (teacher, train):
        assert sum(record["memory"].values()) == record["needed_bytes"]
    # Forward alone, of a network of the student's size.
    assert teacher["model_flops"] == pytest.approx(train["model_flops"] / 3, rel=0.02)
    assert steps["train"]["memory"]["others"] == 0


def test_what_does_not_fit_is_told_with_advice(tmp_path):
    file = tmp_path / "figures.json"
    done = aot(
        *("--topology=v5e:2x2", "--steps=train", f"--json={file}"),
        *("--gin.BATCH_SIZE=262144", "--gin.PACK=False"),
    )
    assert "does not fit: needs" in done.stdout
    assert "Try BATCH_SIZE = " in done.stdout or "Set mt5" in done.stdout
    (record,) = json.loads(file.read_text())
    assert not record["fits"] and record["needed_bytes"] > record["hbm_bytes"]


def test_topologies_are_compared(tmp_path):
    file = tmp_path / "figures.json"
    names = "v5e:1x1,v5e:2x2,v4:2x2x1,v5e:4x8"
    done = aot(f"--topology={names}", "--steps=eval", "--gin.BATCH_SIZE=16", f"--json={file}")
    table = done.stdout[done.stdout.index("at best") :]
    lines = [line for line in table.splitlines() if "one device" in line or "data 4" in line]
    assert [line.split()[1] for line in lines] == ["v5e:1x1", "v5e:2x2", "v4:2x2x1"]
    assert all("eval" in line and line.count("iB") == 3 and " ms" in line for line in lines)
    assert "Warning" not in done.stderr
    assert "v5e:4x8: A batch of 16 rows cannot be split" in done.stdout.replace("\n", " ")
    compiled = json.loads(file.read_text())
    assert [record["topology"] for record in compiled] == names.split(",")
    assert [record.get("devices") for record in compiled] == [1, 4, 4, 32]
    assert "A batch of 16 rows" in compiled[3]["error"]


def test_bad_input_ends_in_one_line():
    for arguments, message in (
        ((), "--topology is not given"),
        (("--topology=v5e:3x5",), "refuses the topology 'v5e:3x5'"),
        (("--topology=v5e:2x2", "--steps=fit"), "--steps has fit"),
        (("--topology=v5e:2x2", "--slices=two"), "--slices is 'two'"),
        (("--topology=v5e:2x2", "--gin.BATCH_SIZE=6"), "A batch of 6 rows"),
        (("--topology=v5e:2x2", "--json=/proc/x/figures.json"), "The folder /proc/x is not"),
    ):
        done = aot(*arguments, succeeds=False)
        assert f"error: {message}" in done.stderr or message in done.stderr
        assert "Traceback" not in done.stderr
