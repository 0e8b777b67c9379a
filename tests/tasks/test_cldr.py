"""The embedded benchmark: splits, determinism, parallelism, and what each task promises."""

import datetime
import hashlib
import json
import os
import subprocess
import sys
from collections import Counter

import pytest

import tasks  # noqa: F401  (registers)
from tasks.cldr import facts, forms, text
from xlt_jax.registry import benchmarks, languages

EMBEDDED = [b for b in benchmarks.all_benchmarks() if b.name.startswith("cldr_")]
CLDR = [b for b in EMBEDDED if b.name != "cldr_bilingual"]  # in pairs of languages: at the end
SCORED = [b for b in CLDR if b.request is not benchmarks.Request.TRAIN_ONLY]
SPLITS = ("train", "validation", "test")
SAMPLE = ("ar", "de", "hu", "ja", "my", "sw", "wo", "zh")


def each(names):
    return pytest.mark.parametrize("benchmark", names, ids=lambda b: b.name)


def rows(benchmark, language, split):
    return list(benchmark.source(language, split))


def prompted(benchmark, language, split="test"):
    found = [benchmark.prompt(row) for row in benchmark.source(language, split)]
    return [example for f in found for example in (f if isinstance(f, list) else [f])]


# Splits ------------------------------------------------------------------------------------------


def test_no_fact_is_in_two_splits_of_any_benchmarks():
    """Over all benchmarks together: what one trains on, no other tests."""
    where: dict[str, set[str]] = {}
    for benchmark in CLDR:
        for split in SPLITS:
            for row in benchmark.source(benchmark.languages[0], split):
                assert row["fact"], row
                for fact in row["fact"]:
                    where.setdefault(fact, set()).add(split)
    assert {fact.split(":")[0] for fact in where} >= {"place", "language", "city", "date", "number"}
    assert {fact: splits for fact, splits in where.items() if len(splits) > 1} == {}


@pytest.mark.parametrize("language", facts.LANGUAGES)
def test_no_name_is_in_two_splits(language):
    """Whatever the ids: one spelling of a place, language or city is in one split only."""
    writer = forms.forms(language)
    where: dict[str, str] = {}
    for kind in facts.NAME_KINDS:
        for entity in facts.entities()[kind]:
            split = facts.split_of(entity)
            name = forms.text(writer.name(entity)).casefold()
            assert where.setdefault(name, split) == split
            assert name and name != entity.split(":")[1].casefold()


@each(CLDR)
@pytest.mark.parametrize("language", SAMPLE)
def test_no_prompted_test_row_is_a_training_row(benchmark, language):
    seen = {(e["inputs"], e["targets"]) for e in prompted(benchmark, language, "train")}
    shared = [e for e in prompted(benchmark, language) if (e["inputs"], e["targets"]) in seen]
    assert shared == []


# Rows --------------------------------------------------------------------------------------------


@each(CLDR)
def test_rows_are_enough_and_aligned_over_languages(benchmark):
    for split, least in (("validation", 50), ("test", 200)):
        first = [
            (row["id"], row["fact"]) for row in benchmark.source(benchmark.languages[0], split)
        ]
        assert len(first) >= least
        assert len({row_id for row_id, _ in first}) == len(first)
        for language in benchmark.languages[1:]:
            keys = [(row["id"], row["fact"]) for row in benchmark.source(language, split)]
            assert keys == first
    assert len(rows(benchmark, benchmark.languages[-1], "train")) >= 1000


def test_all_languages_but_haitian_are_covered():
    for benchmark in CLDR:
        missing = set(languages.XTREME_R) - set(benchmark.languages)
        assert missing == ({"ht"} if benchmark.kind != "parallel" else {"ht", "en"})


@each(CLDR)
def test_prompts_are_clean_text(benchmark):
    for language in benchmark.languages:
        for example in prompted(benchmark, language, "validation"):
            for string in (example["inputs"], example["targets"], *example.get("choices", ())):
                assert string == forms.clean(string).strip()
                assert "{" not in string and "¤" not in string
            assert example["targets"]


def test_two_processes_agree_whatever_the_hash_seed():
    program = (
        "import hashlib, json, tasks\n"
        "from xlt_jax.registry import benchmarks\n"
        "for b in benchmarks.all_benchmarks():\n"
        "  if b.name.startswith('cldr_') and b.name != 'cldr_bilingual':\n"
        "    for language in ('wo', 'ja', 'en', 'hu'):\n"  # Wolof first: it fills Babel's caches
        "      if language in b.languages:\n"
        "        rows = json.dumps(list(b.source(language, 'test')))\n"
        "        print(b.name, language, hashlib.sha256(rows.encode()).hexdigest())\n"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "1234", "JAX_PLATFORMS": "cpu"}
    process = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    there = dict(line.rsplit(" ", 1) for line in process.stdout.splitlines())
    assert len(there) == sum(4 if "en" in b.languages else 3 for b in CLDR)
    for key, digest in there.items():
        name, language = key.split()
        for _ in range(2):
            dump = json.dumps(rows(benchmarks.get(name), language, "test"))
            assert hashlib.sha256(dump.encode()).hexdigest() == digest, key


def test_one_locale_does_not_leak_into_another():
    """Babel caches resolved aliases in dictionaries that locales share."""
    day = datetime.date(2014, 3, 7)
    forms.Forms("wo")
    assert forms.text(forms.Forms("fi").date(day, "month_year")) == "maaliskuu 2014"


# Languages ---------------------------------------------------------------------------------------

NATIVE = {"ar": "٠١٢٣٤٥٦٧٨٩", "fa": "۰۱۲۳۴۵۶۷۸۹", "bn": "০১২৩৪৫৬৭৮৯", "mr": "०१२३४५६७८९"}
NATIVE["my"] = "၀၁၂၃၄၅၆၇၈၉"


@each(CLDR)
def test_digits_are_the_languages_own(benchmark):
    english_too = benchmark.kind in ("retrieval", "parallel")
    for language in benchmark.languages:
        own = set(NATIVE.get(language, "0123456789"))
        strings = [
            string
            for example in prompted(benchmark, language, "validation")
            for string in (example["inputs"], "" if english_too else example["targets"])
        ]
        if benchmark.kind == "parallel":  # every second input is English
            strings = [row["source"] for row in benchmark.source(language, "validation")]
        digits = {c for string in strings for c in string if c.isdigit()}
        assert digits <= own and (digits or benchmark.name == "cldr_same_name")


def test_word_order_is_the_locales_own():
    day = datetime.date(2014, 3, 7)
    order = {
        language: [f for _, f in forms.forms(language).date(day, "full") if f]
        for language in facts.LANGUAGES
    }
    assert order["en"] == ["weekday", "month", "day", "year"]
    assert order["de"] == ["weekday", "day", "month", "year"]
    assert order["hu"] == order["ja"] == ["year", "month", "day", "weekday"]
    assert order["tr"] == ["day", "month", "year", "weekday"]
    assert all(sorted(o) == ["day", "month", "weekday", "year"] for o in order.values())
    assert len({tuple(o) for o in order.values()}) >= 4


@pytest.mark.parametrize(
    ("language", "expected"),
    {
        "en": ["Friday, March 7, 2014", "3/7/14", "1,250 euros", "€1,250.00", "23 hours", "37%"],
        "de": [
            "Freitag, 7. März 2014",
            "07.03.14",
            "1.250 Euro",
            "1.250,00 €",
            "23 Stunden",
            "37 %",
        ],
        "ja": ["2014年3月7日金曜日", "2014/03/07", "1,250ユーロ", "€1,250.00", "23 時間", "37%"],
        "sw": ["Ijumaa, 7 Machi 2014", "07/03/2014", "yuro 1,250", "€ 1,250.00", "saa 23", "37%"],
        "hi": ["शुक्रवार, 7 मार्च 2014", "7/3/14", "1,250 यूरो", "€1,250.00", "23 घंटे", "37%"],
        "tr": ["7 Mart 2014 Cuma", "7.03.2014", "1.250 Euro", "€1.250,00", "23 saat", "%37"],
    }.items(),
)
def test_forms_as_the_locale_writes_them(language, expected):
    """As printed by other users of CLDR 47 (ICU)."""
    writer, day = forms.forms(language), datetime.date(2014, 3, 7)
    written = [
        writer.date(day, "full"),
        writer.date(day, "short"),
        writer.money("EUR", 1250, "name"),
        writer.money("EUR", 1250, "symbol"),
        writer.measure("hour", 23, "long"),
        writer.percent(37),
    ]
    assert [forms.text(form) for form in written] == expected


def test_numbers_group_as_the_locale_does():
    assert forms.forms("en").grouped(1234567) == "1,234,567"
    assert forms.forms("hi").grouped(1234567) == "12,34,567"
    assert forms.forms("de").grouped(123) == "123"
    assert forms.text(forms.forms("ja").money("JPY", 1250, "code")) == "JPY 1,250"


@pytest.mark.parametrize("language", SAMPLE)
def test_dates_agree_with_babel(language):
    """Our formatter is ours for speed and for the fields; the text must be Babel's."""
    from babel.dates import format_date

    locale = forms.LOCALES.get(language, language)
    for day in (datetime.date(1999, 12, 31), datetime.date(2014, 3, 7), datetime.date(2004, 2, 29)):
        for style in forms.DATE_STYLES:
            theirs = forms.clean(format_date(day, style, locale=locale))
            ours = forms.text(forms.forms(language).date(day, style)).translate(
                {ord(native): str(i) for i, native in enumerate(NATIVE.get(language, ""))}
            )
            theirs = theirs.translate(
                {ord(native): str(i) for i, native in enumerate(NATIVE.get(language, ""))}
            )
            assert ours == theirs


# Tasks -------------------------------------------------------------------------------------------


@each([b for b in SCORED if b.request is benchmarks.Request.RANK])
def test_choices_hold_the_answer_and_labels_are_balanced(benchmark):
    for language in benchmark.languages:
        examples = prompted(benchmark, language)
        assert all(e["targets"] in e["choices"] for e in examples)
        assert all(len(set(e["choices"])) == len(e["choices"]) > 1 for e in examples)
        places = Counter(e["choices"].index(e["targets"]) for e in examples)
        even = len(examples) / len(examples[0]["choices"])
        assert all(abs(count - even) <= 1 for count in places.values())
        assert len(places) == len(examples[0]["choices"])


@each(SCORED)
@pytest.mark.parametrize("language", ("en", "ja", "wo"))
def test_metrics_chance_and_example_scores_fit(benchmark, language):
    examples = prompted(benchmark, language)
    targets = [e["targets"] for e in examples]
    assert benchmark.metric(targets, targets)[benchmark.main_metric] == 1.0
    assert 0 < benchmark.chance(examples) < 0.6
    guesses = targets[1:] + targets[:1]
    mean = sum(map(benchmark.example_score, targets, guesses)) / len(targets)
    assert benchmark.metric(targets, guesses)[benchmark.main_metric] == pytest.approx(mean)


def test_a_constant_answer_never_beats_chance():
    for benchmark in SCORED:
        examples = prompted(benchmark, "de")
        targets = [e["targets"] for e in examples]
        for guess in [g for g, _ in Counter(targets).most_common(3)]:
            score = sum(benchmark.example_score(t, guess) for t in targets) / len(targets)
            reached = benchmark.chance(examples)
            assert score <= reached + 1e-9 or benchmark.kind == "choice", benchmark.name


@each([b for b in CLDR if b.kind == "qa"])
def test_answers_are_spans_of_the_context(benchmark):
    for language in benchmark.languages:
        for row in benchmark.source(language, "test"):
            assert row["answer"] in row["context"]


@each([b for b in CLDR if b.kind == "tagging"])
def test_one_tag_for_each_token(benchmark):
    for language in benchmark.languages:
        for row, example in zip(rows(benchmark, language, "test"), prompted(benchmark, language)):
            assert len(example["targets"].split()) == len(row["tokens"]) <= 12
            assert example["inputs"].split()[1:] == row["tokens"]
            assert len(set(row["tags"])) >= 2


@each([b for b in CLDR if b.kind == "parallel"])
def test_gold_alignment_joins_what_translates(benchmark):
    english_months = forms.forms("en")._months["wide", "M"]
    checked = Counter()
    for language in benchmark.languages:
        writer = forms.forms(language)
        months = {name: m for names in writer._months.values() for m, name in names.items()}
        digits = str.maketrans(
            NATIVE.get(language, ""), "0123456789"[: len(NATIVE.get(language, ""))]
        )
        by_name = {}
        for kind in facts.NAME_KINDS:
            for entity in facts.entities()[kind]:
                by_name[forms.text(writer.name(entity))] = forms.text(
                    forms.forms("en").name(entity)
                )
        for row in benchmark.source(language, "test"):
            assert row["alignment"]
            assert "".join(row["source_tokens"]).replace(" ", "") == row["source"].replace(" ", "")
            for i, j in row["alignment"]:
                source, target = row["source_tokens"][i], row["target_tokens"][j]
                plain = source.translate(digits)
                if target in english_months.values() and source in months:
                    assert english_months[months[source]] == target
                    checked["month"] += 1
                elif target.isdigit() and plain.isdigit():
                    assert int(plain) == int(target)
                    checked["number"] += 1
                elif source in by_name and target in by_name.values():
                    assert by_name[source] == target
                    checked["name"] += 1
    assert min(checked.values()) > 1000 and len(checked) == 3


@each([b for b in CLDR if b.kind == "retrieval"])
def test_candidates_are_distinct_and_the_same_in_all_languages(benchmark):
    candidates = [e["targets"] for e in prompted(benchmark, "en")]
    assert len(set(candidates)) == len(candidates)
    for language in benchmark.languages:
        examples = prompted(benchmark, language)
        assert [e["targets"] for e in examples] == candidates
        assert len({e["inputs"] for e in examples}) == len(candidates)
        assert all(e["inputs"] != e["targets"] for e in examples)


def test_vocabulary_text_is_fixed_and_from_train_only():
    lines = list(text.corpus())
    assert lines == list(text.corpus())
    seen = set(lines)
    for benchmark in SCORED:
        prefixes = {e["inputs"].split(":")[0] for e in prompted(benchmark, "en", "train")}
        if benchmark.request is not benchmarks.Request.EMBED:
            assert prefixes <= {line.split(":")[0] for line in seen}
    position, count = (
        0,
        sum(facts.split_of(e) == "train" for k in facts.entities().values() for e in k),
    )
    names = {}
    for language in facts.LANGUAGES:  # each language: its names, then its lines of text
        names[language] = set(lines[position : position + count])
        position += count + facts.ROWS["train"]
        writer = forms.forms(language)
        for kind in facts.NAME_KINDS:
            for entity in facts.entities()[kind]:
                name = forms.text(writer.name(entity))
                assert (name in names[language]) == (facts.split_of(entity) == "train")


def test_bilingual_rows_are_those_of_pairs_in_two_languages():
    bilingual, pairs = map(benchmarks.get, ("cldr_bilingual", "cldr_pairs"))
    assert len(bilingual.languages) == len(set(bilingual.languages)) == 2 * 48
    for language in ("en-sw", "af-ar"):
        first, second = language.split("-")
        found = list(bilingual.source(language, "test"))
        for row, one, other in zip(
            found, pairs.source(first, "test"), pairs.source(second, "test"), strict=True
        ):
            assert row == one | {"hypothesis": other["hypothesis"]}
            assert other["label"] == row["label"]
        train = {tuple(row["fact"]) for row in bilingual.source(language, "train")}
        assert not train & {tuple(row["fact"]) for row in found}
        examples = prompted(bilingual, language)
        assert bilingual.chance(examples) == pairs.chance(prompted(pairs, first))
    lines = sum(line.startswith("pairs:") for line in text.corpus())
    assert lines == 30 * len(pairs.languages)  # none of the bilingual rows beside them
