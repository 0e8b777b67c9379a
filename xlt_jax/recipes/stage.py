"""Records of a recipe: stages that are processes, and the exact command of each.

Gin's configuration is global to a process, so every stage is one: a program, gin files, bindings,
and the earlier stage whose checkpoint it starts from. ``runner.py`` runs them.
"""

import difflib
import hashlib
import importlib
import pkgutil
import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

# program -> (macro of the stage's own folder, macro of the folder it starts from)
PROGRAMS = {
    "train": ("MODEL_DIR", "INITIAL_CHECKPOINT_PATH"),
    "evaluate": ("EVAL_OUTPUT_DIR", "CHECKPOINT_PATH"),
}
# engine -> program -> module; both engines take the same gin files and bindings
ENGINES = {
    "xlt_jax": {"train": "xlt_jax.train", "evaluate": "xlt_jax.evaluate"},
    "t5x": {"train": "t5x.train", "evaluate": "t5x.eval"},
}
REPORT_MODULE = "xlt_jax.report"


@dataclass(frozen=True)
class Stage:
    """One process of an experiment.

    Attributes:
        name: Also the name of its folder, ``<out>/<name>``.
        gin: Gin files in order, relative to the repository root; later ones win.
        bindings: Gin macro or parameter -> Python value; text that starts with ``@`` or ``%`` is a
            gin reference and stays unquoted.
        flags: Flag -> value of our own program; T5X's has none of them.
        program: A key of ``PROGRAMS``.
        start_from: Name of the earlier stage whose checkpoint it loads, or None.
        arm: Name of the arm it belongs to; None when several arms share it.
        shared: Whether one run of it serves all seeds: pre-training, as a public checkpoint does.
        seed: RANDOM_SEED of this run of it; ``Recipe.with_seeds`` sets it.
    """

    name: str
    gin: tuple[str, ...]
    bindings: Mapping[str, Any] = field(default_factory=dict)
    flags: Mapping[str, str] = field(default_factory=dict)
    program: str = "train"
    start_from: str | None = None
    arm: str | None = None
    shared: bool = False
    seed: int | None = None


@dataclass(frozen=True)
class Recipe:
    """An experiment: arms that share some stages and differ in others.

    Attributes:
        name: What ``python -m xlt_jax.recipes run`` takes; default folder is ``runs/<name>``.
        description: One or two sentences, shown by ``list`` and at the top of the report.
        stages: In an order in which they can run one after another.
        arms: Arm -> one sentence on what it does, in the order of the report.
        comparisons: Pairs (arm, baseline), the question of the experiment first.
        question: That the report answers.
        seeds: Each stage that is not shared is run once for each.
        scale: Where it runs: a key of ``study.SCALES``, or empty.
        selection: By what checkpoints of target stages are chosen; empty: they are the last ones.
    """

    name: str
    description: str
    stages: tuple[Stage, ...]
    arms: Mapping[str, str]
    comparisons: tuple[tuple[str, str], ...] = ()
    question: str = ""
    seeds: tuple[int, ...] = (0,)
    scale: str = ""
    selection: str = ""

    def with_seeds(self, seeds: Sequence[int] | None = None) -> "Recipe":
        """With a stage ``<name>.seed<seed>`` for each seed in place of every stage not shared.

        Args:
            seeds: Instead of the recipe's own.

        Raises:
            ValueError: A seed is given twice, is negative, or there is none.
        """
        chosen = self.seeds if seeds is None else tuple(seeds)
        if not chosen or len(set(chosen)) < len(chosen) or min(chosen) < 0:
            raise ValueError(f"Seeds are {list(chosen)}; give different whole numbers from 0 on.")
        shared = {stage.name for stage in self.stages if stage.shared}

        def named(name: str | None, seed: int) -> str | None:
            return name if name is None or name in shared else f"{name}.seed{seed}"

        stages = [stage for stage in self.stages if stage.shared]
        stages += [
            replace(
                stage,
                name=named(stage.name, seed),
                start_from=named(stage.start_from, seed),
                seed=seed,
            )
            for seed in chosen
            for stage in self.stages
            if not stage.shared
        ]
        return replace(self, stages=tuple(stages), seeds=chosen)

    def __post_init__(self):
        seen: dict[str, Stage] = {}
        for stage in self.stages:
            where = f"Recipe {self.name!r}, stage {stage.name!r}"
            if stage.name in seen or stage.name in ("report", "replaced"):
                raise ValueError(f"{where}: the name is taken; choose another.")
            if stage.program not in PROGRAMS:
                raise ValueError(
                    f"{where}: unknown program {stage.program!r}; known: {', '.join(PROGRAMS)}."
                )
            if stage.arm is not None and stage.arm not in self.arms:
                raise ValueError(
                    f"{where}: unknown arm {stage.arm!r}; known: {', '.join(self.arms)}."
                )
            if stage.start_from is not None and stage.start_from not in seen:
                raise ValueError(
                    f"{where} starts from {stage.start_from!r}, which is not an earlier stage; "
                    f"earlier: {', '.join(seen) or 'none'}."
                )
            if stage.program == "evaluate" and stage.start_from is None:
                raise ValueError(f"{where} evaluates, so it needs start_from.")
            seen[stage.name] = stage
        wrong = {arm for pair in self.comparisons for arm in pair} - set(self.arms)
        if wrong:
            raise ValueError(
                f"Recipe {self.name!r} compares unknown arms {', '.join(sorted(wrong))}; known: "
                f"{', '.join(self.arms)}."
            )


def all_recipes() -> dict[str, Recipe]:
    """Every ``RECIPE`` of the modules in this package, and every ``STUDY`` as it is by itself."""
    found = (one if isinstance(one, Recipe) else one.at() for one in _definitions().values())
    return {recipe.name: recipe for recipe in found}


def get(name: str, **choices: Any) -> Recipe:
    """The recipe called ``name``.

    Args:
        name: Of a recipe or study.
        choices: Of ``Study.at``: scale, target, select.

    Raises:
        ValueError: Unknown; the message has the near names. A choice that the recipe does not have.
    """
    known = _definitions()
    if name not in known:
        raise ValueError(
            f"Unknown recipe {name!r}{near(name, known)} Known: {', '.join(known)}. "
            "A recipe is a file in xlt_jax/recipes/ with a RECIPE or a STUDY."
        )
    if not isinstance(known[name], Recipe):
        return known[name].at(**choices)
    if any(choices.values()):
        raise ValueError(f"{name!r} is no study: leave --scale, --target and --select out.")
    return known[name]


def _definitions() -> dict[str, Any]:
    """Recipes and studies by name, sorted."""
    package = importlib.import_module(__package__)
    modules = [
        importlib.import_module(f"{__package__}.{info.name}")
        for info in pkgutil.iter_modules(package.__path__)
        if not info.name.startswith("_")
    ]
    found = [getattr(m, kind) for m in modules for kind in ("RECIPE", "STUDY") if hasattr(m, kind)]
    return {one.name: one for one in sorted(found, key=lambda one: one.name)}


def select(recipe: Recipe, arms: Collection[str] | None) -> tuple[Stage, ...]:
    """The stages that ``arms`` need, shared ones included, in the recipe's order; None means all.

    Raises:
        ValueError: An arm is unknown; the message has the near names.
    """
    if not arms:
        return recipe.stages
    for arm in arms:
        if arm not in recipe.arms:
            raise ValueError(
                f"Recipe {recipe.name!r} has no arm {arm!r}{near(arm, recipe.arms)} It has: "
                f"{', '.join(recipe.arms)}."
            )
    needed: set[str] = set()
    for stage in reversed(recipe.stages):  # a stage comes after those it starts from
        if stage.arm in arms or stage.name in needed:
            needed |= {stage.name, stage.start_from or stage.name}
    return tuple(stage for stage in recipe.stages if stage.name in needed)


def arguments(stage: Stage, out: Path, engine: str = "xlt_jax") -> tuple[str, ...]:
    """What follows ``python -m <module>`` on the stage's command line.

    Args:
        stage: The stage; its seed is the macro RANDOM_SEED of training.
        out: Folder of the whole experiment.
        engine: A key of ``ENGINES``.
    """
    own_folder, start_folder = PROGRAMS[stage.program]
    bindings = dict(stage.bindings)
    if stage.seed is not None and stage.program == "train":
        bindings["RANDOM_SEED"] = stage.seed
    if stage.start_from is not None:
        bindings[start_folder] = (out / stage.start_from).as_posix()
    bindings[own_folder] = (out / stage.name).as_posix()
    return (
        *(f"--gin_file={path}" for path in stage.gin),
        *(f"--gin.{name}={gin_literal(value)}" for name, value in bindings.items()),
        *(f"--{name}={value}" for name, value in stage.flags.items() if engine == "xlt_jax"),
    )


def command(stage: Stage, out: Path, *, engine: str = "xlt_jax") -> tuple[str, ...]:
    """The exact command of the stage, with ``python`` for the interpreter."""
    return ("python", "-m", ENGINES[engine][stage.program], *arguments(stage, out, engine))


def gin_literal(value: Any) -> str:
    """``value`` as gin reads it."""
    if isinstance(value, str) and re.fullmatch(r"[@%][\w./]+(\(\))?", value):
        return value
    return repr(value)


def shell_text(words: Collection[str]) -> str:
    """A command that can be pasted into a shell, one flag a line."""
    words = list(words)
    flags = next((i for i, word in enumerate(words) if word.startswith("--")), len(words))
    return " \\\n    ".join([shlex.join(words[:flags]), *map(_shell_flag, words[flags:])])


def gin_texts(paths: Collection[str]) -> dict[str, str]:
    """Path -> SHA-256 of the text, of these gin files and of all that they include.

    Raises:
        ValueError: A file does not exist; the message has the near names.
    """
    texts: dict[str, str] = {}
    waiting = list(paths)
    while waiting:
        path = waiting.pop(0)
        if path in texts:
            continue
        if not Path(path).is_file():
            folder = Path(path).parent
            raise ValueError(
                f"Gin file {path!r} does not exist in {Path.cwd()}"
                f"{near(path, [file.as_posix() for file in folder.glob('*.gin')])} "
                "Paths are relative to the repository root: run from there."
            )
        text = Path(path).read_text(encoding="utf-8")
        texts[path] = hashlib.sha256(text.encode()).hexdigest()
        waiting += re.findall(r"^include\s+['\"](.+?)['\"]", text, flags=re.MULTILINE)
    return dict(sorted(texts.items()))


def near(name: str, known: Collection[str]) -> str:
    """``"; did you mean 'x' or 'y'?"`` or ``"."``: the middle of an error message."""
    close = difflib.get_close_matches(name, list(known), n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(map(repr, close))}?" if close else "."


def _shell_flag(word: str) -> str:
    """Quoted as people write gin flags, ``--gin.X="'text'"``, where that is safe."""
    name, equals, value = word.partition("=")
    if "'" in value and not re.search(r'["$`\\!]', value):
        return f'{name}{equals}"{value}"'
    return shlex.quote(word)
