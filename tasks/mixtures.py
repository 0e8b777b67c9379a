"""Mixtures: pre-training, intermediate training, fine-tuning on English, zero-shot scoring.

All are queries over benchmarks and languages. Those that begin with ``cldr_`` are the embedded
counterparts, which gin/local.gin puts in place.
"""

from tasks.cldr import choice, convert, kind, pairs, parallel, qa, retrieval, same, tags, text
from tasks.extra import panx_text, translate_train
from tasks.intermediate import (
    anli,
    ccg,
    commonsense_qa,
    cosmos_qa,
    hellaswag,
    mnli,
    parallel_text,
    qqp,
    squad,
    text_corpora,
)
from xlt_jax.data.mixtures import Part, by_resource, register, select, tasks, with_text
from xlt_jax.registry import benchmarks, languages, xtreme

# mT5 samples languages with exponent 0.3 (Xue et al. 2021, section 3.2).
_MT5_TEMPERATURE = 1 / 0.3
# Language modelling beside labelled tasks: 1 : 100 is what mT5 mixes in while it is fine-tuned.
_TEXT_RATIO = 0.01
# The cap keeps MNLI's 393 thousand rows from drowning Cosmos QA's 25 thousand.
_CAP = 100_000
_XTREME_R = tuple(xtreme.tasks("xtreme-r").values())
_TESTED = tuple(task.name for task in _XTREME_R)
_TRANSLATED = tuple(f"{name}_translate_train" for name in ("xnli", "pawsx", "xquad", "tydiqa"))
_OTHERS = tuple(code for code in languages.LANGUAGES if code != "en")
# Groups of high-resource languages, English aside.
SUBSETS = {
    "romance": languages.select(genus="Romance", resource="high"),
    "germanic": languages.select(genus="Germanic", resource="high", exclude="en"),
    "slavic": languages.select(genus="Slavic", resource="high"),
    "high_resource": languages.select(resource="high", exclude="en"),
}

# ------------------------------------------------------------------------ intermediate: English
_ENGLISH_PART = Part(
    (*tasks(module.BENCHMARK.name for module in (mnli, squad, hellaswag, cosmos_qa)), "pawsx.en"),
    cap=_CAP,
)
register("english_intermediate", _ENGLISH_PART)

# The nine tasks of Phang et al. 2020 (arXiv:2005.13013), each alone and together; the list is a
# recollection of the paper.
NINE = {
    "anli": tasks([*(item.name for item in anli.BENCHMARKS), "snli", "mnli"], ["en"]),
    "mnli": tasks([mnli.BENCHMARK.name]),
    "qqp": tasks([qqp.BENCHMARK.name]),
    "squad": tasks([squad.BENCHMARK.name]),
    "squad_v2": tasks([squad.UNANSWERABLE.name]),
    "hellaswag": tasks([hellaswag.BENCHMARK.name]),
    "ccg": tasks([ccg.BENCHMARK.name]),
    "cosmos_qa": tasks([cosmos_qa.BENCHMARK.name]),
    "commonsense_qa": tasks([commonsense_qa.BENCHMARK.name]),
}
for _name, _tasks in NINE.items():
    register(f"{_name}_intermediate", Part(_tasks))
_NINE_PART = Part(tuple(dict.fromkeys(task for found in NINE.values() for task in found)), cap=_CAP)
_TEXT = Part(tasks([text_corpora.MC4.name]), temperature=_MT5_TEMPERATURE)
register("nine_intermediate", _NINE_PART)
register("nine_with_text_intermediate", *with_text([_NINE_PART], _TEXT, _TEXT_RATIO))
register("text_intermediate", _TEXT)

# ------------------------------------------------- intermediate: several languages, and domains
# What XTREME-R scores is left out, so that its scores stay zero-shot; so are translations.
_LABELLED = select(languages=_OTHERS, exclude=(*_TESTED, *_TRANSLATED))
register("multilingual_intermediate", Part(_LABELLED, temperature=_MT5_TEMPERATURE, cap=_CAP))
register(
    "multitask_intermediate",
    _ENGLISH_PART,
    *by_resource(_LABELLED, high=0.4, mid=0.3, low=0.3),
)
register("translated_intermediate", Part(tasks(_TRANSLATED), cap=_CAP))
for _subset, _codes in SUBSETS.items():
    register(f"{_subset}_intermediate", Part(select(languages=_codes, exclude=_TESTED), cap=_CAP))
for _domain in ("medical", "scientific", "legal", "financial", "news"):
    _tasks = select(languages=["en"], domain=_domain, exclude=_TESTED)
    register(f"{_domain}_intermediate", Part(_tasks, cap=_CAP))

# Sentences with their English: for alignment, and to measure it.
_PARALLEL_TEXT = Part(tasks([parallel_text.BENCHMARK.name]), temperature=_MT5_TEMPERATURE)
register("parallel_text", _PARALLEL_TEXT, skip_missing=True)

# ---------------------------------------------------------------------------- target and scoring
register("english_target", Part(("mnli.en", "squad.en"), cap=_CAP))

# Of every benchmark what to train on in English, and what to score.
for _benchmark in benchmarks.all_benchmarks():
    if _benchmark.english_training:
        register(f"{_benchmark.name}.train", Part(_benchmark.english_training))
    if _benchmark.request.scored:
        register(f"{_benchmark.name}.zero_shot", Part(_benchmark.task_names()))

for _name, _tasks in translate_train.MIXTURES.items():
    register(f"{_name}.translate_train", Part(_tasks))

register("xtreme_r", Part(tasks(_TESTED)))
for _group in dict.fromkeys(task.group for task in _XTREME_R):
    register(
        f"xtreme_r.{_group}",
        Part(tasks(task.name for task in _XTREME_R if task.group == _group)),
    )
for _resource in ("high", "mid", "low"):
    register(
        f"xtreme_r.{_resource}_resource",
        Part(tasks(_TESTED, languages.select(resource=_resource))),
    )

# ------------------------------------------------------------- a small copy of real data
_REAL_SMALL = ("hellaswag", "cosmos_qa", "commonsense_qa", "squad", "mnli", "snli")
for _name, _part in {
    "pretrain": Part(tasks([panx_text.BENCHMARK.name]), temperature=_MT5_TEMPERATURE),
    "intermediate": Part(tasks(_REAL_SMALL), cap=_CAP),
    "target": Part(("mnli.en", "copa.en", "udpos.en", "squad.en"), temperature=2.0),
    # Classification in every language; of what has many rows or long ones a few languages.
    "scored": Part(
        (
            *tasks(("xnli", "xcopa")),
            *tasks(("udpos", "tatoeba"), "en de ru ar hi th zh".split()),
            *tasks(("xquad",), "en de hi".split()),  # its contexts are read in many windows
        )
    ),
}.items():
    register(f"real_small_{_name}", _part, skip_missing=True)

# -------------------------------------------------------------------------------- embedded data
_CLDR_INTERMEDIATE = tuple(module.BENCHMARK.name for module in (kind, same, convert))
_CLDR_TARGET = tuple(module.BENCHMARK.name for module in (pairs, choice, tags, qa))
_CLDR_TEXT = Part(tasks([text.BENCHMARK.name]), temperature=_MT5_TEMPERATURE)
_CLDR_ENGLISH = Part(tasks(_CLDR_INTERMEDIATE, ["en"]))

register(
    "cldr_pretrain",
    Part(tasks([text.BENCHMARK.name]), share=0.5, temperature=_MT5_TEMPERATURE),
    Part(tasks([parallel.BENCHMARK.name]), share=0.5, temperature=_MT5_TEMPERATURE),
)
register("cldr_parallel", Part(tasks([parallel.BENCHMARK.name])))
register("cldr_english_intermediate", _CLDR_ENGLISH)
register("cldr_text_intermediate", _CLDR_TEXT)
register(
    "cldr_english_with_text_intermediate", *with_text([_CLDR_ENGLISH], _CLDR_TEXT, _TEXT_RATIO)
)
for _name in _CLDR_INTERMEDIATE:
    register(f"{_name}_intermediate", Part(tasks([_name], ["en"])))
register(
    "cldr_multitask_intermediate",
    *by_resource(tasks(_CLDR_INTERMEDIATE), high=0.4, mid=0.3, low=0.3),
)
# CLDR's rows are the same facts in every language, so those of others are translations.
register("cldr_multilingual_intermediate", Part(tasks(_CLDR_INTERMEDIATE, _OTHERS)))
for _subset, _codes in SUBSETS.items():
    register(f"cldr_{_subset}_intermediate", Part(tasks(_CLDR_INTERMEDIATE, _codes)))
for _benchmark in same.BY_KIND:
    register(f"{_benchmark.name}_intermediate", Part(tasks([_benchmark.name], ["en"])))
# Shares by what a tiny model finds hard.
register(
    "cldr_english_target",
    *(
        Part(tasks([module.BENCHMARK.name], ["en"]), share=share)
        for module, share in ((pairs, 0.45), (choice, 0.1), (tags, 0.15), (qa, 0.3))
    ),
)
register("cldr_target", Part(tasks((*_CLDR_TARGET, retrieval.BENCHMARK.name))))
