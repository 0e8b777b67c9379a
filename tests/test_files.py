"""Files are written whole, and again after errors that pass."""

import errno

import pytest
from etils import epath

from xlt_jax import files


class UnavailableError(Exception):
    """As TensorFlow's of that name: known by its name alone."""


class HttpError(Exception):
    """As gcsfs's: known by its code."""

    def __init__(self, code):
        super().__init__(f"HTTP {code}")
        self.code = code


PASSING = [
    UnavailableError("503"),
    HttpError(503),
    HttpError(429),
    ConnectionResetError(errno.ECONNRESET, "reset"),
    OSError(errno.EIO, "I/O error"),
    TimeoutError("slow"),
]
LASTING = [
    HttpError(403),
    PermissionError(errno.EACCES, "no"),
    OSError(errno.ENOSPC, "full"),
    FileNotFoundError(errno.ENOENT, "gone"),
    ValueError("ours"),
]


@pytest.fixture
def waits(monkeypatch):
    waited = []
    monkeypatch.setattr(files.time, "sleep", waited.append)
    return waited


def failing(monkeypatch, error, times):
    """The store's writing fails so many times first; the calls so far."""
    write, calls = epath.Path("x").__class__.write_bytes, []

    def write_bytes(self, content):
        calls.append(self)
        if len(calls) <= times:
            raise error
        return write(self, content)

    monkeypatch.setattr(epath.Path("x").__class__, "write_bytes", write_bytes)
    return calls


@pytest.mark.parametrize("error", PASSING, ids=repr)
def test_writing_is_repeated_after_errors_that_pass(tmp_path, monkeypatch, waits, capsys, error):
    calls = failing(monkeypatch, error, times=2)
    files.write_text(tmp_path / "a", "text")
    assert (tmp_path / "a").read_text() == "text" and len(calls) == 3
    assert waits == [1, 2] and capsys.readouterr().err.count("again in") == 2
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("error", LASTING, ids=repr)
def test_other_errors_are_raised_at_once(tmp_path, monkeypatch, waits, error):
    (tmp_path / "a").write_text("old")
    calls = failing(monkeypatch, error, times=1)
    with pytest.raises(type(error)):
        files.write_text(tmp_path / "a", "text")
    assert len(calls) == 1 and not waits
    assert (tmp_path / "a").read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def test_after_six_attempts_the_error_is_raised(tmp_path, monkeypatch, waits):
    calls = failing(monkeypatch, UnavailableError("503"), times=100)
    with pytest.raises(UnavailableError):
        files.write_text(tmp_path / "a", "text")
    assert len(calls) == 6 and waits == [1, 2, 4, 8, 16]
    assert not list(tmp_path.iterdir())
