"""Files that appear or change whole."""

import os

from etils import epath


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes UTF-8: see ``write_bytes``."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: str | os.PathLike, content: bytes) -> None:
    """Writes to a temporary name beside ``path``, local or gs://, and renames.

    A process that is killed, or a disk that is full, leaves the file as it was.
    """
    path = epath.Path(path)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        unfinished.write_bytes(content)
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
