"""How well languages are aligned inside the encoder, layer by layer, by parallel sentences.

P pairs of sentences   W distinct linked words
"""

import functools
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

from xlt_jax.arrays import Params
from xlt_jax.data import alignment, mixtures, sources
from xlt_jax.data.augmentation import MaskedPairs
from xlt_jax.data.tokens import TokenTable, tokens
from xlt_jax.data.vocab import Vocabulary
from xlt_jax.evaluation import batching
from xlt_jax.evaluation.measures import SHOWN, Measure
from xlt_jax.metrics import representation, word_alignment
from xlt_jax.models import mt5
from xlt_jax.registry import benchmarks

SPLITS = "test,validation,train"  # of each task the first that is there
MAX_PAIRS = 500  # of a task: the first ones


def open_tables(mixture: str, vocabulary: Vocabulary) -> list[TokenTable]:
    """Of every task of parallel pairs that has data on this machine.

    Args:
        mixture: Of tasks of kind "parallel".
        vocabulary: Of the network.

    Raises:
        ValueError: A task is of another kind or has fewer than four pairs; or none has data, unless
            the mixture is one that skips those.
    """
    mixture = mixtures.get(mixture)
    for task in mixture.tasks:
        benchmark, _ = benchmarks.split_task(task)
        if benchmark.kind != "parallel":
            raise ValueError(
                f"{task} is of kind {benchmark.kind!r}; alignment is measured on tasks of parallel "
                "pairs, such as those of cldr_parallel."
            )
    missing = set(sources.missing_tasks(mixture.tasks, SPLITS))
    chosen = [task for task in mixture.tasks if task not in missing]
    if not chosen and not mixture.skip_missing:
        raise ValueError(
            f"No task of {mixture.name} has data on this machine: {' '.join(sorted(missing))}."
        )
    tables = [tokens(task, SPLITS, vocabulary, [MaskedPairs()]) for task in chosen]
    for table in tables:
        if len(table) < 4:
            raise ValueError(
                f"{table.name} has {len(table)} pairs; alignment is measured on 4 or more."
            )
    return tables


def measures(
    network: mt5.Transformer,
    params: Params,
    tables: Sequence[TokenTable],
    *,
    max_pairs: int = MAX_PAIRS,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Measure]:
    """Of every table of parallel pairs, at every depth of the encoder.

    Args:
        network: The encoder-decoder, of which the encoder is used.
        params: Its parameters.
        tables: From ``open_tables``.
        max_pairs: Of each table, the first ones; 4 or more.
        on_progress: Called with the number of tables done, and of all.
    """
    encode = jax.jit(functools.partial(_all_states, network))
    found = []
    for number, table in enumerate(tables, start=1):
        found += _of_table(functools.partial(encode, params), table, min(max_pairs, len(table)))
        on_progress(number, len(tables))
    return found


def show(found: Sequence[Measure]) -> None:
    """Prints the mean over languages, a row for each layer."""
    values: dict[tuple[int, str], list[float]] = defaultdict(list)
    for one in found:
        values[one.layer, one.name].append(one.value)
    names = [name for name in SHOWN if any(one.name == name for one in found)]
    table = Table("layer", *(SHOWN[name] for name in names))
    for layer in sorted({one.layer for one in found}):
        cells = (values[layer, name] for name in names)
        table.add_row(str(layer), *(f"{np.mean(cell):.3f}" if cell else "-" for cell in cells))
    Console().print(table)


def _all_states(network: mt5.Transformer, params: Params, ids_BL: Any) -> Any:
    states, _ = network.apply({"params": params}, ids_BL, method="all_states", mutable=["probes"])
    return states


def _of_table(encode: Callable, table: TokenTable, pairs: int) -> list[Measure]:
    rows = [table.row(number) for number in range(pairs)]
    states = [_states(encode, [row[side] for row in rows]) for side in ("inputs", "targets")]
    links = [row["links"].reshape(-1, 2) for row in rows]
    result = []
    means_NPD = [np.stack([x_NLD.mean(axis=1) for x_NLD in x], axis=1) for x in states]
    for layer, (own_PD, other_PD) in enumerate(zip(*means_NPD)):
        scores = _of_sentences(own_PD, other_PD)
        result += [(layer, name, value, pairs) for name, value in scores.items()]
    if any(map(len, links)):
        found, count = _of_words(rows, *states, links)
        for layer, scores in enumerate(found):
            result += [(layer, name, value, count) for name, value in scores.items()]
    return [Measure(table.name, table.language, *one) for one in result]


def _states(encode: Callable, rows: Sequence[np.ndarray]) -> list[np.ndarray]:
    """States of every sentence at all depths, NLD each."""
    found: list[Any] = [None] * len(rows)
    lengths = [max(len(ids), 1) for ids in rows]
    for batch in batching.plan(lengths, tokens_per_batch=4096, max_rows=256):
        ids_BL = np.zeros((batch.size, batch.length), np.int32)
        for place, row in enumerate(batch.rows):
            ids_BL[place, : len(rows[row])] = rows[row]
        states_NBLD = np.asarray(encode(ids_BL))
        for place, row in enumerate(batch.rows):
            found[row] = states_NBLD[:, place, : lengths[row]]
    return found


def _of_sentences(own_PD: np.ndarray, other_PD: np.ndarray) -> dict[str, float]:
    result = {}
    for score in ("cosine", "csls"):
        k = min(10, len(own_PD))
        found = representation.retrieval(own_PD, other_PD, score=score, k=k)
        for name in ("accuracy", "mrr"):
            both = [found[f"{name}_{way}"] for way in ("forward", "backward")]
            result[f"{name}_{score}"] = float(np.mean(both))
    result["cka"] = representation.debiased_cka(own_PD, other_PD)
    result["svcca"] = representation.svcca(own_PD, other_PD)
    return result


def _of_words(
    rows: Sequence[dict], own: Sequence[np.ndarray], other: Sequence[np.ndarray], links: Sequence
) -> tuple[list[dict[str, float]], int]:
    """Of each layer: word links against those of the rows, and words found by mean vectors."""
    gold, predicted = [], [[] for _ in own[0]]
    vectors: dict[tuple, list] = defaultdict(list)
    for row, own_NLD, other_NLD, link in zip(rows, own, other, links):
        # Words are numbered through both sentences. A word may have no token of its own, where one
        # reaches from the word before into it: it has no vector and no link.
        size, number = len(row["inputs"]), 1 + int(row["words"].max(initial=0))
        own_words, other_words = row["words"][:size], row["words"][size:]
        own_NWD = alignment.word_vectors(own_NLD, own_words, number)
        other_NWD = alignment.word_vectors(other_NLD, other_words, number)
        there = set(own_words.tolist()), set(other_words.tolist())
        true = [(i, j) for i, j in link.tolist() if i in there[0] and j in there[1]]
        gold.append(true)
        for found, own_WD, other_WD in zip(predicted, own_NWD, other_NWD):
            found.append(alignment.mutual_argmax(own_WD, other_WD))
        for i, j in true:
            text = tuple(row["inputs"][own_words == i])
            vectors[text].append((own_NWD[:, i], other_NWD[:, j]))
    result = [word_alignment.alignment_error_rate(gold, found) for found in predicted]
    if len(vectors) > 1:
        pairs = np.stack([np.mean(found, axis=0) for found in vectors.values()], axis=2)
        for scores, (own_WD, other_WD) in zip(result, np.moveaxis(pairs, 0, 1)):
            found = representation.retrieval(own_WD, other_WD)
            both = [found[f"accuracy_{way}"] for way in ("forward", "backward")]
            scores["word_accuracy"] = float(np.mean(both))
    return result, sum(map(len, gold))
