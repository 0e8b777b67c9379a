"""Alignment error rate by hand, and against counting link by link."""

import random

import numpy as np
import pytest

from xlt_jax.metrics import word_alignment


def approx(aer, precision, recall, f1):
    values = {"aer": aer, "precision": precision, "recall": recall, "f1": f1}
    return {name: pytest.approx(value, abs=1e-15) for name, value in values.items()}


def test_one_sentence_by_hand():
    sure, possible = [(0, 0), (1, 2)], [(0, 0), (1, 2), (1, 1), (2, 1)]
    predicted = [(0, 0), (1, 1), (2, 2)]  # sure, possible, wrong
    result = word_alignment.alignment_error_rate([sure], [predicted], [possible])
    assert result == approx(1 - (1 + 2) / (3 + 2), 2 / 3, 1 / 2, 2 / (3 / 2 + 2))
    assert {type(value) for value in result.values()} == {float}


def test_sums_over_sentences_are_no_means_of_them():
    sure = [[(0, 0)], [(0, 0), (1, 1), (2, 2), (3, 3)]]
    predicted = [[(0, 0)], [(0, 1), (1, 1)]]
    result = word_alignment.alignment_error_rate(sure, predicted)
    assert result == approx(1 - (2 + 2) / (3 + 5), 2 / 3, 2 / 5, 2 * 2 / (3 + 5))


def test_sure_links_are_possible_ones():
    sure, predicted = [[(0, 0), (1, 1)]], [[(0, 0), (0, 1)]]
    left_out = word_alignment.alignment_error_rate(sure, predicted, [[(0, 1)]])
    repeated = word_alignment.alignment_error_rate(sure, predicted, [[(0, 1), (1, 1), (0, 0)]])
    assert left_out == repeated == approx(1 - (1 + 2) / (2 + 2), 1.0, 1 / 2, 2 / 3)


def test_direction_and_repetition():
    assert word_alignment.alignment_error_rate([[(0, 1)]], [[(1, 0)]]) == approx(1, 0, 0, 0)
    once = word_alignment.link_counts([(0, 1)], [(0, 1)], [(0, 1), (2, 2)])
    twice = word_alignment.link_counts([(0, 1)] * 2, [[0, 1]] * 2, np.array([[2, 2], [2, 2]]))
    assert once == twice == (1, 1, 1, 1)


@pytest.mark.parametrize(
    ("sure", "predicted", "possible", "expected"),
    [
        ([(0, 0)], [], [], (1, 0, 0, 0)),  # nothing predicted
        ([], [(0, 0)], [], (1, 0, 0, 0)),  # no gold
        ([], [], [], (1, 0, 0, 0)),
        ([], [], [(0, 0)], (1, 0, 0, 0)),
        ([], [(0, 0), (1, 1), (1, 2), (1, 3)], [(0, 0)], (3 / 4, 1 / 4, 0, 0)),  # no sure gold
        ([(0, 0)], [(1, 1)], [(1, 1)], (1 - 1 / 2, 1, 0, 0)),
        ([(0, 0)], [(0, 0)], [(1, 1)], (0, 1, 1, 1)),
    ],
)
def test_nothing_predicted_or_to_find(sure, predicted, possible, expected):
    result = word_alignment.alignment_error_rate([sure], [predicted], [possible])
    assert result == approx(*expected)


def test_a_sentence_without_links_changes_nothing():
    sure, predicted, possible = [[(0, 0), (1, 0)]], [[(0, 0), (1, 1)]], [[(1, 1)]]
    alone = word_alignment.alignment_error_rate(sure, predicted, possible)
    empty = word_alignment.alignment_error_rate([*sure, []], [*predicted, []], [*possible, []])
    assert alone == empty


@pytest.mark.parametrize(
    ("sure", "predicted", "possible"),
    [
        ([[], []], [[]], [[], []]),
        ([[], []], [[], []], [[]]),
        ([[]], [[], []], None),
        ([], [], []),
    ],
)
def test_wrong_lengths(sure, predicted, possible):
    number = len(sure if possible is None else possible)
    message = f"got {len(sure)} pairs with sure links, {number} with possible and {len(predicted)}"
    with pytest.raises(ValueError, match=message):
        word_alignment.alignment_error_rate(sure, predicted, possible)


@pytest.mark.parametrize("seed", range(20))
def test_random_links_one_by_one(seed):
    draw = random.Random(seed)
    grid = [(i, j) for i in range(5) for j in range(6)]
    corpus = [
        [draw.sample(grid, draw.randrange(1, 12)) for _ in range(3)]
        for _ in range(draw.choice([1, 7]))
    ]
    right_sure = right_possible = num_sure = num_predicted = 0
    for sure, predicted, possible in corpus:
        for link in grid:
            num_sure += link in sure
            num_predicted += link in predicted
            right_sure += link in predicted and link in sure
            right_possible += link in predicted and (link in sure or link in possible)
    precision, recall = right_possible / num_predicted, right_sure / num_sure
    f1 = 2 / (1 / precision + 1 / recall) if right_sure else 0.0
    aer = 1 - (right_sure + right_possible) / (num_predicted + num_sure)
    result = word_alignment.alignment_error_rate(*zip(*corpus))
    assert result == approx(aer, precision, recall, f1)


def test_counts_of_sentences_add_up():
    sure, predicted = [[(0, 0)], [(1, 1), (2, 2)]], [[(0, 0), (0, 1)], [(2, 2)]]
    counts = list(map(word_alignment.link_counts, sure, predicted))
    assert counts == [(2, 1, 1, 1), (1, 2, 1, 1)]
    twice_the_first = word_alignment.error_rate_of_counts([counts[0], counts[0]])
    assert twice_the_first == approx(1 / 3, 1 / 2, 1, 2 / 3)
    together = word_alignment.alignment_error_rate(sure, predicted)
    assert word_alignment.error_rate_of_counts(counts) == together
