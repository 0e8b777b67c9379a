"""The programs themselves: T5X trains and scores from our gin files, and each reads the other."""

import ast
import io
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from rich.console import Console

pytest.importorskip("t5x.models")  # not tests/t5x itself

from xlt_jax.evaluation import predictions
from xlt_jax.recipes import runner
from xlt_jax.recipes.stage import Recipe, Stage
from xlt_jax.report import audit, runs

pytestmark = [pytest.mark.t5x, pytest.mark.slow]

ROOT = pathlib.Path(__file__).parents[2]
STEPS = 6
# One task, its rows in their own order, none packed: both engines see the same batches.
SAME_DATA = {
    "MIXTURE_OR_TASK_NAME": "'cldr_pairs.en'",
    "PACK": "False",
    "train/engine.DatasetConfig.shuffle": "False",
    "BATCH_SIZE": "16",
    "STATS_PERIOD": "1",
    "EVAL_PERIOD": "3",
    "SAVE_PERIOD": "3",
    "TRAIN_STEPS_RELATIVE": str(STEPS),
}


def run(program, gin, environment, objective="", **macros):
    words = [f"--gin_file=gin/{gin}.gin", "--gin_file=gin/local.gin"]
    words += [f"--gin_file=gin/objectives/{objective}.gin"] if objective else []
    words += [f"--gin.{name}={value}" for name, value in macros.items()]
    done = subprocess.run(
        [sys.executable, "-m", program, *words],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout[-3000:]}\n{done.stderr[-8000:]}"
    return done.stdout


def losses(folder):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return {line["step"]: line["loss"] for line in map(json.loads, lines)}


def one_task(folder, step):
    metrics = predictions.read_metrics(folder / "inference_eval")
    return metrics["cldr_pairs.sw"][step]


@pytest.fixture(scope="module")
def place(tmp_path_factory, user_environment):
    """``place(name)`` is a folder; in ``theirs`` T5X has trained from random weights."""
    root = tmp_path_factory.mktemp("programs")
    run(
        "t5x.train",
        "finetune",
        user_environment,
        **SAME_DATA,
        MODEL_DIR=f"'{root / 'theirs'}'",
        INFER_EVAL="@infer_eval/engine.DatasetConfig()",
        EVAL_MIXTURE="'cldr_pairs.sw'",
        KEEP_CHECKPOINTS="None",
    )
    return lambda name: root / name


def test_t5x_trains_saves_and_scores(place):
    folder = place("theirs")
    assert sorted(path.name for path in folder.glob("checkpoint_*")) == [
        "checkpoint_0",
        "checkpoint_3",
        "checkpoint_6",
    ]
    curve = losses(folder)
    assert list(curve) == [*range(1, STEPS + 1)] and curve[STEPS] < curve[1]
    line = one_task(folder, STEPS)
    assert line["main_metric"] == "accuracy" and line["n"] > 10 and line["chance"]
    rows = predictions.read_predictions(folder / "inference_eval", "cldr_pairs.sw", STEPS)
    assert np.mean([row.score for row in rows]) == pytest.approx(line["accuracy"])
    assert "engine.EncoderDecoderModel" in (folder / "config.gin").read_text()


def test_report_follows_the_chain_of_a_t5x_run(place):
    folder = place("theirs")
    study = runs.read([folder])
    (stage,) = study.scored["theirs", None]
    score = study.cells["theirs"]["cldr_pairs", "sw"].seeds[None]
    checked = audit.Auditor([stage]).audit(stage)
    assert checked.gap is None
    assert checked.exposure("cldr_pairs", "en") is audit.Exposure.TASK_SEEN
    assert checked.exposure("cldr_pairs", "sw", score) is audit.Exposure.ZERO_SHOT
    assert (stage.steps, stage.examples) == (STEPS, None) and stage.tokens > 0
    assert checked.chain[-1].texts().names == ("cldr_pairs.en",)


# The first folder is T5X's, the second of the run of ours that starts from it.
@pytest.mark.parametrize(("start", "name"), [("theirs/checkpoint_0", "a"), ("a_xlt_jax", "b")])
def test_both_engines_have_the_same_losses(place, user_environment, start, name):
    """From the parameters of one checkpoint, which each program reads by itself."""
    macros = SAME_DATA | {"INITIAL_CHECKPOINT_PATH": f"'{place(start)}'"}
    found = {}
    for engine in ("xlt_jax", "t5x"):
        folder = place(f"{name}_{engine}")
        run(f"{engine}.train", "finetune", user_environment, **macros, MODEL_DIR=f"'{folder}'")
        found[engine] = losses(folder)
        print(engine, found[engine])
    assert found["xlt_jax"].keys() == found["t5x"].keys()
    np.testing.assert_allclose([*found["xlt_jax"].values()], [*found["t5x"].values()], rtol=2e-5)
    last = f"checkpoint_{max(found['t5x'])}"
    assert (place(f"{name}_xlt_jax") / last).is_dir() and (place(f"{name}_t5x") / last).is_dir()


OBJECTIVES = sorted(path.stem for path in (ROOT / "gin" / "objectives").glob("*.gin"))
DRAWN = ("rs_rp", "tlm", "tlm_text", "weam", "weam_text")  # while training, by each engine's own


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_both_engines_train_by_every_objective(place, user_environment, objective):
    macros = SAME_DATA | {
        "INITIAL_CHECKPOINT_PATH": f"'{place('theirs/checkpoint_0')}'",
        "TRAIN_STEPS_RELATIVE": "3",
        "TRAIN_EVAL": "None",
    }
    if objective.startswith(("tlm", "weam")):
        macros["MIXTURE_OR_TASK_NAME"] = "'cldr_parallel.de'"
    if objective == "distillation":
        macros["TEACHER_PATH"] = f"'{place('theirs/checkpoint_6')}'"
    found = {}
    for engine in ("xlt_jax", "t5x"):
        folder = place(f"{objective}_{engine}")
        macros["MODEL_DIR"] = f"'{folder}'"
        run(f"{engine}.train", "finetune", user_environment, objective, **macros)
        found[engine] = [*losses(folder).values()]
        print(engine, found[engine])
    assert len(found["t5x"]) == len(found["xlt_jax"]) == 3
    np.testing.assert_allclose(*found.values(), rtol=0.5 if objective in DRAWN else 1e-4)


def test_t5x_goes_on_where_it_stopped(place, user_environment):
    """Same command, fewer steps first: the schedule, the data and the count go on."""
    macros = SAME_DATA | {"MODEL_DIR": f"'{place('stopped')}'"}
    run("t5x.train", "finetune", user_environment, **macros | {"TRAIN_STEPS_RELATIVE": "3"})
    run("t5x.train", "finetune", user_environment, **macros)
    run("t5x.train", "finetune", user_environment, **macros)  # nothing is left to do
    whole, parts = losses(place("theirs")), losses(place("stopped"))
    np.testing.assert_allclose([*parts.values()], [*whole.values()], rtol=1e-5)
    assert (place("stopped") / "checkpoint_6").is_dir()
    assert not (place("stopped") / "checkpoint_9").exists()


def test_checkpoints_of_each_engine_score_alike_in_the_other(place, user_environment):
    """Answers are generated by T5X and ranked by ours, so a task of generated text is compared."""
    macros = {"MIXTURE_OR_TASK_NAME": "'cldr_tags.sw'"}
    start = f"'{place('theirs')}'"
    for program, name in (("xlt_jax.evaluate", "scored_ours"), ("t5x.eval", "scored_theirs")):
        paths = {"CHECKPOINT_PATH": start, "EVAL_OUTPUT_DIR": f"'{place(name)}'"}
        run(program, "zero_shot_eval", user_environment, **macros, **paths)
    ours, theirs = (
        predictions.read_predictions(place(name) / "inference_eval", "cldr_tags.sw", STEPS)
        for name in ("scored_ours", "scored_theirs")
    )
    assert ours == theirs
    record = json.loads((place("scored_theirs") / "evaluation.json").read_text())
    assert record == {"checkpoint": str(place("theirs") / "checkpoint_6"), "step": STEPS}


def test_t5x_infers(place, user_environment):
    run(
        "t5x.infer",
        "infer",
        user_environment,
        MIXTURE_OR_TASK_NAME="'cldr_pairs.sw'",
        CHECKPOINT_PATH=f"'{place('theirs')}'",
        INFER_OUTPUT_DIR=f"'{place('answers')}'",
    )
    (path,) = place("answers").glob("cldr_pairs.sw-predict.jsonl-*-of-00001")
    first = json.loads(path.read_text().splitlines()[0])
    assert first["inputs"]["inputs_pretokenized"] and isinstance(first["prediction"], str)


def test_recipes_run_under_t5x(tmp_path, monkeypatch):
    """A finished stage counts under the other engine too, and the report reads all of it."""
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    words = {**SAME_DATA, "TRAIN_STEPS_RELATIVE": "3", "PACK": "True", "TRAIN_EVAL": "None"}
    words.pop("train/engine.DatasetConfig.shuffle")
    macros = {name: ast.literal_eval(value) for name, value in words.items()}
    local = "gin/local.gin"
    recipe = Recipe(
        name="short",
        description="Two stages of training, then scores.",
        stages=(
            Stage("first", gin=("gin/pretrain.gin", local), bindings=macros),
            Stage(
                "second",
                gin=("gin/finetune.gin", local),
                bindings=macros,
                start_from="first",
                arm="a",
            ),
            Stage(
                "scores",
                gin=("gin/zero_shot_eval.gin", local),
                bindings={"MIXTURE_OR_TASK_NAME": "cldr_pairs.sw"},
                program="evaluate",
                start_from="second",
                arm="a",
            ),
        ),
        arms={"a": "One."},
    )
    for engine in ("t5x", "xlt_jax"):
        console = Console(width=200, record=True, file=io.StringIO())
        status = runner.run(recipe, tmp_path / "out", engine=engine, console=console)
        assert status == 0, console.export_text()
    assert console.export_text().count("finished before, skipped") == 3
    second = json.loads((tmp_path / "out" / "second" / "training_data.json").read_text())
    assert (second["first_step"], second["steps"]) == (3, 6)
    study = runs.read([tmp_path / "out"])
    (scored,) = study.scored["a", None]
    assert audit.Auditor(study.stages).audit(scored).gap is None
    assert list(study.cells["a"]) == [("cldr_pairs", "sw")]
    assert (tmp_path / "out" / "report" / "index.html").exists()


def test_a_loss_that_is_not_finite_ends_t5x_before_it_is_saved(place, user_environment):
    folder = place("diverging")
    changes = {"LEARNING_RATE": "1e36", "LEARNING_RATE_FACTORS": "'constant'"}
    with pytest.raises(AssertionError, match=r"The loss is (nan|inf) up to step \d+; nothing was"):
        run(
            "t5x.train",
            "finetune",
            user_environment,
            **SAME_DATA | changes,
            MODEL_DIR=f"'{folder}'",
        )
    assert {path.name for path in folder.glob("checkpoint_*")} <= {"checkpoint_0"}
