"""The language table and its queries."""

import pytest

from xlt_jax.registry import languages

FIELDS = ("family", "genus", "script", "resource")


def test_the_fifty_languages_of_xtreme_r():
    # Mewsli-X documentation and evaluate.py of XTREME-R, commit 838c13b.
    expected = (
        "af ar az bg bn de el en es et eu fa fi fr gu he hi ht hu id it ja jv ka kk ko lt ml mr ms "
        "my nl pa pl pt qu ro ru sw ta te th tl tr uk ur vi wo yo zh"
    )
    assert list(languages.XTREME_R) == expected.split()
    assert set(languages.XTREME_R) < set(languages.LANGUAGES)
    assert list(languages.LANGUAGES) == sorted(languages.LANGUAGES)


@pytest.mark.parametrize("language", languages.LANGUAGES.values(), ids=languages.LANGUAGES)
def test_every_alias_leads_to_its_language(language):
    for alias in (language.code, *language.aliases):
        assert languages.get(alias) is language
        assert languages.get(alias.upper().replace("_", "-")) is language
    assert 0 <= language.joshi_class <= 5
    assert language.name and language.family and language.genus and language.script


@pytest.mark.parametrize(
    ("alias", "code"),
    {
        "iw": "he",
        "in": "id",
        "jw": "jv",
        "fil": "tl",
        "zh-CN": "zh",
        "zho_Hans": "zh",
        "swa": "sw",
        "afr_Latn": "af",
        "pes_Arab": "fa",
    }.items(),
)
def test_other_codings(alias, code):
    assert languages.get(alias).code == code


def test_resource_classes_follow_joshi():
    for language in languages.LANGUAGES.values():
        low_to_high = ("low", "low", "low", "mid", "high", "high")
        assert language.resource == low_to_high[language.joshi_class]


@pytest.mark.parametrize("field", FIELDS)
def test_values_of_a_field_partition_the_languages(field):
    values = {getattr(language, field) for language in languages.LANGUAGES.values()}
    parts = [languages.select(**{field: value}) for value in values]
    assert all(part == tuple(sorted(part)) and part for part in parts)
    assert sorted(code for part in parts for code in part) == sorted(languages.LANGUAGES)
    assert languages.select(**{field: sorted(values)}) == tuple(sorted(languages.LANGUAGES))


def test_criteria_combine_and_exclude():
    germanic = languages.select(genus="Germanic")
    assert germanic == ("af", "da", "de", "en", "nl", "sv")
    assert languages.select(genus="Germanic", resource="mid") == ("af", "da")
    assert languages.select(genus="Germanic", exclude=("eng", "af")) == ("da", "de", "nl", "sv")
    assert languages.select(family="Uralic", script="Cyrillic") == ()


def test_errors_name_what_is_allowed():
    with pytest.raises(ValueError, match=r"'germann'.*'de' \(German\).*languages\.py"):
        languages.get("germann")
    with pytest.raises(ValueError, match=r"script \['Runic'\]; allowed: Arabic, "):
        languages.select(script="Runic")
    with pytest.raises(ValueError, match="Unknown language 'xx'"):
        languages.select(exclude="xx")
