"""Downloads from a server that breaks off, lies, refuses, or serves what must not be unpacked."""

import hashlib
import http.server
import io
import pathlib
import tarfile
import threading
import zipfile

import pytest

from xlt_jax.data import download
from xlt_jax.registry.benchmarks import Download

CONTENT = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Serves ``files``; its fields say how."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {"/file": CONTENT}
        self.ranges = True  # whether Range is honoured
        self.shift = 0  # the range sent begins so much later
        self.statuses: list[int] = []  # answered first, one a request
        self.cut: list[int] = []  # bytes after which a body ends, one a request
        self.tag = '"one"'
        self.asked: list[tuple[str, str | None]] = []  # path and Range of every request

    def url(self, path: str = "/file") -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server: Server = self.server
        wanted = self.headers["Range"]
        server.asked.append((self.path, wanted))
        if server.statuses:
            return self.send_error(server.statuses.pop(0))
        if self.path not in server.files:
            return self.send_error(404)
        body, start = server.files[self.path], 0
        if self.headers["If-Range"] not in (None, server.tag):
            wanted = None
        if wanted and server.ranges:
            start = int(wanted.removeprefix("bytes=").removesuffix("-")) + server.shift
            if start >= len(body):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(body)}")
                self.send_header("Content-Length", "0")
                return self.end_headers()
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        self.send_header("ETag", server.tag)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        self.wfile.write(body[start:][: server.cut.pop(0) if server.cut else None])

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def waited():
    return []


@pytest.fixture
def fetch(server, tmp_path, waited):
    """``fetch(name on the server, **fields of Download)``: its SHA-256."""

    def call(name="/file", **fields):
        item = Download(server.url(name), fields.pop("path", "set/file"), **fields)
        return download.fetch(item, tmp_path, wait=waited.append)

    return call


def left(folder: pathlib.Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_whole_file(fetch, tmp_path, server):
    assert fetch(sha256=SHA256) == SHA256
    assert (tmp_path / "set/file").read_bytes() == CONTENT
    assert left(tmp_path) == ["file"]


def test_progress_ends_at_the_total(server, tmp_path):
    seen = []
    item = Download(server.url(), "file")
    download.fetch(item, tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert seen[0] == (0, len(CONTENT)) and seen[-1] == (len(CONTENT), len(CONTENT))


def test_goes_on_after_the_connection_broke(fetch, tmp_path, server, waited):
    server.cut = [300_000, 100_000]
    assert fetch(sha256=SHA256) == SHA256
    assert [wanted for _, wanted in server.asked] == [None, "bytes=300000-", "bytes=400000-"]
    assert waited == [1.0, 1.0]  # each of them brought something


def test_goes_on_in_a_later_call(fetch, tmp_path, server):
    def interrupted(done, total):
        if done > 300_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download.fetch(Download(server.url(), "set/file"), tmp_path, progress=interrupted)
    assert left(tmp_path) == [".file.part", ".file.part.tag"]
    have = (tmp_path / "set/.file.part").stat().st_size
    assert 0 < have < len(CONTENT)
    assert fetch(sha256=SHA256) == SHA256
    assert server.asked[-1][1] == f"bytes={have}-"
    assert left(tmp_path) == ["file"]


@pytest.mark.parametrize("how", ["without ranges", "changed", "another range", "longer"])
def test_starts_again_where_it_cannot_go_on(how, fetch, tmp_path, server):
    (tmp_path / "set").mkdir()
    (tmp_path / "set/.file.part").write_bytes(b"x" * (2_000_000 if how == "longer" else 1000))
    if how == "changed":
        (tmp_path / "set/.file.part.tag").write_text('"two"')
    server.ranges = how != "without ranges"
    server.shift = 5 if how == "another range" else 0
    assert fetch(sha256=SHA256) == SHA256


def test_whole_partial_file_is_taken(fetch, tmp_path, server):
    (tmp_path / "set").mkdir()
    (tmp_path / "set/.file.part").write_bytes(CONTENT)
    assert fetch(sha256=SHA256) == SHA256
    assert len(server.asked) == 1


def test_wrong_checksum(fetch, tmp_path):
    with pytest.raises(ValueError, match=f"1,024,000 bytes with SHA-256 {SHA256}, not 3 bytes"):
        fetch(sha256="0" * 64, size_bytes=3)
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    ("status", "words"), [(404, "moved"), (403, "account"), (410, "withdrawn")]
)
def test_refusals_are_final(status, words, fetch, tmp_path, server):
    server.statuses = [status]
    with pytest.raises(ValueError, match=f"{status}.*{words}"):
        fetch()
    assert len(server.asked) == 1
    assert left(tmp_path) == []


def test_passing_errors_are_tried_again(fetch, server, waited):
    server.statuses = [500, 503, 429]
    assert fetch() == SHA256
    assert waited == [1.0, 2.0, 4.0]


def test_lasting_errors_end(fetch, server, waited):
    server.statuses = [500] * 9
    with pytest.raises(download.UnreachableError, match=r"500.*5 times in a row"):
        fetch()
    assert len(server.asked) == download.ATTEMPTS


def test_no_network(tmp_path):
    for url in ("http://no-such-host.invalid/file", "http://127.0.0.1:9/file"):
        with pytest.raises(download.UnreachableError):
            download.fetch(Download(url, "file"), tmp_path, wait=lambda seconds: None)
    with pytest.raises(ValueError, match="neither http nor https"):
        download.fetch(Download("file:///etc/hostname", "file"), tmp_path)


def test_two_at_a_time_do_not_mix(server, tmp_path):
    def second(done, total):
        with pytest.raises(ValueError, match="another process"):
            download.fetch(Download(server.url(), "file"), tmp_path)

    download.fetch(Download(server.url(), "file"), tmp_path, progress=second)
    assert (tmp_path / "file").read_bytes() == CONTENT


# ---------------------------------------------------------------------------------------- archives
def zipped(**members) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def tarred(mode: str, *members: tarfile.TarInfo | tuple[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:
        for member in members:
            if isinstance(member, tuple):
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                archive.addfile(info, io.BytesIO(member[1]))
            else:
                archive.addfile(member)
    return file.getvalue()


def link(name: str, to: str, kind=tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, to
    return info


MEMBERS = ("SET/a.txt", b"1"), ("SET/sub/b.txt", b"22")
ARCHIVES = {
    "set.zip": zipped(**dict(MEMBERS)),
    "set.tar": tarred("w", *MEMBERS),
    "set.tgz": tarred("w:gz", *MEMBERS),
    "set.tar.gz": tarred("w:gz", *MEMBERS),
    "set.tar.bz2": tarred("w:bz2", *MEMBERS),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_archives_are_unpacked(name, fetch, server, tmp_path):
    server.files[f"/{name}"] = ARCHIVES[name]
    item = Download(server.url(f"/{name}"), f"sets/{name}", unpack=True)
    assert not download.is_there(item, tmp_path)
    sha256 = fetch(f"/{name}", path=f"sets/{name}", unpack=True)
    assert (tmp_path / "sets/SET/a.txt").read_bytes() == b"1"
    assert (tmp_path / "sets/SET/sub/b.txt").read_bytes() == b"22"
    assert download.is_there(item, tmp_path)
    assert download.unpacked_sha256(item, tmp_path) == sha256
    assert left(tmp_path) == [f".{name}.unpacked", "a.txt", "b.txt"]
    (tmp_path / "sets/SET/a.txt").unlink()
    assert not download.is_there(item, tmp_path)


def test_archives_inside_get_folders_of_their_names(fetch, server, tmp_path):
    inner = tarred("w:gz", ("train", b"rows"))
    server.files["/all.zip"] = zipped(**{"de.tar.gz": inner, "sub/fr.tar.gz": inner})
    fetch("/all.zip", path="panx/all.zip", unpack=True)
    assert (tmp_path / "panx/de/train").read_bytes() == b"rows"
    assert (tmp_path / "panx/sub/fr/train").read_bytes() == b"rows"


def test_archive_brought_by_hand(server, tmp_path):
    (tmp_path / "set.zip").write_bytes(ARCHIVES["set.zip"])
    item = Download(server.url("/absent"), "set.zip", unpack=True)
    download.fetch(item, tmp_path)
    assert download.is_there(item, tmp_path) and not server.asked


EVIL = {
    "up.zip": zipped(**{"good": b"1", "../evil": b"1"}),
    "absolute.zip": zipped(**{"/tmp/evil": b"1"}),
    "backslash.zip": zipped(**{"..\\evil": b"1"}),
    "up.tar": tarred("w", ("good", b"1"), ("a/../../evil", b"1")),
    "absolute.tar": tarred("w", ("/evil", b"1")),
    "link.tar": tarred("w", link("evil", "../../outside")),
    "absolute_link.tar": tarred("w", link("evil", "/etc/passwd")),
    "hard_link.tar": tarred("w", link("evil", "../outside", tarfile.LNKTYPE)),
    "device.tar": tarred("w", link("evil", "", tarfile.CHRTYPE)),
    "inner.zip": zipped(**{"x.tar": tarred("w", ("../../evil", b"1"))}),
    "damaged.zip": ARCHIVES["set.zip"][:-30],
    "damaged.tgz": ARCHIVES["set.tgz"][:-30],
    "none.rar": b"Rar!",
}


def zip_with_link() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        info = zipfile.ZipInfo("evil")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    return file.getvalue()


@pytest.mark.parametrize("name", [*EVIL, "link.zip"])
def test_evil_and_damaged_archives(name, fetch, server, tmp_path):
    folder = tmp_path / "sets"
    server.files[f"/{name}"] = EVIL.get(name) or zip_with_link()
    with pytest.raises(ValueError, match=r"out of its folder|link|whole archive|no archive"):
        fetch(f"/{name}", path=f"sets/{name}", unpack=True)
    assert not any("evil" in name or "good" in name for name in left(tmp_path.parent))
    assert left(folder) == []
    assert not (folder / f".{name}.unpacking").exists()
