"""How programs end."""

import errno
import os

import pytest

from xlt_jax import configuration


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("TRAIN_STEPS is 0"), 2),
        (FileNotFoundError(errno.ENOENT, "No such file", "x"), 2),
        (OSError(errno.EACCES, "Permission denied", "x"), 2),
        (OSError(errno.ENOSPC, "No space left on device", "x"), 1),
        (ConnectionError("reset by peer"), 1),
        (TimeoutError("no answer"), 1),
    ],
)
def test_only_what_another_start_does_not_mend_ends_with_2(error, status, monkeypatch, capsys):
    monkeypatch.delenv("XLT_TRACEBACK", raising=False)
    ended = []
    monkeypatch.setattr(os, "_exit", ended.append)
    with configuration._errors_in_one_line():
        raise error
    assert ended == [status]
    shown = capsys.readouterr().err
    assert shown.startswith("\nerror: ") and "Traceback" not in shown


def test_an_error_of_the_program_keeps_its_traceback(monkeypatch):
    monkeypatch.delenv("XLT_TRACEBACK", raising=False)
    with pytest.raises(TypeError), configuration._errors_in_one_line():
        raise TypeError
