"""Token tables: each task and split tokenised once, in a batch, into memory-mapped flat arrays."""

import dataclasses
import functools
import json
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xlt_jax.data import augmentation, cache, leaks, noising, prompts, sources
from xlt_jax.data.augmentation import Augmentation
from xlt_jax.data.mixtures import Size
from xlt_jax.data.vocab import Vocabulary
from xlt_jax.registry import benchmarks
from xlt_jax.registry.benchmarks import Benchmark, Request, Row

FORMAT = "tokens-5"  # changes with the layout below
_EXTRAS = ("views", "words", "links")


@dataclass(frozen=True)
class Ragged:
    """Rows of different lengths in one flat array; row i is ``ids[offsets[i]:offsets[i + 1]]``."""

    ids: np.ndarray  # int32; of hashes uint64
    offsets: np.ndarray  # int64, one more than rows

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> np.ndarray:
        return self.ids[self.offsets[row] : self.offsets[row + 1]]

    @property
    def lengths(self) -> np.ndarray:
        """Number of tokens of every row."""
        return np.diff(self.offsets)


@dataclass(frozen=True)
class TokenTable:
    """The rows of one task and split as token ids.

    ``inputs``, ``targets`` and every choice end in end-of-sequence, but where there is ``noise``:
    span corruption reads ``targets``, masks of parallel pairs both sides, the ``words`` that their
    tokens belong to and the ``links`` between those. ``views`` are other versions of the inputs.
    """

    name: str  # benchmark.language
    split: str
    benchmark: Benchmark
    language: str
    folder: pathlib.Path
    inputs: Ragged
    targets: Ragged
    choices: Ragged | None  # of Request.RANK
    choice_offsets: np.ndarray | None  # row i owns choices [choice_offsets[i], choice_offsets[i+1])
    chance: float | None
    context_starts: np.ndarray | None = None  # where inputs end in a context: its first token
    hashes: Ragged | None = None  # of each row's texts, see data/leaks.py
    noise: noising.Noise | None = None  # makes inputs and targets of a row when it is drawn
    extras: Mapping[str, Ragged] = dataclasses.field(default_factory=dict)
    features: tuple[str, ...] = ()  # what rows have beside inputs and targets, when drawn

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def size(self) -> Size:
        """Rows and tokens."""
        return Size(len(self), int(self.inputs.lengths.sum() + self.targets.lengths.sum()))

    def row(self, number: int) -> dict[str, np.ndarray]:
        """Stored ids of one row, by name."""
        stored = {name: rows[number] for name, rows in self.extras.items()}
        return {"inputs": self.inputs[number], "targets": self.targets[number], **stored}

    def field(self, name: str) -> Ragged:
        """``inputs``, ``targets`` or ``choices``."""
        return getattr(self, name)

    @functools.cached_property
    def texts(self) -> list[dict]:
        """Per row id, inputs, targets, references and what else the prompt gave."""
        with open(self.folder / "texts.jsonl", encoding="utf-8") as file:
            return [json.loads(line) for line in file]


def tokens(
    task_name: str,
    split: str,
    vocabulary: Vocabulary,
    augmentations: Sequence[Augmentation] = (),
) -> TokenTable:
    """The table of a task and split, built on first use.

    Args:
        task_name: ``benchmark.language``.
        split: One, or several joined by commas: the first that is on this machine.
        vocabulary: Of inputs and targets.
        augmentations: The first that applies changes the rows.

    Raises:
        ValueError: Unknown task or split, unreadable source, or a split without rows.
    """
    benchmark, language = benchmarks.split_task(task_name)
    if "," in split:
        split = sources.first_split(benchmark, language, split) or split.split(",")[0].strip()
    augment = augmentation.of_task(augmentations, benchmark, language, split)
    name = cache.key(
        FORMAT,
        task_name,
        split,
        benchmark.version,
        benchmarks.module_source(benchmark),
        cache.file_fingerprint(prompts.inference),
        cache.file_fingerprint(leaks.hashes),
        sources.fingerprint(benchmark, language, split),
        vocabulary.fingerprint,
        augment.fingerprint if augment else "",
    )
    folder = cache.cache_dir() / "tokens" / f"{task_name}-{split}-{name}"
    cache.build_once(folder, lambda path: _build(path, task_name, split, vocabulary, augment))
    facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    flat = np.load(folder / "ids.npy", mmap_mode="r")
    offsets = np.load(folder / "offsets.npy")
    parts, start = {}, 0
    for field, rows in facts["fields"].items():
        parts[field] = offsets[start : start + rows + 1]
        start += rows + 1
    noise = augment.noise(vocabulary) if augment else None
    if benchmark.noise and noise is None:
        noise = span_corruption(vocabulary)
    ranked = benchmark.request is Request.RANK
    starts = folder / "context_starts.npy"
    return TokenTable(
        name=task_name,
        split=split,
        benchmark=benchmark,
        language=language,
        folder=folder,
        inputs=Ragged(flat, parts["inputs"]),
        targets=Ragged(flat, parts["targets"]),
        hashes=Ragged(
            np.load(folder / "hashes.npy", mmap_mode="r"), np.load(folder / "hash_offsets.npy")
        ),
        noise=noise,
        extras={name: Ragged(flat, parts[name]) for name in _EXTRAS if name in parts},
        features=augment.features if augment else (),
        choices=Ragged(flat, parts["choices"]) if ranked else None,
        choice_offsets=np.load(folder / "choice_offsets.npy") if ranked else None,
        context_starts=np.load(starts) if starts.exists() else None,
        chance=facts["chance"],
    )


def span_corruption(vocabulary: Vocabulary) -> noising.SpanCorruption:
    """Of text for language modelling."""
    return noising.SpanCorruption(vocabulary.sentinel_id(0), vocabulary.eos_id)


def prompted(
    benchmark: Benchmark, language: str, split: str, rows: Iterable[Row] | None = None
) -> list[dict]:
    """Rows as text, ``{"id", "inputs", "targets", "references" ...}``, as the model will see them.

    Args:
        benchmark: Has the prompt.
        language: Of the rows.
        split: Likewise.
        rows: None: those of the benchmark's source.

    Raises:
        ValueError: A row's prompt lacks a field, or the split has no rows.
    """
    result = []
    rows = sources.rows(benchmark, language, split) if rows is None else rows
    for number, row in enumerate(rows):
        made = benchmark.prompt({"number": number, "split": split, **row})
        for example in made if isinstance(made, Sequence) else [made]:
            if example is None:
                continue
            if benchmark.request is Request.RANK and example["targets"] not in example["choices"]:
                raise ValueError(
                    f"{benchmark.name}.{language}, {split}, row {number}: the target "
                    f"{example['targets']!r} is not among the choices {example['choices']!r}."
                )
            row_id = str(row.get("id", number))
            result.append({"references": example["targets"], **example, "id": row_id})
    if not result:
        raise ValueError(
            f"Task {benchmark.name}.{language} has no rows in split {split!r}. Remove it from the "
            "mixture or check its source."
        )
    return result


def row_text(example: Mapping[str, Any]) -> str:
    """A prompted row as one line of JSON, without ``texts``, of which the hashes are kept."""
    kept = {name: value for name, value in example.items() if name != "texts"}
    return json.dumps(kept, ensure_ascii=False)


def _build(
    folder: pathlib.Path,
    task_name: str,
    split: str,
    vocabulary: Vocabulary,
    augment: Augmentation | None,
) -> None:
    benchmark, language = benchmarks.split_task(task_name)
    rows = sources.rows(benchmark, language, split)
    prompt = functools.partial(prompted, benchmark, language, split)
    examples = augment.examples(task_name, rows, prompt) if augment else prompt(rows)
    fields = {name: [example[name] for example in examples] for name in ("inputs", "targets")}
    if benchmark.request is Request.RANK:
        fields["choices"] = [choice for example in examples for choice in example["choices"]]
        counts = [0, *(len(example["choices"]) for example in examples)]
        np.save(folder / "choice_offsets.npy", np.cumsum(counts, dtype=np.int64))
    if "view" in examples[0]:
        fields["views"] = [example["view"] for example in examples]

    contexts = [len(example.get("context", "")) for example in examples]
    if any(contexts):
        heads = [text[: len(text) - size] for text, size in zip(fields["inputs"], contexts)]
        before = [head.rstrip() for head in heads]
        starts = [len(ids) for ids in vocabulary.encode_batch(before)]
        np.save(folder / "context_starts.npy", np.asarray(starts, np.int32))

    if "links" in examples[0]:
        ids = _pairs(examples, vocabulary)
    else:
        end = [] if benchmark.noise else [vocabulary.eos_id]
        texts = [text for column in fields.values() for text in column]
        encoded = iter(vocabulary.encode_batch(texts))
        ids = {name: [next(encoded) + end for _ in column] for name, column in fields.items()}
    rows = [np.asarray(row, np.int32) for column in ids.values() for row in column]
    ends = np.cumsum([0, *map(len, rows)], dtype=np.int64)
    offsets, start = [], 0
    for column in ids.values():
        offsets.append(ends[start : start + len(column) + 1])
        start += len(column)
    np.save(folder / "ids.npy", np.concatenate(rows))
    np.save(folder / "offsets.npy", np.concatenate(offsets))

    # Only labelled rows are ever looked for.
    hashed = [leaks.hashes(e) if benchmark.labelled else leaks.NONE for e in examples]
    np.save(folder / "hashes.npy", np.concatenate(hashed))
    np.save(folder / "hash_offsets.npy", np.cumsum([0, *map(len, hashed)], dtype=np.int64))

    chance = benchmark.chance(examples) if benchmark.chance else None
    facts = {"fields": {name: len(column) for name, column in ids.items()}, "chance": chance}
    (folder / "facts.json").write_text(json.dumps(facts), encoding="utf-8")
    with open(folder / "texts.jsonl", "w", encoding="utf-8") as file:
        for example in examples:
            file.write(row_text(example) + "\n")


def _pairs(examples: Sequence[Mapping], vocabulary: Vocabulary) -> dict[str, list[list[int]]]:
    """Ids of both sentences, the word of each token of both, and the links between words."""
    columns = {"inputs": [], "targets": [], "words": [], "links": []}
    encoded = (
        vocabulary.encode_places([example[side] for example in examples])
        for side in ("inputs", "targets")
    )
    for example, (source, places), (target, other_places) in zip(examples, *encoded):
        source_words, target_words = example["source_words"], example["target_words"]
        first = len(source_words)
        columns["inputs"].append(source)
        columns["targets"].append(target)
        columns["words"].append(
            [
                *augmentation.word_numbers(example["inputs"], source_words, places, 0),
                *augmentation.word_numbers(example["targets"], target_words, other_places, first),
            ]
        )
        columns["links"].append([n for i, j in example["links"] for n in (i, first + j)])
    return columns
