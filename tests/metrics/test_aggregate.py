"""Averages by hand."""

import pytest

from xlt_jax.metrics import aggregate
from xlt_jax.registry import xtreme

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


def full_scores(version):
    return {
        f"{name}.{language}": (10.0 * number if language == "en" else 5.0 * number)
        for number, (name, task) in enumerate(xtreme.tasks(version).items(), start=1)
        for language in task.languages
    }


def test_xtreme_summary_by_hand():
    summary = aggregate.xtreme_summary(full_scores("xtreme-r"), "xtreme-r")
    # xnli is task 1, xcopa 2 (without English): 14 languages of 5 and English of 10, all of 10.
    xnli = (14 * 5 + 10) / 15
    assert summary.tasks["xnli"] == aggregate.Average(pytest.approx(xnli), ())
    assert summary.groups["classification"].value == pytest.approx((xnli + 10) / 2)
    assert summary.gaps["xnli"].value == pytest.approx(5)
    assert summary.gaps.keys() == set(summary.tasks) - {"xcopa", "tatoeba"}
    assert len(summary.tasks) == 10
    every = sum(average.value for average in summary.tasks.values()) / 10
    assert summary.overall == aggregate.Average(pytest.approx(every), ())


def test_groups_are_means_over_their_tasks():
    for version, count in (("xtreme", 9), ("xtreme-r", 10)):
        summary, tasks = aggregate.xtreme_summary(full_scores(version), version), []
        for group, average in summary.groups.items():
            mine = [n for n, task in xtreme.tasks(version).items() if task.group == group]
            mean = sum(summary.tasks[name].value for name in mine) / len(mine)
            assert average.value == pytest.approx(mean)
            tasks += mine
        assert len(tasks) == count


def test_what_is_missing_is_named_at_every_level():
    scores = full_scores("xtreme-r")
    del scores["lareqa.th"], scores["xnli.en"]
    summary = aggregate.xtreme_summary(scores)
    assert summary.tasks["lareqa"] == aggregate.Average(None, ("lareqa.th",))
    assert summary.groups["retrieval"] == aggregate.Average(None, ("lareqa.th",))
    assert summary.groups["qa"].value is not None
    assert summary.overall == aggregate.Average(None, ("lareqa.th", "xnli.en"))
    assert summary.gaps["xnli"] == aggregate.Average(None, ("xnli.en",))


def test_tasks_of_the_other_version_do_not_count():
    scores = full_scores("xtreme")
    more = scores | {"xcopa.it": 0.0, "xnli.sw_KE": 0.0}
    assert aggregate.xtreme_summary(more, "xtreme") == aggregate.xtreme_summary(scores, "xtreme")
    with pytest.raises(ValueError, match=r"'xtreme2'; known: xtreme, xtreme-r"):
        aggregate.xtreme_summary(scores, "xtreme2")
