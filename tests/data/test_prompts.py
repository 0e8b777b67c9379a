"""Shared phrasing and its way back: what a generated text says of a row."""

import unicodedata

import pytest

from xlt_jax.data import prompts
from xlt_jax.metrics import tagging

TAGS = ("NOUN", "VERB", "PUNCT", "_")
parse_tags = prompts.tagged_words_parser(TAGS, otherwise="_")


def nfkc(text: str) -> str:
    """As SentencePiece writes: NFKC, single spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).split())


# ----------------------------------------------------------------------------------- questions
@pytest.mark.parametrize(
    ("context", "answer"),
    [
        ("It cost (1,702) crowns.", "(1,702) crowns"),
        ("a 'b' c_d e", "'b' c_d"),
        ("Das  sind\n zwei  Zeilen.", "sind\n zwei"),
        ("ตำรวจน้ำ มาแล้ว", "น้ำ"),  # U+0E33, which NFKC writes as two characters
        ("كتاب مؤرَّخ سنة 1962، وبعد", "مؤرَّخ سنة 1962،"),  # NFKC swaps the two marks
        ("un cafe\u0301 noir", "cafe\u0301"),  # a mark of its own, which NFKC joins
        ("ｶﾞﾗｽ です", "ｶﾞﾗｽ"),  # half-width, with a voicing mark
        ("각 한국", "한국"),
        ("12\u00a0000 km² weit", "12\u00a0000 km²"),  # a space that does not break, a square
        ("tab\tand\u2003quad", "tab\tand\u2003quad"),
        ("\U00020000\U00031350 字", "\U00031350"),
    ],
)
def test_answers_are_found_again(context, answer):
    example = prompts.question("Why?", context, [answer])
    assert prompts.parse_answer(example, example["targets"]) == (answer, True)
    assert prompts.parse_answer(example, nfkc(example["targets"])) == (answer, True)


def test_of_several_places_the_one_with_the_same_words():
    context = "The lab enacted; can o'clock no, on Ann's one lab."
    example = prompts.question("Q?", context, ["no"])
    assert prompts.parse_answer(example, "no") == ("no", True)
    example = prompts.question("Q?", "all about a lab", ["lab"])
    assert prompts.parse_answer(example, "lab") == ("lab", True)
    assert prompts.parse_answer(example, "l ab out") == ("l about", True)


def test_other_answers_stay():
    example = prompts.question("Q?", "The mill is red.", ["red"])
    assert prompts.parse_answer(example, "  rot ") == ("rot", False)
    assert prompts.parse_answer(example, "") == ("", False)
    assert prompts.parse_answer(example, " \u3000 ") == ("", False)
    assert prompts.parse_answer(prompts.question("Q?", "", ["x"]), "x") == ("x", False)


def test_questions_as_mt5_reads_them():
    example = prompts.question("Wer «kam»?", "Ana (2) kam_an…", ["Ana (2)", "", "Ana"])
    assert example["inputs"] == "question: Wer « kam » ? context: Ana ( 2 ) kam_an … "
    assert example["targets"] == "Ana ( 2 ) "
    assert example["references"] == ["Ana (2)", "Ana"]
    assert example["inputs"].endswith(example["context"])
    assert prompts.question("Q?", "C.", []) is None
    assert prompts.question("Q?", "C.", [" "]) is None


def test_letters_that_are_newer_than_pythons_tables():
    """RE2 has Unicode 15: letters of it are padded by no spaces, its symbols are."""
    example = prompts.question("Q?", "a\U00031350b a\U0001fae8b a\u0378b", ["a"])
    assert example["context"] == "a\U00031350b a \U0001fae8 b a \u0378 b"


def test_white_space_that_is_none_to_re2():
    """No-break spaces and the vertical tab are padded as punctuation is."""
    context = prompts.question("Q?", "a\u00a0b\x0bc\u3000d\fe", ["a"])["context"]
    assert context == "a \u00a0 b \x0b c \u3000 d e"


# ------------------------------------------------------------------------------------- entities
def entities(words: str, tags: str) -> dict:
    return prompts.entities(words.split(), tags.split())


@pytest.mark.parametrize(
    ("words", "tags"),
    [
        ("it rains", "O O"),
        ("Ana and Ana and Ana", "B-PER O B-PER O B-PER"),  # repeated
        ("Ana Lee met Ana", "B-PER I-PER O B-PER"),
        ("Rio Rio Grande", "B-LOC B-LOC I-LOC"),  # side by side
        ("การ น้ำ ไทย", "O B-LOC I-LOC"),
        ("① ﬁrst Cafe\u0301 Ltd", "O B-ORG I-ORG I-ORG"),  # NFKC changes every word
        ("None", "B-PER"),
        ("A : B", "B-PER I-PER I-PER"),
    ],
)
def test_entities_are_found_again(words, tags):
    example = entities(words, tags)
    for text in (example["targets"], nfkc(example["targets"])):
        assert prompts.parse_entities(example, text) == (tags, True)


def test_an_entity_that_begins_with_i_counts_the_same():
    example = entities("Ana Lee met Bo", "I-PER I-PER O I-PER")
    parsed, well_formed = prompts.parse_entities(example, example["targets"])
    assert (parsed, well_formed) == ("B-PER I-PER O B-PER", True)
    assert tagging.entity_f1([example["references"]], [parsed])["f1"] == 1.0


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("", "O O O O"),
        ("nothing", "O O O O"),
        ("PER: ", "O O O O"),
        ("MISC: Ana", "O O O O"),
        ("per: Ana", "O O O O"),
        ("PER: Bob", "O O O O"),
        ("PER: An", "O O O O"),  # part of a word
        ("PER: Lee $$ PER: Ana", "O B-PER O O"),  # out of order: the second is not after the first
        ("PER: Ana Lee $$ PER: Lee", "B-PER I-PER O O"),  # overlapping
        ("PER: Ana $$ $$ LOC: Rome", "B-PER O O B-LOC"),
        ("PER: Ana $$ ORG: Acme $$ LOC: Rome", "B-PER O O B-LOC"),
        ("None $$ PER: Ana", "B-PER O O O"),
    ],
)
def test_malformed_entities_tag_what_they_can(text, tags):
    example = entities("Ana Lee saw Rome", "O O O O")
    assert prompts.parse_entities(example, text) == (tags, False)


def test_spans_of_tags():
    tags = "I-LOC I-LOC B-LOC I-PER O I-PER B-ORG".split()
    assert prompts.spans_of(tags) == [
        ("LOC", 0, 2),
        ("LOC", 2, 3),
        ("PER", 3, 4),
        ("PER", 5, 6),
        ("ORG", 6, 7),
    ]


# --------------------------------------------------------------------------------- tagged words
@pytest.mark.parametrize(
    "words",
    [
        ["Dogs", "bark", "."],
        ["NOUN", "VERB", "_"],  # words that are tags
        ["12\u00a0000", "ﬁt", "…"],  # white space inside, NFKC makes more characters
        ["น้ำ", "ไหล", "!"],
        ["cafe\u0301", "کتاب\u200cها", "?"],
    ],
)
def test_tags_are_found_again(words):
    tags = ["NOUN", "VERB", "PUNCT"]
    example = prompts.tagged_words("pos", words, tags)
    for text in (example["targets"], nfkc(example["targets"])):
        assert parse_tags(example, text) == ("NOUN VERB PUNCT", True)


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("", "_ _ _"),
        ("Dogs NOUN", "NOUN _ _"),
        ("Dogs NOUN bark", "NOUN _ _"),
        ("Dogs NOUN bark VERB . PUNCT extra", "NOUN VERB PUNCT"),
        ("Dogs NOUN bark RUNS . PUNCT", "NOUN PUNCT _"),
        ("Cats NOUN bark VERB . PUNCT", "NOUN VERB PUNCT"),
        ("NOUN NOUN NOUN NOUN", "NOUN NOUN NOUN"),
    ],
)
def test_malformed_tags_are_taken_in_order(text, tags):
    example = prompts.tagged_words("pos", ["Dogs", "bark", "."], ["NOUN", "VERB", "PUNCT"])
    assert parse_tags(example, text) == (tags, False)


# ------------------------------------------------------------------------------ pairs, choices
def test_labels_in_words_and_numbers():
    for label, number in (("contradiction", "2"), ("contradictory", "2"), (1, "1"), ("0", "0")):
        assert prompts.inference("a", "b", label)["targets"] == number
    for none in (-1, "-1", "-"):
        assert prompts.inference("a", "b", none) is None
    assert prompts.paraphrase("a", "NS", 0) is None
    assert prompts.paraphrase("a", "NS ", 0, "test")["targets"] == "different_meaning"
    assert prompts.paraphrase("a", "b", -1) is None
    assert prompts.multiple_choice("x", "c", ["a", "b"], -1) is None
