"""Studies: arms that differ in their intermediate data or in how they train, at three scales.

A study's file is a table of arms; here each arm becomes its chain of stages: pre-training (where no
public checkpoint is at hand), intermediate training, fine-tuning on English, zero-shot scoring.
What two arms do alike is done once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from xlt_jax.recipes.stage import Recipe, Stage

TARGETS = ("multitask", "per_task")
DUAL_ENCODER = "gin/objectives/dual_encoder.gin"
# Chosen on the English validation split, and nothing else: no other language is looked at.
SELECTION = "the best mean score on the English validation split"
_SELECT = {
    "INFER_EVAL": "@infer_eval/engine.DatasetConfig()",
    "EVAL_SPLIT": "validation",
    "KEEP_BEST_METRIC": "mean/english",
    "EARLY_STOP": 5,
}


@dataclass(frozen=True)
class Arm:
    """One row of a study's table.

    Attributes:
        name: Of the arm.
        mixtures: Intermediate training, one stage for each mixture in turn; () for none.
        local: The same where a tiny model is pre-trained first, on embedded data.
        text: One sentence on what it does.
        gin: Files given after all others in intermediate training.
        target_gin: Likewise in target training.
    """

    name: str
    mixtures: tuple[str, ...] | None
    local: tuple[str, ...] | None
    text: str
    gin: tuple[str, ...] = ()
    target_gin: tuple[str, ...] = ()


ENGLISH = Arm(
    "english",
    ("english_intermediate",),
    ("cldr_english_intermediate",),
    "Intermediate training on English tasks only.",
)


@dataclass(frozen=True)
class Target:
    """Fine-tuning on English and what it is scored on.

    Attributes:
        name: Part of the stages' names; empty where there is one target only.
        train: Mixtures, one stage for each in turn; () scores what intermediate training gave.
        test: Mixtures that are scored.
        gin: Files given after those of the scale.
        selects: Whether the training tasks are scored, so that a checkpoint can be chosen by them.
    """

    name: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    gin: tuple[str, ...] = ()
    selects: bool = True


@dataclass(frozen=True)
class Scale:
    """Where a study runs.

    Attributes:
        gin: Files given after the run's own: model, sizes, and what training starts from.
        intermediate_steps: Of all intermediate stages of an arm together.
        targets: By name of the choice: "multitask" is one model for all tasks, "per_task" one each.
        pretrained_on: Mixture on which a tiny model is pre-trained first, and arms then take their
            local mixtures; empty where training starts from a public checkpoint.
        alignment: Mixture of parallel pairs by which the alignment of languages is measured in
            every model that is scored; those without data on the machine are left out.
    """

    gin: tuple[str, ...]
    intermediate_steps: int
    targets: Mapping[str, tuple[Target, ...]]
    pretrained_on: str = ""
    alignment: str = ""


_XTREME_R = {
    "multitask": (Target("", ("english_target",), ("xtreme_r",)),),
    # The usual setting (Ruder et al. 2021); XCOPA by way of Social IQa, then COPA.
    "per_task": (
        Target("mnli", ("mnli.en",), ("xnli.zero_shot",)),
        Target("copa", ("social_i_qa.en", "copa.en"), ("xcopa.zero_shot",)),
        Target("udpos", ("udpos.en",), ("udpos.zero_shot",)),
        Target("panx", ("panx.en",), ("panx.zero_shot",)),
        Target("squad", ("squad.en",), tuple(f"{t}.zero_shot" for t in ("xquad", "mlqa"))),
        Target("tydiqa", ("tydiqa.en",), ("tydiqa.zero_shot",)),
        Target("mewslix", ("mewslix_pairs.en",), ("mewslix.zero_shot",), (DUAL_ENCODER,), False),
        Target(
            "lareqa",
            ("squad_sentences.en",),
            ("lareqa.zero_shot", "tatoeba.zero_shot"),
            (DUAL_ENCODER,),
            False,
        ),
    ),
}
_CLDR = {
    "multitask": (Target("", ("cldr_english_target",), ("cldr_target",)),),
    "per_task": (
        *(
            Target(name, (f"cldr_{name}.en",), (f"cldr_{name}.zero_shot",))
            for name in ("pairs", "choice", "tags", "qa")
        ),
        # It has no training data: what intermediate training gave is searched with.
        Target("retrieval", (), ("cldr_retrieval.zero_shot",)),
    ),
}
SCALES = {
    "local": Scale(("gin/local.gin",), 600, _CLDR, "cldr_pretrain", alignment="cldr_parallel"),
    "small": Scale(("gin/small.gin",), 5_000, _XTREME_R, alignment="parallel_text"),
    "pod": Scale(("gin/pod.gin",), 10_000, _XTREME_R, alignment="parallel_text"),
}


@dataclass(frozen=True)
class Study:
    """A question, its arms, and which of them are compared.

    Attributes:
        name: Of the recipe; that of its file.
        question: That the report answers.
        arms: The table.
        comparisons: Pairs (arm, baseline), the question first; those of arms that a scale lacks
            are left out there.
        seeds: Each arm is trained once for each.
        description: What the arms differ in.
        targets: Instead of the scale's, where training starts from a public checkpoint.
        local: Likewise, where a tiny model is pre-trained first.
    """

    name: str
    question: str
    arms: tuple[Arm, ...]
    comparisons: tuple[tuple[str, str], ...]
    seeds: tuple[int, ...] = (0, 1, 2)
    description: str = "The arms differ in intermediate training only."
    targets: tuple[Target, ...] = ()
    local: tuple[Target, ...] = ()

    def at(
        self, scale: str | None = None, target: str | None = None, select: bool = False
    ) -> Recipe:
        """The recipe at a scale.

        Args:
            scale: Key of ``SCALES``; None: local.
            target: One of ``TARGETS``; None: multitask on embedded data, else per task.
            select: Whether target stages stop early and keep the checkpoint that is best on the
                English validation split; False: all take their last step.

        Raises:
            ValueError: A choice of ``target`` for a study that has its own.
        """
        scale = scale or "local"
        return replace(self.on(SCALES[scale], target, select), scale=scale)

    def on(self, where: Scale, target: str | None = None, select: bool = False) -> Recipe:
        """As ``at``, at a scale of one's own."""
        targets = self.local if where.pretrained_on else self.targets
        if targets and target:
            raise ValueError(f"{self.name} has targets of its own: leave --target out.")
        target = target or ("multitask" if where.pretrained_on else "per_task")
        targets = targets or where.targets[target]
        arms = {arm: arm.local if where.pretrained_on else arm.mixtures for arm in self.arms}
        arms = {arm: mixtures for arm, mixtures in arms.items() if mixtures is not None}
        names = [arm.name for arm in arms]
        first = Stage("pretrain", gin=("gin/pretrain.gin", *where.gin), shared=True)
        stages = [first] if where.pretrained_on else []
        start = first.name if where.pretrained_on else None
        for arm, mixtures in arms.items():
            stages += _chain(arm, mixtures, start, where, targets, select)
        return Recipe(
            name=self.name,
            description=self.description,
            question=self.question,
            stages=_once(stages),
            arms={arm.name: arm.text for arm in arms},
            comparisons=tuple(
                pair for pair in self.comparisons if all(name in names for name in pair)
            ),
            seeds=self.seeds,
            selection=SELECTION if select else "",
        )


def _chain(
    arm: Arm,
    mixtures: tuple[str, ...],
    start: str | None,
    scale: Scale,
    targets: tuple[Target, ...],
    select: bool,
) -> list[Stage]:
    """Stages of an arm: intermediate ones, then of each target its training and its scoring."""
    stages = []

    def add(name: str, gin: tuple[str, ...], start_from: str | None, **fields) -> str:
        stages.append(Stage(name, gin=gin, start_from=start_from, arm=arm.name, **fields))
        return name

    earlier = tuple(filter(None, (scale.pretrained_on,)))
    for number, mixture in enumerate(mixtures, start=1):
        bindings = {
            "MIXTURE_OR_TASK_NAME": mixture,
            "TRAIN_STEPS_RELATIVE": scale.intermediate_steps // len(mixtures),
        }
        if earlier:
            bindings["FORGETTING"] = earlier
        earlier = (*earlier, mixture)
        name = f"{arm.name}_intermediate{f'_{number}' if len(mixtures) > 1 else ''}"
        gin = ("gin/intermediate.gin", *scale.gin, *arm.gin)
        start = add(name, gin, start, bindings=bindings)
    for target in targets:
        tuned = start
        for number, mixture in enumerate(target.train, start=1):
            bindings = {"MIXTURE_OR_TASK_NAME": mixture}
            if earlier:
                bindings["FORGETTING"] = earlier
            if select and target.selects:
                bindings |= {"EVAL_MIXTURE": mixture, **_SELECT}
            name = "_".join(
                filter(
                    None,
                    (
                        arm.name,
                        "finetune",
                        target.name,
                        str(number) if len(target.train) > 1 else "",
                    ),
                )
            )
            gin = ("gin/finetune.gin", *scale.gin, *target.gin, *arm.target_gin)
            tuned = add(name, gin, tuned, bindings=bindings)
        for number, mixture in enumerate(target.test):
            task = mixture.partition(".")[0] if target.name or number else ""
            add(
                "_".join(filter(None, (arm.name, "zero_shot", task))),
                ("gin/zero_shot_eval.gin", *scale.gin),
                tuned,
                program="evaluate",
                bindings={"MIXTURE_OR_TASK_NAME": mixture},
                flags={"alignment": scale.alignment} if scale.alignment and not number else {},
            )
    return stages


def _once(stages: Sequence[Stage]) -> tuple[Stage, ...]:
    """Training that several arms begin with alike is one stage, called by the first arm's name."""
    kept: dict[str, Stage] = {}
    first_of: dict[tuple, str] = {}
    names: dict[str | None, str] = {}
    for stage in stages:
        stage = replace(stage, start_from=names.get(stage.start_from, stage.start_from))
        what = (stage.gin, repr(stage.bindings), stage.start_from)
        first = first_of.setdefault(what, stage.name) if stage.program == "train" else stage.name
        names[stage.name] = first
        kept[first] = stage if first == stage.name else replace(kept[first], arm=None)
    return tuple(kept.values())


def single_seed(study: Study, **fields) -> Recipe:
    """A study at the local scale with one seed, under another name or description."""
    return replace(study.at(), seeds=(0,), **fields)
