"""Features: token tables to batches of model features, the border between host and device.

The stream of batches is a pure function of (tables, rates, seed, position): a resumed run reads the
very batches that an uninterrupted one would have read, and every process reads its rows of the same
global batch, however many processes there are.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xlt_jax.data import cache, mixtures, sources
from xlt_jax.data.augmentation import Augmentation
from xlt_jax.data.tokens import TokenTable, tokens
from xlt_jax.data.vocab import Vocabulary

# Random streams drawn from one seed; the number keeps them apart.
_CHOICE, _EPOCH, _NOISE, _ORDER = range(4)
_PACKING_WINDOW = 16  # open rows that packing tries, newest first
# Encoder features that augmentations give; the first is another version of the inputs, the others
# stand at their positions.
EXTRA_FEATURES = {
    "views": "encoder_view_tokens",
    "masked": "encoder_target_tokens",
    "aligned": "encoder_aligned_tokens",
}
Ids = Mapping[str, np.ndarray]  # of one example: inputs, targets, extra features


@dataclass(frozen=True)
class Features:
    """One batch, and which examples are in it; task numbers are the stream's."""

    arrays: dict[str, np.ndarray]  # B, L or T each: int32; the names are seqio's
    examples: np.ndarray  # int64: how many of each task, in the global batch
    sources: list[list[tuple[int, int]]]  # of each of its rows: task and row of every example


class BatchStream:
    """Endless batches of a mixture, resumable at any batch.

    Examples are drawn task by task at the mixture's rates, each task in a new random order every
    epoch, in chunks of a fixed number of draws; a chunk is packed, its rows shuffled and cut into
    batches. ``state()`` is small: where the chunk began and how many of its rows are used.
    """

    def __init__(
        self,
        tables: Sequence[TokenTable],
        rates: Mapping[str, float],
        *,
        feature_lengths: Mapping[str, int],
        batch_size: int,
        seed: int,
        pack: bool = True,
        shuffle: bool = True,
        own_rows: Sequence[int] | None = None,
    ):
        """Opens nothing but what it is given.

        Args:
            tables: One per task of ``rates``, the order defines task numbers.
            rates: Probability per task name, summing to one.
            feature_lengths: Tokens of ``inputs`` and ``targets``; longer examples are cut, keeping
                their end-of-sequence.
            batch_size: Rows of the global batch.
            seed: Of everything random here.
            pack: Several examples per row, with segment ids.
            shuffle: False reads every task in its own order.
            own_rows: Rows of the global batch that this process makes arrays of; None: all.

        Raises:
            ValueError: Two versions of inputs are to be packed.
        """
        self._features = tuple(
            name for name in EXTRA_FEATURES if any(name in table.features for table in tables)
        )
        if pack and "views" in self._features:
            raise ValueError(
                "Two versions of an example differ in length and cannot be packed side by side: "
                "set PACK to False."
            )
        self.names = [table.name for table in tables]
        self.rates = {name: rates[name] for name in self.names}
        self._tables = list(tables)
        self._cumulative_rates = np.cumsum([rates[name] for name in self.names])
        self._lengths = {name: feature_lengths[name] for name in ("inputs", "targets")}
        self._batch_size, self._pack, self._shuffle, self._seed = batch_size, pack, shuffle, seed
        self._own_rows = range(batch_size) if own_rows is None else own_rows
        self._chunk_examples = max(1024, 16 * batch_size)
        self._orders: dict[int, tuple[int, np.ndarray]] = {}
        self._fingerprint = cache.key(
            *(f"{name} {rates[name]:.12g} {len(table)}" for name, table in zip(self.names, tables)),
            f"{sorted(feature_lengths.items())} {batch_size} {seed} {pack} {shuffle}",
        )
        # The draw number of each task at the beginning of the current chunk, the chunk's number,
        # and how many of the rows made since that beginning have gone into batches.
        self._start_draws = np.zeros(len(self.names), np.int64)
        self._start_chunk, self._used_rows = 0, 0
        self._make()

    @property
    def examples_per_batch(self) -> float:
        """Examples in a batch, the mean over the current chunk: more than rows where packed."""
        examples = sum(map(len, self._chunk))
        return examples / len(self._chunk) * self._batch_size

    def state(self) -> dict:
        """Position after the last batch that was returned, as JSON."""
        return {
            "fingerprint": self._fingerprint,
            "chunk": self._start_chunk,
            "used_rows": self._used_rows,
            "draws": self._start_draws.tolist(),
        }

    def restore(self, state: Mapping) -> None:
        """Continues after the batch at which ``state`` was taken.

        Raises:
            ValueError: The state is of another mixture, batch size, length or seed.
        """
        if state["fingerprint"] != self._fingerprint:
            raise ValueError(
                "The checkpoint's data position belongs to another mixture, batch size, feature "
                "length, seed or data version than this run's. Restore them, or start a new "
                "MODEL_DIR with INITIAL_CHECKPOINT_PATH set to the checkpoint."
            )
        self._start_draws = np.asarray(state["draws"], np.int64)
        self._start_chunk, self._used_rows = state["chunk"], state["used_rows"]
        self._make()

    def __iter__(self) -> Iterator[Features]:
        return self

    def __next__(self) -> Features:
        rows = []
        while len(rows) < self._batch_size:
            if self._used_rows == len(self._chunk):
                self._start_draws, self._start_chunk = self._end_draws, self._start_chunk + 1
                self._used_rows = 0
                self._make()
            taken = self._chunk[self._used_rows : self._used_rows + self._batch_size - len(rows)]
            rows += taken
            self._used_rows += len(taken)
        examples = np.bincount(
            [number for row in rows for number, _, _ in row], minlength=len(self.names)
        )
        own = [[ids for _, ids, _ in row] for row in map(rows.__getitem__, self._own_rows)]
        arrays = to_arrays(own, self._lengths, self._features, packed=self._pack)
        sources = [[(int(number), source) for number, _, source in row] for row in rows]
        return Features(arrays, examples, sources)

    def _make(self) -> None:
        """Draws and packs the chunk that begins at the current start."""
        generator = self._generator(_CHOICE, self._start_chunk)
        uniform = generator.random(self._chunk_examples) * self._cumulative_rates[-1]
        numbers = np.searchsorted(self._cumulative_rates, uniform, side="right")
        draws, examples = self._start_draws.copy(), []
        noise = self._generator(_NOISE, self._start_chunk)
        for number in np.minimum(numbers, len(self.names) - 1):
            examples.append((number, *self._example(number, draws[number], noise)))
            draws[number] += 1
        self._end_draws = draws
        rows = pack(examples, self._lengths) if self._pack else [[example] for example in examples]
        if self._shuffle:
            order = self._generator(_ORDER, self._start_chunk).permutation(len(rows))
            rows = [rows[row] for row in order]
        self._chunk = rows

    def _example(self, number: int, draw: int, noise: np.random.Generator) -> tuple[Ids, int]:
        """A task's example, and its row in the table."""
        table = self._tables[number]
        epoch, position = divmod(int(draw), len(table))
        source = int(self._order(number, epoch)[position]) if self._shuffle else position
        row = table.row(source)
        if table.noise:
            row = table.noise(row, noise, self._lengths)
        lengths = {**dict.fromkeys(EXTRA_FEATURES, self._lengths["inputs"]), **self._lengths}
        return {name: cut(ids, lengths[name]) for name, ids in row.items()}, source

    def _order(self, number: int, epoch: int) -> np.ndarray:
        known_epoch, order = self._orders.get(number, (None, None))
        if known_epoch != epoch:
            order = self._generator(_EPOCH, number, epoch).permutation(len(self._tables[number]))
            self._orders[number] = (epoch, order)
        return order

    def _generator(self, *path: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, *path])


def of_mixture(
    name: str,
    split: str,
    vocabulary: Vocabulary,
    augmentations: Sequence[Augmentation] = (),
    *,
    advance: Callable[[str], None] = lambda task: None,
    **options: Any,
) -> tuple[BatchStream, list[TokenTable], list[str]]:
    """Batches of a mixture, the tables they come from, and the tasks left out for want of data.

    Args:
        name: Of a mixture or task.
        split: One, or several joined by commas: of each task the first that is on this machine.
        vocabulary: Of inputs and targets.
        augmentations: What is made of the rows, see ``data.augmentation``.
        advance: Called with the name of each task before its table is opened or built.
        options: Others of ``BatchStream``.

    Raises:
        ValueError: Unknown name; a task without data, unless the mixture skips those.
    """
    mixture = mixtures.get(name)
    missing = sources.missing_tasks(mixture.tasks, split) if mixture.skip_missing else []
    mixture = mixture.without(missing)
    tables = []
    for task in mixture.tasks:
        advance(task)
        tables.append(tokens(task, split, vocabulary, augmentations))
    rates = mixture.rates({table.name: table.size for table in tables})
    return BatchStream(tables, rates, **options), tables, missing


def cut(ids: np.ndarray, tokens: int) -> np.ndarray:
    """At most ``tokens`` ids; a cut example keeps its last id, the end-of-sequence."""
    if len(ids) <= tokens:
        return ids
    return np.concatenate([ids[: tokens - 1], ids[-1:]])


def pack(examples: Sequence[tuple], lengths: Mapping[str, int]) -> list[list[tuple]]:
    """Rows of examples ``(number, ids, ...)`` whose token sums fit, first fit.

    Only the newest rows stay open, which bounds the work per example.
    """
    rows: list[list[tuple]] = []
    room: list[list[int]] = []
    for example in examples:
        inputs, targets = len(example[1]["inputs"]), len(example[1]["targets"])
        for row in range(max(0, len(rows) - _PACKING_WINDOW), len(rows)):
            if room[row][0] >= inputs and room[row][1] >= targets:
                break
        else:
            row = len(rows)
            rows.append([])
            room.append([lengths["inputs"], lengths["targets"]])
        rows[row].append(example)
        room[row][0] -= inputs
        room[row][1] -= targets
    return rows


def to_arrays(
    rows: Sequence[Sequence[Ids]],
    lengths: Mapping[str, int],
    features: Sequence[str] = (),
    *,
    packed: bool,
) -> dict[str, np.ndarray]:
    """Model features of rows of examples, int32, zero where there is nothing.

    ``decoder_input_tokens`` are the targets shifted right by one, beginning with 0 in every
    example; ``decoder_loss_weights`` are 1 on targets. Segment ids count examples from 1 and
    positions from 0 within each example, as seqio's EncDecFeatureConverter has them. ``features``,
    of ``EXTRA_FEATURES``, are there in any case, whether examples have them or not.
    """
    shape_L, shape_T = (len(rows), lengths["inputs"]), (len(rows), lengths["targets"])
    arrays = {
        "encoder_input_tokens": np.zeros(shape_L, np.int32),
        "decoder_target_tokens": np.zeros(shape_T, np.int32),
        "decoder_input_tokens": np.zeros(shape_T, np.int32),
        "decoder_loss_weights": np.zeros(shape_T, np.int32),
        **{EXTRA_FEATURES[name]: np.zeros(shape_L, np.int32) for name in features},
    }
    if packed:
        for name, shape in (("encoder", shape_L), ("decoder", shape_T)):
            arrays[f"{name}_segment_ids"] = np.zeros(shape, np.int32)
            arrays[f"{name}_positions"] = np.zeros(shape, np.int32)
    for number, row in enumerate(rows):
        start_L = start_T = 0
        for segment, ids in enumerate(row, start=1):
            inputs, targets = ids["inputs"], ids["targets"]
            end_L, end_T = start_L + len(inputs), start_T + len(targets)
            arrays["encoder_input_tokens"][number, start_L:end_L] = inputs
            arrays["decoder_target_tokens"][number, start_T:end_T] = targets
            arrays["decoder_input_tokens"][number, start_T + 1 : end_T] = targets[:-1]
            arrays["decoder_loss_weights"][number, start_T:end_T] = 1
            for name in features:
                if name in ids:
                    end = start_L + len(ids[name])
                    arrays[EXTRA_FEATURES[name]][number, start_L:end] = ids[name]
            if packed:
                arrays["encoder_segment_ids"][number, start_L:end_L] = segment
                arrays["decoder_segment_ids"][number, start_T:end_T] = segment
                arrays["encoder_positions"][number, start_L:end_L] = np.arange(len(inputs))
                arrays["decoder_positions"][number, start_T:end_T] = np.arange(len(targets))
            start_L, start_T = end_L, end_T
    return arrays
