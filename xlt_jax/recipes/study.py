"""Studies: arms that differ in intermediate training only, at three scales.

A study's file is a table of arms; here each arm becomes its chain of stages: pre-training (where no
public checkpoint is at hand), intermediate training, fine-tuning on English, zero-shot scoring.
"""

from collections.abc import Mapping
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
    """

    name: str
    mixtures: tuple[str, ...] | None
    local: tuple[str, ...] | None
    text: str


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
    """

    gin: tuple[str, ...]
    intermediate_steps: int
    targets: Mapping[str, tuple[Target, ...]]
    pretrained_on: str = ""


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
    "local": Scale(("gin/local.gin",), 600, _CLDR, pretrained_on="cldr_pretrain"),
    "small": Scale(("gin/small.gin",), 5_000, _XTREME_R),
    "pod": Scale(("gin/pod.gin",), 10_000, _XTREME_R),
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
    """

    name: str
    question: str
    arms: tuple[Arm, ...]
    comparisons: tuple[tuple[str, str], ...]
    seeds: tuple[int, ...] = (0, 1, 2)

    def at(
        self, scale: str | None = None, target: str | None = None, select: bool = False
    ) -> Recipe:
        """The recipe at a scale.

        Args:
            scale: Key of ``SCALES``; None: local.
            target: One of ``TARGETS``; None: multitask on embedded data, else per task.
            select: Whether target stages stop early and keep the checkpoint that is best on the
                English validation split; False: all take their last step.
        """
        scale = scale or "local"
        return replace(self.on(SCALES[scale], target, select), scale=scale)

    def on(self, where: Scale, target: str | None = None, select: bool = False) -> Recipe:
        """As ``at``, at a scale of one's own."""
        target = target or ("multitask" if where.pretrained_on else "per_task")
        arms = {
            arm.name: (arm.local if where.pretrained_on else arm.mixtures, arm.text)
            for arm in self.arms
        }
        arms = {name: row for name, row in arms.items() if row[0] is not None}
        first = Stage("pretrain", gin=("gin/pretrain.gin", *where.gin), shared=True)
        stages = [first] if where.pretrained_on else []
        start = first.name if where.pretrained_on else None
        for arm, (mixtures, _) in arms.items():
            stages += _chain(arm, mixtures, start, where, where.targets[target], select)
        return Recipe(
            name=self.name,
            description="The arms differ in intermediate training only.",
            question=self.question,
            stages=tuple(stages),
            arms={name: text for name, (_, text) in arms.items()},
            comparisons=tuple(
                pair for pair in self.comparisons if all(name in arms for name in pair)
            ),
            seeds=self.seeds,
            selection=SELECTION if select else "",
        )


def _chain(
    arm: str,
    mixtures: tuple[str, ...],
    start: str | None,
    scale: Scale,
    targets: tuple[Target, ...],
    select: bool,
) -> list[Stage]:
    """Stages of an arm: intermediate ones, then of each target its training and its scoring."""
    stages = []

    def add(name: str, gin: tuple[str, ...], start_from: str | None, **fields) -> str:
        stages.append(Stage(name, gin=gin, start_from=start_from, arm=arm, **fields))
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
        name = f"{arm}_intermediate{f'_{number}' if len(mixtures) > 1 else ''}"
        start = add(name, ("gin/intermediate.gin", *scale.gin), start, bindings=bindings)
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
                    (arm, "finetune", target.name, str(number) if len(target.train) > 1 else ""),
                )
            )
            gin = ("gin/finetune.gin", *scale.gin, *target.gin)
            tuned = add(name, gin, tuned, bindings=bindings)
        for mixture in target.test:
            task = mixture.partition(".")[0] if target.name else ""
            add(
                "_".join(filter(None, (arm, "zero_shot", task))),
                ("gin/zero_shot_eval.gin", *scale.gin),
                tuned,
                program="evaluate",
                bindings={"MIXTURE_OR_TASK_NAME": mixture},
            )
    return stages


def single_seed(study: Study, **fields) -> Recipe:
    """A study at the local scale with one seed, under another name or description."""
    return replace(study.at(), seeds=(0,), **fields)
