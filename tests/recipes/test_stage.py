"""Records and commands of recipes: loops over every recipe of the package."""

import itertools
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tasks  # noqa: F401 (registers)
from xlt_jax.data import mixtures
from xlt_jax.recipes import __main__ as program
from xlt_jax.recipes import runner, stage, study
from xlt_jax.recipes.stage import Recipe, Stage
from xlt_jax.registry import benchmarks, xtreme

RECIPES = {name: recipe.with_seeds() for name, recipe in stage.all_recipes().items()}
STUDIES = [name for name, recipe in RECIPES.items() if recipe.scale]


@pytest.mark.parametrize("engine", stage.ENGINES)
def test_dry_run_is_the_golden_text(engine, golden):
    text = runner.dry_run(RECIPES["demo"], Path("runs/demo"), engine=engine)
    golden(f"recipes/demo{'+t5x' if engine == 't5x' else ''}.sh", text)


def test_table_of_stages_is_the_golden_text(golden):
    """Of one study at every scale, for every choice of target: what each stage starts from and is
    bound to. The commands differ from the demo's in nothing else."""
    name, blocks = "mixed_resource", []
    for scale, target in itertools.product(study.SCALES, study.TARGETS):
        recipe = stage.get(name, scale=scale, target=target)
        rows = [
            f"{one.name} <- {one.start_from or '-'}: {' '.join(one.gin)} "
            + " ".join(f"{key}={value}" for key, value in one.bindings.items())
            for one in recipe.stages
        ]
        blocks.append("\n".join([f"# {scale}, {target}", *rows]))
    golden(f"recipes/{name}.txt", "\n\n".join(blocks) + "\n")


@pytest.mark.parametrize("name", RECIPES)
def test_engines_differ_in_programs_and_our_flags_only(name):
    ours, theirs = (
        runner.dry_run(RECIPES[name], Path("runs") / name, engine=engine)
        for engine in ("xlt_jax", "t5x")
    )
    for program_name, module in stage.ENGINES["t5x"].items():
        theirs = theirs.replace(f"-m {module} ", f"-m {stage.ENGINES['xlt_jax'][program_name]} ")
    assert theirs == re.sub(r" \\\n    --alignment=\w+", "", ours)


@pytest.mark.parametrize("name", RECIPES)
def test_module_is_called_as_the_recipe_and_arms_differ_before_the_target_stage_only(name):
    recipe = RECIPES[name]
    assert (Path(stage.__file__).parent / f"{name}.py").exists()
    last = {(s.arm, s.seed): s for s in recipe.stages if s.arm and s.program == "train"}
    assert set(last) == {(arm, seed) for arm in recipe.arms for seed in recipe.seeds}
    # What is measured of earlier stages' tasks is no part of the training.
    trained = [{k: v for k, v in s.bindings.items() if k != "FORGETTING"} for s in last.values()]
    files = [
        tuple(file for file in s.gin if name != "methods" or "objectives" not in file)
        for s in last.values()
    ]
    assert len({(gin, *one.items()) for gin, one in zip(files, trained)}) == 1


@pytest.mark.parametrize("name", RECIPES)
def test_every_arm_is_scored_and_its_selection_is_closed(name):
    recipe = RECIPES[name]
    for arm in recipe.arms:
        chosen = stage.select(recipe, [arm])
        assert chosen[-1].program == "evaluate"
        names = [s.name for s in chosen]
        for position, one in enumerate(chosen):
            assert one.arm in (None, arm)
            assert one.start_from is None or one.start_from in names[:position]


def test_shell_reads_the_printed_command_as_the_words_that_run():
    words = stage.command(
        Stage(
            "x",
            gin=("gin/a b.gin",),
            bindings={"A": "it's $HOME", "B": ("x", 1), "C": "@lm.objective", "D": None},
        ),
        Path("runs/of me"),
    )
    script = f"printf '%s\\n' {stage.shell_text(words).removeprefix('python')}"
    seen = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout
    assert seen.splitlines() == list(words[1:])
    assert "--gin.C=@lm.objective" in words
    assert "--gin.B=('x', 1)" in words


def test_training_that_arms_begin_with_alike_is_one_stage():
    recipe = stage.get("methods")
    arms = {one.name: one.arm for one in recipe.stages}
    assert [name for name in arms if "intermediate" in name] == [
        "plain_intermediate", "tlm_intermediate", "weam_intermediate",
    ]  # fmt: skip
    assert arms["plain_intermediate"] is None and arms["tlm_intermediate"] == "tlm"
    starts = {one.name: one.start_from for one in recipe.stages}
    assert starts["adv_finetune"] == starts["plain_finetune"] == "plain_intermediate"
    assert [one.name for one in stage.select(recipe, ["adv"])] == [
        "pretrain", "plain_intermediate", "adv_finetune", "adv_zero_shot",
        "adv_zero_shot_cldr_bilingual",
    ]  # fmt: skip


def test_seed_binds_training_stages_only():
    train, evaluate, shared = (
        Stage("x", gin=(), program=program_name, start_from="y", seed=seed)
        for program_name, seed in (("train", 7), ("evaluate", 7), ("train", None))
    )
    assert "--gin.RANDOM_SEED=7" in stage.arguments(train, Path("o"))
    assert not any("SEED" in word for word in stage.arguments(evaluate, Path("o")))
    assert not any("SEED" in word for word in stage.arguments(shared, Path("o")))


def test_seeds_repeat_what_is_not_shared():
    recipe = Recipe(
        "r",
        "d",
        (
            Stage("first", (), shared=True),
            Stage("a_tune", (), start_from="first", arm="a"),
            Stage("a_score", (), start_from="a_tune", arm="a", program="evaluate"),
        ),
        {"a": "A."},
        seeds=(0, 1),
    )
    assert [(s.name, s.start_from, s.seed) for s in recipe.with_seeds((4, 2)).stages] == [
        ("first", None, None),
        ("a_tune.seed4", "first", 4),
        ("a_score.seed4", "a_tune.seed4", 4),
        ("a_tune.seed2", "first", 2),
        ("a_score.seed2", "a_tune.seed2", 2),
    ]
    assert recipe.with_seeds().seeds == (0, 1)
    for wrong in ((), (1, 1), (-1,)):
        with pytest.raises(ValueError, match="different whole numbers"):
            recipe.with_seeds(wrong)


# --------------------------------------------------------------------------------------- studies
@pytest.mark.parametrize("target", study.TARGETS)
@pytest.mark.parametrize("scale", study.SCALES)
@pytest.mark.parametrize("name", STUDIES)
def test_a_studys_mixtures_exist_and_its_arms_have_equal_budgets(name, scale, target):
    if name == "methods":
        with pytest.raises(ValueError, match="targets of its own"):
            stage.get(name, scale=scale, target=target)
        target = None
    recipe = stage.get(name, scale=scale, target=target)
    known = {one.name: one for one in recipe.stages}
    for one in recipe.stages:
        if "MIXTURE_OR_TASK_NAME" in one.bindings:
            mixtures.get(one.bindings["MIXTURE_OR_TASK_NAME"])
        stage.gin_texts(one.gin)
    steps = {arm: 0 for arm in recipe.arms}
    for arm in recipe.arms:
        place = next(s for s in recipe.stages if s.arm == arm and s.program == "evaluate")
        while place.start_from:
            place = known[place.start_from]
            if "intermediate" in place.name:
                steps[arm] += place.bindings["TRAIN_STEPS_RELATIVE"]
    assert len(set(steps.values()) - {0}) == (0 if list(steps) == ["none"] else 1)
    assert [arm for arm, taken in steps.items() if not taken] in ([], ["none"])


def test_per_task_targets_are_trained_as_the_benchmarks_say():
    """Every task of XTREME-R is scored once, after the English tasks that its file names."""
    targets = study.SCALES["small"].targets["per_task"]
    trained = {test: target.train for target in targets for test in target.test}
    assert set(trained) == {f"{name}.zero_shot" for name in xtreme.tasks("xtreme-r")}
    for test, train in trained.items():
        benchmark = benchmarks.get(test.removesuffix(".zero_shot"))
        if benchmark.name != "tatoeba":  # searched with the dual encoder, as retrieval tasks are
            assert train == benchmark.english_training


def test_selection_looks_at_english_validation_data_only():
    recipe = stage.get("mixed_resource", scale="small", select=True)
    tuned = [
        one for one in recipe.stages if "_finetune_" in one.name and "EARLY_STOP" in one.bindings
    ]
    assert recipe.selection and tuned
    for one in tuned:
        assert one.bindings["EVAL_SPLIT"] == "validation"
        (task,) = mixtures.get(one.bindings["EVAL_MIXTURE"]).tasks
        assert task.endswith(".en") and benchmarks.split_task(task)[0].request.scored
    assert not stage.get("mixed_resource", scale="small").selection


def test_choices_that_a_recipe_lacks_are_refused(capsys):
    assert program.main(["run", "demo", "--scale=pod", "--dry_run"]) == 2
    assert "'demo' is no study" in capsys.readouterr().err
    assert program.main(["run", "mixed_resource", "--select", "--engine=t5x", "--dry_run"]) == 2
    assert "needs --engine=xlt_jax" in capsys.readouterr().err
    assert program.main(["run", "demo", "--seeds=0,x", "--dry_run"]) == 2
    assert "give whole numbers" in capsys.readouterr().err


@pytest.mark.parametrize(
    "stages, comparisons, message",
    [
        ((Stage("x", ()), Stage("x", ())), (), "taken"),
        ((Stage("report", ()),), (), "taken"),
        ((Stage("x", (), start_from="y"), Stage("y", ())), (), "not an earlier stage"),
        ((Stage("x", (), arm="z"),), (), "unknown arm 'z'"),
        ((Stage("x", (), program="tran"),), (), "unknown program 'tran'"),
        ((Stage("x", (), program="evaluate"),), (), "needs start_from"),
        ((), (("a", "q"),), "compares unknown arms q"),
    ],
)
def test_wrong_recipes_are_refused(stages, comparisons, message):
    with pytest.raises(ValueError, match=message):
        Recipe("r", "d", stages, {"a": "A."}, comparisons)


def test_unknown_recipe_has_near_names(capsys):
    assert program.main(["run", "dmo", "--dry_run"]) == 2
    assert "did you mean 'demo'?" in capsys.readouterr().err


def test_list_names_every_recipe(capsys):
    assert program.main(["list"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in RECIPES)


def test_works_without_jax_tensorflow_and_gin():
    code = (
        "import sys, xlt_jax.recipes.__main__ as m; m.main(['list']);"
        "bad = {'jax', 'tensorflow', 'gin', 'seqio'} & set(sys.modules); assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
