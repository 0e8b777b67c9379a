"""SQuAD F1 and exact match by hand, in scripts with and without spaces."""

import unicodedata

import pytest

from xlt_jax.metrics import span_qa


@pytest.mark.parametrize(
    ("target", "prediction", "f1", "em"),
    [
        ("12 May 2020", "12 May 2020", 1.0, 1.0),
        ("12 May 2020", "12 may, 2020.", 1.0, 1.0),
        ("12 May 2020", "May 2020", 2 * 2 / (3 + 2), 0.0),
        ("12 May 2020", "2020 May 12", 1.0, 0.0),  # a bag of tokens
        ("New York York", "York York York", 2 * 2 / (3 + 3), 0.0),
        ("Paris", "", 0.0, 0.0),
        ("Paris", "Berlin", 0.0, 0.0),
        ("«Paris»", "Paris", 1.0, 1.0),  # Unicode punctuation
        ("2020年5月12日", "5月12日", 2 * 4 / (6 + 4), 0.0),  # 2020 | 年 | 5 | 月 | 12 | 日
        ("东京", "京", 2 * 1 / (2 + 1), 0.0),
        ("とうきょう", "きょう", 2 * 3 / (5 + 3), 0.0),
        ("ไทย", "ทย", 2 * 2 / (3 + 2), 0.0),
        ("서울 시", "서울", 2 * 1 / (2 + 1), 0.0),  # Hangul is written with spaces
        ("...", "!", 0.0, 1.0),  # no tokens: as in the official scripts
    ],
)
def test_language_free_manner(target, prediction, f1, em):
    assert span_qa.f1(target, prediction) == pytest.approx(f1)
    assert span_qa.em(target, prediction) == em


def test_marks_stay_with_their_base():
    assert span_qa.tokens("ที่นี่") == ["ที่", "นี่"]
    assert span_qa.tokens("မြန်မာ") == ["မြ", "န်", "မာ"]


def test_what_sentencepiece_normalises_is_equal():
    thai = "น้ำ"  # its vowel has a compatibility decomposition
    assert unicodedata.normalize("NFKC", thai) != thai
    assert span_qa.em(thai, unicodedata.normalize("NFKC", thai)) == 1.0
    assert span_qa.em("１２", "12") == 1.0
    assert span_qa.em("1\u202f234", "1 234") == 1.0


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("en", "The cat, an owl and a dog", ["cat", "owl", "and", "dog"]),
        ("de", "Der Hund und eine Katze", ["hund", "und", "katze"]),
        ("es", "el perro y los gatos", ["perro", "y", "gatos"]),
        ("vi", "những con mèo của tôi", ["con", "mèo", "tôi"]),
        ("hi", "नई दिल्ली।", ["नई", "दिल्ली"]),
        ("zh", "在2008年，北京 OK", ["在", "2008", "年", "北", "京", "ok"]),
        ("ar", "القاهرة", ["قاهرة"]),
    ],
)
def test_mlqa_manner(language, text, expected):
    assert span_qa.tokens(text, f"mlqa.{language}") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The cat, an owl; a dog.", ["cat", "owl", "dog"]),
        ("Theatre a-b", ["theatre", "ab"]),  # punctuation first: the article is gone from a-b
        ("«Paris»、東京", ["«paris»、東京"]),  # ASCII punctuation only, no splitting
        ("12\u00a0km\u3000 a", ["12", "km"]),
        ("der Hund", ["der", "hund"]),
        ("", []),
    ],
)
def test_squad_manner(text, expected):
    assert span_qa.tokens(text, "squad") == expected


def test_articles_count_in_any_language():
    assert span_qa.tokens("the cat") == ["the", "cat"]
    assert span_qa.em("the cat", "cat") == 0.0
    assert span_qa.em("the cat", "cat", "mlqa.en") == 1.0
    assert span_qa.em("the cat", "cat", "squad") == 1.0


def test_best_of_several_answers():
    assert span_qa.f1(["Berlin", "Paris France"], "Paris") == pytest.approx(2 / 3)
    assert span_qa.em(["Berlin", "Paris"], "paris") == 1.0


def test_squad_is_the_mean_over_rows():
    result = span_qa.squad(["a b", "c"], ["b", "c"])
    assert result == {"f1": pytest.approx((2 / 3 + 1) / 2), "em": 0.5}


def test_squad_takes_several_golds_and_a_manner():
    result = span_qa.squad([("x y", "the b"), "«c»"], ["b", "c"], "squad")
    assert result == {"f1": 0.5, "em": 0.5}
    assert span_qa.squad([("x y", "the b"), "«c»"], ["b", "c"], "mlqa.en")["em"] == 1.0


def test_every_manner_has_tokens():
    for manner in span_qa.MANNERS:
        assert span_qa.tokens("2020", manner) == ["2020"]


def test_unknown_manner():
    with pytest.raises(ValueError, match=r"'mlqa\.sw'.*any, squad, mlqa\.ar"):
        span_qa.tokens("a", "mlqa.sw")
