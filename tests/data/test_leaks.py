"""Hashes find a text again in another spelling, and nothing else."""

import numpy as np

from xlt_jax.data import leaks, record, sources, tokens, vocab
from xlt_jax.registry import benchmarks

PREMISE = "The ferry to Visby leaves at nine, or so they say."


def row(*texts, inputs="xnli: premise: ... hypothesis: ..."):
    return {"inputs": inputs, "targets": "0", "texts": texts}


def test_case_punctuation_space_and_width_do_not_matter():
    spelled = "the FERRY to Visby — leaves at nine or so, they say!"
    wide = "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in PREMISE)
    for text in (PREMISE, spelled, wide, PREMISE.replace(" ", "  ")):
        assert leaks.hashes(row(text)).tolist() == leaks.hashes(row(PREMISE)).tolist()
    assert leaks.hashes(row(PREMISE.replace("nine", "ten"))) != leaks.hashes(row(PREMISE))


def test_one_long_text_is_found_beside_another():
    one, other = row(PREMISE, "It is late."), row(PREMISE, "Nobody knows when it comes back.")
    assert len(np.intersect1d(leaks.hashes(one), leaks.hashes(other))) == 1


def test_short_texts_count_together_only():
    """The same yes in two rows is no leak; the same three short texts are."""
    assert not np.intersect1d(
        leaks.hashes(row("It rained.", "Yes.", "Take an umbrella.")),
        leaks.hashes(row("It snowed.", "Yes.", "Take an umbrella.")),
    ).size
    assert leaks.hashes(row("It rained.", "Yes.", "Take an umbrella.")).size == 1


def test_writing_without_spaces_needs_fewer_letters():
    assert leaks.hashes(row("船は九時に出ます。")).size == 1
    assert leaks.hashes(row("nine")).size == 0


def test_a_prompt_without_texts_is_hashed_by_its_inputs():
    assert leaks.hashes({"inputs": PREMISE, "targets": "0"}) == leaks.hashes(row(PREMISE))


def test_a_planted_row_is_found_in_what_a_run_records(tmp_path, monkeypatch):
    """A test row of XNLI put into MNLI's training data, shouted and without punctuation."""
    monkeypatch.setenv("XLT_CACHE_DIR", str(tmp_path / "cache"))
    premises = ["A tram runs to the harbour every hour.", "The lake was frozen for two months."]
    hypotheses = ["There is a tram to the harbour.", "Nobody has seen the lake."]
    clean = [
        {"premise": "Two men are repairing a red boat.", "hypothesis": "A boat is red.", "label": 0}
    ]
    test = [dict(premise=p, hypothesis=h, label=0) for p, h in zip(premises, hypotheses)]
    leaked = {k: v.upper().rstrip(".") for k, v in test[1].items() if k != "label"} | {"label": 1}
    served = {"mnli": [*clean, leaked], "xnli": test}
    monkeypatch.setattr(sources, "rows", lambda benchmark, *_: served[benchmark.name])
    vocabulary = vocab.byte_vocabulary()
    train = tokens.tokens("mnli.en", "train", vocabulary)
    scored = tokens.tokens("xnli.en", "test", vocabulary)
    trained = [record.TrainedTask("mnli.en", "train", 2, train.hashes.ids)]
    record.write(tmp_path, trained, initial_checkpoint=None, first_step=0, steps=1)
    kept = np.load(tmp_path / record.TEXTS_FILE)
    assert kept["names"].tolist() == ["mnli.en"] and (np.diff(kept["hashes"]) > 0).all()
    found = [np.isin(scored.hashes[number], kept["hashes"]).any() for number in range(2)]
    assert found == [False, True]


def test_declared_overlaps_hold_from_both_sides():
    for benchmark in benchmarks.all_benchmarks():
        for overlap in benchmark.overlaps:
            other = benchmarks.get(overlap.benchmark)
            for split, theirs in overlap.splits.items():
                assert split in benchmark.splits and set(theirs) <= set(other.splits)
                for name in theirs:
                    back = benchmarks.shared(other, name)
                    assert any(
                        benchmark.name == e["benchmark"] and split in e["splits"] for e in back
                    )
    xquad = [e for e in benchmarks.shared(benchmarks.get("squad"), "validation") if e["texts"]]
    assert "xquad" in {entry["benchmark"] for entry in xquad}
    assert benchmarks.shared(benchmarks.get("squad"), "train") == [] or all(
        entry["benchmark"] != "xquad"
        for entry in benchmarks.shared(benchmarks.get("squad"), "train")
    )
    parallel = benchmarks.shared(benchmarks.get("pawsx"), "test")
    assert any(e["benchmark"] == "pawsx" and e["splits"] == ["test"] for e in parallel)
