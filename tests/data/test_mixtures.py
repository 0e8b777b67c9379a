"""Rates of mixtures against the formulas."""

import pytest

from xlt_jax.data.mixtures import Mixture, Part, get


def test_temperature_and_cap():
    part = Part(("a.en", "a.sw"), temperature=1 / 0.3, cap=10_000)
    rates = Mixture("m", (part,)).rates({"a.en": 1_000_000, "a.sw": 100})
    # mT5: p(L) ~ |L| ** 0.3, after the cap.
    weights = 10_000**0.3, 100**0.3
    assert rates["a.en"] == pytest.approx(weights[0] / sum(weights))
    assert sum(rates.values()) == pytest.approx(1)


def test_shares_of_parts():
    mixture = Mixture("m", (Part(("a.en", "b.en"), share=3), Part(("a.sw",), share=1)))
    rates = mixture.rates({"a.en": 30, "b.en": 10, "a.sw": 5})
    assert rates == pytest.approx({"a.en": 0.75 * 0.75, "b.en": 0.75 * 0.25, "a.sw": 0.25})


@pytest.mark.parametrize(
    "wrong", [dict(tasks=()), dict(share=0), dict(temperature=-1), dict(cap=0)]
)
def test_wrong_parts(wrong):
    with pytest.raises(ValueError):
        Part(**(dict(tasks=("a.en",)) | wrong))


def test_unknown_mixture_names_what_is_near():
    with pytest.raises(ValueError, match=r"Unknown mixture or task .* Register"):
        get("multitask_intermediat")
