"""Token tables: each task and split tokenised once, in a batch, into memory-mapped flat arrays."""

import functools
import json
import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xlt_jax.data import cache, leaks, prompts, sources
from xlt_jax.data.mixtures import Size
from xlt_jax.data.vocab import Vocabulary
from xlt_jax.registry import benchmarks
from xlt_jax.registry.benchmarks import Benchmark, Request

FORMAT = "tokens-4"  # changes with the layout below


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

    ``inputs``, ``targets`` and every choice end in end-of-sequence, except where
    ``benchmark.noise``: there ``targets`` is raw text for span corruption and ``inputs`` is empty.
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

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def size(self) -> Size:
        """Rows and tokens."""
        return Size(len(self), int(self.inputs.lengths.sum() + self.targets.lengths.sum()))

    def field(self, name: str) -> Ragged:
        """``inputs``, ``targets`` or ``choices``."""
        return getattr(self, name)

    @functools.cached_property
    def texts(self) -> list[dict]:
        """Per row id, inputs, targets, references and what else the prompt gave."""
        with open(self.folder / "texts.jsonl", encoding="utf-8") as file:
            return [json.loads(line) for line in file]


def tokens(task_name: str, split: str, vocabulary: Vocabulary) -> TokenTable:
    """The table of a task and split, built on first use.

    Args:
        task_name: ``benchmark.language``.
        split: One, or several joined by commas: the first that is on this machine.
        vocabulary: Of inputs and targets.

    Raises:
        ValueError: Unknown task or split, unreadable source, or a split without rows.
    """
    benchmark, language = benchmarks.split_task(task_name)
    if "," in split:
        split = sources.first_split(benchmark, language, split) or split.split(",")[0].strip()
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
    )
    folder = cache.cache_dir() / "tokens" / f"{task_name}-{split}-{name}"
    cache.build_once(folder, lambda path: _build(path, benchmark, language, split, vocabulary))
    facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    flat = np.load(folder / "ids.npy", mmap_mode="r")
    offsets = np.load(folder / "offsets.npy")
    parts, start = {}, 0
    for field, rows in facts["fields"].items():
        parts[field] = offsets[start : start + rows + 1]
        start += rows + 1
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
        choices=Ragged(flat, parts["choices"]) if ranked else None,
        choice_offsets=np.load(folder / "choice_offsets.npy") if ranked else None,
        context_starts=np.load(starts) if starts.exists() else None,
        chance=facts["chance"],
    )


def prompted(benchmark: Benchmark, language: str, split: str) -> list[dict]:
    """Rows as text, ``{"id", "inputs", "targets", "references" ...}``, as the model will see them.

    Raises:
        ValueError: A row's prompt lacks a field, or the split has no rows.
    """
    result = []
    for number, row in enumerate(sources.rows(benchmark, language, split)):
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
    folder: pathlib.Path, benchmark: Benchmark, language: str, split: str, vocabulary: Vocabulary
) -> None:
    examples = prompted(benchmark, language, split)
    fields = {name: [example[name] for example in examples] for name in ("inputs", "targets")}
    if benchmark.request is Request.RANK:
        fields["choices"] = [choice for example in examples for choice in example["choices"]]
        counts = [0, *(len(example["choices"]) for example in examples)]
        np.save(folder / "choice_offsets.npy", np.cumsum(counts, dtype=np.int64))

    contexts = [len(example.get("context", "")) for example in examples]
    if any(contexts):
        heads = [text[: len(text) - size] for text, size in zip(fields["inputs"], contexts)]
        before = [head.rstrip() for head in heads]
        starts = [len(ids) for ids in vocabulary.encode_batch(before)]
        np.save(folder / "context_starts.npy", np.asarray(starts, np.int32))

    end = [] if benchmark.noise else [vocabulary.eos_id]
    encoded = vocabulary.encode_batch([text for texts in fields.values() for text in texts])
    rows = [np.asarray(ids + end, np.int32) for ids in encoded]
    ends = np.cumsum([0, *map(len, rows)], dtype=np.int64)
    offsets, start = [], 0
    for texts in fields.values():
        offsets.append(ends[start : start + len(texts) + 1])
        start += len(texts)
    np.save(folder / "ids.npy", np.concatenate(rows))
    np.save(folder / "offsets.npy", np.concatenate(offsets))

    # Only labelled rows are ever looked for.
    hashed = [leaks.hashes(e) if benchmark.labelled else leaks.NONE for e in examples]
    np.save(folder / "hashes.npy", np.concatenate(hashed))
    np.save(folder / "hash_offsets.npy", np.cumsum([0, *map(len, hashed)], dtype=np.int64))

    chance = benchmark.chance(examples) if benchmark.chance else None
    facts = {"fields": {name: len(texts) for name, texts in fields.items()}, "chance": chance}
    (folder / "facts.json").write_text(json.dumps(facts), encoding="utf-8")
    with open(folder / "texts.jsonl", "w", encoding="utf-8") as file:
        for example in examples:
            file.write(row_text(example) + "\n")
