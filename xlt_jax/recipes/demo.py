"""The whole idea on embedded CLDR data with a tiny mT5: does intermediate training transfer?

Intermediate-task training: Phang et al. 2020, arXiv:2005.13013. Pre-training on 49 languages is
shared; the arms differ in the intermediate stage only. One seed: the studies have three.
"""

from xlt_jax.recipes.study import ENGLISH, Arm, Study, single_seed

RECIPE = single_seed(
    Study(
        name="demo",
        question="",
        arms=(
            ENGLISH,
            Arm(
                "multitask",
                None,
                ("cldr_multitask_intermediate",),
                "Intermediate training on tasks in mixed high- and low-resource languages.",
            ),
            # Last: the shortest chain, which gets all cores when the others have ended.
            Arm(
                "none",
                None,
                (),
                "No intermediate training: pre-training, then English target tasks.",
            ),
        ),
        comparisons=(("multitask", "english"), ("multitask", "none"), ("english", "none")),
    ),
    description=(
        "Pre-trains a tiny mT5 on CLDR text in 49 languages, trains it on an intermediate mixture, "
        "fine-tunes on English tasks, and scores it zero-shot in all languages."
    ),
    scale="",
)
