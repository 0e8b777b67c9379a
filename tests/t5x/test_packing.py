"""Our batches against SeqIO's, from the same examples in the same order."""

import numpy as np
import pytest

seqio = pytest.importorskip("seqio")

import tensorflow as tf  # noqa: E402

from xlt_jax.data import features  # noqa: E402

LENGTHS = {"inputs": 10, "targets": 7}
# The third does not fit beside the first two, the fourth beside nothing but the third.
SIZES = [(4, 2), (5, 3), (7, 2), (3, 5), (10, 7), (1, 1), (2, 2)]


def examples():
    generator = np.random.default_rng(0)
    return [
        {
            name: np.append(generator.integers(3, 90, size - 1), 1).astype(np.int32)
            for name, size in zip(LENGTHS, sizes)
        }
        for sizes in SIZES
    ]


def of_seqio(pack):
    signature = {name: tf.TensorSpec([None], tf.int32) for name in LENGTHS}
    dataset = tf.data.Dataset.from_generator(
        examples,
        output_signature=signature,
    )
    rows = list(seqio.EncDecFeatureConverter(pack=pack)(dataset, LENGTHS).as_numpy_iterator())
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def grouping(arrays):
    """Rows of examples as SeqIO laid them out, by its segment ids."""
    rows = []
    for number in range(len(arrays["encoder_input_tokens"])):
        segments = arrays["encoder_segment_ids"][number]
        rows.append(
            [
                {
                    name: arrays[tokens][number][arrays[f"{side}_segment_ids"][number] == segment]
                    for name, side, tokens in (
                        ("inputs", "encoder", "encoder_input_tokens"),
                        ("targets", "decoder", "decoder_target_tokens"),
                    )
                }
                for segment in range(1, segments.max() + 1)
            ]
        )
    return rows


def assert_equal(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        np.testing.assert_array_equal(array, theirs[name], err_msg=name)


def test_unpacked_batches_are_equal():
    """But for the decoder's input at the first padding: SeqIO repeats end-of-sequence there, ours
    has 0. Nothing attends to it, and its weight is 0."""
    rows = [[example] for example in examples()]
    ours, theirs = features.to_arrays(rows, LENGTHS, packed=False), of_seqio(pack=False)
    theirs["decoder_input_tokens"] *= theirs["decoder_target_tokens"] > 0
    assert_equal(ours, theirs)


def test_packed_rows_of_the_same_examples_are_equal():
    """Tokens, shifted inputs, weights, segment ids and positions, in SeqIO's layout."""
    theirs = of_seqio(pack=True)
    ours = features.to_arrays(grouping(theirs), LENGTHS, packed=True)
    assert_equal(ours, theirs)


def test_packing_keeps_every_example_whole_and_needs_no_more_rows():
    """Which examples share a row may differ: SeqIO closes a row at the first that does not fit,
    ours tries the last rows again."""
    packed = features.pack([(0, example) for example in examples()], LENGTHS)
    ours = [[ids for _, ids in row] for row in packed]
    theirs = grouping(of_seqio(pack=True))
    wanted = sorted(tuple(map(tuple, ids.values())) for ids in examples())
    for rows in (ours, theirs):
        found = [tuple(map(tuple, ids.values())) for row in rows for ids in row]
        assert sorted(found) == wanted
    assert len(ours) <= len(theirs)
