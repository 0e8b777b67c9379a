"""Result files: round trip, replaced steps, nothing half-written, TensorBoard curves."""

import json
import os
import signal
import subprocess
import sys
import textwrap

import pytest

from xlt_jax.evaluation import predictions
from xlt_jax.evaluation.predictions import Prediction, TaskResult

ROWS = [
    Prediction("1", "a question", "ja\u2028", "nein", 0.0),  # a line separator of Unicode
    Prediction("x/2", 'with "quotes"\n', "的", "的", 1.0),
]


def result(value=0.5, rows=ROWS):
    metrics = {"accuracy": value, "well_formed": 1.0}
    return TaskResult(metrics, "accuracy", len(rows), 0.25, 1, rows)


def test_round_trip(tmp_path):
    predictions.write(tmp_path, 10, {"nli.de": result(), "nli.en": result(1.0)})
    assert predictions.read_predictions(tmp_path, "nli.de", 10) == ROWS
    expected = {
        "main_metric": "accuracy",
        "accuracy": 0.5,
        "well_formed": 1.0,
        "n": 2,
        "chance": 0.25,
        "truncated": 1,
        "malformed": 0,
        "split": "test",
    }
    assert predictions.read_metrics(tmp_path)["nli.de"] == {10: expected}
    assert set(predictions.read_metrics(tmp_path)) == {"nli.de", "nli.en"}


def test_files_have_the_format_of_seqios_json_logger(tmp_path):
    predictions.write(tmp_path, 10, {"nli.de": result()})
    lines = (tmp_path / "nli.de-metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(lines[0])["step"] == 10
    with open(tmp_path / "nli.de-000010.jsonl", encoding="utf-8", newline="\n") as file:
        first = json.loads(next(file))
    assert first == {
        "input": {"id": "1", "inputs": "a question"},
        "target": "ja\u2028",
        "prediction": "nein",
        "score": 0.0,
    }


def test_steps_are_added_and_a_repeated_one_is_replaced(tmp_path):
    for step, value in ((20, 0.2), (10, 0.1), (20, 0.9)):
        predictions.write(tmp_path, step, {"nli.de": result(value)})
    lines = (tmp_path / "nli.de-metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [10, 20]
    steps = predictions.read_metrics(tmp_path)["nli.de"]
    assert {step: line["accuracy"] for step, line in steps.items()} == {10: 0.1, 20: 0.9}


def test_no_such_step(tmp_path):
    predictions.write(tmp_path, 10, {"nli.de": result()})
    with pytest.raises(ValueError, match=r"step 11.*steps there: 10"):
        predictions.read_predictions(tmp_path, "nli.de", 11)


def test_damaged_file_is_named(tmp_path):
    (tmp_path / "nli.de-metrics.jsonl").write_text('{"step": 1}\n{"ste')
    with pytest.raises(ValueError, match=r"nli\.de-metrics\.jsonl, line 2 is not JSON"):
        predictions.read_metrics(tmp_path)


def test_failure_leaves_the_old_file(tmp_path):
    predictions.write(tmp_path, 10, {"nli.de": result()})
    broken = [ROWS[1], Prediction("3", "", "", "", {"not": {1, 2}})]
    with pytest.raises(TypeError):
        predictions.write(tmp_path, 10, {"nli.de": result(rows=broken)})
    assert predictions.read_predictions(tmp_path, "nli.de", 10) == ROWS
    assert sorted(os.listdir(tmp_path)) == ["nli.de-000010.jsonl", "nli.de-metrics.jsonl"]


def test_killed_process_leaves_no_half_written_file(tmp_path):
    """SIGKILL in the middle of the rows: neither predictions nor metrics appear."""
    program = textwrap.dedent(
        f"""
        import time
        from xlt_jax.evaluation import predictions
        from xlt_jax.evaluation.predictions import Prediction, TaskResult
        def rows():
            for number in range(5000):
                yield Prediction(str(number), "x" * 100, "", "", 0.0)
            print("half", flush=True)
            time.sleep(60)
        result = TaskResult({{"accuracy": 0.0}}, "accuracy", 1, None, 0, rows())
        predictions.write({str(tmp_path)!r}, 10, {{"nli.de": result}})
        """
    )
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "half\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert [name for name in os.listdir(tmp_path) if not name.startswith(".")] == []
    assert predictions.read_metrics(tmp_path) == {}


def test_scalars():
    results = {"nli.en": result(0.9), "nli.de": result(0.5), "nli.sw": result(0.3)}
    results["qa.de"] = result(0.1)
    curves = predictions.scalars(results)
    assert curves["nli.de/accuracy"] == 0.5
    assert curves["nli.de/well_formed"] == 1.0
    assert curves["mean/nli"] == pytest.approx((0.9 + 0.5 + 0.3) / 3)
    assert curves["mean/qa"] == 0.1
    assert curves["mean/non_english"] == pytest.approx(((0.5 + 0.3) / 2 + 0.1) / 2)
    assert "mean/non_english" not in predictions.scalars({"nli.en": result()})


def test_files_of_seqios_own_logger_are_read(tmp_path):
    """As plain T5X writes them: no row ids, scores, n or chance, and inputs as token ids."""
    (tmp_path / "nli.de-metrics.jsonl").write_text(
        '{"step": 10, "accuracy": 0.0}\n{"step": 20, "accuracy": 1.0}\n'
    )
    row = {
        "input": {"inputs": [5, 6, 1], "inputs_pretokenized": "eine Frage", "targets": [7, 1]},
        "target": "nein",
        "prediction": "ja",
        "output": [8, 1],
    }
    (tmp_path / "nli.de-000020.jsonl").write_text(json.dumps(row) + "\n")
    expected = {10: {"accuracy": 0.0}, 20: {"accuracy": 1.0}}
    assert predictions.read_metrics(tmp_path) == {"nli.de": expected}
    (read,) = predictions.read_predictions(tmp_path, "nli.de", 20)
    assert read == Prediction("0", "eine Frage", "nein", "ja", None)
