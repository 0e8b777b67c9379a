"""Averages by hand."""

import pytest

from xlt_jax.metrics import aggregate

SCORES = {"nli.en": 0.9, "nli.de": 0.7, "nli.sw": 0.5, "qa.en": 0.8, "qa.sw": 0.2}


def test_by_benchmark():
    means = aggregate.by_benchmark(SCORES)
    assert means == {"nli": pytest.approx(0.7), "qa": pytest.approx(0.5)}


def test_by_group():
    groups = {"en": "high", "de": "high", "sw": "low"}
    means = aggregate.by_group(SCORES, groups)
    assert means["nli"] == {"high": pytest.approx(0.8), "low": 0.5}
    assert means["qa"] == {"high": 0.8, "low": 0.2}
    assert aggregate.by_group(SCORES, {"de": "high"})["qa"] == {}


def test_transfer_gap():
    gaps = aggregate.transfer_gap(SCORES | {"tag.de": 1.0, "pos.en": 1.0})
    assert gaps == {"nli": pytest.approx(0.9 - 0.6), "qa": pytest.approx(0.6)}


def test_overall_weighs_benchmarks_equally():
    expected = {"nli": ["en", "de", "sw"], "qa": ["en", "sw"]}
    average = aggregate.overall(SCORES, expected)
    assert average == aggregate.Average(pytest.approx((0.7 + 0.5) / 2), ())


def test_overall_names_what_is_missing():
    expected = {"nli": ["en", "de", "fr"], "qa": ["en"], "tag": ["en"]}
    average = aggregate.overall(SCORES, expected)
    assert average == aggregate.Average(None, ("nli.fr", "tag.en"))


def test_without_and_f1_em():
    assert set(aggregate.without(SCORES)) == {"nli.de", "nli.sw", "qa.sw"}
    assert aggregate.f1_em({"f1": 0.6, "em": 0.4}) == 0.5


def test_a_score_needs_a_language():
    with pytest.raises(ValueError, match=r"'nli'.*benchmark\.language"):
        aggregate.by_benchmark({"nli": 0.1})
