"""Mixtures of the embedded data: pre-training, two intermediate stages, fine-tuning, scoring."""

from tasks.cldr import choice, convert, kind, pairs, parallel, qa, retrieval, same, tags, text
from xlt_jax.data.mixtures import Part, register, tasks
from xlt_jax.registry import languages

# mT5 samples languages with exponent 0.3 (Xue et al. 2021, section 3.2).
_MT5_TEMPERATURE = 1 / 0.3
_INTERMEDIATE = tuple(module.BENCHMARK.name for module in (kind, same, convert))
_TARGET = tuple(module.BENCHMARK.name for module in (pairs, choice, tags, qa))

register(
    "cldr_pretrain",
    Part(tasks([text.BENCHMARK.name]), share=0.5, temperature=_MT5_TEMPERATURE),
    Part(tasks([parallel.BENCHMARK.name]), share=0.5, temperature=_MT5_TEMPERATURE),
)
register("cldr_english_intermediate", Part(tasks(_INTERMEDIATE, ["en"])))
register(
    "cldr_multitask_intermediate",
    *(
        Part(tasks(_INTERMEDIATE, languages.select(resource=resource)), share=share)
        for resource, share in (("high", 0.4), ("mid", 0.3), ("low", 0.3))
    ),
)
register("cldr_english_target", Part(tasks(_TARGET, ["en"])))
register("cldr_target", Part(tasks((*_TARGET, retrieval.BENCHMARK.name))))
