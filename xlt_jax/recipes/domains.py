"""Study D: domain-specific intermediate tasks in English, for languages with few resources."""

from xlt_jax.recipes.study import Arm, Study


def _arm(name: str, local: str | None) -> Arm:
    return Arm(
        name,
        (f"{name}_intermediate",),
        (f"cldr_same_{local}_intermediate",) if local else None,
        f"Intermediate training on English {name} tasks.",
    )


# The embedded data has a counterpart for some: dates (news), money (financial), measures.
_DOMAINS = {
    "medical": None,
    "scientific": "measure",
    "legal": None,
    "financial": "money",
    "news": "date",
}

STUDY = Study(
    name="domains",
    question=(
        "Does intermediate training on tasks of one domain transfer better to other languages than "
        "on general English tasks, and which domain does it best?"
    ),
    arms=(
        Arm(
            "general",
            ("english_intermediate",),
            ("cldr_same_name_intermediate",),
            "Intermediate training on English tasks of no particular domain.",
        ),
        *(_arm(name, local) for name, local in _DOMAINS.items()),
    ),
    comparisons=tuple((name, "general") for name in _DOMAINS),
)
