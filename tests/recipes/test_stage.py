"""Records and commands of recipes: loops over every recipe of the package."""

import subprocess
import sys
from pathlib import Path

import pytest

from xlt_jax.recipes import __main__ as program
from xlt_jax.recipes import runner, stage
from xlt_jax.recipes.stage import Recipe, Stage

RECIPES = stage.all_recipes()


@pytest.mark.parametrize("engine", stage.ENGINES)
@pytest.mark.parametrize("name", RECIPES)
def test_dry_run_is_the_golden_text(name, engine, golden):
    text = runner.dry_run(RECIPES[name], Path("runs") / name, engine=engine)
    golden(f"recipes/{name}{'+t5x' if engine == 't5x' else ''}.sh", text)


@pytest.mark.parametrize("name", RECIPES)
def test_engines_differ_in_the_programs_only(name):
    ours, theirs = (
        runner.dry_run(RECIPES[name], Path("runs") / name, engine=engine)
        for engine in ("xlt_jax", "t5x")
    )
    for program_name, module in stage.ENGINES["t5x"].items():
        theirs = theirs.replace(f"-m {module} ", f"-m {stage.ENGINES['xlt_jax'][program_name]} ")
    assert theirs == ours


@pytest.mark.parametrize("name", RECIPES)
def test_module_is_called_as_the_recipe_and_arms_differ_before_the_target_stage_only(name):
    recipe = RECIPES[name]
    assert (Path(stage.__file__).parent / f"{name}.py").exists()
    last = {arm: [s for s in recipe.stages if s.arm == arm and s.program == "train"][-1]
            for arm in recipe.arms}  # fmt: skip
    assert len({(s.gin, tuple(s.bindings.items())) for s in last.values()}) == 1


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


def test_seed_binds_training_stages_only():
    train, evaluate = (
        Stage("x", gin=(), program=program_name, start_from="y")
        for program_name in ("train", "evaluate")
    )
    assert "--gin.RANDOM_SEED=7" in stage.arguments(train, Path("o"), seed=7)
    assert not any("SEED" in word for word in stage.arguments(evaluate, Path("o"), seed=7))
    assert not any("SEED" in word for word in stage.arguments(train, Path("o")))


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
