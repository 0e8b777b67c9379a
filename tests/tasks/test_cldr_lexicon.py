"""Lexicons out of CLDR: train facts alone, words as the embedded rows have them."""

import itertools

import pytest

import tasks  # noqa: F401 (registers)
from tasks.cldr import facts, forms, lexicon
from xlt_jax.data.substitution import Substitution
from xlt_jax.registry import benchmarks

OTHERS = tuple(code for code in facts.LANGUAGES if code != "en")
CLDR = [b for b in benchmarks.all_benchmarks() if b.name.startswith("cldr_")]
ENGLISH = [b for b in CLDR if "en" in b.languages]


@pytest.fixture(scope="module")
def synonyms():
    return lexicon.synonyms()


@pytest.fixture(scope="module")
def translations():
    return lexicon.translations()


def held_out(language):
    """All ways to say a name or a currency of validation or test, in lower case."""
    for kind, entities in facts.entities().items():
        for entity in entities:
            if facts.split_of(entity) == "train":
                continue
            yield forms.text(forms.forms(language).name(entity)).casefold()
            if kind == "currency":
                money = facts.Fact("money", entity.split(":")[1], 1250)
                for style in facts.STYLES["money"]:
                    form = facts.say(language, money, style)
                    yield from (part.casefold() for part, field in form if field == "currency")


@pytest.mark.parametrize("language", facts.LANGUAGES)
def test_no_word_names_a_held_out_fact(language, synonyms, translations):
    if language == "en":
        found = {*synonyms, *(word for words in synonyms.values() for word in words)}
        found |= {word for known in translations.values() for word in known}
    else:
        found = {word for words in translations[language].values() for word in words}
    assert found
    assert {word.removesuffix(",").casefold() for word in found} & set(held_out(language)) == set()


def test_all_languages_but_english_are_there(translations):
    assert tuple(translations) == OTHERS
    assert tuple(lexicon.translations(["sw", "de"])) == ("sw", "de")
    assert lexicon.translations(["sw"])["sw"] == translations["sw"]
    # Vietnamese writes most names as English does, or in several words.
    assert all(len(known) > 100 or code == "vi" for code, known in translations.items())


@pytest.mark.parametrize("unknown", ["en", "ht", "xx"])
def test_unknown_languages_are_refused(unknown):
    with pytest.raises(ValueError, match=rf"no translations into '{unknown}'; into: af ar "):
        lexicon.translations(["de", unknown])


def test_words_are_single_distinct_and_never_themselves(synonyms, translations):
    for known in (synonyms, *translations.values()):
        for word, members in known.items():
            assert members and word not in members and len(set(members)) == len(members)
            for one in (word, *members):
                assert one and len(one.split()) == 1 and not any(map(str.isdigit, one))
                assert one.endswith(",") == word.endswith(",")


def test_every_word_stands_with_a_comma_too(synonyms, translations):
    for known in (synonyms, *translations.values()):
        plain = {word: members for word, members in known.items() if not word.endswith(",")}
        assert len(known) == 2 * len(plain)
        for word, members in plain.items():
            assert known[f"{word},"] == tuple(f"{member}," for member in members)


def test_synonyms_are_symmetrical(synonyms):
    for word, members in synonyms.items():
        assert all(word in synonyms[member] for member in members)


def test_synonyms_by_example(synonyms):
    expected = {
        "March": {"Mar"},
        "Sep": {"September", "Sept"},
        "Friday": {"Fri"},
        "hours": {"hr", "hrs"},
        "km": {"kilometers", "kilometres"},
        "EUR": {"euros", "€"},
        "JPY": {"¥"},
    }
    assert {word: set(synonyms[word]) for word in expected} == expected
    assert "May" not in synonyms  # short as it is


def test_translations_by_example(translations):
    assert translations["de"]["March"] == ("März",)
    assert translations["pl"]["March"] == ("marca", "marzec")  # in a date; alone
    assert translations["sw"]["Friday"] == ("Ijumaa",)
    assert translations["zh"]["hours"] == ("小时",)
    assert translations["hi"]["euros"] == ("यूरो",)
    assert "EUR" not in translations["de"]
    assert "March" not in translations["zh"]  # 3月: a digit
    assert "Monday" in translations["ar"] and "Monday" not in translations["fa"]  # see _words


@pytest.mark.parametrize("language", OTHERS)
def test_names_are_those_of_train(language, translations):
    """All names of one word in both languages, as an independent walk over CLDR finds them."""
    found = dict(translations[language])
    writers = forms.forms("en"), forms.forms(language)
    for kind in facts.NAME_KINDS:
        for entity in facts.entities()[kind]:
            english, other = (forms.text(writer.name(entity)) for writer in writers)
            single = len(english.split()) == len(other.split()) == 1
            if facts.split_of(entity) == "train" and single and english != other:
                assert other in found.pop(english)
            elif facts.split_of(entity) != "train":
                assert english not in found
    left = [word for word in found if not word.endswith(",")]
    assert len(left) <= 12 * 2 + 7 * 2 + 8 * 2 + 1  # months, weekdays, units and euros


@pytest.mark.parametrize("benchmark", ENGLISH, ids=lambda b: b.name)
def test_english_training_rows_have_the_words(benchmark, synonyms, translations):
    examples = []
    for row in itertools.islice(benchmark.source("en", "train"), 400):
        made = benchmark.prompt(row)
        examples += made if isinstance(made, list) else [made]
    texts = [example["inputs"] or example["targets"] for example in examples]
    for lexicons in ({"en": synonyms}, translations):
        method = Substitution(lexicons, rate=1)
        changed = sum(method.text(text, number) != text for number, text in enumerate(texts))
        # Names alone have few synonyms, amounts few words of one word.
        least = 0.01 if benchmark.name in ("cldr_same_money", "cldr_same_name") else 0.3
        assert changed / len(texts) > least


def test_every_word_is_one_of_some_row_or_a_short_weekday(synonyms, translations):
    """In the shape of the rows: nothing is there that no prompt can have."""
    words = {
        word.removesuffix(",")
        for name in ("cldr_kind", "cldr_pairs", "cldr_same_name")
        for row in benchmarks.get(name).source("en", "train")
        for text in row.values()
        if isinstance(text, str)
        for word in text.split(" ")
    }
    known = {word.removesuffix(",") for one in translations.values() for word in one}
    weekdays = set(forms.forms("en")._days["abbreviated", "E"].values())
    assert known - weekdays <= words
    foreign = {word.removesuffix(",") for word in synonyms} - words - weekdays
    abroad = set("hrs mins secs metres kilometres litres l Sept".split())
    symbols = {word for word in foreign if not word[-1].isalpha()}  # they touch their number
    assert foreign >= abroad
    names = foreign - abroad - symbols
    assert len(names) < 10 and all(word.istitle() for word in names)  # Aktau for Aqtau
