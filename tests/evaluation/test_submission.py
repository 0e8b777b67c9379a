"""Submission files: what is written is read again, and what is wrong is said."""

import json
import string

import pytest

from xlt_jax.evaluation import submission
from xlt_jax.registry import xtreme

ROWS = {
    "xnli": [("a", "entailment"), ("b", "contradiction"), ("c", "neutral")],
    "pawsx": [("a", "0"), ("b", "1")],
    "xcopa": [("7", "1"), ("3", "0")],
    "udpos": [("a", "DET NOUN"), ("b", "X")],
    "panx": [("a", "B-PER I-PER O"), ("b", "O")],
    "xquad": [("q1", "東京 タワー"), ("q2", ""), ("q3", ' a\n"b"\t')],
    "mlqa": [("q1", "القاهرة")],
    "tydiqa": [("q1", "yes")],
    "bucc2018": [("de-1", "en-3 en-4"), ("de-2", "en-1")],
    "tatoeba": [("1", "12"), ("2", "7")],
    "mewslix": [("m1", "Q1 Q2"), ("m2", "")],
    "lareqa": [("q1", "de_1_0 ar_1_2"), ("q2", "de_2_0")],
}
TEXT = {
    "xnli": "entailment\ncontradiction\nneutral\n",
    "xcopa": '{"label": 1}\n{"label": 0}\n',
    "panx": "B-PER\nI-PER\nO\n\nO\n\n",
    "bucc2018": "de-1\ten-3\nde-1\ten-4\nde-2\ten-1\n",
    "tatoeba": "12\n7\n",
}


def language_of(task):
    return xtreme.task(task).languages[0]


def put(folder, task, content):
    path = submission.path_of(folder, task, language_of(task))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_every_task_has_rows():
    assert ROWS.keys() == xtreme.tasks("xtreme").keys() | xtreme.tasks("xtreme-r").keys()


@pytest.mark.parametrize("task", ROWS)
def test_round_trip(task, tmp_path):
    language = language_of(task)
    path = submission.write(tmp_path, task, language, ROWS[task])
    found = submission.read_predictions(tmp_path, task, language)
    assert list(found.values()) == [answer for _, answer in ROWS[task]]
    if path.suffix == ".json" or task == "bucc2018":
        assert list(found) == [row_id for row_id, _ in ROWS[task]]
    assert path.relative_to(tmp_path).as_posix() == f"{task}/test-{language}{path.suffix}"
    assert [other.name for other in path.parent.iterdir()] == [path.name]  # no temporary file
    if task in TEXT:
        assert path.read_text(encoding="utf-8") == TEXT[task]
    assert path.read_bytes().endswith(b"\n")


@pytest.mark.parametrize("task", sorted(set(ROWS) - {"xquad", "mlqa", "tydiqa", "bucc2018"}))
def test_predictions_that_are_the_labels(task, tmp_path):
    language = language_of(task)
    rows = [
        (row_id, text.split()[0] if task == "mewslix" else text)
        for row_id, text in ROWS[task]
        if text
    ]
    submission.write(tmp_path, task, language, rows)
    matched = submission.read_matched(tmp_path, tmp_path, task, language)
    assert matched.targets == matched.predictions == tuple(text for _, text in rows)
    assert matched.missing == matched.extra == ()


def test_only_the_first_sentence_of_tatoeba_counts(tmp_path):
    path = submission.write(tmp_path, "tatoeba", "af", [("1", "12 13"), ("2", ""), ("3", "1")])
    assert path.read_text() == "12\n\n1\n"
    assert list(submission.read_predictions(tmp_path, "tatoeba", "af").values()) == ["12", "", "1"]


def test_sentences_without_a_partner(tmp_path):
    rows = [("de-1", ""), ("de-2", "en-1")]
    assert submission.write(tmp_path, "bucc2018", "de", rows).read_text() == "de-2\ten-1\n"


def test_an_answer_that_is_no_label_stays_in_its_line(tmp_path):
    submission.write(tmp_path, "xnli", "de", [("a", "neutral"), ("b", "I do\nnot \t know")])
    found = submission.read_predictions(tmp_path, "xnli", "de")
    assert found == {"1": "neutral", "2": "I do not know"}
    path = submission.write(tmp_path, "xcopa", "et", [("a", "1"), ("b", "the first")])
    assert json.loads(path.read_text().splitlines()[1]) == {"label": "the first"}
    assert submission.read_predictions(tmp_path, "xcopa", "et") == {"1": "1", "2": "the first"}


def test_a_second_write_replaces_the_first(tmp_path):
    submission.write(tmp_path, "xnli", "de", [("a", "neutral"), ("b", "neutral")])
    submission.write(tmp_path, "xnli", "de", [("a", "entailment")])
    assert submission.read_predictions(tmp_path, "xnli", "de") == {"1": "entailment"}


@pytest.mark.parametrize(
    ("task", "rows", "message"),
    [
        ("xnli", [], "no answers"),
        ("xnli", [("a", "neutral"), ("a", "neutral")], "1 row ids come more than once.*'a'"),
        ("pawsx", [("a", "paraphrase")], "not one answer is a label.*'paraphrase'.*0, 1"),
        ("panx", [("a", "O"), ("b", " ")], "1 sentences have no tag.*'b'.*fitted"),
    ],
)
def test_what_cannot_be_written(task, rows, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        submission.write(tmp_path, task, language_of(task), rows)
    assert not list(tmp_path.iterdir())


def test_unknown_task_language_and_folder(tmp_path):
    with pytest.raises(ValueError, match="Unknown task 'xnly'"):
        submission.write(tmp_path, "xnly", "de", [("a", "neutral")])
    with pytest.raises(ValueError, match="'xnli' has no language 'fi'"):
        submission.read_predictions(tmp_path, "xnli", "fi")
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"Cannot write .*Name another folder"):
        submission.write(tmp_path / "file", "xnli", "de", [("a", "neutral")])


@pytest.mark.parametrize(
    ("task", "content", "message"),
    [
        ("xnli", b"neutral\n\xff\xfe\n", "is not UTF-8"),
        ("xnli", "\ufeffneutral\n", "byte order mark"),
        ("xcopa", '{"label": 0}\nneutral\n', "line 2: 'neutral' is not a JSON object"),
        ("xcopa", "[0]\n", r"line 1: '\[0\]' is not a JSON object"),
        ("xcopa", '{"answer": 0}\n', 'with "label"'),
        ("xcopa", '{"label": "1"}\n', 'label "1" is no number. Write 0 or 1, unquoted'),
        ("xcopa", '{"label": true}\n', "label true is no number"),
        ("panx", "Paris\tB-LOC\n", "line 1: .* is not one tag"),
        ("bucc2018", "de-1\ten-1\n\n", "line 2: '' is not a source id"),
        ("bucc2018", "de-1 en-1\n", "line 1: 'de-1 en-1' is not"),
        ("bucc2018", "de-1\ten-1\t0.9\n", "line 1"),
        ("xquad", '{"q1": "a"', "is not JSON"),
        ("xquad", '["a"]', "holds a JSON list"),
        ("xquad", '{"q1": ["a"]}', r"id 'q1': the answer is \[\"a\"\]"),
        ("mewslix", '{"m1": "Q1"}', "id 'm1': \"Q1\" is not a list of ids"),
        ("lareqa", '{"q1": ["a b"]}', "without spaces"),
        ("lareqa", '{"q1": [1]}', "each a string"),
    ],
)
def test_predictions_that_cannot_be_read(task, content, message, tmp_path):
    path = put(tmp_path, task, content)
    with pytest.raises(ValueError, match=message) as error:
        submission.read_predictions(tmp_path, task, language_of(task))
    assert str(path) in str(error.value)


def squad(*questions):
    qas = [{"id": q, "answers": [{"text": text} for text in golds]} for q, golds in questions]
    return {"version": "1.1", "data": [{"paragraphs": [{"context": "", "qas": qas}]}]}


@pytest.mark.parametrize(
    ("task", "content", "message"),
    [
        ("xnli", "", "has no rows"),
        ("xnli", "neutral\tA.\tB.\n", "row 1: label .*allowed: entailment, neutral, contra"),
        ("pawsx", "2\n", "row 1: label '2'; allowed: 0, 1"),
        ("xquad", json.dumps({"data": [{"qas": []}]}), "not SQuAD's JSON.*KeyError 'paragraphs'"),
        ("xquad", json.dumps({"q1": "a"}), "not SQuAD's JSON"),
        ("xquad", json.dumps(squad()), "has no rows"),
        ("xquad", json.dumps(squad(("q1", []))), "question 'q1'.*at least one"),
        ("mewslix", '{"m1": ["Q1", "Q2"]}', "id 'm1': 2 gold ids; there must be one"),
        ("lareqa", '{"q1": []}', "id 'q1': 0 gold ids; there must be at least one"),
    ],
)
def test_labels_that_cannot_be_read(task, content, message, tmp_path):
    path = put(tmp_path, task, content)
    with pytest.raises(ValueError, match=message) as error:
        submission.read_labels(tmp_path, task, language_of(task))
    assert str(path) in str(error.value)


def test_labels_of_questions(tmp_path):
    content = squad(("q1", ["a", "the a"]), ("q2", ["b"]))
    for form in (content, content["data"]):
        put(tmp_path, "mlqa", json.dumps(form))
        rows = submission.read_labels(tmp_path, "mlqa", "ar")
        assert rows == [("q1", ("a", "the a")), ("q2", ("b",))]


def test_questions_match_by_id(tmp_path):
    put(tmp_path / "gold", "xquad", json.dumps(squad(("q1", ["a"]), ("q2", ["b"]), ("q1", ["c"]))))
    put(tmp_path / "mine", "xquad", json.dumps({"q9": "z", "q1": "A"}))
    assert submission.read_matched(tmp_path / "mine", tmp_path / "gold", "xquad", "ar") == (
        submission.Matched((("a",), ("b",), ("c",)), ("A", None, "A"), ("q2",), ("q9",))
    )
    put(tmp_path / "mine", "xquad", json.dumps({"q9": "z"}))
    with pytest.raises(ValueError, match="no id in common: 'q9' against 'q1'"):
        submission.read_matched(tmp_path / "mine", tmp_path / "gold", "xquad", "ar")
    put(tmp_path / "mine", "xquad", "{}")
    matched = submission.read_matched(tmp_path / "mine", tmp_path / "gold", "xquad", "ar")
    assert matched.missing == ("q1", "q2", "q1")


@pytest.mark.parametrize(
    ("task", "mine", "message"),
    [
        ("xnli", "neutral\n", r"has 1 lines, .* has 2"),
        ("xnli", "neutral\nneutral\n\n", r"has 3 lines, .* has 2"),
        ("panx", "O\n\nO\n\nO\n", r"has 3 sentences, .* has 2"),
    ],
)
def test_numbers_of_rows_must_agree(task, mine, message, tmp_path):
    gold = {"xnli": "neutral\nentailment\n", "panx": "O\nO\n\nO\n"}
    put(tmp_path / "gold", task, gold[task])
    put(tmp_path / "mine", task, mine)
    with pytest.raises(ValueError, match=message):
        submission.read_matched(tmp_path / "mine", tmp_path / "gold", task, language_of(task))


@pytest.mark.parametrize("end", ["", "\n", "\n\n"])
def test_ends_of_tag_files(end, tmp_path):
    put(tmp_path, "panx", "O\r\nB-LOC \r\n\r\nO" + end)
    rows = list(submission.read_predictions(tmp_path, "panx", "af").values())
    assert rows == ["O B-LOC", "O"]


def test_text_survives_as_it_is(tmp_path):
    answer = string.punctuation + " \u2028\x85 ٣ 한국어 👍🏽 \\ \r\n"
    submission.write(tmp_path, "tydiqa", "ko", [("q1", answer)])
    assert submission.read_predictions(tmp_path, "tydiqa", "ko") == {"q1": answer}
