"""Study B: a multilingual intermediate stage before the English one, against English only."""

from xlt_jax.recipes.study import ENGLISH, Arm, Study

STUDY = Study(
    name="multilingual_first",
    question=(
        "Does a multilingual stage before English intermediate training transfer better than "
        "English intermediate training of the same length?"
    ),
    arms=(
        ENGLISH,
        Arm(
            "multilingual_first",
            ("multilingual_intermediate", "english_intermediate"),
            ("cldr_multilingual_intermediate", "cldr_english_intermediate"),
            "Half of the steps on tasks in other languages, then half on English tasks.",
        ),
    ),
    comparisons=(("multilingual_first", "english"),),
)
