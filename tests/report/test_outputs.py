"""Malformed outputs, and answers in another script than their language's."""

import pytest
from synthetic import write_task

from xlt_jax.registry import languages
from xlt_jax.report import outputs, runs, script
from xlt_jax.report.tables import Results


def test_every_script_of_the_registry_is_known():
    assert all(script.known(code) for code in languages.LANGUAGES)


@pytest.mark.parametrize(
    ("code", "reference", "prediction", "wrong"),
    [
        ("ru", "в Москве", "in Moscow", 1),
        ("ru", "в Москве", "в Moscow и в Париже", 0),
        ("ru", ["Москва", "г. Москва", "Moscow"], "Москва", 0),
        ("ja", "東京タワー", "东京", 0),  # what Japanese and Chinese share is no other script
        ("ja", "ﾄｳｷｮｳ", "Tokyo", 1),
        ("zh", "北京", "ペキンという町", 1),
        ("hi", "दिल्ली में", "दिल्ली", 0),
        ("th", "กรุงเทพ", "๑๙๙๘", 0),  # digits are of no script
        ("ar", "القاهرة", "", 0),
        ("de", "Köln", "Кёльн", 1),
    ],
)
def test_letters_decide(code, reference, prediction, wrong):
    found = script.count(code, [(reference, prediction)])
    assert (found.with_letters, found.in_script, found.wrong) == (1, 1, wrong)


def test_classes_numbers_and_pairs_of_languages_tell_nothing():
    assert script.count("ru", [("entailment", "neutral")]).in_script == 0
    assert script.count("ru", [("1998", "in 1998")]).with_letters == 0
    assert script.count("en-ru", [("a", "b")]) is None


def write(folder, benchmark, code, answers, **facts):
    write_task(folder, benchmark, code, [1.0] * len(answers), answers=answers, **facts)


def test_shares_are_means_over_languages_of_text_benchmarks(tmp_path):
    write(tmp_path, "cldr_qa", "ru", [("в Москве", "in Moscow")] * 3 + [("да", "да")], malformed=1)
    write(tmp_path, "cldr_qa", "de", [("in Köln", "in Köln")] * 4, malformed=0)
    write(tmp_path, "cldr_qa", "en", [("in Rome", "в Риме")] * 4, malformed=4)
    for code in ("ru", "de"):  # answers that are names of classes, also in Latin letters
        write(tmp_path, "cldr_pairs", code, [("entailment", "neutral")] * 4)
    results = Results(runs.read([tmp_path]))
    assert outputs.text_benchmarks(results) == {"cldr_qa"}
    (row,) = outputs.output_rows(results)
    assert row.wrong_script == pytest.approx((0.75 + 0) / 2)
    assert row.malformed == pytest.approx((0.25 + 0) / 2)
    assert row.worst == (("ru", 0.75),) and row.num_languages == 2


def test_rows_say_what_is_malformed_where_the_metrics_do_not(tmp_path):
    write(tmp_path, "cldr_qa", "ru", [("да", "да")] * 4)
    path = next((tmp_path / "inference_eval").glob("cldr_qa.ru-0*.jsonl"))
    formed = ["true", "false", "true", "true"]
    lines = zip(path.read_text().splitlines(), formed)
    path.write_text("".join(f'{line[:-1]}, "well_formed": {one}}}\n' for line, one in lines))
    (row,) = outputs.output_rows(Results(runs.read([tmp_path])))
    assert row.malformed == 0.25
