"""Files from the network: resumed where they stopped, checked by SHA-256, archives unpacked."""

import errno
import fcntl
import hashlib
import http.client
import json
import os
import pathlib
import shutil
import socket
import stat
import tarfile
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
import zlib
from collections.abc import Callable

from xlt_jax.files import write_text
from xlt_jax.registry.benchmarks import Download

ATTEMPTS = 5  # in a row without a byte of progress
TIMEOUT_S = 30.0
ARCHIVES = (".zip", ".tar.gz", ".tgz", ".tar.bz2", ".tar")
_CHUNK_BYTES = 1 << 18
_LONGEST_WAIT_S = 60.0
_BUSY = (408, 429, 500, 502, 503, 504)  # statuses after which the same request may succeed

Progress = Callable[[int, int | None], None]  # bytes that are there, bytes in all if known


class UnreachableError(ValueError):
    """A server, or the whole network, cannot be reached: its other files need not be tried."""


class _TransientError(Exception):
    """What may succeed when tried again; ``wait_s`` is what the server asks for."""

    def __init__(self, message: str, wait_s: float = 0.0):
        super().__init__(message)
        self.wait_s = wait_s


def target(download: Download, folder: pathlib.Path) -> pathlib.Path:
    """Where its file lies below the data folder ``folder``, or its archive before unpacking."""
    return folder / download.path


def is_there(download: Download, folder: pathlib.Path) -> bool:
    """Whether the file, or everything that its archive held, is there (a .gz of it serves)."""
    path = target(download, folder)
    if not download.unpack:
        return path.is_file() or path.with_name(f"{path.name}.gz").is_file()
    note = _note(path)
    if not note.is_file():
        return False
    files = json.loads(note.read_text(encoding="utf-8"))["files"]
    return all(
        (path.parent / name).is_file() and (path.parent / name).stat().st_size == size
        for name, size in files.items()
    )


def unpacked_sha256(download: Download, folder: pathlib.Path) -> str | None:
    """SHA-256 of the archive that was unpacked, or None."""
    note = _note(target(download, folder))
    return json.loads(note.read_text(encoding="utf-8"))["sha256"] if note.is_file() else None


def fetch(
    download: Download,
    folder: pathlib.Path,
    *,
    progress: Progress = lambda done, total: None,
    wait: Callable[[float], None] = time.sleep,
) -> str:
    """Brings the file to its place below ``folder``; returns its SHA-256.

    The bytes go to ``.NAME.part`` beside it, from which a later call goes on. Nothing has the final
    name before it is whole and checked. An archive that lies in its place already is unpacked.

    Raises:
        ValueError: The server refuses, or the content is not what is expected.
        UnreachableError: There is no connection.
    """
    path = target(download, folder)
    if download.unpack and path.is_file():  # brought by hand: what it is, is its user's choice
        sha256 = file_sha256(path)
        unpack(path, path, sha256)
        return sha256
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    with open(part, "ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(f"{path} is being fetched by another process.") from error
        try:
            _bring(download.url, part, progress, wait)
        finally:
            if not part.stat().st_size:
                _forget(part)
        sha256 = file_sha256(part)
        if problem := _unexpected(download, part, sha256):
            _forget(part)
            raise ValueError(
                f"{problem} Fetch it again; if it is the same then, its publisher has changed it: "
                f"look at it, and put it to {path}."
            )
        if download.unpack:
            try:
                unpack(part, path, sha256)
            finally:
                _forget(part)
        else:
            os.replace(part, path)
            _validator(part).unlink(missing_ok=True)
    return sha256


def _unexpected(download: Download, path: pathlib.Path, sha256: str) -> str:
    if download.sha256 in (None, sha256):
        return ""
    size = "some bytes" if download.size_bytes is None else f"{download.size_bytes:,} bytes"
    return (
        f"{download.url} is not the file that was expected: {path.stat().st_size:,} bytes with "
        f"SHA-256 {sha256}, not {size} with {download.sha256}."
    )


def _bring(url: str, part: pathlib.Path, progress: Progress, wait) -> None:
    """Requests, again and again while it helps, until ``part`` is whole."""
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise ValueError(f"{url} is neither http nor https: correct the Download record.")
    failures = 0
    while True:
        before = part.stat().st_size
        try:
            return _request(url, part, progress)
        except _TransientError as error:
            failures = 1 if part.stat().st_size > before else failures + 1
            if failures == ATTEMPTS:
                raise UnreachableError(
                    f"{url}: {error}, {ATTEMPTS} times in a row. The same command goes on later."
                ) from error
            wait(min(max(2.0 ** (failures - 1), error.wait_s), _LONGEST_WAIT_S))


def _request(url: str, part: pathlib.Path, progress: Progress) -> None:
    """One request for what ``part`` lacks."""
    have = part.stat().st_size
    headers = {"User-Agent": "xlt_jax", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if _validator(part).is_file():  # if the file has changed since, we want it from its start
            headers["If-Range"] = _validator(part).read_text(encoding="utf-8")
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=TIMEOUT_S
        ) as response:
            _save(response, part, have, progress)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # nothing follows: it is whole, or another file by now
            if error.headers.get("Content-Range") != f"bytes */{have}":
                _truncate(part)
                raise _TransientError(
                    "the partial file does not fit, so it starts again"
                ) from error
            return
        if error.code in _BUSY:
            seconds = error.headers.get("Retry-After", "")
            raise _TransientError(
                f"the server answers {error.code} {error.reason}",
                float(seconds) if seconds.isdigit() else 0.0,
            ) from error
        raise ValueError(_refusal(url, error)) from error
    except urllib.error.URLError as error:
        raise _connection_error(url, error.reason) from error
    except (OSError, http.client.HTTPException) as error:
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EACCES):
            raise
        raise _connection_error(url, error) from error


def _save(response, part: pathlib.Path, have: int, progress: Progress) -> None:
    """Appends what comes to ``part``, from its start unless the server honours the range."""
    begins = response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
    if have and not (response.status == 206 and begins):
        _truncate(part)
        have = 0
        if response.status == 206:
            raise _TransientError("the server sends another range than it was asked for")
    tag = response.headers.get("ETag") or ""
    tag = tag if tag.startswith('"') else response.headers.get("Last-Modified", "")
    if tag:
        _validator(part).write_text(tag, encoding="utf-8")
    length = response.headers.get("Content-Length")
    total = have + int(length) if length else None
    progress(have, total)
    with open(part, "ab") as file:
        while chunk := response.read(_CHUNK_BYTES):
            file.write(chunk)
            have += len(chunk)
            progress(have, total)
    if total is not None and have < total:
        raise _TransientError(f"the connection ended at {have:,} of {total:,} bytes")


def _connection_error(url: str, reason) -> Exception:
    """What may pass by itself as _TransientError, the rest as UnreachableError."""
    host = urllib.parse.urlsplit(url).hostname
    if isinstance(reason, socket.gaierror):
        return UnreachableError(
            f"No address for {host} ({reason.strerror}): there is no network, or no such host. "
            f"Fetch {url} where there is one and put it into the data folder."
        )
    passing = (TimeoutError, ConnectionResetError, BrokenPipeError, http.client.HTTPException)
    if isinstance(reason, passing):
        return _TransientError(f"the connection broke ({type(reason).__name__}: {reason})")
    return UnreachableError(f"{host} cannot be reached ({reason}). A proxy is set by https_proxy.")


def _refusal(url: str, error: urllib.error.HTTPError) -> str:
    advice = {
        401: "It needs an account: fetch it in a browser and put it into the data folder.",
        403: "It may need an account or consent: fetch it in a browser and put it into the data "
        "folder.",
        404: "It has moved: correct the Download record in tasks/, or fetch it by hand.",
        410: "Its publisher has withdrawn it.",
    }
    return f"{url}: the server answers {error.code} {error.reason}. {advice.get(error.code, '')}"


# ---------------------------------------------------------------------------------------- archives
def unpack(archive: pathlib.Path, path: pathlib.Path, sha256: str) -> None:
    """Unpacks ``archive``, which is called as ``path``, into the folder of ``path``.

    Archives inside are unpacked too, each into a folder of its name. What it held is noted, so that
    ``is_there`` can tell.

    Raises:
        ValueError: Not an archive, damaged, or a member that would lie or lead out of the folder.
    """
    temporary = path.with_name(f".{path.name}.unpacking")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        _extract(archive, path.name, temporary)
        for inner in [item for item in sorted(temporary.rglob("*")) if _stem(item.name)]:
            _extract(inner, inner.name, inner.with_name(_stem(inner.name)))
            inner.unlink()
        files = {}
        for item in sorted(item for item in temporary.rglob("*") if item.is_file()):
            name = item.relative_to(temporary)
            files[name.as_posix()] = item.stat().st_size
            (path.parent / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(item, path.parent / name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    write_text(_note(path), json.dumps({"sha256": sha256, "files": files}, indent=1))


def _extract(archive: pathlib.Path, name: str, folder: pathlib.Path) -> None:
    if not _stem(name):
        raise ValueError(f"{name} is no archive that can be unpacked ({', '.join(ARCHIVES)}).")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if name.endswith(".zip"):
            with zipfile.ZipFile(archive) as opened:
                for member in opened.infolist():
                    if stat.S_ISLNK(member.external_attr >> 16):
                        raise ValueError(f"{name}: its member {member.filename!r} is a link.")
                    _check_name(name, member.filename)
                opened.extractall(folder)
        else:
            with tarfile.open(archive) as opened:
                members = opened.getmembers()
                for member in members:
                    _check_name(name, member.name)
                # The filter refuses links that lead out, and devices.
                opened.extractall(folder, members, filter="data")
    except tarfile.FilterError as error:
        raise ValueError(f"{name} would write out of its folder: {error}.") from error
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, OSError) as error:
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EACCES):
            raise
        raise ValueError(f"{name} is no whole archive ({error}). Fetch it again.") from error


def _check_name(archive: str, name: str) -> None:
    path = pathlib.PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in path.parts[:1]:
        raise ValueError(f"{archive} would write out of its folder: its member {name!r}.")


def _stem(name: str) -> str:
    """Name of an archive without its ending; nothing for other files."""
    ending = next((ending for ending in ARCHIVES if name.endswith(ending)), None)
    return name.removesuffix(ending) if ending else ""


# ------------------------------------------------------------------------------------- small parts
def file_sha256(path: pathlib.Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _note(path: pathlib.Path) -> pathlib.Path:
    """Lists what an archive held."""
    return path.with_name(f".{path.name}.unpacked")


def _validator(part: pathlib.Path) -> pathlib.Path:
    """Holds the ETag or date of the file that ``part`` is the beginning of."""
    return part.with_name(f"{part.name}.tag")


def _truncate(part: pathlib.Path) -> None:
    os.truncate(part, 0)
    _validator(part).unlink(missing_ok=True)


def _forget(part: pathlib.Path) -> None:
    part.unlink()
    _validator(part).unlink(missing_ok=True)
