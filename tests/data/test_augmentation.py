"""Masked pairs, copies and views: what is stored of a row, and what is drawn of it."""

import numpy as np
import pytest
from scipy import stats

import tasks  # noqa: F401 (registers)
from tasks.cldr import text
from xlt_jax.data import augmentation, features, noising, tokens, vocab
from xlt_jax.data.augmentation import Copies, MaskedPairs, Views
from xlt_jax.data.substitution import Substitution
from xlt_jax.registry import benchmarks

LENGTHS = {"inputs": 64, "targets": 48}
MASK, EOS = 999, 1


# ------------------------------------------------------------------------------------- masks
def pair(source, target, links, source_words=None, target_words=None):
    """A stored row: by default every token is a word."""
    source_words = list(range(len(source))) if source_words is None else source_words
    target_words = list(range(len(target))) if target_words is None else target_words
    first = max(source_words) + 1
    return {
        "inputs": np.array(source),
        "targets": np.array(target),
        "words": np.array([*source_words, *(first + word for word in target_words)]),
        "links": np.array([n for i, j in links for n in (i, first + j)], int),
    }


ROW = pair(range(10, 30), range(40, 60), [(i, 19 - i) for i in range(20)])


def masks(**changes):
    options = dict(rate=0.15, mask_id=MASK, eos_id=EOS, random_ids=(500, 600))
    return noising.PairMasks(**(options | changes))


def test_masked_pairs_can_be_undone_and_hold_both_sentences():
    made = masks()(ROW, np.random.default_rng(0), LENGTHS)
    restored = np.where(made["masked"] > 0, made["masked"], made["inputs"])
    np.testing.assert_array_equal(restored, [*range(10, 30), EOS, *range(40, 60), EOS])
    assert (made["masked"] > 0).sum() == 6  # 15 % of 40
    assert len(made["targets"]) == 0 and made["masked"][[20, 41]].tolist() == [0, 0]
    assert made["inputs"].dtype == made["masked"].dtype == np.int32


def test_masks_fall_everywhere_alike_and_meet_their_fates_in_the_stated_shares():
    generator, places, fates = np.random.default_rng(1), np.zeros(42), np.zeros(3)
    for _ in range(2000):
        made = masks()(ROW, generator, LENGTHS)
        is_masked = made["masked"] > 0
        places += is_masked
        now = made["inputs"][is_masked]
        kept = now == made["masked"][is_masked]
        drawn = (now >= 500) & (now < 600)
        fates += [(now == MASK).sum(), drawn.sum(), kept.sum()]
        assert (now[~kept & ~drawn] == MASK).all()
    possible = np.delete(places, [20, 41])
    assert stats.chisquare(possible).pvalue > 0.001 and places[[20, 41]].sum() == 0
    assert stats.chisquare(fates, fates.sum() * np.array([0.8, 0.1, 0.1])).pvalue > 0.001


def test_aligned_tokens_are_those_of_the_links():
    made = masks(aligned=True, rate=1.0)(ROW, np.random.default_rng(0), LENGTHS)
    np.testing.assert_array_equal(made["aligned"], [*range(59, 39, -1), 0, *range(29, 9, -1), 0])
    made = masks(aligned=True, rate=0.3)(ROW, np.random.default_rng(0), LENGTHS)
    assert ((made["aligned"] > 0) == (made["masked"] > 0)).all()


def test_of_words_of_several_tokens_those_at_the_same_place_are_aligned():
    """A word of three tokens beside one of two, and a word without link."""
    row = pair([10, 11, 12, 13], [20, 21], [(0, 0)], [0, 0, 0, 1], [0, 0])
    made = masks(aligned=True, rate=1.0)(row, np.random.default_rng(0), LENGTHS)
    assert made["aligned"].tolist() == [20, 20, 21, 0, 0, 10, 11, 0]


def test_one_sentence_at_a_time_is_drawn_evenly():
    generator, first = np.random.default_rng(2), 0
    for _ in range(400):
        made = masks(joint=False, aligned=True)(ROW, generator, LENGTHS)
        restored = np.where(made["masked"] > 0, made["masked"], made["inputs"])
        assert restored.tolist() in ([*range(10, 30), EOS], [*range(40, 60), EOS])
        first += restored[0] == 10
        assert (made["aligned"][made["masked"] > 0] > 0).all()
    assert stats.binomtest(int(first), 400).pvalue > 0.001


@pytest.mark.parametrize("tokens_", [8, 21, 42])
@pytest.mark.parametrize("joint", [True, False])
def test_pairs_are_cut_to_the_input_length(tokens_, joint):
    made = masks(joint=joint, aligned=True, rate=0.5)(
        ROW, np.random.default_rng(0), {"inputs": tokens_, "targets": 4}
    )
    assert len(made["inputs"]) <= tokens_ and made["inputs"][-1] == EOS
    assert (made["inputs"] == EOS).sum() == (2 if joint else 1)


def test_masked_words_are_written_out_with_their_aligned_words():
    row = pair([10, 11, 12, 13], [20, 21], [(0, 0)], [0, 0, 0, 1], [0, 1])
    noise = noising.PairSpans(1.0, MASK, EOS, aligned=True)
    made = noise(row, np.random.default_rng(0), LENGTHS)
    assert made["inputs"].tolist() == [MASK, MASK - 1, EOS, MASK - 2, MASK - 3, EOS]
    assert made["targets"].tolist() == [
        *(MASK, 10, 11, 12, 20), *(MASK - 1, 13), *(MASK - 2, 20, 10, 11, 12), *(MASK - 3, 21), EOS
    ]  # fmt: skip
    some = noising.PairSpans(0.3, MASK, EOS, aligned=True)
    made = some(ROW, np.random.default_rng(0), LENGTHS)
    assert (made["inputs"] > 900).sum() == 12  # 30 % of the words of both


def test_masked_spans_are_those_of_span_corruption_over_both_sentences():
    made = noising.PairSpans(0.15, MASK, EOS)(ROW, np.random.default_rng(3), LENGTHS)
    spans, sentinel = {}, None
    for token in made["targets"][:-1]:
        if token > 900:
            spans[sentinel := token] = []
        else:
            spans[sentinel].append(token)
    restored = [x for t in made["inputs"] for x in (spans[t] if t > 900 else [t])]
    assert restored == [*range(10, 30), EOS, *range(40, 60), EOS]


# ------------------------------------------------------------------------------------- tables
@pytest.fixture(scope="module")
def vocabulary():
    return vocab.trained(text.corpus, 8192)


@pytest.mark.parametrize("language", ["de", "ja", "ar", "my"])
def test_stored_pairs_have_the_tokens_of_the_text_and_the_gold_links(language, vocabulary):
    table = tokens.tokens(f"cldr_parallel.{language}", "train", vocabulary, [MaskedPairs()])
    rows = benchmarks.get("cldr_parallel").source(language, "train")
    assert len(table) == 1000 and table.features == ("masked",)
    whole = []
    for number, row in zip(range(100), rows):
        stored = table.row(number)
        for side, name in (("source", "inputs"), ("target", "targets")):
            assert stored[name].tolist() == vocabulary.encode(row[side])
        first = len(row["source_tokens"])
        gold = [[i, first + j] for i, j in row["alignment"]]
        assert stored["links"].reshape(-1, 2).tolist() == gold
        # The tokens of a word are its text, unless one of them reaches into the next word.
        size = len(stored["inputs"])
        for ids, words, texts, offset in (
            (stored["inputs"], stored["words"][:size], row["source_tokens"], 0),
            (stored["targets"], stored["words"][size:], row["target_tokens"], first),
        ):
            for word, word_text in enumerate(texts):
                said = vocabulary.decode(ids[words == offset + word])
                whole.append(word_text.replace(" ", "") == said.replace(" ", ""))
    assert np.mean(whole) > 0.75


def test_masks_are_drawn_anew_and_the_stream_resumes(vocabulary):
    def stream():
        table = tokens.tokens(
            "cldr_parallel.de", "train", vocabulary, [MaskedPairs(rate=0.3, aligned=True)]
        )
        plain = tokens.tokens("cldr_same.en", "train", vocabulary)
        return features.BatchStream(
            [table, plain],
            {table.name: 0.5, plain.name: 0.5},
            feature_lengths={"inputs": 64, "targets": 16},
            batch_size=8,
            seed=0,
        )

    one, other = stream(), stream()
    seen = [next(one) for _ in range(5)]
    state = one.state()
    after = next(one)
    other.restore(state)
    for name, array in next(other).arrays.items():
        np.testing.assert_array_equal(array, after.arrays[name])
    arrays = seen[0].arrays
    masked, aligned = arrays["encoder_target_tokens"], arrays["encoder_aligned_tokens"]
    assert (
        (masked > 0).any() and (aligned > 0).any() and (arrays["decoder_target_tokens"] > 0).any()
    )
    assert (arrays["encoder_input_tokens"][masked > 0] > 0).all()
    assert (masked[aligned > 0] > 0).all()
    # Nothing is masked in rows of the other task: their segments have targets.
    for row in range(8):
        with_targets = np.unique(arrays["decoder_segment_ids"][row])
        for segment in np.unique(arrays["encoder_segment_ids"][row])[1:]:
            is_pair = (masked[row][arrays["encoder_segment_ids"][row] == segment] > 0).any()
            assert is_pair == (segment not in with_targets)


def test_pairs_without_links_are_aligned(monkeypatch, vocabulary):
    rows = [
        {"source": "drei rote Hunde", "target": "three red dogs"},
        {"source": "zwei rote Katzen", "target": "two red cats"},
    ] * 5
    made = MaskedPairs(aligned=True).examples("x.de", rows, list)
    assert made[0]["source_words"] == ["drei", "rote", "Hunde"]
    assert made[0]["links"] == [(0, 0), (1, 1), (2, 2)]
    assert MaskedPairs().examples("x.de", rows, list)[0]["links"] == []
    with pytest.raises(ValueError, match="'source' and 'target'"):
        MaskedPairs().examples("x.de", [{"text": "a"}], list)


LEXICON = {"en": {"hours": ("hr", "hrs"), "days": ("d",), "March": ("Mar",), "minutes": ("min",)}}


@pytest.mark.parametrize("kind", [Copies, Views])
def test_copies_and_views_are_rows_with_words_replaced(kind, vocabulary):
    augment = kind(Substitution(LEXICON, seed=4), copies=2)
    plain = tokens.tokens("cldr_same.en", "train", vocabulary)
    table = tokens.tokens("cldr_same.en", "train", vocabulary, [augment])
    assert len(table) == 2 * len(plain)
    texts, changed = plain.texts, 0
    for number in range(600):
        original = texts[number // 2]
        expected = augment.substitution.example(
            {**original, "texts": original["inputs"].removeprefix("same: ").split(" | ")},
            "cldr_same.en",
            number % 2,
        )["inputs"]
        own, view = table.inputs[number], table.extras["views"][number] if kind is Views else None
        perturbed = own if view is None else view
        assert perturbed.tolist() == [*vocabulary.encode(expected), 1]
        if view is not None:
            np.testing.assert_array_equal(own, plain.inputs[number // 2])
        np.testing.assert_array_equal(table.targets[number], plain.targets[number // 2])
        changed += expected != original["inputs"]
    assert changed > 10


def test_what_an_augmentation_is_for(vocabulary):
    copies, pairs = Copies(Substitution(LEXICON)), MaskedPairs()

    def chosen(task, split="train"):
        return augmentation.of_task((copies, pairs), *benchmarks.split_task(task), split)

    assert chosen("cldr_same.en") is copies and chosen("cldr_parallel.de") is pairs
    assert chosen("cldr_same.de") is None and chosen("cldr_qa.en") is None
    assert chosen("cldr_same.en", "validation") is None
    assert chosen("cldr_parallel.de", "validation") is pairs
    seeds = {
        Copies(Substitution(LEXICON, seed=s), copies=c).fingerprint for s in (0, 1) for c in (1, 2)
    }
    assert len(seeds | {Views(Substitution(LEXICON), copies=1).fingerprint}) == 5


def test_views_are_not_packed(vocabulary):
    table = tokens.tokens("cldr_same.en", "train", vocabulary, [Views(Substitution(LEXICON))])
    options = dict(feature_lengths=LENGTHS, batch_size=8, seed=0)
    with pytest.raises(ValueError, match="PACK"):
        features.BatchStream([table], {table.name: 1.0}, **options)
    arrays = next(features.BatchStream([table], {table.name: 1.0}, pack=False, **options)).arrays
    views, inputs = arrays["encoder_view_tokens"], arrays["encoder_input_tokens"]
    assert views.shape == inputs.shape and (views > 0).any(axis=1).all()


@pytest.mark.parametrize(
    "options",
    [
        {"rate": 0.0},
        {"random_share": 0.6, "kept_share": 0.6},
        {"head": "both"},
        {"head": "decoder", "joint": False},
        {"rate": 1.5},
    ],
    ids=str,
)
def test_impossible_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        MaskedPairs(**options)
    with pytest.raises(ValueError, match="copies is 0"):
        Copies(Substitution(LEXICON), copies=0)


def test_word_numbers():
    numbers = augmentation.word_numbers("Ab, cd  e!", ["Ab", "cd", "e"], range(10), 5)
    assert numbers == [5, 5, 6, 6, 6, 6, 7, 7, 7, 7]
    with pytest.raises(ValueError, match="'x' does not follow"):
        augmentation.word_numbers("Ab, cd", ["Ab", "x"], [0], 0)
