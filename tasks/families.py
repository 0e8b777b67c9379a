"""How benchmarks of one family are asked and scored: fields that their files share.

A file adds ``**families.QUESTIONS`` to what is its own: sources, prompt, licence.
"""

import functools
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from xlt_jax.data import prompts
from xlt_jax.metrics import classification, retrieval, span_qa, tagging
from xlt_jax.registry.benchmarks import Request


def _family(**fields) -> Mapping[str, Any]:
    return MappingProxyType(fields)


# One of a few answers, each scored by the model.
CLASSES = _family(
    request=Request.RANK,
    metric=classification.accuracy,
    example_score=classification.exact,
    main_metric="accuracy",
)
# The same of two sentences; the answers are a few words that all rows share.
PAIRS = _family(**CLASSES, kind="pair", chance=prompts.largest_class, max_target_tokens=8)
# The same where the answers are texts of the row.
CHOICES = _family(**CLASSES, kind="choice", chance=prompts.one_of_choices)
# A span of a context, in SQuAD's manner.
QUESTIONS = _family(
    parse=prompts.parse_answer,
    request=Request.GENERATE,
    kind="qa",
    metric=functools.partial(span_qa.squad, manner="squad"),
    example_score=functools.partial(span_qa.f1, manner="squad"),
    main_metric="f1",
    chance=prompts.no_answer,
    max_target_tokens=64,
)
# Named entities as text, scored as tags.
ENTITIES = _family(
    parse=prompts.parse_entities,
    constraint=prompts.entity_constraint,
    request=Request.GENERATE,
    kind="tagging",
    metric=tagging.entity_f1,
    example_counts=tagging.entity_counts,
    main_metric="f1",
    chance=prompts.no_answer,
    max_target_tokens=128,
)
# The 20 nearest among the candidates of all languages.
RANKINGS = _family(
    request=Request.EMBED,
    candidates_pooled=True,
    top_k=20,
    kind="retrieval",
    metric=retrieval.map_at_20,
    example_score=retrieval.average_precision_at_20,
    main_metric="map_at_20",
    chance=prompts.no_answer,
)
