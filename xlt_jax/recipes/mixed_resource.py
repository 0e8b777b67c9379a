"""Study A: intermediate training on mixed high- and low-resource languages against English."""

from xlt_jax.recipes.study import ENGLISH, Arm, Study

STUDY = Study(
    name="mixed_resource",
    question=(
        "Does multitask intermediate training on tasks in mixed high- and low-resource languages "
        "transfer better to other languages than the same amount of it on English tasks?"
    ),
    arms=(
        ENGLISH,
        Arm(
            "mixed",
            ("multitask_intermediate",),
            ("cldr_multitask_intermediate",),
            "Intermediate training on tasks in mixed high- and low-resource languages.",
        ),
    ),
    comparisons=(("mixed", "english"),),
)
