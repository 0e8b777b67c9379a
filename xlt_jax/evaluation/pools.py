"""Rows of any tasks and languages, pooled by what they ask of the network."""

import enum
import functools
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from xlt_jax.data.tokens import TokenTable
from xlt_jax.data.vocab import Vocabulary
from xlt_jax.decoding import grammar
from xlt_jax.evaluation import batching
from xlt_jax.registry.benchmarks import LabelledSpans, Request, TaggedWords

Arrays = dict[str, np.ndarray]
CLASSIFY_BY = ("rank", "generate")
# Shapes of what is scored or generated, rounded up to one of these so that few are compiled.
ANSWER_LENGTHS = (2, 4, 8, *batching.LENGTHS)
NUM_CHOICES = (2, 3, 4, 5, 6, 8, 12, *batching.LENGTHS)
CONSTRAINED_LENGTHS = tuple(8 * 4**power for power in range(12))
MIN_WINDOW = 16  # tokens of context that a window has room for; else the row is cut


class Kind(enum.Enum):
    """What a compiled function does with a batch."""

    GENERATE = "generate"  # greedy
    WINDOWS = "windows"  # greedy with its log-probability, to choose among windows of one row
    CONSTRAINED = "constrained"  # greedy among what an automaton allows
    RANK = "rank"  # log-probability of each choice
    EMBED = "embed"  # sentence vector


@dataclass(frozen=True)
class Options:
    """How rows are asked.

    Attributes:
        max_input_length: Longer inputs are cut to so many tokens, the last of them still
            end-of-sequence; results say how many were. Where they end in a context, it is read in
            windows instead, and the most probable answer counts.
        classify_by: "rank" scores each choice of a row and takes the most probable; "generate"
            takes the text that the model writes, which may be none of them.
        constrain: Whether taggers can only write well-formed output.
        window_overlap: Share of a window's context that the next one reads again.

    Raises:
        ValueError: A value that is not allowed.
    """

    max_input_length: int = 1024
    classify_by: str = "rank"
    constrain: bool = True
    window_overlap: float = 0.5

    def __post_init__(self):
        if self.classify_by not in CLASSIFY_BY:
            raise ValueError(f"classify_by is {self.classify_by!r}; give one of {CLASSIFY_BY}.")
        if not 0 <= self.window_overlap < 1:
            raise ValueError(f"window_overlap is {self.window_overlap}; give 0 to below 1.")
        if self.max_input_length < 1:
            raise ValueError(
                f"max_input_length is {self.max_input_length}; give a whole number from 1."
            )


@dataclass
class Pool:
    """Rows that one function serves.

    Attributes:
        kind: What is asked.
        answer_shape: Of generation (T,), of ranking (C, T), of embedding ().
        inputs: Token ids of each row.
        extras: Of ranking each row's choices as token ids, of constrained ones ``_Form``.
        owners: (task, number of the row in its table).
    """

    kind: Kind
    answer_shape: tuple[int, ...]
    inputs: list[np.ndarray] = field(default_factory=list)
    extras: list = field(default_factory=list)
    owners: list[tuple[str, int]] = field(default_factory=list)

    def arrays(self, batch: batching.BatchPlan) -> Arrays:
        """The arrays of one batch; surplus rows are padding."""
        inputs_BL = np.zeros((batch.size, batch.length), np.int32)
        for number, row in enumerate(batch.rows):
            inputs_BL[number, : len(self.inputs[row])] = self.inputs[row]
        arrays = {"inputs_BL": inputs_BL}
        if self.kind is Kind.RANK:
            choices_BCT = np.zeros((batch.size, *self.answer_shape), np.int32)
            for number, row in enumerate(batch.rows):
                for choice, ids in enumerate(self.extras[row]):
                    choices_BCT[number, choice, : len(ids)] = ids
            arrays["choices_BCT"] = choices_BCT
        elif self.kind is Kind.CONSTRAINED:
            automata = [self.extras[row].automaton() for row in batch.rows]
            # Sizes that the tags of a batch this long mostly fit in.
            at_least = (2 * batch.length, 32 * batch.length, 64 * batch.length)
            arrays |= grammar.stack(automata, batch.size, at_least)._asdict()
        return arrays


@dataclass(frozen=True)
class _Form:
    """The form of one row's answer, in token ids."""

    words: list[list[int]]
    labels: tuple[tuple[int, ...], ...]
    separator: tuple[int, ...] | None  # None: tagged words
    nothing: tuple[int, ...]
    eos_id: int

    @property
    def longest(self) -> int:
        """Tokens of the longest answer of this form."""
        label = max(map(len, self.labels)) + len(self.separator or ())
        return sum(map(len, self.words)) + len(self.words) * label + len(self.nothing) + 1

    def automaton(self) -> grammar.Automaton:
        if self.separator is None:
            return grammar.tagged_words(self.words, self.labels, self.eos_id)
        return grammar.labelled_spans(
            self.words, self.labels, self.separator, self.eos_id, nothing=self.nothing
        )


class Pools:
    """The pools of several tables.

    Attributes:
        pools: In a fixed order.
        queries: Of tasks that are embedded, task -> rows of the pool of vectors.
        candidates: Likewise, the rows that are searched.
        windowed: task -> number of rows read in several windows.
    """

    def __init__(
        self,
        tables: Mapping[str, TokenTable],
        candidates: Mapping[str, Sequence[TokenTable]],
        vocabulary: Vocabulary,
        options: Options,
    ):
        """Sorts the rows into pools.

        Args:
            tables: By task.
            candidates: Task -> tables that are searched, where they are not its own targets.
            vocabulary: Encodes the forms of answers.
            options: How rows are asked.
        """
        self._vocabulary, self._options = vocabulary, options
        self._pools: dict[tuple, Pool] = {}
        self._embedded: dict[bytes, int] = {}  # ids -> row: candidates recur in many tasks
        self._candidate_rows: dict[str, np.ndarray] = {}  # by name of the candidates' table
        self.queries: dict[str, np.ndarray] = {}
        self.candidates: dict[str, np.ndarray] = {}
        self.windowed: dict[str, int] = {}
        for task, table in tables.items():
            request = table.benchmark.request
            if request is Request.EMBED:
                self._add_embedded(task, table, candidates.get(task))
            elif request is Request.RANK and options.classify_by == "rank":
                self._add_ranked(task, table)
            elif table.benchmark.constraint and options.constrain:
                self._add_constrained(task, table)
            else:
                self._add_generated(task, table)
        self.pools = list(self._pools.values())

    def _pool(self, kind: Kind, *answer_shape: int) -> Pool:
        return self._pools.setdefault((kind, answer_shape), Pool(kind, answer_shape))

    def _add_generated(self, task: str, table: TokenTable) -> None:
        longest = batching.bucket(table.benchmark.max_target_tokens, ANSWER_LENGTHS)
        for number in range(len(table)):
            windows = self._windows(table, number)
            pool = self._pool(Kind.WINDOWS if len(windows) > 1 else Kind.GENERATE, longest)
            pool.inputs.extend(windows)
            pool.owners.extend([(task, number)] * len(windows))
            self.windowed[task] = self.windowed.get(task, 0) + (len(windows) > 1)

    def _add_ranked(self, task: str, table: TokenTable) -> None:
        for number in range(len(table)):
            first, last = table.choice_offsets[number : number + 2]
            choices = [table.choices[choice] for choice in range(first, last)]
            pool = self._pool(
                Kind.RANK,
                batching.bucket(len(choices), NUM_CHOICES),
                batching.bucket(max(map(len, choices)), ANSWER_LENGTHS),
            )
            pool.inputs.append(self._cut(table.inputs[number]))
            pool.extras.append(choices)
            pool.owners.append((task, number))

    def _add_constrained(self, task: str, table: TokenTable) -> None:
        forms = [table.benchmark.constraint(row) for row in table.texts]
        encoded = iter(
            self._vocabulary.encode_words([word for form in forms for word in form.words])
        )
        for number, form in enumerate(forms):
            made = self._form(form, list(itertools.islice(encoded, len(form.words))))
            longest = min(made.longest, table.benchmark.max_target_tokens)
            pool = self._pool(Kind.CONSTRAINED, batching.bucket(longest, CONSTRAINED_LENGTHS))
            pool.inputs.append(self._cut(table.inputs[number]))
            pool.extras.append(made)
            pool.owners.append((task, number))

    def _add_embedded(
        self, task: str, table: TokenTable, candidates: Sequence[TokenTable] | None
    ) -> None:
        self.queries[task] = self._embed(table.inputs)
        if candidates is None:
            self.candidates[task] = self._embed(table.targets)
            return
        for found in candidates:
            if found.name not in self._candidate_rows:
                self._candidate_rows[found.name] = self._embed(found.inputs)
        rows = [self._candidate_rows[found.name] for found in candidates]
        self.candidates[task] = np.concatenate(rows) if len(rows) > 1 else rows[0]

    def _embed(self, texts) -> np.ndarray:
        pool = self._pool(Kind.EMBED)
        rows = np.empty(len(texts), np.int64)
        for number in range(len(texts)):
            ids = self._cut(texts[number])
            rows[number] = self._embedded.setdefault(ids.tobytes(), len(pool.inputs))
            if rows[number] == len(pool.inputs):
                pool.inputs.append(ids)
                pool.owners.append(("", int(rows[number])))
        return rows

    def _form(self, form: TaggedWords | LabelledSpans, words: list[list[int]]) -> _Form:
        eos_id = self._vocabulary.eos_id
        if isinstance(form, TaggedWords):
            return _Form(words, self._encoded(form.tags), None, (), eos_id)
        separator, nothing = self._encoded((form.separator, form.nothing))
        return _Form(words, self._encoded(form.labels), separator, nothing, eos_id)

    @functools.cache  # noqa: B019 (as long-lived as the pools)
    def _encoded(self, texts: tuple[str, ...]) -> tuple[tuple[int, ...], ...]:
        return tuple(map(tuple, self._vocabulary.encode_words(texts)))

    def _windows(self, table: TokenTable, number: int) -> list[np.ndarray]:
        """The row's inputs, or parts of its context that overlap, each after what precedes it."""
        ids, limit = table.inputs[number], self._options.max_input_length
        if len(ids) <= limit or table.context_starts is None:
            return [self._cut(ids)]
        start = int(table.context_starts[number])
        room = limit - start - 1
        if room < MIN_WINDOW:
            return [self._cut(ids)]
        stride = max(1, int(room * (1 - self._options.window_overlap)))
        begins = range(start, max(start + 1, len(ids) - 1 - room + stride), stride)
        head, end = ids[:start], ids[-1:]
        return [
            np.concatenate([head, ids[begin : min(begin + room, len(ids) - 1)], end])
            for begin in begins
        ]

    def _cut(self, ids: np.ndarray) -> np.ndarray:
        """Ids within the limit, the last of them (end-of-sequence) kept."""
        limit = self._options.max_input_length
        return ids if len(ids) <= limit else np.append(ids[: limit - 1], ids[-1])
