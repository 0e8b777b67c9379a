"""Every gin file resolves to the text that was reviewed; mistakes on the command line are named."""

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
ONLY_T5X = ("infer.gin",)
SCALES = ("local", "small", "pod", "real_small")  # given after a run
RUNS = sorted(
    path.name
    for path in (ROOT / "gin").glob("*.gin")
    if path.stem not in (*SCALES, "unpacked") and path.name not in ONLY_T5X
)
REQUIRED = {
    "train": ["--gin.MODEL_DIR='x'"],
    "evaluate": ["--gin.CHECKPOINT_PATH='x'", "--gin.EVAL_OUTPUT_DIR='y'"],
}


def program_of(run):
    return "evaluate" if "wiring/evaluate.gin" in (ROOT / "gin" / run).read_text() else "train"


def resolve(program, *arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", f"xlt_jax.{program}", *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("local", [False, True], ids=["real", "local"])
@pytest.mark.parametrize("run", RUNS)
def test_run_resolves_to_golden_text(run, local, golden):
    program = program_of(run)
    files = [f"--gin_file=gin/{run}", *(["--gin_file=gin/local.gin"] if local else [])]
    result = resolve(program, *files, *REQUIRED[program], "--dry_run")
    assert result.returncode == 0, result.stderr
    name = run.removesuffix(".gin") + ("+local" if local else "")
    golden(f"gin/{name}.txt", result.stdout)


@pytest.mark.parametrize("scale", [scale for scale in SCALES if scale != "local"])
def test_a_run_at_another_scale_resolves_to_golden_text(scale, golden):
    files = ["--gin_file=gin/finetune.gin", f"--gin_file=gin/{scale}.gin"]
    result = resolve("train", *files, *REQUIRED["train"], "--dry_run")
    assert result.returncode == 0, result.stderr
    golden(f"gin/finetune+{scale}.txt", result.stdout)
    files[0] = "--gin_file=gin/zero_shot_eval.gin"
    assert resolve("evaluate", *files, *REQUIRED["evaluate"], "--dry_run").returncode == 0


@pytest.mark.parametrize("objective", ["dual_encoder", "push_pull"])
def test_an_objective_is_exchanged_on_the_command_line(objective, golden):
    files = ["finetune", "local", "unpacked", f"objectives/{objective}"]
    files = [f"--gin_file=gin/{file}.gin" for file in files]
    result = resolve("train", *files, *REQUIRED["train"], "--dry_run")
    assert result.returncode == 0, result.stderr
    golden(f"gin/finetune+local+{objective}.txt", result.stdout)


@pytest.mark.parametrize(
    "objective", sorted(path.stem for path in (ROOT / "gin" / "objectives").glob("*.gin"))
)
def test_every_objective_resolves(objective):
    files = [f"--gin_file=gin/{file}.gin" for file in ("finetune", "local")]
    files.append(f"--gin_file=gin/objectives/{objective}.gin")
    files += ["--gin.TEACHER_PATH='y'"] if objective == "distillation" else []
    result = resolve("train", *files, *REQUIRED["train"], "--dry_run")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("path", sorted((ROOT / "gin").rglob("*.gin")), ids=lambda path: path.stem)
def test_every_file_is_used_by_a_run(path):
    included = "".join(other.read_text() for other in (ROOT / "gin").rglob("*.gin"))
    is_run = path.parent.name == "gin"
    is_choice = path.parent.name in ("models", "objectives")  # given on the command line
    assert is_run or is_choice or f"include '{path.relative_to(ROOT)}'" in included


FINETUNE = "--gin_file=gin/finetune.gin"
LOCAL = "--gin_file=gin/local.gin"
DUAL_ENCODER = "--gin_file=gin/objectives/dual_encoder.gin"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--gin_file=gin/finetun.gin"], "did you mean 'gin/finetune.gin'"),
        ([FINETUNE], "MODEL_DIR is not set"),
        ([FINETUNE, "--gin.TRAIN_STEP=5"], "Unknown macro 'TRAIN_STEP'; did you mean"),
        ([FINETUNE, "--gin.MODEL_DIR=runs/x"], "runs/x"),
        ([], "--gin_file is required"),
        (
            [FINETUNE, LOCAL, "--gin.MIXTURE_OR_TASK_NAME='cldr_english_targt'"],
            "did you mean 'cldr_english_target'",
        ),
        (
            [FINETUNE, LOCAL, "--gin.MIXTURE_OR_TASK_NAME='cldr_pairs.xx'"],
            "Register mixtures",
        ),
        ([FINETUNE, LOCAL, "--gin.BATCH_SIZE=0"], "positive whole number of rows"),
        (
            [FINETUNE, LOCAL, "--gin.TASK_FEATURE_LENGTHS={'inputs': 0, 'targets': 8}"],
            r"task_feature_lengths['inputs'] is 0",
        ),
        ([FINETUNE, LOCAL, "--gin.NUM_PARTITIONS=3"], "does not divide"),
        (
            [FINETUNE, LOCAL, "--gin.INITIAL_CHECKPOINT_PATH='/nowhere/x'"],
            "/nowhere/x does not exist",
        ),
        ([FINETUNE, LOCAL, "--gin.mt5.T5Config.vocab_size=4096"], "4096 token ids"),
        ([FINETUNE, LOCAL, "--gin.no_such_thing.x=1"], "no_such_thing"),
        ([FINETUNE, LOCAL, DUAL_ENCODER, "--gin.PACK=True"], "PACK True: the objective compares"),
        ([FINETUNE, LOCAL, DUAL_ENCODER, "--gin.NUM_MICROBATCHES=2"], "NUM_MICROBATCHES is 2"),
    ],
)
def test_mistakes_end_in_one_clear_error(arguments, message, tmp_path):
    if message != "MODEL_DIR is not set" and arguments and "MODEL_DIR" not in str(arguments):
        arguments = [*arguments, f"--gin.MODEL_DIR='{tmp_path}'"]
    result = resolve("train", *arguments)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr
