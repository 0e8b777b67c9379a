"""A small end-to-end on real text: what of the original data sets is on this machine.

A tiny model is pre-trained on WikiANN's sentences, trained on parts of English intermediate tasks,
fine-tuned on English, and scored on XTREME-R's tests. Its scores are no reference for any paper.
"""

from xlt_jax.recipes.study import Arm, Scale, Study, Target

RECIPE = Study(
    name="real_small",
    question=(
        "Does English intermediate training help a tiny model, pre-trained on a little real text, "
        "on XTREME-R's tests in other languages?"
    ),
    arms=(
        Arm(
            "intermediate",
            None,
            ("real_small_intermediate",),
            "Trained on HellaSwag, Cosmos QA, CommonsenseQA, SQuAD, MNLI and SNLI, then on English "
            "target tasks.",
        ),
        Arm("none", None, (), "Pre-training, then English target tasks."),
    ),
    comparisons=(("intermediate", "none"),),
    seeds=(0,),
).on(
    Scale(
        ("gin/real_small.gin",),
        1_000,
        {"multitask": (Target("", ("real_small_target",), ("real_small_scored",)),)},
        pretrained_on="real_small_pretrain",
    )
)
