"""The cache folder: things built once, by one process, and seen by others only when whole."""

import contextlib
import fcntl
import functools
import hashlib
import importlib.metadata
import os
import pathlib
import shutil
import sys
from collections.abc import Callable, Iterator

# No user of the cache needs more than this many hexadecimal digits to tell two contents apart.
KEY_DIGITS = 20


def cache_dir() -> pathlib.Path:
    """The cache folder: ``$XLT_CACHE_DIR``, or ``xlt_jax`` under the user's cache folder."""
    default = pathlib.Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "xlt_jax"
    return pathlib.Path(os.environ.get("XLT_CACHE_DIR") or default).expanduser()


def key(*parts: str) -> str:
    """A short name for a content, the same on every machine."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode("utf-8") + b"\0")
    return digest.hexdigest()[:KEY_DIGITS]


@functools.cache
def code_fingerprint(function: Callable) -> str:
    """Hash of every Python file beside the one that defines ``function``, and Babel's version.

    A change of the rows' generator, or of the CLDR release that Babel carries, must not find the
    old rows in the cache.
    """
    folder = pathlib.Path(sys.modules[function.__module__].__file__).parent
    files = [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.py"))]
    return key(*files, importlib.metadata.version("Babel"))


@functools.cache
def file_fingerprint(function: Callable) -> str:
    """Hash of the Python file that defines ``function``."""
    return key(pathlib.Path(sys.modules[function.__module__].__file__).read_text(encoding="utf-8"))


@contextlib.contextmanager
def _lock(path: pathlib.Path) -> Iterator[None]:
    """Holds ``path`` against other processes; it is freed when its holder dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def build_once(folder: pathlib.Path, build: Callable[[pathlib.Path], None]) -> pathlib.Path:
    """``folder``, made by ``build(temporary folder)`` if it is not there yet.

    Two processes that ask at the same time build it once; a process killed while building leaves
    only a temporary folder, which the next builder removes.

    Raises:
        ValueError: The cache folder cannot be written.
    """
    if folder.exists():
        return folder
    try:
        with _lock(folder.parent / f".{folder.name}.lock"):
            if folder.exists():
                return folder
            temporary = folder.parent / f".{folder.name}.tmp"
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
            build(temporary)
            os.replace(temporary, folder)
    except (PermissionError, NotADirectoryError, FileExistsError) as error:
        raise ValueError(
            f"The cache folder {cache_dir()} cannot be written ({error}). "
            "Set XLT_CACHE_DIR to a folder that can."
        ) from error
    return folder
