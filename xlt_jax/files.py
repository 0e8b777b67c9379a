"""Files that appear or change whole, on disks and object stores that fail now and then."""

import errno
import os
import sys
import time
from collections.abc import Callable
from typing import TypeVar

from etils import epath

T = TypeVar("T")

WAITS_S = (1, 2, 4, 8, 16)  # before each further attempt
# Errors that pass by themselves: of the system, of HTTP, and by the names that TensorFlow, Google's
# clients, requests and aiohttp give them. None of these packages has to be there.
_NUMBERS = (
    *(errno.EAGAIN, errno.EINTR, errno.EIO, errno.EBUSY, errno.ESTALE, errno.ETIMEDOUT),
    *(errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE, errno.ENETDOWN, errno.ENETUNREACH),
    *(errno.EHOSTUNREACH, errno.ENETRESET),
)
_HTTP_CODES = (408, 429, 500, 502, 503, 504)
_NAMES = (
    *("UnavailableError", "DeadlineExceededError", "AbortedError", "ResourceExhaustedError"),
    *("ServiceUnavailable", "TooManyRequests", "InternalServerError", "BadGateway"),
    *("GatewayTimeout", "DeadlineExceeded", "RetryError", "TransportError"),
    *("TimeoutError", "Timeout", "ReadTimeout", "ConnectTimeout", "ChunkedEncodingError"),
    *("ConnectionError", "ClientConnectorError", "ServerDisconnectedError", "ClientOSError"),
)


def passes(error: BaseException) -> bool:
    """Whether the same attempt may succeed a little later."""
    if isinstance(error, OSError) and error.errno in _NUMBERS:
        return True
    code = getattr(error, "code", None) or getattr(error, "status", None)
    return code in _HTTP_CODES or any(kind.__name__ in _NAMES for kind in type(error).__mro__)


def retried(what: str, attempt: Callable[[], T]) -> T:
    """The result of ``attempt``, repeated after errors that pass, six times in half a minute.

    Args:
        what: For the warnings: "Writing gs://...".
        attempt: Called again from its beginning.
    """
    for wait_s in WAITS_S:
        try:
            return attempt()
        except Exception as error:
            if not passes(error):
                raise
            cause = f"{type(error).__name__}: {error}"
            print(f"Warning: {what} failed ({cause}); again in {wait_s} s.", file=sys.stderr)
            time.sleep(wait_s)
    return attempt()


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes UTF-8: see ``write_bytes``."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: str | os.PathLike, content: bytes) -> None:
    """Writes to a temporary name beside ``path``, local or gs://, and renames; see ``retried``.

    A process that is killed, or a disk that is full, leaves the file as it was.
    """
    path = epath.Path(path)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")

    def write() -> None:
        unfinished.write_bytes(content)
        unfinished.replace(path)

    try:
        retried(f"Writing {path}", write)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def read_text(path: str | os.PathLike) -> str:
    """The text of a file, local or gs://; see ``retried``."""
    return retried(f"Reading {path}", epath.Path(path).read_text)
