"""Study C: intermediate training on groups of high-resource languages."""

from xlt_jax.recipes.study import Arm, Study

_GROUPS = {"romance": "Romance", "germanic": "Germanic", "slavic": "Slavic"}

STUDY = Study(
    name="language_subsets",
    question=(
        "Which high-resource languages serve best for intermediate training: Romance, Germanic, "
        "Slavic, or all of them?"
    ),
    arms=(
        *(
            Arm(
                name,
                (f"{name}_intermediate",),
                (f"cldr_{name}_intermediate",),
                f"Intermediate training on tasks in high-resource {words} languages but English.",
            )
            for name, words in _GROUPS.items()
        ),
        Arm(
            "all",
            ("high_resource_intermediate",),
            ("cldr_high_resource_intermediate",),
            "Intermediate training on tasks in all high-resource languages but English.",
        ),
    ),
    comparisons=(
        ("romance", "germanic"),
        ("romance", "slavic"),
        ("germanic", "slavic"),
        *(("all", name) for name in _GROUPS),
    ),
)
