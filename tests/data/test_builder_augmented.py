"""Augmented rows under SeqIO are those of our token tables."""

import numpy as np
import pytest

seqio = pytest.importorskip("seqio")

import tasks  # noqa: E402, F401 (registers)
from tasks.cldr import text  # noqa: E402
from xlt_jax.data import builder, features, tokens, vocab  # noqa: E402
from xlt_jax.data.augmentation import (  # noqa: E402
    Copies,
    MaskedPairs,
    Views,
    extra_features,
)
from xlt_jax.data.substitution import Substitution  # noqa: E402

LENGTHS = {"inputs": 48, "targets": 16}
SUBSTITUTION = Substitution({"en": {"hours": ("hr", "hrs"), "March": ("Mar",), "days": ("d",)}})
PAIRS = MaskedPairs(rate=0.3, aligned=True)
MIXED = (PAIRS, Views(SUBSTITUTION, copies=2))


@pytest.fixture(scope="module")
def vocabulary():
    return vocab.trained(text.corpus, 8192)


@pytest.fixture
def registered(vocabulary):
    def register(*augmentations):
        for registry in (seqio.TaskRegistry, seqio.MixtureRegistry):
            registry.reset()
        builder.register_all(vocabulary, augmentations)

    yield register
    for registry in (seqio.TaskRegistry, seqio.MixtureRegistry):
        registry.reset()


def rows_of(name, split="train", **options):
    return seqio.get_mixture_or_task(name).get_dataset(
        LENGTHS, split=split, shuffle=False, seed=1, **options
    )


@pytest.mark.parametrize("kind", [Copies, Views])
def test_online_copies_are_the_stored_ones(vocabulary, registered, kind):
    """The same draws for a seed: all rows at once, and one by one."""
    augment = kind(SUBSTITUTION, copies=3)
    registered(augment)
    table = tokens.tokens("cldr_same.en", "train", vocabulary, [augment])
    changed = 0
    for number, example in zip(range(900), rows_of("cldr_same.en").as_numpy_iterator()):
        for name, ids in table.row(number).items():
            np.testing.assert_array_equal(example[name], ids)
        changed += (table.row(number).get("views", table.inputs[number - number % 3])).tolist() != (
            table.inputs[number].tolist()
        )
    assert changed > 10
    test_row = next(iter(rows_of("cldr_same.en", "test").as_numpy_iterator()))
    plain = tokens.tokens("cldr_same.en", "test", vocabulary)
    np.testing.assert_array_equal(test_row["inputs"], plain.inputs[0])


@pytest.mark.parametrize("pack", [False, True])
def test_masked_pairs_reach_the_batch_at_their_places(vocabulary, registered, pack):
    registered(PAIRS)
    converter = builder.feature_converter(extra_features((PAIRS,)))
    table = tokens.tokens("cldr_parallel.sw", "train", vocabulary, [PAIRS])
    wanted = [
        [*row["inputs"], 1, *row["targets"], 1]
        for row in map(table.row, range(40))
        if len(row["inputs"]) + len(row["targets"]) + 2 <= LENGTHS["inputs"]
    ]
    found = []
    for row in converter(pack=pack)(rows_of("cldr_parallel.sw"), LENGTHS).as_numpy_iterator():
        masked, aligned = row["encoder_target_tokens"], row["encoder_aligned_tokens"]
        inputs = row["encoder_input_tokens"]
        assert masked.shape == aligned.shape == inputs.shape == (48,)
        assert (masked > 0).any() and (aligned[masked == 0] == 0).all()
        restored = np.where(masked > 0, masked, inputs)
        segments = row["encoder_segment_ids"] if pack else (inputs > 0).astype(int)
        found += [restored[segments == n].tolist() for n in range(1, segments.max() + 1)]
        if len(found) > 60:
            break
    assert all(text in found for text in wanted) and len(wanted) > 20


def test_a_mixture_of_both_has_all_features(vocabulary, registered):
    registered(*MIXED)
    extras = extra_features(MIXED)
    assert extras == ("masked", "aligned", "views")
    seqio.MixtureRegistry.add("both", [("cldr_parallel.sw", 1.0), ("cldr_same.en", 1.0)])
    converter = builder.feature_converter(extras)(pack=False)
    kinds = set()
    for _, row in zip(range(30), converter(rows_of("both"), LENGTHS).as_numpy_iterator()):
        assert set(features.EXTRA_FEATURES.values()) < row.keys()
        is_pair = bool((row["encoder_target_tokens"] > 0).any())
        assert is_pair == (not (row["decoder_target_tokens"] > 0).any())
        if is_pair:  # its own view
            np.testing.assert_array_equal(row["encoder_view_tokens"], row["encoder_input_tokens"])
        kinds.add(is_pair)
    assert kinds == {True, False}


def test_without_augmentations_it_is_seqios_own_converter():
    assert builder.feature_converter(()) is seqio.EncDecFeatureConverter
