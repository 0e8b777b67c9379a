"""Mixtures: pre-training, intermediate training, fine-tuning on English, zero-shot scoring.

Those that begin with ``cldr_`` are the embedded counterparts, which gin/local.gin puts in place.
"""

from tasks.cldr import choice, convert, kind, pairs, parallel, qa, retrieval, same, tags, text
from tasks.extra import pawsx, translate_train
from tasks.intermediate import cosmos_qa, hellaswag, mnli, squad
from tasks.xtreme_r import panx
from xlt_jax.data.mixtures import Part, register, tasks
from xlt_jax.registry import benchmarks, languages, xtreme

# mT5 samples languages with exponent 0.3 (Xue et al. 2021, section 3.2).
_MT5_TEMPERATURE = 1 / 0.3

_ENGLISH = tuple(module.BENCHMARK.name for module in (mnli, squad, hellaswag, cosmos_qa))

# The cap keeps MNLI's 393 thousand rows from drowning Cosmos QA's 25 thousand.
_ENGLISH_PART = Part((*tasks(_ENGLISH), "pawsx.en"), cap=100_000)

register("english_intermediate", _ENGLISH_PART)
register(
    "multitask_intermediate",
    _ENGLISH_PART,
    Part(tasks([pawsx.BENCHMARK.name]), share=0.5),
    *(
        Part(
            tasks([panx.BENCHMARK.name], languages.select(resource=resource)),
            share=share,
            temperature=_MT5_TEMPERATURE,
        )
        for resource, share in (("high", 0.1), ("mid", 0.2), ("low", 0.2))
    ),
)
register("english_target", Part(("mnli.en", "squad.en"), cap=100_000))

# Every benchmark with training tasks of its own: what to train on in English, what to score.
for _benchmark in benchmarks.all_benchmarks():
    if _benchmark.english_training:
        register(f"{_benchmark.name}.train", Part(_benchmark.english_training))
        register(f"{_benchmark.name}.zero_shot", Part(_benchmark.task_names()))

for _name, _tasks in translate_train.MIXTURES.items():
    register(f"{_name}.translate_train", Part(_tasks))

_XTREME_R = tuple(xtreme.tasks("xtreme-r").values())
register("xtreme_r", Part(tasks(task.name for task in _XTREME_R)))
for _group in dict.fromkeys(task.group for task in _XTREME_R):
    register(
        f"xtreme_r.{_group}",
        Part(tasks(task.name for task in _XTREME_R if task.group == _group)),
    )
for _resource in ("high", "mid", "low"):
    register(
        f"xtreme_r.{_resource}_resource",
        Part(tasks((task.name for task in _XTREME_R), languages.select(resource=_resource))),
    )

_CLDR_INTERMEDIATE = tuple(module.BENCHMARK.name for module in (kind, same, convert))
_CLDR_TARGET = tuple(module.BENCHMARK.name for module in (pairs, choice, tags, qa))

register(
    "cldr_pretrain",
    Part(tasks([text.BENCHMARK.name]), share=0.5, temperature=_MT5_TEMPERATURE),
    Part(tasks([parallel.BENCHMARK.name]), share=0.5, temperature=_MT5_TEMPERATURE),
)
register("cldr_english_intermediate", Part(tasks(_CLDR_INTERMEDIATE, ["en"])))
register(
    "cldr_multitask_intermediate",
    *(
        Part(tasks(_CLDR_INTERMEDIATE, languages.select(resource=resource)), share=share)
        for resource, share in (("high", 0.4), ("mid", 0.3), ("low", 0.3))
    ),
)
# Shares by what a tiny model finds hard.
register(
    "cldr_english_target",
    *(
        Part(tasks([module.BENCHMARK.name], ["en"]), share=share)
        for module, share in ((pairs, 0.45), (choice, 0.1), (tags, 0.15), (qa, 0.3))
    ),
)
register("cldr_target", Part(tasks((*_CLDR_TARGET, retrieval.BENCHMARK.name))))
