"""Files beside the page: tables in Markdown and LaTeX, figures, and what they hold."""

import re

import pytest
from synthetic import ARMS, BENCHMARKS, write_experiment, write_lines

from xlt_jax.report import __main__ as program
from xlt_jax.report import cost, exports, runs, sheets
from xlt_jax.report.sheets import Bold, Sheet
from xlt_jax.report.tables import Results

CODES = ("en", "de", "sw", "th", "ja", "fi")
NASTY = r"a_b & 50% $x$ #1 {y} ~ ^ \ <i> | [z] *"


def level(arm, benchmark, code, seed):
    return 0.4 + 0.1 * (arm == "multitask") + 0.02 * seed + 0.02 * CODES.index(code)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    root = write_experiment(folder / "x", codes=CODES, score=level, curves=True, seeds=(0, 1))
    assert program.main([str(root), "--out", str(folder / "out")]) == 0
    return Results(runs.read([root])), folder / "out"


def cells(line):
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def test_every_sheet_is_written_in_both_forms_and_figures_are_pictures(built):
    results, out = built
    names = {sheet.name for sheet in sheets.sheets(results)}
    assert {"summary", "differences", "groups", "gains", "training", "cost_arms"} < names
    assert {f"languages_{name}" for name in BENCHMARKS} < names
    written = {path.name for path in (out / "tables").iterdir()}
    assert written == {f"{name}{end}" for name in names for end in (".md", ".tex")}
    figures = {"scores", "score_map", "difference_map", "gains", "curves"}
    pictures = {path.name: path.read_bytes() for path in (out / "figures").iterdir()}
    assert set(pictures) == {f"{name}{end}" for name in figures for end in (".png", ".pdf")}
    for name, content in pictures.items():
        assert content.startswith(b"\x89PNG" if name.endswith("png") else b"%PDF")


def test_every_sheet_is_rectangular_and_its_files_have_all_cells(built):
    results, out = built
    for sheet in sheets.sheets(results):
        assert {len(row) for row in sheet.rows} == {len(sheet.head)}, sheet.name
        caption, _, head, rule, *rows = (out / f"tables/{sheet.name}.md").read_text().splitlines()
        assert caption and len(cells(head)) == len(cells(rule)) == len(sheet.head)
        assert [len(cells(row)) for row in rows] == [len(sheet.head)] * len(sheet.rows)
        lines = (out / f"tables/{sheet.name}.tex").read_text().splitlines()
        rows = [line for line in lines if line.endswith(r"\\")]
        columns = [len(re.findall(r"(?<!\\)&", row)) + 1 for row in rows]
        assert columns == [len(sheet.head)] * (len(sheet.rows) + 1)


def test_text_is_escaped_in_both_forms():
    sheet = Sheet("x", f"{NASTY}\nsecond line", ("name", "n"), ((Bold(NASTY), "−1.0 ± 2"),))
    latex = exports.latex(sheet)
    assert latex.startswith("% ") and latex.splitlines()[1].startswith(r"\begin{tabular}")
    body = latex.splitlines()[5]
    assert body.startswith(r"\textbf{a\_b \& 50\% \$x\$ \#1 \{y\} \textasciitilde{} ")
    assert r"\textasciicircum{} \textbackslash{} \textless{}i\textgreater{}" in body
    assert body.endswith(r"} & $-$1.0 $\pm$ 2 \\")
    row = exports.markdown(sheet).splitlines()[-1]
    assert row.startswith("| **a_b ") and r"\<i>" in row and r"\|" in row and r"\*" in row
    assert len(cells(row)) == 2
    assert exports.markdown(sheet).splitlines()[2] == "| name | n |"


def test_unicode_in_tables_is_known_to_latex(built):
    for sheet in sheets.sheets(built[0]):
        left = {c for c in exports.latex(sheet).split("\n", 1)[1] if ord(c) > 0x17F}
        assert not left, (sheet.name, left)


def test_language_sheet_marks_every_kind_of_exposure(built):
    sheet = sheets.by_language(built[0], "cldr_qa")
    marks = {row[1]: [cell.partition(" [")[2] for cell in row[2:5]] for row in sheet.rows}
    assert list(ARMS) == list(sheet.head[2:5])
    assert marks["en"] == ["t]", "t]", "t]"]
    assert marks["de"] == ["", "", "l]"]
    assert marks["th"] == ["", "", ""]


def test_forgetting_and_operations_are_read_from_the_curve(tmp_path):
    root = write_experiment(tmp_path / "x", codes=("en", "de"), score=lambda *_: 0.5, curves=True)
    assert cost.forgetting(Results(runs.read([root]))) == []
    lines = [
        {"step": 0, "forgetting/pre/train/nll": 1.0},
        {"step": 50, "nll": 2.0, "flops_per_step": 1e9, "tokens_per_s": 10.0, "steps_per_s": 2.0},
        {"step": 100, "nll": 1.0, "flops_per_step": 2e9, "tokens_per_s": 10.0, "steps_per_s": 2.0},
        {"step": 100, "forgetting/pre/train/nll": 1.5},
    ]
    write_lines(root / "none_finetune" / "metrics.jsonl", lines)
    results = Results(runs.read([root]))
    (row,) = cost.forgetting(results)
    assert (row.stage, row.mixture, row.before, row.after) == ("none_finetune", "pre/train", 1, 1.5)
    stage = next(s for s in results.study.stages if s.name == "none_finetune")
    assert (stage.flops, stage.tokens) == (50e9 + 100e9, 500)
    assert sheets.forgetting(results).rows[0][2:5] == ("1.000", "1.500", "+0.500")
    # Its pre-training did not count operations, so the arm's are not known.
    costs = {row[0]: row for row in sheets.arm_cost(results).rows}
    assert costs["none"][5] == "–"
    assert program.main([str(root)]) == 0
    assert "Loss on an earlier stage" in (root / "report" / "index.html").read_text()


def test_goodput_is_shown_of_stages_that_were_started_again(tmp_path):
    root = write_experiment(tmp_path / "x", codes=CODES[:2], score=lambda *where: 0.5)
    assert "Goodput" not in sheets.stage_cost(Results(runs.read([root]))).head
    lines = [{"step": 60, "step_s": 0.5, "time": 50.0}, {"step": 100, "step_s": 0.5, "time": 99.0}]
    starts = [
        {"time": 0.0, "step": 0},
        {
            "time": 60.0,
            "step": 60,
            "previous_end": "unknown",
            "end": {"time": 100.0, "step": 100, "reason": "finished"},
        },
    ]
    write_lines(root / "none_finetune" / "metrics.jsonl", lines)
    write_lines(root / "none_finetune" / "restarts.jsonl", starts)
    sheet = sheets.stage_cost(Results(runs.read([root])))
    at = sheet.head.index("Goodput")
    found = {row[0]: row[at] for row in sheet.rows}
    assert found.pop("none_finetune") == "50 %" and set(found.values()) == {"–"}
