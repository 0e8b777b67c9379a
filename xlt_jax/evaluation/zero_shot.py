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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np

from xlt_jax.arrays import Params
from xlt_jax.data import mixtures
from xlt_jax.data.tokens import TokenTable, tokens
from xlt_jax.data.vocab import Vocabulary
from xlt_jax.decoding import embed, rank, search
from xlt_jax.evaluation import batching
from xlt_jax.evaluation.predictions import Prediction, TaskResult
from xlt_jax.registry.benchmarks import Request, split_task
from xlt_jax.training.config import DatasetConfig
from xlt_jax.training.partition import Partitioner

Arrays = dict[str, np.ndarray]
# Shapes of what is scored or generated, rounded up to one of these so that few are compiled.
ANSWER_LENGTHS = (2, 4, 8, *batching.LENGTHS)
NUM_CHOICES = (2, 3, 4, 5, 6, 8, 12, *batching.LENGTHS)
# On a CPU rows are decoded together but encoded a few at a time, so that what the encoder computes
# stays in the caches, and rows that have ended are left out. Tuned on two cores.
CPU_TOKENS, CPU_SLICE_TOKENS, CPU_FEWEST_ROWS = 8192, 512, 8
ACCELERATOR_TOKENS = 32768
IN_FLIGHT = 4  # batches enqueued ahead: the device stays busy, and their inputs fit in memory

# Compiled once for each network and shape in a process, whatever evaluator calls them. Parameters
# are arguments, so that later steps of a training compile nothing.
_greedy = jax.jit(
    search.greedy,
    static_argnums=0,
    static_argnames=("max_decode_len", "eos_id", "slice_tokens", "fewest_rows"),
)
_rank = jax.jit(rank.rank, static_argnums=0, static_argnames="slice_tokens")
_embed = jax.jit(embed.embed, static_argnums=0, static_argnames="slice_tokens")


@dataclass
class _Pool:
    """Rows of any tasks that one function serves.

    Attributes:
        request: What is asked.
        answer_shape: Of generation (T,), of ranking (C, T), of embedding ().
        inputs: Token ids of each row.
        choices: Of ranking: each row's choices as token ids.
        owners: (task, number of the row in its table).
    """

    request: Request
    answer_shape: tuple[int, ...]
    inputs: list[np.ndarray] = field(default_factory=list)
    choices: list[list[np.ndarray]] = field(default_factory=list)
    owners: list[tuple[str, int]] = field(default_factory=list)

    def arrays(self, batch: batching.BatchPlan) -> Arrays:
        """The arrays of one batch; surplus rows are padding."""
        inputs_BL = np.zeros((batch.size, batch.length), np.int32)
        for number, row in enumerate(batch.rows):
            inputs_BL[number, : len(self.inputs[row])] = self.inputs[row]
        if self.request is not Request.RANK:
            return {"inputs_BL": inputs_BL}
        choices_BCT = np.zeros((batch.size, *self.answer_shape), np.int32)
        for number, row in enumerate(batch.rows):
            for choice, ids in enumerate(self.choices[row]):
                choices_BCT[number, choice, : len(ids)] = ids
        return {"inputs_BL": inputs_BL, "choices_BCT": choices_BCT}


class Evaluator:
    """Scores tables, once or at many steps of a training: rows are sorted and cut only once."""

    def __init__(
        self,
        network,
        vocabulary: Vocabulary,
        tables: Mapping[str, TokenTable],
        *,
        max_input_length: int = 1024,
        tokens_per_batch: int | None = None,
        logits_per_batch: int = 2**27,
        shard_batch: Callable[[Arrays], dict[str, jax.Array]] = jax.device_put,
        row_multiple: int = 1,
        on_progress: Callable[[int, int], None] | None = None,
    ):
        """Sorts the rows of all tables; nothing is compiled before ``run``.

        Args:
            network: The ``Transformer``.
            vocabulary: Turns generated ids into text.
            tables: By task name, of any benchmarks that are scored.
            max_input_length: Longer inputs are cut to so many tokens, the last of them still
                end-of-sequence; results say how many were.
            tokens_per_batch: Input tokens of a full batch, padding included; None: 8192 on a CPU,
                32768 on an accelerator.
            logits_per_batch: Limits a batch's rows by the logits that exist at one time.
            shard_batch: Puts a batch on the devices.
            row_multiple: Rows of every batch are a multiple of it (the mesh's data axis).
            on_progress: Called with (rows done, rows in all) after every batch.

        Raises:
            ValueError: No tables, a benchmark that is not scored, a limit below 1, or a vocabulary
                with more ids than the network has.
        """
        if tokens_per_batch is None:
            tokens_per_batch = CPU_TOKENS if jax.default_backend() == "cpu" else ACCELERATOR_TOKENS
        limits = {
            "max_input_length": max_input_length,
            "tokens_per_batch": tokens_per_batch,
            "logits_per_batch": logits_per_batch,
            "row_multiple": row_multiple,
        }
        for name, value in limits.items():
            if value < 1:
                raise ValueError(f"{name} is {value}; give a whole number from 1.")
        vocab_size = network.config.vocab_size
        if vocabulary.vocab_size > vocab_size:
            raise ValueError(
                f"The vocabulary has {vocabulary.vocab_size} ids and the network only {vocab_size}."
                " Take the vocabulary that the checkpoint was trained with."
            )
        unscored = [t for t, x in tables.items() if x.benchmark.request is Request.TRAIN_ONLY]
        if unscored or not tables:
            raise ValueError(
                f"Tasks that are only for training have no metric: {', '.join(unscored)}. Leave "
                "them out."
                if unscored
                else "No tasks to evaluate: give at least one."
            )
        self._network, self._vocabulary, self._tables = network, vocabulary, dict(tables)
        self._max_input_length = max_input_length
        self._shard_batch, self._on_progress = shard_batch, on_progress

        self._embedded: dict[str, tuple[list[int], list[int]]] = {}  # task -> queries, candidates
        self._pools = self._make_pools()
        self._batches = [
            (pool, batch)
            for pool in self._pools
            for batch in batching.plan(
                [len(ids) for ids in pool.inputs],
                tokens_per_batch=tokens_per_batch,
                max_rows=logits_per_batch // vocab_size,
                row_multiple=row_multiple,
            )
        ]

    @property
    def num_shapes(self) -> int:
        """How many functions a first ``run`` compiles."""
        shapes = {
            (pool.request, pool.answer_shape, batch.size, batch.length)
            for pool, batch in self._batches
        }
        return len(shapes)

    def run(self, params: Params) -> dict[str, TaskResult]:
        """Metrics and predictions of every table with these parameters.

        Args:
            params: Of the network; in a mesh, call inside its partitioner's context.
        """
        answers = {task: [""] * len(table) for task, table in self._tables.items()}
        vectors: dict[int, np.ndarray] = {}
        for pool, row, output in self._outputs(params):
            task, number = pool.owners[row]
            if pool.request is Request.GENERATE:
                # Rows of other benchmarks in the pool may be allowed more tokens than this one.
                longest = self._tables[task].benchmark.max_target_tokens
                answers[task][number] = self._vocabulary.decode(output[:longest].tolist())
            elif pool.request is Request.RANK:
                best = int(output.argmax())
                answers[task][number] = self._tables[task].texts[number]["choices"][best]
            else:
                vectors[row] = output
        for task, (queries, candidates) in self._embedded.items():
            best = _nearest(
                np.stack([vectors[row] for row in queries]),
                np.stack([vectors[row] for row in candidates]),
            )
            texts = self._tables[task].texts
            answers[task] = [texts[row]["targets"] for row in best]
        return {
            task: task_result(table, answers[task], self._max_input_length)
            for task, table in self._tables.items()
        }

    def _outputs(self, params: Params) -> Iterator[tuple[_Pool, int, np.ndarray]]:
        """(pool, row, output of the row), batch by batch."""
        params = jax.tree.map(jnp.asarray, params)
        total = sum(len(pool.inputs) for pool in self._pools)
        done = 0
        with concurrent.futures.ThreadPoolExecutor(IN_FLIGHT) as executor:
            start = self._start_on(executor) if _on_one_cpu(params) else self._start
            started = ((p, batch.rows, start(params, p, batch)) for p, batch in self._batches)
            waiting = collections.deque(itertools.islice(started, IN_FLIGHT))
            while waiting:
                pool, rows, wait = waiting.popleft()
                outputs = wait()
                waiting.extend(itertools.islice(started, 1))
                yield from ((pool, row, output) for row, output in zip(rows, outputs))
                done += len(rows)
                if self._on_progress:
                    self._on_progress(done, total)

    def _start(
        self,
        params: Params,
        pool: _Pool,
        batch: batching.BatchPlan,
        slice_tokens: int | None = None,
        fewest_rows: int | None = None,
    ) -> Callable:
        """Enqueues a batch on the devices; the function returned waits for its outputs."""
        arrays = self._shard_batch(pool.arrays(batch))
        inputs_BL = arrays["inputs_BL"]
        if pool.request is Request.RANK:
            outputs = _rank(
                self._network, params, inputs_BL, arrays["choices_BCT"], slice_tokens=slice_tokens
            )
        elif pool.request is Request.EMBED:
            outputs = _embed(self._network, params, inputs_BL, slice_tokens=slice_tokens)
        else:
            outputs = _greedy(
                self._network,
                params,
                inputs_BL,
                max_decode_len=pool.answer_shape[0],
                eos_id=self._vocabulary.eos_id,
                slice_tokens=slice_tokens,
                fewest_rows=fewest_rows,
            )
        return functools.partial(np.asarray, outputs)

    def _start_on(self, executor: concurrent.futures.Executor) -> Callable:
        """As ``_start``, for one CPU.

        There XLA runs what one thread enqueues one by one, small operations on one core: threads
        use all cores. Several devices need their programs enqueued in one order.
        """

        def start(params: Params, pool: _Pool, batch: batching.BatchPlan) -> Callable:
            def outputs() -> np.ndarray:
                return self._start(params, pool, batch, CPU_SLICE_TOKENS, CPU_FEWEST_ROWS)()

            return executor.submit(outputs).result

        return start

    def _make_pools(self) -> list[_Pool]:
        pools: dict[tuple, _Pool] = {}
        seen: dict[bytes, int] = {}  # embedded ids -> row: English candidates recur in every task

        def pool_of(request: Request, *answer_shape: int) -> _Pool:
            return pools.setdefault((request, answer_shape), _Pool(request, answer_shape))

        def embedded_row(ids: np.ndarray) -> int:
            pool = pool_of(Request.EMBED)
            row = seen.setdefault(ids.tobytes(), len(pool.inputs))
            if row == len(pool.inputs):
                pool.inputs.append(ids)
                pool.owners.append(("", row))
            return row

        for task, table in self._tables.items():
            request = table.benchmark.request
            if request is Request.EMBED:
                rows = range(len(table))
                self._embedded[task] = (
                    [embedded_row(self._cut(table.inputs[row])) for row in rows],
                    [embedded_row(self._cut(table.targets[row])) for row in rows],
                )
                continue
            for number in range(len(table)):
                if request is Request.RANK:
                    first, last = table.choice_offsets[number : number + 2]
                    choices = [table.choices[choice] for choice in range(first, last)]
                    longest = max(map(len, choices))
                    pool = pool_of(
                        request,
                        batching.bucket(len(choices), NUM_CHOICES),
                        batching.bucket(longest, ANSWER_LENGTHS),
                    )
                    pool.choices.append(choices)
                else:
                    longest = table.benchmark.max_target_tokens
                    pool = pool_of(request, batching.bucket(longest, ANSWER_LENGTHS))
                pool.inputs.append(self._cut(table.inputs[number]))
                pool.owners.append((task, number))
        return list(pools.values())

    def _cut(self, ids: np.ndarray) -> np.ndarray:
        """Ids within the limit, the last of them (end-of-sequence) kept."""
        limit = self._max_input_length
        return ids if len(ids) <= limit else np.append(ids[: limit - 1], ids[-1])


def task_result(table: TokenTable, answers: Sequence[str], max_input_length: int) -> TaskResult:
    """Metrics and predictions of a table's rows, one answer for each."""
    benchmark = table.benchmark
    too_long = table.inputs.lengths > max_input_length
    if benchmark.request is Request.EMBED:  # candidates are read by the encoder too
        too_long = too_long | (table.targets.lengths > max_input_length)
    predictions = [
        Prediction(
            id=str(row["id"]),
            inputs=row["inputs"],
            target=row["targets"],
            prediction=answer,
            score=float(benchmark.example_score(row["targets"], answer)),
        )
        for row, answer in zip(table.texts, answers, strict=True)
    ]
    return TaskResult(
        metrics=benchmark.metric([row["targets"] for row in table.texts], answers),
        main_metric=benchmark.main_metric,
        n=len(predictions),
        chance=table.chance,
        truncated=int(too_long.sum()),
        predictions=predictions,
    )


def _on_one_cpu(params: Params) -> bool:
    devices = set().union(*(leaf.devices() for leaf in jax.tree.leaves(params)))
    return len(devices) == 1 and devices.pop().platform == "cpu"


def _nearest(queries_QD: np.ndarray, candidates_ND: np.ndarray) -> np.ndarray:
    """Index of the nearest candidate of each query.

    Both are repeated up to a bucket's size, as every new shape would be compiled.
    """
    rows, width = candidates_ND.shape
    found = embed.nearest(
        np.resize(queries_QD, (batching.bucket(len(queries_QD)), width)),
        np.resize(candidates_ND, (batching.bucket(rows), width)),
    )
    return found.indices[: len(queries_QD), 0] % rows


def evaluate(
    network, params: Params, tables: Mapping[str, TokenTable], vocabulary: Vocabulary, **options
) -> dict[str, TaskResult]:
    """One evaluation; ``options`` are those of ``Evaluator``."""
    return Evaluator(network, vocabulary, tables, **options).run(params)


def of_mixture(
    network, vocabulary: Vocabulary, config: DatasetConfig, partitioner: Partitioner, **options
) -> Evaluator:
    """An evaluator of the scored tasks of a mixture, over a mesh.

    Args:
        network: See ``Evaluator``.
        vocabulary: See ``Evaluator``.
        config: Names the mixture, its split, and the longest input.
        partitioner: Splits the rows of a batch over the data axis.
        options: Others of ``Evaluator``.
    """
    tables = {
        name: tokens(name, config.split, vocabulary)
        for name in mixtures.get(config.mixture_or_task_name).tasks
        if split_task(name)[0].request is not Request.TRAIN_ONLY
    }
    return Evaluator(
        network,
        vocabulary,
        tables,
        max_input_length=config.task_feature_lengths["inputs"],
        shard_batch=partitioner.shard_batch,
        row_multiple=partitioner.mesh.shape["data"],
        **options,
    )
