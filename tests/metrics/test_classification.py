"""Accuracy by hand, macro F1 against scikit-learn."""

import random

import pytest

from xlt_jax.metrics import classification


def test_accuracy_by_hand():
    targets = ["yes", "no", "yes", "no"]
    assert classification.accuracy(targets, ["yes", "no", "no", "nonsense"]) == {"accuracy": 0.5}
    assert classification.accuracy(targets, targets) == {"accuracy": 1.0}


def test_exact_is_the_rows_share():
    targets, predictions = ["a", "b", "c"], ["a", "c", "c"]
    shares = [classification.exact(t, p) for t, p in zip(targets, predictions)]
    assert shares == [1.0, 0.0, 1.0]
    assert sum(shares) / 3 == classification.accuracy(targets, predictions)["accuracy"]


def test_macro_f1_by_hand():
    # a: precision 1/2, recall 1/1 -> 2/3; b: precision 1/1, recall 1/2 -> 2/3.
    result = classification.macro_f1(["a", "b", "b"], ["a", "a", "b"])
    assert result["macro_f1"] == pytest.approx(2 / 3)


@pytest.mark.parametrize("seed", range(5))
def test_macro_f1_equals_scikit_learn(seed):
    f1_score = pytest.importorskip("sklearn.metrics").f1_score
    draw = random.Random(seed)
    targets = draw.choices("abcd", k=40)
    predictions = draw.choices(["a", "b", "c", "d", "odd"], k=40)
    expected = f1_score(
        targets, predictions, labels=sorted(set(targets)), average="macro", zero_division=0
    )
    got = classification.macro_f1(targets, predictions)["macro_f1"]
    assert got == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("metric", [classification.accuracy, classification.macro_f1])
def test_lengths_are_checked(metric):
    with pytest.raises(ValueError, match="2 targets and 1 predictions"):
        metric(["a", "b"], ["a"])
    with pytest.raises(ValueError, match="at least one row"):
        metric([], [])
