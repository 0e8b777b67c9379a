"""Rows to token tables: built once, keyed by content, with errors that name the place."""

import json
import multiprocessing
import sys

import numpy as np
import pytest

from xlt_jax.data import cache, formats, sources, tokens, vocab
from xlt_jax.registry import benchmarks
from xlt_jax.registry.benchmarks import Benchmark, Files, Request, Tfds

ROWS = [{"id": f"r{number}", "text": f"number {number}", "answer": "yes"} for number in range(5)]


def corpus():
    return [f"number {number} is a yes or a no" for number in range(300)]


def prompt(row):
    return {"inputs": row["text"], "targets": row["answer"], "choices": ("yes", "no")}


def accuracy(targets, predictions):
    return {"accuracy": float(np.mean([t == p for t, p in zip(targets, predictions)]))}


def toy(**changes):
    options = dict(
        name="toy",
        description="toy",
        languages=("en",),
        source=lambda language, split: ROWS if split == "train" else [],
        prompt=prompt,
        request=Request.RANK,
        kind="pair",
        metric=accuracy,
        example_score=lambda t, p: float(t == p),
        main_metric="accuracy",
        chance=lambda examples: 0.5,
    )
    return Benchmark(**(options | changes))


@pytest.fixture
def vocabulary():
    return vocab.trained(corpus, 450)


@pytest.fixture
def use(monkeypatch, tmp_path):
    """Makes a benchmark the registered ``toy`` for one test."""
    monkeypatch.setenv("XLT_CACHE_DIR", str(tmp_path / "cache"))

    def register(benchmark):
        monkeypatch.setitem(benchmarks._BENCHMARKS, "toy", benchmark)

    return register


def test_vocabulary_has_mt5_ids(vocabulary):
    assert (vocabulary.pad_id, vocabulary.eos_id, vocabulary.unk_id) == (0, 1, 2)
    assert vocabulary.vocab_size == 450
    assert vocabulary.sentinel_id(0) == 449
    text = "number 7 is a yes"
    assert vocabulary.decode([*vocabulary.encode(text), 1, 5, 6]) == text
    assert vocabulary.decode([449, *vocabulary.encode(text)]) == text
    unseen = "Ünïcode 漢字"  # byte fall-back
    assert vocabulary.decode(vocabulary.encode(unseen)) == unseen
    assert vocabulary.encode_batch([text, "no"]) == [vocabulary.encode(t) for t in (text, "no")]


def test_vocabulary_errors(tmp_path):
    with pytest.raises(ValueError, match=r"does not exist.*gin/local\.gin"):
        vocab.Vocabulary(str(tmp_path / "missing.model"))
    (tmp_path / "wrong.model").write_bytes(b"no model")
    with pytest.raises(ValueError, match="not a SentencePiece model"):
        vocab.Vocabulary(str(tmp_path / "wrong.model"))


def _train(cache_dir, results):
    import os

    os.environ["XLT_CACHE_DIR"] = cache_dir
    results.put(vocab.trained.__wrapped__(corpus, 450).fingerprint)


def test_two_processes_train_one_vocabulary(tmp_path):
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    processes = [context.Process(target=_train, args=(str(tmp_path), results)) for _ in range(2)]
    for process in processes:
        process.start()
    first, second = results.get(timeout=60), results.get(timeout=60)
    for process in processes:
        process.join()
    assert first == second
    assert len([path for path in (tmp_path / "vocabularies").iterdir() if path.is_dir()]) == 1


def test_table_holds_the_rows(use, vocabulary):
    use(toy())
    table = tokens.tokens("toy.en", "train", vocabulary)
    assert len(table) == 5
    assert table.chance == 0.5
    for row, text in enumerate(ROWS):
        assert table.inputs[row].tolist() == [*vocabulary.encode(text["text"]), 1]
        assert table.targets[row].tolist() == [*vocabulary.encode("yes"), 1]
        first, last = table.choice_offsets[row : row + 2]
        assert [vocabulary.decode(table.choices[c]) for c in range(first, last)] == ["yes", "no"]
    assert table.texts[3]["id"] == "r3"


def test_table_is_read_from_the_cache_and_rebuilt_when_the_prompt_changes(use, vocabulary):
    calls = []

    def source(language, split):
        calls.append(split)
        return ROWS

    use(toy(source=source))
    for _ in range(2):
        tokens.tokens("toy.en", "train", vocabulary)
    assert len(calls) == 1
    use(toy(source=source, version="2"))
    tokens.tokens("toy.en", "train", vocabulary)
    assert len(calls) == 2


def test_failed_build_leaves_nothing(use, vocabulary):
    use(toy(prompt=lambda row: {**prompt(row), "targets": "maybe"}))
    with pytest.raises(ValueError, match="'maybe' is not among the choices"):
        tokens.tokens("toy.en", "train", vocabulary)
    finished = [p for p in (cache.cache_dir() / "tokens").iterdir() if p.name[0] != "."]
    assert not finished


@pytest.mark.parametrize(
    ("task", "split", "message"),
    [
        ("toy.en", "validation", "no rows in split 'validation'"),
        ("toy.en", "dev", "no split 'dev'; it has train, validation, test"),
        ("toy.sw", "train", "has no language 'sw'"),
        ("toi.en", "train", "did you mean 'toy'"),
        ("toy", "train", "lacks its language: write 'toy.en'"),
    ],
)
def test_unknown_names(use, vocabulary, task, split, message):
    use(toy())
    with pytest.raises(ValueError, match=message):
        tokens.tokens(task, split, vocabulary)


def test_cache_that_cannot_be_written(use, vocabulary, monkeypatch, tmp_path):
    use(toy())
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XLT_CACHE_DIR", str(tmp_path / "file"))
    with pytest.raises(ValueError, match="XLT_CACHE_DIR"):
        tokens.tokens("toy.en", "train", vocabulary)


def test_jsonl_and_tsv(monkeypatch, tmp_path):
    monkeypatch.setenv("XLT_DATA_DIR", str(tmp_path))
    rows = [{"text": "größe", "answer": "yes"}]
    (tmp_path / "en.train.jsonl").write_text(json.dumps(rows[0]) + "\n", encoding="utf-8")
    (tmp_path / "en.train.tsv").write_text("text\tanswer\ngröße\tyes\n", encoding="utf-8")
    for suffix, read in (("jsonl", formats.json_lines), ("tsv", formats.table("text"))):
        benchmark = toy(source=(Files(f"{{language}}.{{split}}.{suffix}", read),))
        assert list(sources.rows(benchmark, "en", "train")) == rows


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"text": "a"}\n{"text": "\xff"}\n', r"line 2, is not UTF-8 \(byte 10: 0xff\)"),
        (b'{"text": "a"\n', "line 1, is not JSON"),
        (None, r"no data for toy.en, split 'train'.*en.train.jsonl.*XLT_DATA_DIR.*gin/local\.gin"),
    ],
)
def test_bad_files(monkeypatch, tmp_path, content, message):
    monkeypatch.setenv("XLT_DATA_DIR", str(tmp_path))
    if content is not None:
        (tmp_path / "en.train.jsonl").write_bytes(content)
    benchmark = toy(source=(Files("{language}.{split}.jsonl", formats.json_lines),))
    with pytest.raises(ValueError, match=message):
        list(sources.rows(benchmark, "en", "train"))


def test_row_with_a_missing_column(monkeypatch, tmp_path):
    monkeypatch.setenv("XLT_DATA_DIR", str(tmp_path))
    (tmp_path / "en.train.tsv").write_text("text\tanswer\na\n", encoding="utf-8")
    with pytest.raises(ValueError, match="row 2, has 1 fields and not 2"):
        source = (Files("{language}.{split}.tsv", formats.table("text")),)
        list(sources.rows(toy(source=source), "en", "train"))


def test_unavailable_tfds(monkeypatch):
    """Without network and data, the error names the data set and the way out."""

    class Broken:
        @staticmethod
        def load(*args, **kwargs):
            raise ConnectionError("no network")

    monkeypatch.setitem(sys.modules, "tensorflow_datasets", Broken)
    with pytest.raises(ValueError, match=r"'xnli:1\.1\.0'.*gin/local\.gin"):
        list(sources.rows(toy(source=(Tfds("xnli:1.1.0"),)), "en", "train"))
