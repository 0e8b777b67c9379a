"""cldr_bilingual: cldr_pairs with the two statements in two languages; ``cldr_bilingual.en-sw`` has
an English premise and a Swahili hypothesis.

The generalized setting of Huang et al. 2021 (arXiv:2104.08645), over some of all pairs: English
with every language, and every language with the one after it by code.
"""

from collections.abc import Iterator
from dataclasses import replace

from tasks.cldr import facts, pairs
from xlt_jax.registry import benchmarks

_OTHERS = tuple(code for code in facts.LANGUAGES if code != "en")
_LANGUAGES = (
    *(f"en-{code}" for code in _OTHERS),
    *(f"{code}-{_OTHERS[(i + 1) % len(_OTHERS)]}" for i, code in enumerate(_OTHERS)),
)


def source(language: str, split: str) -> Iterator[dict]:
    """The premises of one language and the hypotheses of the same rows in the other."""
    premises, hypotheses = (pairs.BENCHMARK.source(code, split) for code in language.split("-"))
    for premise, hypothesis in zip(premises, hypotheses):
        yield {**premise, "hypothesis": hypothesis["hypothesis"]}


BENCHMARK = benchmarks.register(
    replace(
        pairs.BENCHMARK,
        name="cldr_bilingual",
        description="Do two statements in two languages agree, contradict each other, or neither?",
        languages=_LANGUAGES,
        source=source,
        overlaps=(
            benchmarks.Overlap(
                "cldr_pairs",
                {split: (split,) for split in facts.SPLITS},
                "Its rows, the two statements in two languages.",
            ),
        ),
    )
)
