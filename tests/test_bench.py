"""The benchmark: what it computes from measurements, and one run of its smallest parts."""

import json
import os
import subprocess
import sys
import types

import numpy as np
import pytest

from bench import parts, shapes
from bench.__main__ import parse
from bench.process import ROOT, Worker, WorkerError
from bench.results import OURS, Report, Result, number


def results() -> Report:
    report = Report()
    for system, rate, seconds in ((OURS, (30.0, 20.0, 10.0), (2.0,)), ("T5X", (5.0,), (8.0,))):
        report.results.append(Result("train", "speed", system, "tokens/s", rate))
        report.results.append(Result("start", "wait", system, "s", seconds))
    report.results.append(Result("train", "alone", "T5X", "tokens/s", (1.0,)))
    return report


def test_ratio_is_how_many_times_better_ours_is():
    report = results()
    ratios = {(r.name, r.system): report.ratio(r) for r in report.results}
    assert ratios == {
        ("speed", OURS): None,
        ("wait", OURS): None,
        ("speed", "T5X"): 4.0,  # 20 a second, the median, beside 5
        ("wait", "T5X"): 4.0,  # 2 seconds beside 8
        ("alone", "T5X"): None,
    }


def test_json_has_what_the_table_shows():
    first, *_ = results().as_json()["results"]
    assert (first["median"], first["min"], first["max"]) == (20.0, 10.0, 30.0)
    assert first["runs"] == [30.0, 20.0, 10.0]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.1234, "0.12"), (12.34, "12.3"), (123.4, "123"), (45678, "45,678")],
)
def test_numbers_are_short(value, text):
    assert number(value) == text


@pytest.mark.parametrize("name", shapes.SHAPES)
def test_parameters_are_those_of_the_network(name):
    import jax
    import jax.numpy as jnp

    from xlt_jax.models import mt5

    shape = shapes.SHAPES[name]
    network = mt5.Transformer(
        mt5.T5Config(
            vocab_size=shape.vocab_size,
            emb_dim=shape.emb_dim,
            num_heads=shape.num_heads,
            num_encoder_layers=shape.num_layers,
            num_decoder_layers=shape.num_layers,
            head_dim=shape.head_dim,
            mlp_dim=shape.mlp_dim,
            mlp_activations=("gelu", "linear"),
        )
    )
    ids = jnp.ones((1, 1), jnp.int32)
    made = jax.eval_shape(network.init, jax.random.key(0), ids, ids, ids)["params"]
    assert sum(leaf.size for leaf in jax.tree.leaves(made)) == shape.parameters


@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize("name", shapes.SHAPES)
def test_sets_have_the_lengths_they_promise(name, quick):
    for spec in shapes.eval_specs(name, quick):
        tasks = shapes.eval_set(spec)
        examples = [example for task in tasks for example in task]
        assert (len(tasks), len(examples)) == (spec.languages, spec.examples)
        lengths = [len(example.inputs) for example in examples]
        assert max(lengths) == spec.longest
        assert np.median(lengths) == pytest.approx(spec.median, rel=0.25)
        for example in examples:
            assert spec.answers[0] <= example.answer_tokens <= spec.answers[1]
            assert example.inputs[0] == shapes.FIRST_LENGTH_ID + example.answer_tokens
            assert example.inputs[0] < shapes.FIRST_WORD_ID
            assert example.inputs[-1] == shapes.EOS_ID
            assert shapes.EOS_ID not in example.inputs[:-1]


def test_unknown_names_are_refused(capsys):
    for argument in ("--only=train,trian", "--shapes=huge"):
        with pytest.raises(SystemExit):
            parse([argument])
        assert "known:" in capsys.readouterr().err


def test_absent_systems_are_skipped_and_said(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "Worker", lambda *args, **kwargs: pytest.fail("was started"))
    monkeypatch.setattr(parts.machine, "available_gib", lambda: 0.0)
    report = Report()
    settings = parts.Settings(True, ("tiny",), (), "/no/such/python", tmp_path)
    with parts.neural_workers(settings, report, "train", "tiny") as workers:
        assert workers == {}
    why = {item.system: item.why for item in report.skipped}
    assert "T5X_PATH" in why[parts.T5X]
    assert "--transformers_python" in why[parts.TRANSFORMERS]
    assert "memory" in why[OURS]
    assert not any(item.failed for item in report.skipped)


def test_a_worker_that_cannot_start_names_its_log(tmp_path):
    with pytest.raises(WorkerError, match=r"No module named bench\.nothing.*worker\.log"):
        Worker("bench.nothing", tmp_path / "worker.log")


def test_systems_take_turns_and_a_failing_one_is_left_out():
    order = []

    class Fake:
        def __init__(self, name, fails_at=None):
            self.name, self.fails_at = name, fails_at

        def call(self, job, **arguments):
            order.append(self.name)
            if order.count(self.name) == self.fails_at:
                raise WorkerError("out of memory")
            return {"seconds": 1.0}

    workers, report = {"a": Fake("a"), "b": Fake("b", fails_at=2)}, Report()
    answers = parts.take_turns(workers, report, "train", "speed", 3, "train", steps=1)
    assert order == ["a", "b", "a", "b", "a"]
    assert list(answers) == ["a"] and len(answers["a"]) == 3
    assert [(item.system, item.failed) for item in report.skipped] == [("b", True)]


def test_our_answers_have_the_length_that_the_first_id_carries():
    import jax

    from bench import worker_ours
    from xlt_jax.decoding import search

    network = worker_ours.ForcedTransformer(worker_ours._config(shapes.SHAPES["tiny"], 0.0))
    wanted = [1, 5, 3]
    ids_BL = np.full((3, 6), shapes.FIRST_WORD_ID, np.int32)
    ids_BL[:, 0] = np.add(wanted, shapes.FIRST_LENGTH_ID)
    params = network.init(jax.random.key(0), ids_BL, ids_BL, ids_BL)["params"]
    for fewest_rows in (None, 1):
        ids_BT = search.greedy(network, params, ids_BL, max_decode_len=6, fewest_rows=fewest_rows)
        assert (np.asarray(ids_BT) == shapes.EOS_ID).argmax(axis=1).tolist() == wanted


def test_an_answer_of_another_length_is_not_compared():
    report, (spec, *_) = Report(), shapes.eval_specs("tiny", quick=True)
    runs = [{"seconds": 1.0, "rows": [1], "answers": [[7, 8]], "peak_mib": 1.0}]
    parts.add_evaluation(report, "zero-shot", OURS, spec, runs, [2, 3], None)
    assert not report.results and report.skipped[0].failed


def test_other_answers_than_ours_are_not_compared():
    spec, *_ = shapes.eval_specs("tiny", quick=True)
    runs = [{"seconds": 2.0, "rows": [1], "answers": [[7, 8]], "peak_mib": 1.0}]
    report = Report()
    parts.add_evaluation(report, "a", parts.T5X, spec, runs, [2, 2], [[1, 2], [7, 9]])
    parts.add_evaluation(
        report, "b", parts.TRANSFORMERS_BFLOAT16, spec, runs, [2, 2], [[1, 2], [7, 9]]
    )
    parts.add_evaluation(report, "c", parts.T5X, spec, runs, [2, 2], [[1, 2], [7, 8]])
    assert [item.part for item in report.skipped] == ["a"]
    assert {result.name: result.median for result in report.results} == {"b": 0.5, "c": 0.5}
    assert "1 of 1 answers are ours" in report.results[1].note


def test_our_mixture_starts_where_seqio_is_absent(tmp_path, monkeypatch):
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    absent = types.SimpleNamespace(util=types.SimpleNamespace(find_spec=lambda name: None))
    monkeypatch.setattr(parts, "importlib", absent)
    report = Report()
    parts.mixture(parts.Settings(True, (), (), "", tmp_path), report)
    seconds = {item.name: item.median for item in report.results if item.unit == "s"}
    cold, warm = seconds.values()
    assert "nothing cached" in next(iter(seconds)) and 0 < warm < cold
    assert [item.system for item in report.skipped] == [parts.SEQIO]


def test_smallest_parts_run(tmp_path):
    environment = {k: v for k, v in os.environ.items() if k not in ("XLA_FLAGS", "T5X_PATH")}
    command = [
        sys.executable,
        "-m",
        "bench",
        "--quick",
        "--only=ceiling,train,convert",
        "--shapes=tiny",
    ]
    command += [f"--json={tmp_path / 'results.json'}", "--transformers_python=/no/such/python"]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    written = json.loads((tmp_path / "results.json").read_text())
    found = {(item["name"], item["system"]) for item in written["results"]}
    assert found == {
        ("matrix product", OURS),
        ("training, tiny", OURS),
        ("loading tiny's folder", OURS),
        ("import of tiny's folder", OURS),
        ("import: peak memory", OURS),
    }
    assert all(item["median"] > 0 for item in written["results"])
    assert {item["system"] for item in written["skipped"]} == {parts.T5X, parts.TRANSFORMERS}
    assert "training, tiny" in run.stdout and "skipped: train, tiny, T5X" in run.stdout


@pytest.mark.slow
def test_every_objective_takes_a_step(tmp_path, monkeypatch):
    """In this process, and one of them beside the plain one in processes of their own."""
    from bench import worker_ours

    assert worker_ours.OBJECTIVES.keys() == {"", *shapes.OBJECTIVES}
    for objective in ("distillation, same size", "weam", "push_pull"):
        worker_ours.train_setup("tiny", objective)
        assert np.isfinite(worker_ours.train(1)["loss"])
    monkeypatch.setattr(shapes, "OBJECTIVES", ("tlm",))
    report = Report()
    parts.objectives(parts.Settings(True, ("tiny",), (), sys.executable, tmp_path), report)
    tlm, plain = report.results
    assert (tlm.system, plain.system) == ("tlm", OURS) and len(tlm.runs) == len(plain.runs) == 2
    assert "times the plain step" in tlm.note and report.ratio(tlm) > 0
