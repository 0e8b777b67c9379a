"""F1 over pairs by hand, the best threshold against trying all of them."""

import math
import random

import pytest

from xlt_jax.metrics import mining


def test_pair_f1_by_hand():
    gold = [("d1", "e1"), ("d2", "e2"), ("d3", "e3")]
    given = [("d1", "e1"), ("d2", "e3"), ("d1", "e1")]
    assert mining.pair_f1(gold, given) == {
        "f1": pytest.approx(2 / 5),
        "precision": 1 / 2,
        "recall": pytest.approx(1 / 3),
    }
    assert mining.pair_f1(gold, gold) == {"f1": 1.0, "precision": 1.0, "recall": 1.0}
    assert mining.pair_f1(gold, []) == {"f1": 0.0, "precision": 0.0, "recall": 0.0}
    assert mining.pair_f1(gold, [("d1", "e2")])["f1"] == 0.0


def test_pairs_need_gold():
    with pytest.raises(ValueError, match="at least one gold pair"):
        mining.pair_f1([], [("a", "b")])
    with pytest.raises(ValueError, match="at least one gold pair"):
        mining.best_threshold({("a", "b"): 1.0}, [])


def test_best_threshold_by_hand():
    gold = {("a", "A"), ("b", "B"), ("z", "Z")}  # z Z is no candidate
    scores = {("a", "A"): 0.9, ("a", "B"): 0.7, ("b", "B"): 0.6, ("c", "A"): 0.2}
    # Kept 1: 2/4. Kept 3: 4/6.
    assert mining.best_threshold(scores, gold) == mining.Threshold(
        pytest.approx(0.4), pytest.approx(2 * 2 / (3 + 3))
    )


def test_equal_scores_stay_together():
    scores = {("a", "A"): 1.0, ("b", "X"): 1.0, ("c", "C"): 0.5}
    best = mining.best_threshold(scores, {("a", "A")})
    assert best == mining.Threshold(0.75, pytest.approx(2 / 3))
    assert mining.kept_pairs(scores, best.value) == {("a", "A"), ("b", "X")}


def test_nothing_right_keeps_nothing():
    best = mining.best_threshold({("a", "B"): 1.0}, {("a", "A")})
    assert best == mining.Threshold(math.inf, 0.0)
    assert mining.kept_pairs({("a", "B"): 1.0}, best.value) == set()


def test_neighbouring_floats():
    low = 0.1
    high = math.nextafter(low, 1.0)
    scores = {("a", "A"): high, ("b", "X"): low}
    best = mining.best_threshold(scores, {("a", "A")})
    assert mining.kept_pairs(scores, best.value) == {("a", "A")}


def test_nan_is_refused():
    with pytest.raises(ValueError, match=r"1 pairs have the score nan"):
        mining.best_threshold({("a", "A"): math.nan}, {("a", "A")})


@pytest.mark.parametrize("seed", range(20))
def test_best_threshold_against_all(seed):
    draw = random.Random(seed)
    pairs = [(str(s), str(t)) for s in range(6) for t in range(6)]
    scores = {pair: draw.choice([0.1, 0.2, 0.3, draw.random()]) for pair in pairs}
    gold = set(draw.sample(pairs, 8))
    best = mining.best_threshold(scores, gold)
    kept = [mining.kept_pairs(scores, score) for score in scores.values()]
    assert best.f1 == pytest.approx(max(mining.pair_f1(gold, k)["f1"] for k in kept))
    found = mining.pair_f1(gold, mining.kept_pairs(scores, best.value))
    assert found["f1"] == pytest.approx(best.f1)
