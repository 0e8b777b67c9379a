"""list, check and fetch, on made-up benchmarks and on real files where they are."""

import csv
import gzip
import hashlib
import http.server
import json
import pathlib
import threading

import pytest

import tasks  # noqa: F401 (registers; made-up benchmarks come after it)
from xlt_jax.data import __main__ as data_main
from xlt_jax.data import formats, inventory, sources
from xlt_jax.registry import benchmarks
from xlt_jax.registry.benchmarks import Benchmark, Download, Files, Request, Tfds

# Beside the checkout, or one folder further up for a worktree.
_BESIDE = [folder / "shared/data" for folder in pathlib.Path(__file__).resolve().parents[3:5]]
SHARED = next(filter(pathlib.Path.is_dir, _BESIDE), _BESIDE[0])
ROWS = b'{"text": "a"}\n{"text": "b"}\n'
SHA256 = hashlib.sha256(ROWS).hexdigest()


def read_strictly(path, language):
    for row in formats.json_lines(path):
        yield {"text": row["text"].upper()}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The data folder; the cache folder and the registry are the test's own."""
    monkeypatch.setenv("XLT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("XLT_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(benchmarks, "_BENCHMARKS", dict(benchmarks._BENCHMARKS))
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


@pytest.fixture
def add():
    """``add(**fields)``: registers a benchmark ``made`` in sw and de."""

    def call(**fields) -> Benchmark:
        plain = Files("made/{split}-{language}.jsonl", read_strictly, {"test": "t", "train": "tr"})
        standard = {
            "name": "made",
            "description": "Made up.",
            "languages": ("de", "sw"),
            "source": (plain,),
            "prompt": lambda row: {"inputs": row["text"], "targets": ""},
            "request": Request.TRAIN_ONLY,
            "kind": "text",
            "licence": "CC0",
            "citation": "Nobody 2026",
        }
        return benchmarks.register(Benchmark(**standard | fields))

    return call


@pytest.fixture
def server(tmp_path):
    """Address of a server of the folder ``served``."""
    (tmp_path / "served").mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(tmp_path / "served"))

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


@pytest.fixture
def run(capsys):
    """``run(words)``: exit status, standard output, standard error."""

    def call(*words):
        status = data_main.main(list(map(str, words)))
        return status, *capsys.readouterr()

    return call


def put(folder, name, content=ROWS):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_list_names_everything(run):
    status, output, _ = run("list", "--json")
    assert status == 0
    assert set(json.loads(output)) == {item.name for item in benchmarks.all_benchmarks()}
    status, output, _ = run("list")
    assert status == 0
    for item in benchmarks.all_benchmarks():
        assert item.name in output


def test_check_counts_rows_and_finds_what_is_missing(folder, add, run):
    add(downloads=(Download("http://127.0.0.1:9/x", "made/t-de.jsonl"),), manual="Ask Nobody.")
    put(folder, "made/t-sw.jsonl")
    status, output, _ = run("check", "made")
    assert status == 1
    assert "1/2" in output and "fetch made`" in output and "Ask Nobody." in output
    status, output, _ = run("check", "made", "--json")
    found = json.loads(output)["benchmarks"]["made"]
    assert found["splits"]["test"]["sw"]["rows"] == 2
    assert found["splits"]["test"]["sw"]["files"][0]["sha256"] == SHA256
    assert found["splits"]["test"]["de"]["state"] == "missing"
    assert found["complete"] is False


def test_check_of_a_task_asks_for_its_language_only(folder, add, run):
    add()
    put(folder, "made/t-sw.jsonl")
    put(folder, "made/tr-sw.jsonl", gzip.compress(ROWS)).rename(folder / "made/tr-sw.jsonl.gz")
    assert run("check", "made.sw")[0] == 0
    assert run("check", "made")[0] == 1
    output = run("check", "made", "--verbose")[1]
    assert "made.de" in output and "missing" in output and SHA256[:12] in output
    assert run("check", "--data_dir", folder / "none")[0] == 0  # nothing was asked for by name


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"text": "a"}\n{"text": \n', "line 2, is not JSON"),
        (b'{"txet": "a"}\n', "KeyError: 'text'"),
        (b'{"text": 3}\n', "AttributeError"),
        (b"\xff\xfe\n", "not UTF-8"),
        (b"", "no rows"),
    ],
)
def test_check_reports_malformed_files(content, words, folder, add, run):
    add(languages=("de",))
    put(folder, "made/t-de.jsonl", content)
    put(folder, "made/tr-de.jsonl")
    status, output, _ = run("check", "made")
    assert status == 1
    assert words in output and "made.de test" in output


def test_check_knows_unchanged_files(folder, add, run, monkeypatch):
    add()
    path = put(folder, "made/t-sw.jsonl")
    run("check", "made")
    calls = []
    monkeypatch.setattr(inventory.download, "file_sha256", lambda path: calls.append(path) or "0")
    run("check", "made")
    assert not calls
    put(folder, "made/t-sw.jsonl", ROWS * 2)
    _, output, _ = run("check", "made", "--json")
    assert calls == [path]
    assert json.loads(output)["benchmarks"]["made"]["splits"]["test"]["sw"]["rows"] == 4


def test_check_compares_checksums(folder, add, run):
    sums = (SHA256, SHA256, "0" * 64)
    add(
        languages=("de", "sw", "ta"),
        source=(Files("made/t-{language}.jsonl", read_strictly, {"test": ""}),),
        downloads=tuple(
            Download("http://127.0.0.1:9/x", f"made/t-{code}.jsonl", None, sha256)
            for code, sha256 in zip(("de", "sw", "ta"), sums)
        ),
    )
    put(folder, "made/t-de.jsonl")
    put(folder, "made/t-sw.jsonl.gz", gzip.compress(ROWS))
    put(folder, "made/t-ta.jsonl")
    status, output, _ = run("check", "made")
    assert status == 0
    assert "Differs: made/t-ta.jsonl" in output and "2 of 3" in output


def test_what_whole_downloads_lack_is_not_missing(folder, add, run):
    add(downloads=(Download("http://127.0.0.1:9/x", "made/t-de.jsonl"),))
    put(folder, "made/t-de.jsonl")
    status, output, _ = run("check", "made", "--json")
    assert status == 0
    splits = json.loads(output)["benchmarks"]["made"]["splits"]
    assert splits["train"]["de"]["state"] == "absent"


def test_check_reads_prepared_tfds_sets(folder, add, run, tmp_path):
    add(source=(Tfds("made/{language}:1.0.0", {"test": "validation-{language}"}),))
    facts = {"splits": [{"name": "validation-sw", "shardLengths": ["3", "4"]}]}
    put(tmp_path, "tfds/made/sw/1.0.0/dataset_info.json", json.dumps(facts).encode())
    status, output, _ = run("check", "made", "--json")
    test = json.loads(output)["benchmarks"]["made"]["splits"]["test"]
    assert (test["sw"]["state"], test["sw"]["rows"], test["de"]["state"]) == ("there", 7, "missing")
    assert status == 1 and "--tfds" in output


def test_fetch_brings_what_is_missing(folder, add, run, server, tmp_path):
    put(tmp_path, "served/de", ROWS)
    put(tmp_path, "served/sw", ROWS)
    add(
        source=(Files("made/t-{language}.jsonl", read_strictly, {"test": ""}),),
        downloads=tuple(
            Download(f"{server}/{code}", f"made/t-{code}.jsonl", None, SHA256)
            for code in ("de", "sw")
        ),
    )
    put(folder, "made/t-sw.jsonl")
    status, output, _ = run("fetch", "made", "--dry_run")
    assert status == 0 and "would fetch" in output and "/sw" not in output
    assert not (folder / "made/t-de.jsonl").exists()
    status, output, _ = run("fetch", "made")
    assert status == 0 and "Licence: CC0" in output and SHA256 in output
    assert run("check", "made")[0] == 0
    assert "2 files of 2 there already" in run("fetch", "made")[1]


def test_fetch_goes_on_after_a_failure(folder, add, run, server, tmp_path):
    put(tmp_path, "served/sw", ROWS)
    add(
        downloads=(
            Download(f"{server}/absent", "made/t-de.jsonl"),
            Download(f"{server}/sw", "made/t-sw.jsonl"),
        )
    )
    status, _, errors = run("fetch", "made")
    assert status == 1 and "404" in errors
    assert (folder / "made/t-sw.jsonl").read_bytes() == ROWS


def test_unknown_names_end_in_one_line(run):
    for command in ("list", "check", "fetch"):
        status, _, errors = run(command, "xnlo")
        assert status == 2 and errors.startswith("error: ") and "xnli" in errors


def test_interruption_is_no_traceback(folder, add, run, monkeypatch):
    def interrupted(*arguments, **keywords):
        raise KeyboardInterrupt

    add(downloads=(Download("http://127.0.0.1:9/x", "made/t-de.jsonl"),))
    monkeypatch.setattr(data_main.download, "fetch", interrupted)
    status, _, errors = run("fetch", "made")
    assert status == 130 and "goes on" in errors


def test_registered_downloads_are_well_formed():
    paths = {}
    for item in benchmarks.all_benchmarks():
        for found in item.downloads:
            assert paths.setdefault(found.path, found) == found
            assert found.sha256 is None or len(found.sha256) == 64
            assert not found.path.startswith("/") and found.url.startswith("https://")


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data")
def test_check_finds_what_the_manifest_says(folder, run, monkeypatch):
    monkeypatch.setenv("XLT_DATA_DIR", str(SHARED))
    with open(SHARED / "MANIFEST.tsv", encoding="utf-8") as file:
        manifest = {row["file"]: row for row in csv.DictReader(file, delimiter="\t")}
    _, output, _ = run("check", "xnli", "xquad", "xcopa", "pawsx", "panx", "mlqa", "--json")
    compared = 0
    for name, report in json.loads(output)["benchmarks"].items():
        for languages in report["splits"].values():
            for language, cell in languages.items():
                assert cell["state"] in ("there", "missing")
                for found in cell["files"]:
                    row = manifest[str(pathlib.Path(found["path"]).relative_to(SHARED))]
                    assert found["sha256"] == row["sha256"]
                    assert found["size_bytes"] == int(row["bytes"])
                    assert cell["rows"] == int(row["rows"]), f"{name}.{language}"
                    compared += 1
        for item in report["downloads"]:
            assert not item["differs"]
    assert compared > 150


# ----------------------------------------------------------------------------------------- mixture
def test_mixture_shows_what_a_run_draws(capsys):
    words = ["mixture", "cldr_english_intermediate", "--steps=6000", "--batch_size=8"]
    words += ["--inputs=128", "--targets=32"]
    assert data_main.main(words) == 0
    out = capsys.readouterr().out
    assert "cldr_convert.en" in out and "16,000" in out
    assert "counted in examples: 3 tasks, 48,000 rows. 6,000 steps of 8 rows draw about" in out
    assert "Warning: the rows of 3 of 3 tasks are repeated more than 4 times" in out
    assert data_main.main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    tasks_ = found["tasks"].values()
    assert sum(one["rate"] for one in tasks_) == pytest.approx(1)
    assert sum(one["examples"] for one in tasks_) == pytest.approx(found["examples"])
    for one in tasks_:
        assert one["rate"] == pytest.approx(1 / 3)  # as many rows in each
        assert one["epochs"] == pytest.approx(one["examples"] / 16_000)
    assert data_main.main([*words, "--no_pack", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["examples"] == 6000 * 8


def test_mixture_without_data_says_what_is_missing(folder, capsys):
    assert data_main.main(["mixture", "social_i_qa.en"]) == 2
    assert "There is no data for social_i_qa.en, split 'train'" in capsys.readouterr().err


def test_align_writes_links_that_parallel_text_reads(folder, capsys):
    pairs = [("das haus", "the house"), ("das buch", "the book"), ("ein buch", "a book")] * 3
    (folder / "parallel").mkdir()
    path, out = folder / "de.tsv", folder / "parallel" / "de.train.tsv"
    path.write_text("".join(f"{source}\t{target}\n" for source, target in pairs))
    assert data_main.main(["align", str(path), str(out)]) == 0
    assert "18 links of 9 pairs" in capsys.readouterr().out
    rows = list(sources.rows(*benchmarks.split_task("parallel_text.de"), "train"))
    assert [(row["source"], row["target"]) for row in rows] == pairs
    assert all(row["alignment"] == [[0, 0], [1, 1]] for row in rows)

    text, links = folder / "pairs", folder / "links"
    text.write_text("das haus ||| the house\n||| nothing\n")
    arguments = ["align", str(text), str(links), "--symmetrisation", "intersection"]
    assert data_main.main(arguments) == 0
    assert links.read_text().endswith("\n\n") and links.read_text().count("-") == 2


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.tsv", "a\tb\nno tab\n", "line 2, has no tab"),
        ("a.tsv", "a\tb\t0-0\tmore\n", "line 1, has 4 fields"),
        ("a.txt", "a b\n", "'|||'"),
        ("missing.tsv", None, "No such file"),
    ],
)
def test_align_refuses_what_are_no_pairs(folder, capsys, name, content, message):
    if content is not None:
        (folder / name).write_text(content)
    assert data_main.main(["align", str(folder / name), str(folder / "out")]) == 2
    assert message in capsys.readouterr().err and not (folder / "out").exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [("alone", "1 fields"), ("a\t\t0-0", "line 1, has 3 fields"), ("a\tb\t0:0", "'0:0'")],
)
def test_wrong_lines_of_parallel_text_are_named(folder, line, message):
    (folder / "parallel").mkdir()
    (folder / "parallel" / "sw.train.tsv").write_text(line + "\n")
    with pytest.raises(ValueError, match=message):
        list(sources.rows(*benchmarks.split_task("parallel_text.sw"), "train"))
