"""The whole idea on embedded CLDR data with a tiny mT5: does intermediate training transfer?

Intermediate-task training: Phang et al. 2020, arXiv:2005.13013. Pre-training on 49 languages is
shared; the arms differ in the intermediate stage only.
"""

from xlt_jax.recipes.stage import Recipe, Stage

LOCAL = "gin/local.gin"  # given last: turns any run into one on the embedded data


def _target_stages(arm: str, start_from: str) -> tuple[Stage, ...]:
    return (
        Stage(f"{arm}_finetune", gin=("gin/finetune.gin", LOCAL), start_from=start_from, arm=arm),
        Stage(
            f"{arm}_zero_shot",
            gin=("gin/zero_shot_eval.gin", LOCAL),
            program="evaluate",
            start_from=f"{arm}_finetune",
            arm=arm,
        ),
    )


def _intermediate_stage(arm: str) -> Stage:
    return Stage(
        f"{arm}_intermediate",
        gin=(f"gin/{arm}_intermediate.gin", LOCAL),
        start_from="pretrain",
        arm=arm,
    )


RECIPE = Recipe(
    name="demo",
    description=(
        "Pre-trains a tiny mT5 on CLDR text in 49 languages, trains it on an intermediate mixture, "
        "fine-tunes on English tasks, and scores it zero-shot in all languages."
    ),
    stages=(
        Stage("pretrain", gin=("gin/pretrain.gin", LOCAL)),
        _intermediate_stage("english"),
        *_target_stages("english", start_from="english_intermediate"),
        _intermediate_stage("multitask"),
        *_target_stages("multitask", start_from="multitask_intermediate"),
        # Last: the shortest chain, which gets all cores when the others have ended.
        *_target_stages("none", start_from="pretrain"),
    ),
    arms={
        "none": "No intermediate training: pre-training, then English target tasks.",
        "english": "Intermediate training on English tasks only.",
        "multitask": "Intermediate training on tasks in mixed high- and low-resource languages.",
    },
    comparisons=(("multitask", "english"), ("multitask", "none"), ("english", "none")),
)
