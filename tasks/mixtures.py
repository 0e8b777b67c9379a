"""Mixtures of the real data: intermediate training, fine-tuning on English, zero-shot scoring."""

from tasks.intermediate import cosmos_qa, hellaswag, mnli, paws_x, squad, wikiann
from tasks.xtreme_r import xnli, xquad
from xlt_jax.data.mixtures import Part, register, tasks
from xlt_jax.registry import languages

_ENGLISH = tuple(module.BENCHMARK.name for module in (mnli, squad, hellaswag, cosmos_qa))

# The cap keeps MNLI's 393 thousand rows from drowning Cosmos QA's 25 thousand.
_ENGLISH_PART = Part((*tasks(_ENGLISH), "paws_x.en"), cap=100_000)

register("english_intermediate", _ENGLISH_PART)
register(
    "multitask_intermediate",
    _ENGLISH_PART,
    Part(tasks([paws_x.BENCHMARK.name]), share=0.5),
    *(
        Part(
            tasks([wikiann.BENCHMARK.name], languages.select(resource=resource)),
            share=share,
            temperature=1 / 0.3,
        )
        for resource, share in (("high", 0.1), ("mid", 0.2), ("low", 0.2))
    ),
)
register("english_target", Part(("mnli.en", "squad.en"), cap=100_000))
register("target", Part(tasks([xnli.BENCHMARK.name, xquad.BENCHMARK.name])))
