"""Study E: English intermediate tasks, each alone and all together, and what could beat them.

After Phang et al. 2020, arXiv:2005.13013; the list of nine tasks is a recollection of it.
"""

from xlt_jax.recipes.study import Arm, Study

_NINE = (
    "anli", "mnli", "qqp", "squad", "squad_v2", "hellaswag", "ccg", "cosmos_qa", "commonsense_qa",
)  # fmt: skip
_EMBEDDED = ("kind", "same", "convert")

STUDY = Study(
    name="english_tasks",
    question=(
        "Which English intermediate tasks help zero-shot transfer, alone or all together, and does "
        "language modelling beside them or their translation help more?"
    ),
    arms=(
        Arm("none", (), (), "No intermediate training."),
        *(
            Arm(name, (f"{name}_intermediate",), None, f"Intermediate training on {name} alone.")
            for name in _NINE
        ),
        *(
            Arm(
                name,
                None,
                (f"cldr_{name}_intermediate",),
                f"Intermediate training on cldr_{name} in English alone.",
            )
            for name in _EMBEDDED
        ),
        Arm(
            "all",
            ("nine_intermediate",),
            ("cldr_english_intermediate",),
            "Intermediate training on all of the English tasks together.",
        ),
        Arm(
            "all_with_text",
            ("nine_with_text_intermediate",),
            ("cldr_english_with_text_intermediate",),
            "The same with multilingual language modelling mixed in, 1 example for 100.",
        ),
        Arm(
            "text",
            ("text_intermediate",),
            ("cldr_text_intermediate",),
            "Multilingual language modelling alone, for as many steps.",
        ),
        Arm(
            "translated",
            ("translated_intermediate",),
            ("cldr_multilingual_intermediate",),
            "Intermediate training on the tasks in translation.",
        ),
    ),
    comparisons=(
        ("all", "none"),
        *((name, "none") for name in (*_NINE, *_EMBEDDED)),
        ("all", "text"),
        ("all_with_text", "all"),
        ("translated", "all"),
    ),
)
