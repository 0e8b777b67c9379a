"""Benchmarks, tables and a vocabulary of numbers for tests of the evaluator."""

import numpy as np

from xlt_jax.data.tokens import Ragged, TokenTable
from xlt_jax.registry.benchmarks import Benchmark, Request

VOCAB = 64


class Numbers:
    """A vocabulary whose text is its ids, as in ``"12 7 5"``."""

    vocab_size, pad_id, eos_id, unk_id = VOCAB, 0, 1, 2

    def encode(self, text):
        return [int(word) for word in text.split()]

    def encode_words(self, texts):
        return [self.encode(text) for text in texts]

    def decode(self, ids):
        ids = list(ids)
        ids = ids[: ids.index(1)] if 1 in ids else ids
        return " ".join(str(number) for number in ids if number)


def benchmark(name, request, metric, example_score, **options):
    return Benchmark(
        name=name,
        description="",
        languages=("en", "de", "sw"),
        source=(),
        prompt=dict,
        request=request,
        kind="other",
        metric=metric,
        example_score=example_score,
        main_metric=next(iter(metric(["1"], ["1"]))),
        chance=lambda rows: 0.25,
        **options,
    )


def build(bench, language, texts):
    def ragged(column):
        rows = [np.array([*Numbers().encode(text), 1], np.int32) for text in column]
        return Ragged(np.concatenate(rows), np.cumsum([0, *map(len, rows)]))

    ranked = bench.request is Request.RANK
    made = TokenTable(
        name=f"{bench.name}.{language}",
        split="test",
        benchmark=bench,
        language=language,
        folder=None,
        inputs=ragged([row["inputs"] for row in texts]),
        targets=ragged([row["targets"] for row in texts]),
        choices=ragged([c for row in texts for c in row["choices"]]) if ranked else None,
        choice_offsets=(
            np.cumsum([0, *(len(row["choices"]) for row in texts)]) if ranked else None
        ),
        chance=0.25,
    )
    made.__dict__["texts"] = texts  # the cached property reads a file otherwise
    return made
