"""Bad steps are counted in a row, and noted once however often they are taken."""

import json

import pytest

from xlt_jax.training.bad_steps import BadSteps

SOURCES = [[(0, 7), (1, 3)], [(1, 0)]]
GOOD = {"bad": False, "loss": 1.0, "grad_norm": 2.0}
BAD = {"bad": True, "loss": float("nan"), "grad_norm": float("inf")}


def make(folder, policy, limit=None, writes=True):
    return BadSteps(policy, limit, folder, ["a.en", "b.sw"], writes)


def noted(folder):
    path = folder / "bad_batches.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_stop_ends_at_the_first(tmp_path):
    steps = make(tmp_path, "stop")
    assert steps.take(1, GOOD, SOURCES) is None and not noted(tmp_path)
    assert "Step 2 is bad: loss nan, gradient norm inf" in steps.take(2, BAD, SOURCES)
    assert noted(tmp_path) == [
        {
            "step": 2,
            "loss": "nan",
            "grad_norm": "inf",
            "rows": [[["a.en", 7], ["b.sw", 3]], [["b.sw", 0]]],
        }
    ]


def test_skip_ends_after_too_many_in_a_row(tmp_path):
    steps = make(tmp_path, "skip", limit=2)
    for number, metrics in enumerate((BAD, BAD, GOOD, BAD, BAD), start=1):
        assert steps.take(number, metrics, SOURCES) is None
    assert steps.in_a_row == 2
    resumed = make(tmp_path, "skip", limit=2)
    resumed.in_a_row = steps.in_a_row
    reason = resumed.take(6, BAD | {"loss": 3.5}, SOURCES)
    assert "loss 3.5" in reason and "so were the 2 before it, more than MAX_BAD_STEPS" in reason
    assert [line["step"] for line in noted(tmp_path)] == [1, 2, 4, 5, 6]


def test_steps_that_are_taken_again_are_noted_once(tmp_path):
    for number in (1, 3, 5, 2, 3):
        make(tmp_path, "skip").take(number, BAD, SOURCES)
    assert [line["step"] for line in noted(tmp_path)] == [1, 2, 3]


def test_ignored_steps_and_other_processes_note_nothing(tmp_path):
    assert make(tmp_path, "ignore").take(1, BAD, SOURCES) is None
    assert make(tmp_path, "stop", writes=False).take(1, BAD, SOURCES)
    assert not list(tmp_path.iterdir())


def test_no_limit_bears_any_number(tmp_path):
    steps = make(tmp_path, "skip", writes=False)
    assert not any(steps.take(number, BAD, SOURCES) for number in range(200))


@pytest.mark.parametrize("value", [1.5, 0.0, -2.0])
def test_finite_numbers_stay_numbers(tmp_path, value):
    make(tmp_path, "skip").take(1, BAD | {"grad_norm": value}, SOURCES)
    assert noted(tmp_path)[0]["grad_norm"] == value
