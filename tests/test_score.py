"""The program that scores a submission: figures by hand, XTREME's mock submission, its output."""

import json
import pathlib
import shutil
import subprocess
import sys

import pytest

from xlt_jax import score
from xlt_jax.evaluation import submission, summary
from xlt_jax.registry import xtreme

ROOT = pathlib.Path(__file__).resolve().parent.parent
_MOCKS = (folder / "shared" / "data" / "xtreme_mock" for folder in [ROOT, *ROOT.parents])
MOCK = next(filter(pathlib.Path.is_dir, _MOCKS), None)
needs_mock = pytest.mark.skipif(MOCK is None, reason="shared/data/xtreme_mock is not there")

# What the official program's own test expects; of udpos with seqeval 0.0.12.
EXPECTED = {
    "pawsx": {"accuracy": 51.42857142857143},
    "xnli": {"accuracy": 30.666666666666668},
    "panx": {"f1": 57.50793650793652, "precision": 54.729166666666664, "recall": 62.75},
    "udpos": {"f1": 70.21746048354693, "precision": 71.02232625883823, "recall": 69.54982073976082},
    "bucc2018": {"f1": 55.0, "precision": 55.0, "recall": 55.0},
    "tatoeba": {"accuracy": 53.611111111111114},
    "xquad": {"em": 77.27272727272727, "f1": 79.9586776859504},
    "mlqa": {"em": 57.142857142857146, "f1": 81.76870748299321},
    "tydiqa": {"em": 88.88888888888889, "f1": 97.22222222222223},
}


def squad(**golds):
    qas = [{"id": q, "answers": [{"text": text} for text in texts]} for q, texts in golds.items()]
    return json.dumps({"data": [{"paragraphs": [{"qas": qas}]}]})


def put(folder, name, text):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@pytest.fixture
def folders(tmp_path):
    return tmp_path / "mine", tmp_path / "gold"


def score_one(folders, task, language):
    return score.score_language(*folders, xtreme.task(task), language)


def test_questions_by_hand(folders):
    mine, gold = folders
    for task in ("xquad", "mlqa"):
        put(gold, f"{task}/test-de.json", squad(a=["der Hund"], b=["x"], c=["«Rom»", "Paris"]))
        put(mine, f"{task}/test-de.json", '{"a": "Hund", "c": "rom", "z": "?"}')
    notes = (
        "1 ids without a prediction, counted as wrong, the first is b",
        "1 ids of predictions not in the labels, ignored, the first is z",
    )
    # SQuAD's manner keeps "der" and «»; MLQA's drops both.
    found = score_one(folders, "xquad", "de")
    assert found == summary.Score({"f1": pytest.approx(100 * (2 / 3) / 3), "em": 0.0}, notes)
    found = score_one(folders, "mlqa", "de")
    assert found == summary.Score(
        {"f1": pytest.approx(200 / 3), "em": pytest.approx(200 / 3)}, notes
    )


def test_a_question_without_a_prediction_is_wrong(folders):
    mine, gold = folders
    put(gold, "xquad/test-en.json", squad(a=["the"], b=["the"]))
    put(mine, "xquad/test-en.json", '{"a": ""}')
    assert score_one(folders, "xquad", "en").metrics == {"f1": 0.0, "em": 50.0}
    put(mine, "xquad/test-en.json", "{}")
    assert score_one(folders, "xquad", "en").metrics == {"f1": 0.0, "em": 0.0}


def test_tags_by_hand(folders):
    mine, gold = folders
    put(gold, "panx/test-sw.tsv", "B-PER\nI-PER\nO\n\nB-LOC\nO\n")
    put(mine, "panx/test-sw.tsv", "B-PER\nI-PER\n\nB-LOC\nB-LOC\n\n")
    found = score_one(folders, "panx", "sw")
    assert found.metrics == pytest.approx({"f1": 80.0, "precision": 200 / 3, "recall": 100.0})
    assert found.notes == ("1 sentences with another number of tags, cut or filled up with O",)


def test_rankings_by_hand(folders):
    mine, gold = folders
    put(gold, "lareqa/test-de.json", '{"q1": ["a", "b"], "q2": ["c"], "q3": ["d"]}')
    put(mine, "lareqa/test-de.json", '{"q1": ["a", "x", "b"], "q2": ["x", "c"]}')
    found = score_one(folders, "lareqa", "de")
    assert found.metrics == pytest.approx({"map_at_20": 100 * ((1 + 2 / 3) / 2 + 1 / 2) / 3})
    assert found.notes == ("1 ids without a prediction, counted as wrong, the first is q3",)


def test_accuracies_and_pairs_by_hand(folders):
    mine, gold = folders
    put(gold, "xnli/test-de.tsv", "neutral\nentailment\n")
    put(mine, "xnli/test-de.tsv", "neutral\n\n")
    assert score_one(folders, "xnli", "de") == summary.Score({"accuracy": 50.0})
    put(mine, "xnli/test-de.tsv", "0\n1\n")
    assert score_one(folders, "xnli", "de") == summary.Score(
        {"accuracy": 0.0}, ("not one prediction is a label (entailment, neutral, contradiction)",)
    )
    put(gold, "bucc2018/test-de.tsv", "d1\te1\nd2\te2\n")
    put(mine, "bucc2018/test-de.tsv", "d1\te1\nd1\te2\nd1\te1\n")
    assert score_one(folders, "bucc2018", "de").metrics == pytest.approx(
        {"f1": 50.0, "precision": 50.0, "recall": 50.0}
    )


ANSWERS = {
    "accuracy": [("1", "0"), ("2", "1")],
    "f1 precision recall": [("1", "B-PER O")],
    "map_at_20": [("1", "Q1")],
}


def write_whole(folders, version):
    """Predictions that are all right, for every task and language."""
    mine, gold = folders
    for task in xtreme.tasks(version).values():
        for language in task.languages:
            if task.group == "qa":
                put(mine, f"{task.name}/test-{language}.json", '{"a": "1"}')
                put(gold, f"{task.name}/test-{language}.json", squad(a=["1"]))
                continue
            rows = ANSWERS[" ".join(task.metrics)]
            if task.name == "xnli":
                rows = [("1", "neutral")]
            for folder in folders:
                submission.write(folder, task.name, language, rows)


@pytest.mark.parametrize("version", xtreme.VERSIONS)
def test_a_whole_submission_has_every_average(version, folders):
    write_whole(folders, version)
    results = score.score(*folders, version)
    assert results.summary.overall.value == pytest.approx(100.0)
    assert not results.notes
    written = summary.as_json(results)
    assert written["groups"] == pytest.approx(dict.fromkeys(xtreme.GROUPS, 100.0))
    assert all(task["missing"] == [] for task in written["tasks"].values())
    assert {name: len(task["languages"]) for name, task in written["tasks"].items()} == {
        name: len(task.languages) for name, task in xtreme.tasks(version).items()
    }


def test_lareqa_counts(folders):
    write_whole(folders, "xtreme-r")
    shutil.rmtree(folders[0] / "lareqa")
    results = score.score(*folders, "xtreme-r")
    assert results.summary.overall.value is None
    assert len(results.summary.overall.missing) == 11
    assert results.summary.groups["retrieval"].value is None
    assert results.summary.groups["qa"].value == 100.0


def test_what_is_missing_is_named_and_not_averaged(folders, tmp_path, capsys):
    mine, gold = folders
    for language in ("ar", "en"):
        for folder in folders:
            submission.write(folder, "xnli", language, [("1", "neutral")])
    submission.write(mine, "xnli", "de", [("1", "neutral")])
    put(mine, "xnli/test-xx.tsv", "")
    put(mine, "pawsx/test-de.tsv", "")
    arguments = ["--predictions", str(mine), "--labels", str(gold)]
    assert score.main([*arguments, "--json", str(tmp_path / "out" / "scores.json")]) == 0
    shown = capsys.readouterr().out
    assert "2 of 15" in shown
    assert "xnli lacks bg de el es fr" in shown and "it has ar 100.00 en 100.00" in shown
    assert "Missing tasks: xcopa udpos" in shown
    assert "Note: xnli.de: predictions without labels, not scored" in shown
    assert "Note: pawsx: not a task of xtreme-r" in shown
    assert "Note: xnli: 1 files not of xtreme-r, ignored: test-xx.tsv" in shown
    written = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert written["overall"] is None and written["tasks"]["xnli"]["score"] is None
    assert written["tasks"]["xnli"]["average"] is None
    assert written["tasks"]["xnli"]["languages"]["en"] == {"accuracy": 100.0, "score": 100.0}
    assert len(written["tasks"]["xnli"]["missing"]) == 13
    assert written["tasks"]["lareqa"]["languages"] == {}


def test_every_language_is_shown_on_request(folders, capsys):
    write_whole(folders, "xtreme-r")
    arguments = ["--predictions", str(folders[0]), "--labels", str(folders[1])]
    assert score.main(arguments) == 0
    assert "│ qu " not in capsys.readouterr().out
    assert score.main([*arguments, "--verbose"]) == 0
    shown = capsys.readouterr().out
    for language in {code for task in xtreme.tasks().values() for code in task.languages}:
        assert f"│ {language} " in shown
    assert "100.00/100.00" in shown


def test_bad_input_ends_with_2(folders, tmp_path, capsys):
    mine, gold = folders
    arguments = ["--predictions", str(mine), "--labels", str(gold)]
    assert score.main(arguments) == 2
    assert f"error: {mine} is not a folder" in capsys.readouterr().err
    mine.mkdir()
    gold.mkdir()
    (mine / "submission").mkdir()
    assert score.main(arguments) == 2
    message = capsys.readouterr().err
    assert "xnli/test-ar.tsv" in message and "has submission" in message
    for folder in folders:
        submission.write(folder, "xnli", "ar", [("1", "neutral")])
    (mine / "xnli/test-ar.tsv").write_bytes(b"\xff\n")
    assert score.main(arguments) == 2
    assert "is not UTF-8" in capsys.readouterr().err
    submission.write(mine, "xnli", "ar", [("1", "neutral")])
    assert score.main([*arguments, "--json", str(mine / "xnli")]) == 2
    assert "Name another file with --json" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        score.main([*arguments, "--version", "xtreme-2"])


def test_program_starts_without_heavy_packages():
    code = (
        "import sys, xlt_jax.score; "
        "sys.exit(bool({'jax', 'tensorflow', 'sklearn', 'seqeval'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@needs_mock
def test_averages_of_the_mock_submission():
    results = score.score(MOCK / "predictions", MOCK / "labels", "xtreme")
    tasks = summary.as_json(results)["tasks"]
    found = {name: task["average"] for name, task in tasks.items()}
    assert found == {name: pytest.approx(value, abs=1e-9) for name, value in EXPECTED.items()}
    assert [note for note in results.notes if "mewslix" not in note] == []
    assert results.summary.overall.value is not None


@needs_mock
def test_mewslix_of_the_mock_submission():
    results = score.score(MOCK / "predictions", MOCK / "labels", "xtreme-r")
    assert results.summary.tasks["mewslix"].value == pytest.approx(14.39025156130419, abs=1e-9)
    assert results.summary.overall.value is None
