"""Study F: methods against each other, on the same data for the same number of steps.

Robust training as Huang et al. 2021 (arXiv:2104.08645) and Ding et al. 2022 (arXiv:2210.09934) have
it, while training on English pairs of sentences; alignment as Lample and Conneau 2019
(arXiv:1901.07291) and Yang et al. 2021 (arXiv:2106.01732), on parallel text before that. All arms
see both; those without a method for the parallel text translate it, both ways.
"""

from xlt_jax.recipes.study import Arm, Study, Target

_PARALLEL = (("parallel_text",), ("cldr_parallel",))
_UNPACKED = ("gin/unpacked.gin",)  # EAR cannot be packed; all arms have equal batches


def _arm(name: str, text: str, objective: str = "", target_objective: str = "") -> Arm:
    gin, target_gin = (
        (f"gin/objectives/{file}.gin",) if file else () for file in (objective, target_objective)
    )
    return Arm(name, *_PARALLEL, text, gin, target_gin)


_METHODS = {
    "rs_rp": _arm("rs_rp", "Random perturbation of the token vectors.", target_objective="rs_rp"),
    "rs_da": _arm("rs_da", "Words replaced by synonyms.", target_objective="rs_da"),
    "adv": _arm("adv", "Adversarial perturbation of the token vectors.", target_objective="adv"),
    "ear": _arm(
        "ear",
        "Embeddings of two versions pushed apart, their attention pulled together.",
        target_objective="push_pull",
    ),
    "tlm": _arm("tlm", "Translation language modelling on the parallel text.", "tlm"),
    "weam": _arm("weam", "Word exchange on the parallel text.", "weam"),
}

STUDY = Study(
    name="methods",
    question=(
        "Which method makes training on English transfer better: robust training, or alignment on "
        "parallel text?"
    ),
    description="The arms differ in the objective of one stage; data and steps are the same.",
    arms=(
        _arm("plain", "The parallel text is translated, English tasks are trained on as usual."),
        *_METHODS.values(),
    ),
    comparisons=tuple((name, "plain") for name in _METHODS),
    # Pairs of sentences, which all of these methods were made for, also in two languages.
    targets=(
        Target("mnli", ("mnli.en",), ("xnli.zero_shot", "xnli_pairs.zero_shot"), _UNPACKED),
        Target("pawsx", ("pawsx.en",), ("pawsx.zero_shot", "pawsx_pairs.zero_shot"), _UNPACKED),
    ),
    local=(
        Target(
            "", ("cldr_english_target",), ("cldr_target", "cldr_bilingual.zero_shot"), _UNPACKED
        ),
    ),
)
