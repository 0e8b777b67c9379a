"""Zero-shot evaluation: every task's rows through the network, and their metrics.

Rows of all tasks and languages that ask the same of the model (generate, rank answers, embed) are
pooled, sorted by length and cut into batches of few shapes: one compiled function serves all
languages, and no batch is padded to the longest row of a task. Batches are enqueued ahead, so that
the device never waits while the host turns finished ones into text.
"""

import collections
import concurrent.futures
import functools
import itertools
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from xlt_jax.arrays import Params
from xlt_jax.data import cache, leaks, mixtures, sources
from xlt_jax.data.tokens import TokenTable, tokens
from xlt_jax.data.vocab import Vocabulary
from xlt_jax.decoding import constrained, embed, grammar, rank, search
from xlt_jax.evaluation import batching
from xlt_jax.evaluation.parts import Parts
from xlt_jax.evaluation.pools import Arrays, Kind, Options, Pool, Pools
from xlt_jax.evaluation.predictions import Prediction, TaskResult
from xlt_jax.registry import benchmarks
from xlt_jax.registry.benchmarks import Request, split_task
from xlt_jax.training import distributed
from xlt_jax.training.config import DatasetConfig
from xlt_jax.training.partition import Partitioner

# On a CPU rows are decoded together but encoded a few at a time, so that what the encoder computes
# stays in the caches, and rows that have ended are left out while many remain: each halving makes
# the program longer, and halving down to 8 rows took twice the compilation and half as long again
# to answer questions. Tuned on two cores.
CPU_TOKENS, CPU_SLICE_TOKENS, CPU_FEWEST_ROWS = 8192, 512, 32
ACCELERATOR_TOKENS = 32768
IN_FLIGHT = 4  # batches enqueued ahead: the device stays busy, and their inputs fit in memory
MINING_NEIGHBOURS = 4  # Artetxe and Schwenk 2019, arXiv:1811.01136
MIN_CHOICES = 64  # of an automaton's state: tags and the words of most sentences
POLL_S = 1.0  # between looks for the files of other shards
VECTORS_IN_MEMORY = 2**30  # bytes; more of them lie in a file

# Compiled once for each network and shape in a process, whatever evaluator calls them. Parameters
# are arguments, so that later steps of a training compile nothing.
_SIZES = ("max_decode_len", "eos_id", "slice_tokens")
_greedy = jax.jit(search.greedy, static_argnums=0, static_argnames=(*_SIZES, "fewest_rows"))
_scored = jax.jit(search.greedy_scored, static_argnums=0, static_argnames=_SIZES)
_constrained = jax.jit(
    constrained.constrained,
    static_argnums=0,
    static_argnames=("max_choices", "max_decode_len", "slice_tokens"),
)
_rank = jax.jit(rank.rank, static_argnums=0, static_argnames="slice_tokens")
_embed = jax.jit(
    embed.embed, static_argnums=0, static_argnames=("layer", "pooling", "slice_tokens")
)


class Evaluator:
    """Scores tables, once or at many steps of a training: rows are sorted and cut only once."""

    def __init__(
        self,
        network,
        vocabulary: Vocabulary,
        tables: Mapping[str, TokenTable],
        *,
        candidates: Mapping[str, Sequence[TokenTable]] | None = None,
        missing: Sequence[str] = (),
        embedding_layer: int | None = None,
        pooling: str = "mean",
        search_backend: str = "numpy",
        tokens_per_batch: int | None = None,
        logits_per_batch: int = 2**27,
        shard_batch: Callable[[Arrays], dict[str, jax.Array]] = jax.device_put,
        row_multiple: int = 1,
        on_progress: Callable[[int, int], None] | None = None,
        **asked,
    ):
        """Sorts the rows of all tables; nothing is compiled before ``run``.

        Args:
            network: The ``Transformer``.
            vocabulary: Turns generated ids into text.
            tables: By task name, of any benchmarks that are scored.
            candidates: Task -> tables whose rows its queries are searched among, where they are not
                its own targets.
            missing: Tasks that were asked for and have no data; only kept for the report.
            embedding_layer: Layer whose output is pooled for retrieval; None: the last, after the
                final norm.
            pooling: "mean" or "max" over tokens.
            search_backend: "numpy", or "faiss" where that package is installed.
            tokens_per_batch: Input tokens of a full batch, padding included; None: 8192 on a CPU,
                32768 on an accelerator.
            logits_per_batch: Limits a batch's rows by the logits that exist at one time.
            shard_batch: Puts a batch on the devices.
            row_multiple: Rows of every batch are a multiple of it (the mesh's data axis).
            on_progress: Called with (rows done, rows in all) after every batch.
            asked: Fields of ``pools.Options``: max_input_length, classify_by, constrain,
                window_overlap.

        Raises:
            ValueError: No tables, a benchmark that is not scored, a limit below 1, an unknown
                option, or a vocabulary with more ids than the network has.
        """
        if tokens_per_batch is None:
            tokens_per_batch = CPU_TOKENS if jax.default_backend() == "cpu" else ACCELERATOR_TOKENS
        limits = {
            "tokens_per_batch": tokens_per_batch,
            "logits_per_batch": logits_per_batch,
            "row_multiple": row_multiple,
        }
        for name, value in limits.items():
            if value < 1:
                raise ValueError(f"{name} is {value}; give a whole number from 1.")
        choices = {
            "pooling": (pooling, embed.POOLINGS),
            "search_backend": (search_backend, embed.BACKENDS),
        }
        for name, (value, allowed) in choices.items():
            if value not in allowed:
                raise ValueError(f"{name} is {value!r}; give one of {', '.join(allowed)}.")
        vocab_size = network.config.vocab_size
        if vocabulary.vocab_size > vocab_size:
            raise ValueError(
                f"The vocabulary has {vocabulary.vocab_size} ids and the network only {vocab_size}."
                " Take the vocabulary that the checkpoint was trained with."
            )
        unscored = [t for t, x in tables.items() if not x.benchmark.request.scored]
        if unscored or not tables:
            raise ValueError(
                f"Tasks without a score of their own: {', '.join(unscored)}. Leave them out."
                if unscored
                else "No tasks to evaluate: give at least one."
            )
        self._network, self._vocabulary = network, vocabulary
        self.tables, self.missing = dict(tables), tuple(missing)
        self._candidates = dict(candidates or {})
        self._embedding = {"layer": embedding_layer, "pooling": pooling}
        self._search_backend = search_backend
        self._shard_batch, self._on_progress = shard_batch, on_progress
        self._options = Options(**asked)

        self._pools = Pools(tables, self._candidates, vocabulary, self._options)
        self._batches = [
            (pool, batch)
            for pool in self._pools.pools
            for batch in batching.plan(
                [len(ids) for ids in pool.inputs],
                tokens_per_batch=tokens_per_batch,
                max_rows=logits_per_batch // vocab_size,
                row_multiple=row_multiple,
            )
        ]

    @property
    def num_shapes(self) -> int:
        """How many functions a first ``run`` compiles, or a few more."""
        shapes = {
            (pool.kind, pool.answer_shape, batch.size, batch.length)
            for pool, batch in self._batches
        }
        return len(shapes)

    @property
    def fingerprint(self) -> str:
        """Changes with the rows, their order and how they are asked."""
        parts = [str(self._options), str(self._embedding), str(self._network.config)]
        for pool, batch in self._batches:
            parts.append(f"{pool.kind} {pool.answer_shape} {batch.size} {batch.length}")
            parts.append(batch.rows.tobytes().hex())
        parts += [table.folder.name for table in self.tables.values() if table.folder]
        return cache.key(*parts)

    def run(
        self,
        params: Params,
        parts: Parts | None = None,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> dict[str, TaskResult] | None:
        """Metrics and predictions of every table with these parameters.

        Args:
            params: Of the network; in a mesh, call inside its partitioner's context.
            parts: Where outputs are kept as they come; batches that are there are not computed
                again, and with several shards each computes its own and the first joins them.
            on_progress: Instead of the constructor's; what it raises ends the evaluation.

        Returns:
            Task -> result; None in every shard but the first.
        """
        answers = {task: [""] * len(table) for task, table in self.tables.items()}
        likeliest: dict[tuple[str, int], float] = {}  # of rows read in windows
        vectors = self._empty_vectors()
        for pool, row, output in self._all_outputs(params, parts, on_progress or self._on_progress):
            task, number = pool.owners[row]
            if pool.kind is Kind.EMBED:
                vectors[row] = output
            elif pool.kind is Kind.RANK:
                best = int(output.argmax())
                answers[task][number] = self.tables[task].texts[number]["choices"][best]
            elif pool.kind is Kind.WINDOWS:
                score, ids = float(output[0]), output[1:].astype(np.int32)
                if score > likeliest.get((task, number), -np.inf):
                    likeliest[task, number] = score
                    answers[task][number] = self._text(task, ids)
            else:
                answers[task][number] = self._text(task, output)
        if parts is not None and parts.number:
            return None
        for task in self._pools.queries:
            answers[task] = self._nearest(task, vectors)
        return {task: self._result(task, answers[task]) for task in self.tables}

    def _text(self, task: str, ids: np.ndarray) -> str:
        # Rows of other benchmarks in the pool may be allowed more tokens than this one.
        longest = self.tables[task].benchmark.max_target_tokens
        return self._vocabulary.decode(ids[:longest].tolist())

    def _empty_vectors(self) -> np.ndarray:
        """Room for the vectors of all rows that are embedded, in a file where it is large."""
        rows = sum(len(pool.inputs) for pool in self._pools.pools if pool.kind is Kind.EMBED)
        shape = (rows, self._network.config.emb_dim)
        if 4 * rows * shape[1] <= VECTORS_IN_MEMORY:
            return np.zeros(shape, np.float32)
        with tempfile.NamedTemporaryFile(prefix="xlt_vectors_") as file:  # deleted when closed
            return np.memmap(file, np.float32, "w+", shape=shape)

    def _nearest(self, task: str, vectors: np.ndarray) -> list[str]:
        """Predictions of a task of retrieval: ids of the nearest, or the text of the first."""
        table, rows = self.tables[task], self._pools.candidates[task]
        in_order = (np.diff(rows) == 1).all()  # then a part of the file, and no copy of it
        searched = vectors[rows[0] : rows[-1] + 1] if in_order else vectors[rows]
        queries, backend = vectors[self._pools.queries[task]], self._search_backend
        ids = [row["id"] for found in self._candidates.get(task, ()) for row in found.texts]
        if table.benchmark.mined:
            predictions, k = [""] * len(queries), min(MINING_NEIGHBOURS, len(queries), len(rows))
            pairs = embed.mutual(queries, searched, k=k, backend=backend)
            for query, candidate, score in zip(*pairs):
                predictions[query] = f"{ids[candidate]} {score:.6f}"
            return predictions
        top_k = min(table.benchmark.top_k, len(rows))
        found = embed.nearest(queries, searched, top_k, backend=backend).indices
        if task not in self._candidates:
            return [table.texts[first]["targets"] for first in found[:, 0]]
        return [" ".join(ids[candidate] for candidate in row) for row in found]

    def _all_outputs(
        self, params: Params, parts: Parts | None, on_progress: Callable[[int, int], None] | None
    ) -> Iterator[tuple[Pool, int, np.ndarray]]:
        """(pool, row, output of the row) of all batches, those kept in files first."""
        total = sum(len(batch.rows) for _, batch in self._batches)
        done = 0
        pending = set(range(len(self._batches)))

        def finished(number: int, outputs: np.ndarray) -> Iterator[tuple[Pool, int, np.ndarray]]:
            nonlocal done
            pending.discard(number)
            pool, batch = self._batches[number]
            yield from ((pool, row, output) for row, output in zip(batch.rows, outputs))
            done += len(batch.rows)
            if on_progress:
                on_progress(done, total)

        if parts is None:
            for number, outputs in self._outputs(params, sorted(pending)):
                yield from finished(number, outputs)
            return
        for number, outputs in parts.new().items():
            yield from finished(number, outputs)
        try:
            for number, outputs in self._outputs(params, sorted(filter(parts.is_own, pending))):
                parts.add(number, outputs)
                yield from finished(number, outputs)
        finally:
            parts.flush()
        while pending and not parts.number:  # those of the other shards
            for number, outputs in parts.new().items():
                yield from finished(number, outputs)
            if pending:
                time.sleep(POLL_S)

    def _outputs(self, params: Params, numbers: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        """(number, outputs of its rows) of these batches, as they finish in their order."""
        params = jax.tree.map(jnp.asarray, params)
        with concurrent.futures.ThreadPoolExecutor(IN_FLIGHT) as executor:
            start = self._start_on(executor) if _on_one_cpu(params) else self._start
            started = ((number, start(params, *self._batches[number])) for number in numbers)
            waiting = collections.deque(itertools.islice(started, IN_FLIGHT))
            while waiting:
                number, wait = waiting.popleft()
                outputs = wait()[: len(self._batches[number][1].rows)]
                waiting.extend(itertools.islice(started, 1))
                yield number, outputs

    def _start(
        self,
        params: Params,
        pool: Pool,
        batch: batching.BatchPlan,
        slice_tokens: int | None = None,
        fewest_rows: int | None = None,
    ) -> Callable:
        """Enqueues a batch on the devices; the function returned waits for its outputs.

        They are one entry for each row; of windows the score before the ids.
        """
        host = pool.arrays(batch)
        arrays = self._shard_batch(host)
        network, inputs_BL = self._network, arrays["inputs_BL"]
        options = {"slice_tokens": slice_tokens}
        if pool.kind is Kind.RANK:
            outputs = _rank(network, params, inputs_BL, arrays["choices_BCT"], **options)
        elif pool.kind is Kind.EMBED:
            outputs = _embed(network, params, inputs_BL, **self._embedding, **options)
        elif pool.kind is Kind.CONSTRAINED:
            on_host, on_device = (
                grammar.Automata(*(place[name] for name in grammar.Automata._fields))
                for place in (host, arrays)
            )
            outputs, _ = _constrained(
                network,
                params,
                inputs_BL,
                on_device,
                max_choices=max(on_host.max_choices, MIN_CHOICES),
                max_decode_len=pool.answer_shape[0],
                **options,
            )
        else:
            options |= {"max_decode_len": pool.answer_shape[0], "eos_id": self._vocabulary.eos_id}
            if pool.kind is Kind.WINDOWS:
                ids_BT, scores_B = _scored(network, params, inputs_BL, **options)
                outputs = jnp.concatenate([scores_B[:, None], ids_BT.astype(jnp.float32)], axis=1)
            else:
                outputs = _greedy(network, params, inputs_BL, fewest_rows=fewest_rows, **options)
        return functools.partial(distributed.fetch, outputs)

    def _start_on(self, executor: concurrent.futures.Executor) -> Callable:
        """As ``_start``, for one CPU.

        There XLA runs what one thread enqueues one by one, small operations on one core: threads
        use all cores. Several devices need their programs enqueued in one order.
        """

        def start(params: Params, pool: Pool, batch: batching.BatchPlan) -> Callable:
            def outputs() -> np.ndarray:
                return self._start(params, pool, batch, CPU_SLICE_TOKENS, CPU_FEWEST_ROWS)()

            return executor.submit(outputs).result

        return start

    def _result(self, task: str, texts: Sequence[str]) -> TaskResult:
        """Metrics and predictions of a table's rows, one text for each."""
        table, limit = self.tables[task], self._options.max_input_length
        too_long = int((table.inputs.lengths > limit).sum()) - self._pools.windowed.get(task, 0)
        searched = [found.inputs for found in self._candidates.get(task, ())]
        if table.benchmark.request is Request.EMBED:  # candidates are read by the encoder too
            too_long += sum(int((t.lengths > limit).sum()) for t in searched or [table.targets])
        return task_result(table, texts, truncated=too_long)


def task_result(
    table: TokenTable, texts: Sequence[str], truncated: int, parsed: bool = False
) -> TaskResult:
    """Metrics and predictions of a table's rows.

    Args:
        table: Of one task.
        texts: Generated or chosen, one for each row.
        truncated: Rows of which only the beginning was read.
        parsed: Whether the texts are answers already, so that malformed ones cannot be told.
    """
    benchmark, predictions, malformed = table.benchmark, [], 0
    for number, (row, text) in enumerate(zip(table.texts, texts, strict=True)):
        if benchmark.parse and not parsed:
            answer, well_formed = benchmark.parse(row, text)
        else:
            answer, well_formed = text, text in row.get("choices", (text,))
        malformed += not well_formed
        reference = row.get("references", row["targets"])
        score, weight = benchmark.score(reference, answer, table.language)
        predictions.append(
            Prediction(
                id=str(row["id"]),
                inputs=row["inputs"],
                target=reference,
                prediction=answer,
                score=score,
                weight=weight,
                generated=None if answer == text else text,
                texts=leaks.as_text(table.hashes[number]) if table.hashes else (),
            )
        )
    metric = benchmark.metric_of(table.language)
    return TaskResult(
        metrics=metric(
            [row.target for row in predictions], [row.prediction for row in predictions]
        ),
        main_metric=benchmark.main_metric,
        n=len(predictions),
        chance=table.chance,
        truncated=truncated,
        malformed=malformed,
        split=table.split,
        predictions=predictions,
    )


def _on_one_cpu(params: Params) -> bool:
    devices = set().union(*(leaf.devices() for leaf in jax.tree.leaves(params)))
    return len(devices) == 1 and devices.pop().platform == "cpu"


def evaluate(
    network, params: Params, tables: Mapping[str, TokenTable], vocabulary: Vocabulary, **options
) -> dict[str, TaskResult]:
    """One evaluation; ``options`` are those of ``Evaluator``."""
    return Evaluator(network, vocabulary, tables, **options).run(params)


def of_mixture(
    network,
    vocabulary: Vocabulary,
    config: DatasetConfig,
    partitioner: Partitioner,
    *,
    missing: str = "error",
    **options,
) -> Evaluator:
    """An evaluator of the scored tasks of a mixture, over a mesh.

    Args:
        network: See ``Evaluator``.
        vocabulary: See ``Evaluator``.
        config: Names the mixture, its split, and the longest input. Of several splits joined by
            commas each task is scored on the first that is on this machine.
        partitioner: Splits the rows of a batch over the data axis.
        missing: What to do with tasks that have no data here, where the mixture does not skip them
            anyway: "error" or "skip".
        options: Others of ``Evaluator``.

    Raises:
        ValueError: As ``Evaluator``; a task without data.
    """
    if missing not in ("error", "skip"):
        raise ValueError(f"missing is {missing!r}; give 'error' or 'skip'.")
    tables, candidates, lacking = {}, {}, []
    mixture = mixtures.get(config.mixture_or_task_name)
    for name in mixture.tasks:
        benchmark, language = split_task(name)
        if not benchmark.request.scored:
            continue
        split = sources.first_split(benchmark, language, config.split)
        if split is None and (missing == "skip" or mixture.skip_missing):
            lacking.append(name)
            continue
        tables[name] = tokens(name, split or config.split, vocabulary)
        if benchmark.candidates:
            pool = benchmarks.get(benchmark.candidates)
            codes = pool.languages if benchmark.candidates_pooled else (language,)
            candidates[name] = [
                tokens(f"{pool.name}.{code}", tables[name].split, vocabulary) for code in codes
            ]
    return Evaluator(
        network,
        vocabulary,
        tables,
        candidates=candidates,
        missing=lacking,
        max_input_length=config.task_feature_lengths["inputs"],
        shard_batch=functools.partial(
            distributed.global_arrays, sharding=partitioner.batch_sharding
        ),
        row_multiple=partitioner.rows_multiple,
        **options,
    )
