"""Accuracy at 1 and average precision by hand, and against scikit-learn."""

import random

import pytest

from xlt_jax.metrics import retrieval


def test_accuracy_at_1():
    assert retrieval.accuracy_at_1(["a", "b", "a"], ["a", "a", "a"])["accuracy"] == 2 / 3


@pytest.mark.parametrize(
    ("relevant", "ranked", "k", "expected"),
    [
        ({"x"}, ["x", "y"], 20, 1.0),
        ({"x"}, ["y", "x"], 20, 1 / 2),
        ({"x"}, ["y", "x"], 1, 0.0),
        ({"x", "z"}, ["x", "y", "z"], 20, (1 / 1 + 2 / 3) / 2),
        ({"x", "z"}, ["x", "y", "z"], 2, (1 / 1) / 2),
        ({"x", "y", "z"}, ["x"], 1, 1.0),  # by min(3, k)
        ({"x"}, ["x", "x"], 20, 1.0),
        ({"x"}, [], 20, 0.0),
    ],
)
def test_average_precision(relevant, ranked, k, expected):
    assert retrieval.average_precision(relevant, ranked, k) == pytest.approx(expected)


def test_mean_average_precision():
    result = retrieval.mean_average_precision([{1}, {2}], [[1, 2], [1, 2]])
    assert result == {"map_at_20": 0.75}
    assert "map_at_5" in retrieval.mean_average_precision([{1}], [[1]], k=5)
    with pytest.raises(ValueError, match=r"without a relevant candidate: \[1\]"):
        retrieval.mean_average_precision([{1}, set()], [[1], [1]])


def test_full_ranking_equals_scikit_learn():
    average_precision_score = pytest.importorskip("sklearn.metrics").average_precision_score
    draw = random.Random(0)
    for _ in range(20):
        ranked = draw.sample(range(12), 12)
        relevant = set(draw.sample(range(12), 4))
        labels = [key in relevant for key in ranked]
        expected = average_precision_score(labels, [-place for place in range(12)])
        assert retrieval.average_precision(relevant, ranked) == pytest.approx(expected)


def test_map_at_20_of_text():
    far = " ".join(f"q{place}" for place in range(1, 31))
    targets = ["q2", "q20", "q21", "q1 q3", "q1"]
    predictions = [far, far, far, far, ""]
    expected = (1 / 2 + 1 / 20 + 0 + (1 + 2 / 3) / 2 + 0) / 5
    assert retrieval.map_at_20(targets, predictions) == {"map_at_20": pytest.approx(expected)}
    shares = [retrieval.average_precision_at_20(t, p) for t, p in zip(targets, predictions)]
    assert sum(shares) / 5 == pytest.approx(expected)


def test_a_repeated_id_keeps_its_later_place_empty():
    assert retrieval.average_precision_at_20("a b", "a a b") == pytest.approx((1 + 2 / 3) / 2)


def test_text_without_gold_ids():
    with pytest.raises(ValueError, match=r"without a relevant candidate: \[1\]"):
        retrieval.map_at_20(["a", " "], ["a", "b"])
