"""Tag accuracy by hand."""

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
