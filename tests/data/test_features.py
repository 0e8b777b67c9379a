"""Batches: resumable, shardable, nothing lost in packing."""

import pathlib
from types import SimpleNamespace

import numpy as np
import pytest

from xlt_jax.data import features, noising
from xlt_jax.data.tokens import Ragged, TokenTable

VOCABULARY = SimpleNamespace(sentinel_id=lambda number: 999 - number)
RATES = {"a.en": 0.7, "b.sw": 0.3}


def ragged(rows):
    flat = np.concatenate(rows).astype(np.int32)
    return Ragged(flat, np.cumsum([0, *map(len, rows)], dtype=np.int64))


def table(name, rows, first, noise=False):
    """Row i has inputs and targets that nobody else has, ending in 1."""
    generator = np.random.default_rng(first)
    inputs, targets = (
        ragged(
            [np.r_[np.full(generator.integers(2, longest), first + row), 1] for row in range(rows)]
        )
        for longest in (12, 5)
    )
    return TokenTable(
        name=name,
        split="train",
        benchmark=SimpleNamespace(noise=noise),
        language=name.split(".")[1],
        folder=pathlib.Path(),
        inputs=inputs,
        targets=targets,
        choices=None,
        choice_offsets=None,
        chance=None,
    )


def stream(**changes):
    options = dict(
        feature_lengths={"inputs": 32, "targets": 16},
        batch_size=8,
        seed=3,
    )
    tables = [table("a.en", 50, 100), table("b.sw", 20, 300)]
    return features.BatchStream(tables, RATES, **(options | changes))


def assert_same(left, right):
    np.testing.assert_array_equal(left.examples, right.examples)
    assert left.arrays.keys() == right.arrays.keys()
    for name in left.arrays:
        np.testing.assert_array_equal(left.arrays[name], right.arrays[name])


@pytest.mark.parametrize("pack", [True, False])
@pytest.mark.parametrize("stop", [1, 7, 60, 200])
def test_restored_stream_continues_with_the_same_batches(pack, stop):
    whole, first = stream(pack=pack), stream(pack=pack)
    for _ in range(stop):
        assert_same(next(whole), next(first))
    second = stream(pack=pack)
    second.restore(first.state())
    for _ in range(5):
        assert_same(next(whole), next(second))


def test_state_of_another_mixture_is_refused():
    with pytest.raises(ValueError, match="another mixture"):
        stream(seed=4).restore(stream().state())


def test_processes_read_the_rows_of_one_global_batch():
    whole, parts = stream(), [stream(own_rows=own) for own in ([0, 1], [2, 3], [4, 5], [6, 7])]
    for _ in range(3):
        expected, shards = next(whole), [next(part) for part in parts]
        for name, array in expected.arrays.items():
            joined = np.concatenate([shard.arrays[name] for shard in shards])
            np.testing.assert_array_equal(array, joined)
        assert all(shard.examples.tolist() == expected.examples.tolist() for shard in shards)


def examples_of(arrays):
    """(inputs, targets) of every segment of a batch."""
    for row in range(len(arrays["encoder_input_tokens"])):
        segments_L = arrays["encoder_segment_ids"][row]
        segments_T = arrays["decoder_segment_ids"][row]
        assert segments_L.max() == segments_T.max()
        for segment in range(1, segments_L.max() + 1):
            at_L, at_T = segments_L == segment, segments_T == segment
            targets = arrays["decoder_target_tokens"][row][at_T]
            shifted = arrays["decoder_input_tokens"][row][at_T]
            np.testing.assert_array_equal(shifted, np.r_[0, targets[:-1]])
            np.testing.assert_array_equal(
                arrays["decoder_positions"][row][at_T], np.arange(len(targets))
            )
            np.testing.assert_array_equal(arrays["decoder_loss_weights"][row][at_T], 1)
            yield tuple(arrays["encoder_input_tokens"][row][at_L]), tuple(targets)


def test_every_epoch_has_every_row_once_whole():
    single = table("a.en", 50, 100)
    batches = features.BatchStream(
        [single],
        {"a.en": 1.0},
        feature_lengths={"inputs": 32, "targets": 16},
        batch_size=8,
        seed=0,
        shuffle=False,
    )
    seen = []
    while len(seen) < 100:
        seen += list(examples_of(next(batches).arrays))
    known = {(tuple(single.inputs[row]), tuple(single.targets[row])) for row in range(50)}
    assert len(known) == 50
    assert set(seen) == known


def test_rates_hold():
    batches = stream()
    counts = sum(next(batches).examples for _ in range(300))
    share = counts / counts.sum()
    # 300 batches hold some 5,000 examples: three standard errors are 0.02.
    np.testing.assert_allclose(share, [0.7, 0.3], atol=0.02)


def test_cut_keeps_end_of_sequence():
    np.testing.assert_array_equal(features.cut(np.array([5, 6, 7, 8, 1]), 3), [5, 6, 1])
    np.testing.assert_array_equal(features.cut(np.array([5, 1]), 3), [5, 1])


@pytest.mark.parametrize("length", [2, 3, 10, 57, 400])
def test_span_corruption_can_be_undone(length):
    ids = np.arange(10, 10 + length)
    inputs, targets = noising.span_corruption(
        ids, np.random.default_rng(length), first_sentinel=999, eos_id=1
    )
    assert inputs[-1] == targets[-1] == 1
    spans, sentinel = {}, None
    for token in targets[:-1]:
        if token > 900:
            sentinel = token
            spans[sentinel] = []
        else:
            spans[sentinel].append(token)
    assert list(spans) == list(range(999, 999 - len(spans), -1))
    restored = [
        part for token in inputs[:-1] for part in (spans[token] if token > 900 else [token])
    ]
    np.testing.assert_array_equal(restored, ids)
    noise = sum(map(len, spans.values()))
    assert noise == max(1, round(0.15 * length))


def test_longest_noisable_text_fits():
    for input_tokens, target_tokens in [(128, 64), (512, 114), (64, 10)]:
        length = noising.longest_noisable(input_tokens, target_tokens)
        for seed in range(20):
            inputs, targets = noising.span_corruption(
                np.arange(10, 10 + length),
                np.random.default_rng(seed),
                first_sentinel=999,
                eos_id=1,
            )
            assert len(inputs) <= input_tokens and len(targets) <= target_tokens
