"""Tag accuracy by hand, entity F1 by hand and against seqeval."""

import random
import warnings

import pytest

from xlt_jax.metrics import tagging


@pytest.mark.parametrize(
    ("target", "prediction", "expected"),
    [
        ("O PLACE O", "O PLACE O", 1.0),
        ("O PLACE O", "O DATE O", 2 / 3),
        ("O PLACE O", "O PLACE", 2 / 3),  # missing: wrong
        ("O PLACE O", "O PLACE O O", 3 / 4),  # surplus: in the denominator
        ("O PLACE O", "PLACE O O", 1 / 3),  # by position
        ("O PLACE O", "", 0.0),
        ("", "", 1.0),
        ("", "O", 0.0),
    ],
)
def test_sentence_accuracy(target, prediction, expected):
    assert tagging.sentence_accuracy(target, prediction) == pytest.approx(expected)


def test_tag_accuracy_is_a_mean_over_sentences():
    targets = ["O O", "PLACE O O O", "O"]
    predictions = ["O DATE", "PLACE O O", "O"]
    result = tagging.tag_accuracy(targets, predictions)
    assert result["token_accuracy"] == pytest.approx((1 / 2 + 3 / 4 + 1) / 3)
    assert result["well_formed"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("target", "prediction", "expected"),
    [
        ("B-PER I-PER O", "B-PER I-PER O", (1, 1, 1)),
        ("B-PER I-PER O", "B-PER O O", (0, 1, 1)),
        ("B-PER I-PER O", "I-PER I-PER O", (1, 1, 1)),  # an I- may begin an entity
        ("B-PER I-PER O", "B-PER I-LOC O", (0, 2, 1)),  # a change of type ends one
        ("B-PER B-PER O", "B-PER I-PER O", (0, 1, 2)),
        ("O O O", "O O O", (0, 0, 0)),
        ("B-PER O B-LOC", "B-PER", (1, 1, 2)),  # filled up with O
        ("B-PER", "B-PER B-LOC", (1, 1, 1)),  # cut
        ("B-PER", "", (0, 0, 1)),
        ("NOUN NOUN VERB", "NOUN NOUN VERB", (2, 2, 2)),  # a run of one tag is one entity
        ("NOUN NOUN VERB", "NOUN VERB VERB", (0, 2, 2)),
        ("SCONJ VERB", "CCONJ VERB", (2, 2, 2)),  # the first letter is no part of the type
    ],
)
def test_entity_counts(target, prediction, expected):
    assert tagging.entity_counts(target, prediction) == expected


def test_entity_f1_by_hand():
    targets = ["B-PER I-PER O", "B-LOC O B-ORG", "O"]
    predictions = ["B-PER I-PER O", "B-LOC B-LOC", "B-ORG"]
    # Correct: PER, first LOC. Predicted 4, gold 3.
    assert tagging.entity_f1(targets, predictions) == {
        "f1": pytest.approx(2 * 2 / (4 + 3)),
        "precision": 2 / 4,
        "recall": pytest.approx(2 / 3),
        "well_formed": pytest.approx(2 / 3),
    }


def test_nothing_to_find_and_nothing_found():
    assert tagging.entity_f1(["O O"], ["O O"])["f1"] == 0.0  # as seqeval
    assert tagging.sentence_f1("O O", "O O") == 1.0
    assert tagging.sentence_f1("O B-LOC", "O O") == 0.0
    assert tagging.sentence_f1("B-PER B-LOC", "B-PER O") == pytest.approx(2 / 3)


TAGS = {
    "entities": "O O O B-PER I-PER B-LOC I-LOC B-ORG I-ORG".split(),
    "bare": "ADJ NOUN NOUN VERB PUNCT X X SCONJ CCONJ SYM AUX INTJ DET _ O".split(),
    "odd": "O B I E S B- -PER X-Y-Z . B-PER I-PER E-PER S-PER _ b-per O-PER".split(),
}


def random_rows(draw, tags):
    targets = [" ".join(draw.choices(tags, k=draw.randrange(1, 9))) for _ in range(12)]
    predictions = [
        " ".join(draw.choice(tags) if draw.random() < 0.3 else tag for tag in target.split())
        for target in targets
    ]
    return targets, predictions


def seqeval_scores(targets, predictions):
    from seqeval import metrics

    functions = {"f1": "f1_score", "precision": "precision_score", "recall": "recall_score"}
    rows = [[text.split() for text in texts] for texts in (targets, predictions)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {name: getattr(metrics, function)(*rows) for name, function in functions.items()}


@pytest.mark.parametrize("tags", TAGS.values(), ids=TAGS)
@pytest.mark.parametrize("seed", range(20))
def test_entity_f1_equals_seqeval(tags, seed):
    targets, predictions = random_rows(random.Random(seed), tags)
    expected = seqeval_scores(targets, predictions)
    found = tagging.entity_f1(targets, predictions)
    assert found == pytest.approx({**expected, "well_formed": 1.0}, abs=1e-12)
    rows = tagging.entity_counts_of_rows(targets, predictions)
    assert tagging.f1_of_counts(rows) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_sums_of_sentences_give_the_f1_of_the_set(seed):
    targets, predictions = random_rows(random.Random(seed), TAGS["entities"])
    predictions[0] += " B-LOC"
    predictions[1] = ""
    alone = [tagging.entity_counts(t, p) for t, p in zip(targets, predictions)]
    assert alone == tagging.entity_counts_of_rows(targets, predictions)
    fitted = [tagging.fitted(t, p) for t, p in zip(targets, predictions)]
    expected = seqeval_scores(targets, fitted)
    assert tagging.f1_of_counts(alone) == pytest.approx(expected, abs=1e-12)


def test_an_x_at_the_head_depends_on_the_sentence_before():
    targets, predictions = ["DET NOUN", "X VERB"], ["DET DET", "X VERB"]
    assert tagging.entity_counts(targets[1], predictions[1]).correct == 2
    assert tagging.entity_counts_of_rows(targets, predictions)[1].correct == 1


def test_whole_types_tell_tags_apart():
    assert tagging.with_whole_types("SCONJ X O B-PER") == "S-<SCONJ> X-<X> O B-PER"
    target, prediction = map(tagging.with_whole_types, ("SCONJ VERB X", "CCONJ VERB _"))
    assert tagging.entity_counts(target, prediction) == (1, 3, 3)


@pytest.mark.parametrize(
    ("target", "prediction", "expected"),
    [("A B", "A", "A O"), ("A", "A B", "A"), ("A B", "B A", "B A"), ("A B", "", "O O")],
)
def test_fitted(target, prediction, expected):
    assert tagging.fitted(target, prediction) == expected
