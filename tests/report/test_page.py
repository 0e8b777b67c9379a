"""The page: parses, opens offline, shows what the numbers say."""

import csv
import html.parser
import re
import subprocess
import sys

import pytest
from synthetic import ARMS, BENCHMARKS, write_experiment

from xlt_jax.report import __main__ as program
from xlt_jax.report import page, plots, runs, sheets, words
from xlt_jax.report.tables import Results

CODES = ("en", "de", "sw", "th")
FIGURES = {"scores", "score_map", "difference_map", "gains", "curves"}
VOID = {"meta", "br", "link", "img", "input", "hr"}


def level(arm, benchmark, code):
    return 0.5 + 0.1 * (arm == "multitask")


def page_of(root):
    results = Results(runs.read([root]))
    return page.html(results, plots.figures(results), sheets.sheets(results))


class Page(html.parser.HTMLParser):
    """Checks nesting; collects texts, ids, and whatever a browser would load."""

    def __init__(self, text):
        super().__init__()
        self.open, self.loads, self.ids, self.links, self.texts = [], [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag, attributes):
        if tag not in VOID:
            self.open.append(tag)
        self._note(tag, dict(attributes))

    def handle_startendtag(self, tag, attributes):
        self._note(tag, dict(attributes))

    def _note(self, tag, attributes):
        self.ids += [attributes["id"]] if "id" in attributes else []
        for name in ("src", "href", "xlink:href", "data", "action"):
            if name in attributes:
                target = attributes[name]
                if target.startswith("#"):
                    self.links.append(target)
                elif not target.startswith("data:"):
                    self.loads.append(target)

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, (tag, self.getpos())

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    root = write_experiment(
        tmp_path_factory.mktemp("run") / "x", codes=CODES, score=level, curves=True
    )
    assert program.main([str(root)]) == 0
    return root, (root / "report" / "index.html").read_text()


def test_page_parses_and_loads_nothing(built):
    text = built[1]
    parsed = Page(text)
    assert parsed.loads == []
    assert not re.search(r"@import|url\((?!#)|<link|src=", text)
    assert len(parsed.ids) == len(set(parsed.ids))
    assert {link[1:] for link in parsed.links} <= set(parsed.ids)


def test_page_holds_answer_arms_languages_commands_and_figures(built):
    root, text = built
    shown = " ".join(Page(text).texts)
    assert words.answer(Results(runs.read([root]))) in shown
    for expected in (*ARMS, *BENCHMARKS, "Swahili", "Tai-Kadai", "language seen", "code of the"):
        assert expected in shown
    for stage in runs.read([root]).stages:
        assert stage.command in shown
    assert text.count("<svg") == len(FIGURES)
    assert not re.search(r"#0[1-4]0[1-4]0\d", text), "a colour was not replaced by its variable"


def test_table_cells_hold_the_numbers(built):
    rows = re.findall(r"<tr[^>]*><td>Swahili.*?</tr>", built[1], flags=re.DOTALL)
    assert len(rows) == len(BENCHMARKS)
    for row in rows:
        assert [float(v) for v in re.findall(r'data-v="(.*?)"', row)][:3] == [0.5, 0.5, 0.6]
        assert row.count("<sup>l</sup>") == 1  # labels of cldr_kind, in arm multitask


def test_csv_lies_beside_the_page(built):
    with (built[0] / "report" / "scores.csv").open() as file:
        assert len(list(csv.DictReader(file))) == len(ARMS) * len(BENCHMARKS) * len(CODES)


def test_text_from_files_is_escaped(tmp_path):
    root = write_experiment(tmp_path / "x", codes=("en", "de"), score=level)
    path = root / "recipe.json"
    path.write_text(path.read_text().replace("Known scores.", "<script>alert(1)</script>"))
    assert "<script>alert" not in page_of(root)


@pytest.mark.parametrize("arms", [("none",), ("english", "multitask")])
def test_partial_results_still_give_a_page(tmp_path, arms):
    root = write_experiment(tmp_path / "x", codes=CODES, score=level, arms=arms)
    text = page_of(root)
    Page(text)
    for arm in set(ARMS) - set(arms):
        assert f"Arm {arm} has no results" in text


def test_one_language_without_english_gives_a_page(tmp_path):
    root = write_experiment(tmp_path / "x", codes=("de",), score=level, benchmarks=("cldr_qa",))
    Page(page_of(root))


def test_english_only_gives_a_page(tmp_path):
    root = write_experiment(tmp_path / "x", codes=("en",), score=level)
    Page(page_of(root))


def test_errors_are_one_line(tmp_path, capsys):
    assert program.main([str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_works_without_jax_and_tensorflow(built):
    code = (
        "import sys; from xlt_jax.report.__main__ import main;"
        "main(sys.argv[1:]); bad = {'jax', 'tensorflow', 'gin', 'seqio'} & set(sys.modules);"
        "assert not bad, bad"
    )
    words_ = [sys.executable, "-c", code, str(built[0]), "--out", str(built[0] / "elsewhere")]
    subprocess.run(words_, check=True, capture_output=True)
    assert (built[0] / "elsewhere" / "index.html").exists()
