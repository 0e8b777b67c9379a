"""Rates of mixtures against hand-computed tables, and the queries that make their parts."""

import numpy as np
import pytest
from scipy import stats

import tasks  # noqa: F401 (registers)
from xlt_jax.data import budget, features, mixtures
from xlt_jax.data.mixtures import EQUAL, Mixture, Part, Size, get
from xlt_jax.registry import benchmarks, languages

SIZES = {
    "a.en": Size(rows=400_000, tokens=16_000_000),
    "b.en": Size(rows=90_000, tokens=13_500_000),
    "c.sw": Size(rows=10_000, tokens=200_000),
}
TASKS = tuple(SIZES)

# By hand, from the formulas: p = min(n, cap) ** (1 / T), made to sum to one.
BY_HAND = {
    "proportional": (dict(), (0.8, 0.18, 0.02)),
    "capped": (dict(cap=100_000), (0.5, 0.45, 0.05)),  # 100, 90, 10 thousand
    # Square roots: 632.4555, 300, 100; in all 1032.4555.
    "temperature": (dict(temperature=2.0), (0.6125741, 0.2905694, 0.0968565)),
    "equal": (dict(temperature=EQUAL), (1 / 3, 1 / 3, 1 / 3)),
    "temperature and cap": (dict(temperature=2.0, cap=90_000), (3 / 7, 3 / 7, 1 / 7)),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_rates_equal_a_table_made_by_hand(name):
    options, expected = BY_HAND[name]
    rates = Mixture("m", (Part(TASKS, **options),)).rates(SIZES)
    assert list(rates.values()) == pytest.approx(expected, abs=1e-6)


def test_mt5_exponent():
    """p(L) ~ |L| ** 0.3 (Xue et al. 2021): a language with a millionth of the text has 1/63."""
    sizes = {"a.en": Size(10**9, 1), "a.sw": Size(10**3, 1)}
    rates = Mixture("m", (Part(tuple(sizes), temperature=1 / 0.3),)).rates(sizes)
    assert rates["a.en"] / rates["a.sw"] == pytest.approx(10**1.8)


def test_shares_of_parts():
    mixture = Mixture("m", (Part(("a.en", "b.en"), share=3), Part(("c.sw",), share=1)))
    sizes = {"a.en": Size(30, 1), "b.en": Size(10, 1), "c.sw": Size(5, 1)}
    expected = {"a.en": 0.75 * 0.75, "b.en": 0.75 * 0.25, "c.sw": 0.25}
    assert mixture.rates(sizes) == pytest.approx(expected)


@pytest.mark.parametrize("temperature", [1.0, 2.0, EQUAL])
def test_counted_in_tokens_the_tokens_have_the_shares(temperature):
    """By hand: tokens a row 40, 150, 20; rates of examples are token shares over tokens a row."""
    part = Part(TASKS, temperature=temperature, cap=14_000_000)
    rates = Mixture("m", (part,), unit="tokens").rates(SIZES)
    weights = [n ** (1 / temperature) for n in (14_000_000, 13_500_000, 200_000)]
    shares = {
        task: rate * size.tokens / size.rows
        for (task, rate), size in zip(rates.items(), SIZES.values())
    }
    total = sum(shares.values())
    assert [share / total for share in shares.values()] == pytest.approx(
        [weight / sum(weights) for weight in weights]
    )
    assert sum(rates.values()) == pytest.approx(1)


class _Table:
    """Rows of one token, as the stream needs them."""

    noise, features = None, ()

    def __init__(self, name: str, rows: int):
        self.name, self._rows = name, rows

    def row(self, number: int) -> dict[str, np.ndarray]:
        return {"inputs": np.ones(1, np.int32), "targets": np.ones(1, np.int32)}

    def __len__(self) -> int:
        return self._rows


@pytest.mark.parametrize("name", BY_HAND)
def test_shares_over_100k_examples_lie_within_sampling_error(name):
    """Chi-squared against the table: p above 1 in 1,000."""
    options, expected = BY_HAND[name]
    rates = Mixture("m", (Part(TASKS, **options),)).rates(SIZES)
    stream = features.BatchStream(
        [_Table(task, 1000) for task in TASKS],
        rates,
        feature_lengths={"inputs": 1, "targets": 1},
        batch_size=1000,
        seed=4,
    )
    seen = sum(next(stream).examples for _ in range(100))
    assert seen.sum() == 100_000
    assert stats.chisquare(seen, np.array(expected) * 100_000).pvalue > 1e-3


@pytest.mark.parametrize(
    "wrong", [dict(tasks=()), dict(share=0), dict(temperature=-1), dict(cap=0)]
)
def test_wrong_parts(wrong):
    with pytest.raises(ValueError):
        Part(**(dict(tasks=("a.en",)) | wrong))


def test_unknown_mixture_names_what_is_near():
    with pytest.raises(ValueError, match=r"Unknown mixture or task .* Register"):
        get("multitask_intermediat")


def test_unknown_unit():
    with pytest.raises(ValueError, match="counts in 'words'; known: examples, tokens"):
        mixtures.register("of_words", Part(("cldr_kind.en",)), unit="words")


# ------------------------------------------------------------------------------------- queries
def test_select_meets_every_criterion():
    low = languages.select(resource="low")
    for task in mixtures.select(languages=low, kind=("pair", "tagging")):
        benchmark, language = benchmarks.split_task(task)
        assert benchmark.kind in ("pair", "tagging") and language in low
        assert benchmark.labelled and not callable(benchmark.source)
        assert benchmark.offers(language, "train")
    embedded = mixtures.select(embedded=True, labelled=False)
    assert {task.split(".")[0] for task in embedded} == {"cldr_text", "cldr_parallel"}
    everything = mixtures.select()
    without = mixtures.select(exclude=("pawsx",))
    assert {task for task in everything if task.startswith("pawsx.")} == {*everything} - {*without}


def test_a_query_that_finds_nothing_says_so():
    with pytest.raises(ValueError, match=r"No task to train on has languages .*ht"):
        mixtures.select(languages=["ht"], kind="choice")
    with pytest.raises(ValueError, match="No benchmark has the domain cooking; there are"):
        mixtures.select(domain="cooking")


def test_classes_of_languages_have_their_shares():
    tasks_ = mixtures.tasks(["cldr_kind"])
    mixture = Mixture("m", mixtures.by_resource(tasks_, high=0.5, mid=0.3, low=0.2))
    assert set(mixture.tasks) == set(tasks_)
    rates = mixture.rates({task: Size(7, 1) for task in tasks_})
    for name, share in (("high", 0.5), ("mid", 0.3), ("low", 0.2)):
        codes = languages.select(resource=name)
        found = sum(rate for task, rate in rates.items() if task.split(".")[1] in codes)
        assert found == pytest.approx(share)


def test_text_is_mixed_in_at_its_ratio():
    parts = mixtures.with_text([Part(("a.en",), 0.7), Part(("b.en",), 0.7)], Part(("c.sw",)), 0.01)
    rates = Mixture("m", parts).rates(SIZES)
    assert rates["c.sw"] / (rates["a.en"] + rates["b.en"]) == pytest.approx(0.01)


@pytest.mark.parametrize("name", [n for n in mixtures.names() if n.endswith("_intermediate")])
def test_intermediate_mixtures_can_be_trained_on_and_leave_xtreme_r_alone(name):
    """No labels of XTREME-R's tasks in another language, or its scores would not be zero-shot."""
    for task in mixtures.get(name).tasks:
        benchmark, language = benchmarks.split_task(task)
        assert benchmark.offers(language, "train"), task
        scored = language in languages.XTREME_R and benchmark.name in _XTREME_R
        assert language == "en" or not scored, task


_XTREME_R = {task.split(".")[0] for task in mixtures.get("xtreme_r").tasks}


# -------------------------------------------------------------------------------------- budgets
def test_budget_by_hand():
    found = budget.expected({"a.en": 0.75, "c.sw": 0.25}, SIZES, examples=200_000)
    english, swahili = found
    assert (english.examples, swahili.examples) == (150_000, 50_000)
    assert (english.epochs, swahili.epochs) == (0.375, 5.0)
    assert (english.tokens, swahili.tokens) == (6_000_000, 1_000_000)  # 40 and 20 tokens a row
    assert english.token_share == pytest.approx(6 / 7)
    text = budget.warning(found)
    assert "the rows of 1 of 2 tasks are repeated more than 4 times: c.sw 5.0 times" in text
    assert budget.warning(found[:1]) is None
    assert sum(one.token_share for one in found) == pytest.approx(1)


def test_tasks_without_data_are_left_out_where_a_mixture_says_so():
    mixture = Mixture("m", (Part(("a.en", "b.en"), 0.4), Part(("c.sw",), 0.6)), skip_missing=True)
    kept = mixture.without(["b.en", "c.sw"])
    assert kept.tasks == ("a.en",) and kept.rates(SIZES) == {"a.en": 1.0}
    assert mixture.without([]) is mixture
    with pytest.raises(ValueError, match="No task of the mixture 'm' has data on this machine"):
        mixture.without(TASKS)
    assert get("real_small_pretrain").skip_missing and not get("xtreme_r").skip_missing
