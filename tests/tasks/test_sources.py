"""Every benchmark reads every original format: made-up rows always, real ones where they are."""

import dataclasses
import functools
import itertools
import json
import pathlib

import originals
import pytest

import tasks  # noqa: F401 (registers)
from tasks.extra import bucc2018
from tasks.xtreme_r import lareqa
from xlt_jax.data import sources, tokens
from xlt_jax.registry import benchmarks, languages
from xlt_jax.registry.benchmarks import Request

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
_SHARED = (folder / "shared" / "data" for folder in [ROOT, *ROOT.parents])
SHARED = next((folder for folder in _SHARED if (folder / "MANIFEST.tsv").is_file()), None)
needs_shared = pytest.mark.skipif(SHARED is None, reason="shared/data is not there")
ORIGINAL = [b for b in benchmarks.all_benchmarks() if not callable(b.source)]


def each(found):
    return pytest.mark.parametrize("benchmark", found, ids=lambda b: b.name)


@pytest.fixture
def data(monkeypatch, tmp_path):
    """Writes files into an empty data folder: ``data({path: text})``."""
    monkeypatch.setenv("XLT_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(lareqa, "_answers", functools.cache(lareqa._answers.__wrapped__))

    def write(files):
        for path, text in files.items():
            file = tmp_path / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")

    return write


def shown(examples) -> str:
    """Examples as golden files have them; without ids, which are the source's own."""
    fields = ("inputs", "targets", "choices", "references")
    return "\n\n".join(
        "\n".join(
            f"{field}: {json.dumps(example[field], ensure_ascii=False)}"
            for field in fields
            if field in example and (field != "references" or example[field] != example["targets"])
        )
        for example in examples
    )


@pytest.mark.parametrize(
    ("benchmark", "place"),
    [(b, place) for b in ORIGINAL for place in range(len(originals.file_sources(b)))],
    ids=lambda value: getattr(value, "name", value),
)
def test_every_original_format(benchmark, place, data, golden):
    """All formats of a benchmark give the same examples, those of its golden file."""
    source = originals.file_sources(benchmark)[place]
    made_up = originals.files(benchmark)
    assert len(made_up) == len(originals.file_sources(benchmark))
    language, split, files = made_up[place]
    data(files)
    alone = dataclasses.replace(benchmark, source=(source,))
    assert sources.find(alone, language, split), source.pattern
    examples = tokens.prompted(alone, language, split)
    assert len(examples) >= 3 and all(
        set(example) >= {"id", "inputs", "targets", "references"} for example in examples
    )
    golden(f"examples/{benchmark.name}.txt", shown(examples) + "\n")


@each([b for b in ORIGINAL if b.request in (Request.GENERATE, Request.RANK)])
def test_gold_answers_score_one(benchmark, data):
    language, split, files = originals.files(benchmark)[0]
    data(files)
    examples = tokens.prompted(benchmark, language, split)
    golds = [example["references"] for example in examples]
    answers = [example["targets"] for example in examples]
    if benchmark.parse:
        parsed = [benchmark.parse(example, text) for example, text in zip(examples, answers)]
        assert all(well_formed for _, well_formed in parsed)
        answers = [answer for answer, _ in parsed]
    metrics = benchmark.metric_of(language)(golds, answers)
    assert metrics[benchmark.main_metric] == 1.0
    assert all(benchmark.score(g, a, language)[0] == 1.0 for g, a in zip(golds, answers))
    assert 0 <= benchmark.chance(examples) <= 1


@each(ORIGINAL)
def test_downloads_go_where_they_are_read(benchmark):
    """Or into an archive to unpack; of two files side by side, the source's pattern names one."""
    places = {
        pathlib.PurePath(sources._filled(source.pattern, place))
        for source in originals.file_sources(benchmark)
        for language in benchmark.languages
        for split in benchmark.splits
        if (place := sources._place(source, language, split))
    }
    for download in benchmark.downloads:
        path = pathlib.PurePath(download.path)
        assert download.unpack or any(
            path.with_suffix(place.suffix).match(str(place)) for place in places
        ), path


# ------------------------------------------------------------------ what is refused or left out
def test_words_without_tags_are_refused(data):
    """As XTREME's script leaves test sets: they must not count as words without entities."""
    for name in ("panx", "udpos"):
        data({f"{name}/test-de.tsv": "Mira\nKolb\n\nit\nrains\n"})
        with pytest.raises(ValueError, match=r"words without tags.*authors publish"):
            tokens.prompted(benchmarks.get(name), "de", "test")


def test_questions_without_answers_are_no_rows(data):
    blank = json.loads(originals.squad())
    for paragraph in blank["data"][0]["paragraphs"]:
        paragraph["qas"][0]["answers"] = [{"text": "", "answer_start": 0}]
    data({"xquad/xquad.de.json": json.dumps(blank)})
    with pytest.raises(ValueError, match="has no rows in split 'test'"):
        tokens.prompted(benchmarks.get("xquad"), "de", "test")


def test_labels_that_xtreme_sets_to_zero_are_not_read(data):
    data({"xcopa/test-sw.jsonl": originals.jsonl(originals.copa_rows())})
    with pytest.raises(ValueError, match=r"no data for xcopa\.sw"):
        tokens.prompted(benchmarks.get("xcopa"), "sw", "test")


def test_mentions_without_entity_are_no_rows(data):
    data({"mewslix/wikinews_mentions/test-de.jsonl": originals.mewslix_text().replace("Q7", "")})
    assert len(tokens.prompted(benchmarks.get("mewslix"), "de", "test")) == 2


def test_missing_translations_are_scored_and_not_trained_on(data):
    rows = [*originals.PARAPHRASES, ("NS", "It rained .", "0")]
    text = originals.table(rows, quoted=True)
    data({"pawsx/dev-de.tsv": text, "pawsx/train-de.tsv": text})
    assert len(tokens.prompted(benchmarks.get("pawsx"), "de", "validation")) == 4
    assert len(tokens.prompted(benchmarks.get("pawsx"), "de", "train")) == 3


@pytest.mark.parametrize("name", ["xnli_pairs", "pawsx_pairs"])
def test_languages_of_a_pair_must_agree(name, data):
    rows = originals.NLI if name == "xnli_pairs" else originals.PARAPHRASES
    folder = name.removesuffix("_pairs")
    benchmark = benchmarks.get(name)
    data({f"{folder}/dev-de.tsv": originals.table(rows)})
    with pytest.raises(ValueError, match=r"dev-zh\.tsv beside it is not"):
        tokens.prompted(benchmark, "de-zh", "validation")
    data({f"{folder}/dev-zh.tsv": originals.table(rows[:2])})
    with pytest.raises(ValueError, match="number of rows, one has 2"):
        tokens.prompted(benchmark, "de-zh", "validation")
    data({f"{folder}/dev-zh.tsv": originals.table([rows[1], rows[0], rows[2]])})
    with pytest.raises(ValueError, match="differ in a label"):
        tokens.prompted(benchmark, "de-zh", "validation")


def test_pairs_of_languages():
    xnli, pairs = benchmarks.get("xnli"), benchmarks.get("xnli_pairs")
    assert len(pairs.languages) == len(xnli.languages) ** 2 == 225
    assert len(benchmarks.get("pawsx_pairs").languages) == 49
    assert set(benchmarks.get("sib200").languages) == set(languages.XTREME_R)


def test_words_are_joined_under_the_highest_of_the_enhanced_graph(data):
    """By the tree both parts are equally high, and VERB ranks before AUX; as XTREME's tool reads
    it, the first has one more word above it."""
    lines = [
        "1-2\tdontstay\t" + "\t".join("_" * 8),
        "1\tdont\t_\tVERB\t_\t_\t3\taux\t3:aux|4:aux\t_",
        "2\tstay\t_\tAUX\t_\t_\t3\taux\t3:aux\t_",
        "3\there\t_\tADV\t_\t_\t0\troot\t0:root\t_",
        "4\tnow\t_\tADV\t_\t_\t3\tadv\t3:adv\t_",
    ]
    udpos = benchmarks.get("udpos")
    for heads, tag in (("3:aux|4:aux", "AUX"), ("3:aux", "VERB"), ("_", "VERB")):
        text = "\n".join(lines).replace("3:aux|4:aux", heads) + "\n"
        data({"udpos/de_x-ud-test.conllu": text})
        (example,) = tokens.prompted(udpos, "de", "test")
        assert example["references"] == f"{tag} ADV ADV"


# ------------------------------------------------------------------------------------ BUCC's F1
GOLD = ["e1", "", "e3", ""]


def test_mined_pairs_at_the_best_threshold():
    predictions = ["e1 1.2", "e9 1.1", "e3 1.15", "e8 0.7"]
    found = bucc2018.best_f1(GOLD, predictions)
    assert found["f1_at_best_threshold"] == 1.0
    assert 1.1 < found["threshold"] < 1.15
    at = bucc2018.at_threshold(GOLD, predictions, threshold=1.0)
    assert at == pytest.approx({"f1": 0.8, "precision": 2 / 3, "recall": 1.0})
    assert bucc2018.best_f1(GOLD, ["", "", "", ""])["f1_at_best_threshold"] == 0.0
    assert bucc2018.best_f1(GOLD, ["e1", "", "e3", ""])["f1_at_best_threshold"] == 1.0
    examples = [{"references": gold} for gold in GOLD]
    assert bucc2018.above_threshold(examples, predictions) == ["e1", "", "e3", ""]
    with pytest.raises(ValueError, match=r"'e1 high' of row 0 is not `ID SCORE`"):
        bucc2018.best_f1(GOLD, ["e1 high", "", "", ""])


def test_gold_pairs_must_be_there(data):
    files = originals.bucc_files("bucc2018/de-en.test")
    del files["bucc2018/de-en.test.gold"]
    data(files)
    with pytest.raises(ValueError, match=r"de-en\.test\.gold beside it is not"):
        tokens.prompted(benchmarks.get("bucc2018"), "de", "test")


# ------------------------------------------------------------------------- intermediate tasks
def test_a_licensed_corpus_says_so_and_names_its_stand_in(data):
    with pytest.raises(ValueError, match=r"no data for ccg\.en.*LDC2005T13.*udpos\.en"):
        tokens.prompted(benchmarks.get("ccg"), "en", "train")


def test_questions_without_an_answer():
    """Scored as SQuAD 2.0's official script does."""
    squad_v2 = benchmarks.get("squad_v2")
    row = {"question": "Who?", "context": "Ana came.", "answers": {"text": []}}
    example = squad_v2.prompt(row)
    assert (example["targets"], example["references"]) == ("unanswerable", [""])
    assert squad_v2.parse(example, " unanswerable") == ("", True)
    assert squad_v2.parse(example, "Ana") == ("Ana", True)
    assert [squad_v2.example_score([""], text) for text in ("", "Ana")] == [1.0, 0.0]
    assert [squad_v2.example_score(["Ana Lee"], text) for text in ("", "Ana")] == [0.0, 2 / 3]
    found = squad_v2.metric([[""], ["Ana Lee"]], ["", "Ana"])
    assert found == pytest.approx({"f1": 5 / 6, "em": 0.5})
    assert squad_v2.chance([example, {"references": ["Ana"]}]) == 0.5


def test_a_file_in_latin_1(data, tmp_path):
    data({"FinancialPhraseBank-v1.0/Sentences_AllAgree.txt": ""})
    file = tmp_path / "FinancialPhraseBank-v1.0/Sentences_AllAgree.txt"
    file.write_bytes("Jön @ Öland rose .@positive\r\n".encode("latin-1"))
    (example,) = tokens.prompted(benchmarks.get("financial_phrasebank"), "en", "train")
    assert example["inputs"] == "phrasebank: Jön @ Öland rose ."


def test_several_labels_of_a_sentence():
    unfair_tos = benchmarks.get("unfair_tos")
    assert unfair_tos.parse({}, "Jurisdiction, Choice of law") == (
        "Jurisdiction, Choice of law",
        True,
    )
    assert unfair_tos.parse({}, "Jurisdiction, cheap") == ("Jurisdiction", False)
    wanted = ["Jurisdiction, Choice of law", "none", "none"]
    given = ["Jurisdiction", "none", "Arbitration"]
    assert unfair_tos.metric(wanted, given)["f1"] == pytest.approx(2 * 2 / (3 + 4))
    assert unfair_tos.chance([{"targets": text} for text in wanted]) == pytest.approx(4 / 7)


def test_supertags_of_a_malformed_text():
    """Words may have any category, so those after the first fault get none."""
    ccg = benchmarks.get("ccg")
    example = ccg.prompt({"tokens": ["it", "rains", "."], "tags": ["NP", "S[dcl]\\NP", "."]})
    assert ccg.parse(example, "it NP rains N/N . .") == ("NP N/N .", True)
    assert ccg.parse(example, "it NP snows N . .") == ("NP O O", False)
    found = ccg.metric([example["references"]], ["NP N/N ."])
    assert found["accuracy"] == pytest.approx(2 / 3)


@each([b for b in ORIGINAL if b.name.startswith("crossner_")])
def test_entities_of_a_domain_have_its_labels(benchmark):
    label = sorted(set(benchmark.constraint({"tokens": ["a"]}).labels) - {"person:"})[0]
    example = benchmark.prompt({"tokens": ["Ana", "b"], "tags": ["O", f"B-{label[:-1]}"]})
    assert example["targets"] == f"{label} b"
    assert benchmark.parse(example, f"{label} b") == (f"O B-{label[:-1]}", True)
    assert benchmark.parse(example, "PER: Ana") == ("O O", False)


def test_overlaps_name_benchmarks_and_splits():
    for benchmark in benchmarks.all_benchmarks():
        for overlap in benchmark.overlaps:
            other = benchmarks.get(overlap.benchmark)
            assert set(overlap.splits) <= set(benchmark.splits)
            assert {name for names in overlap.splits.values() for name in names} <= set(
                other.splits
            )


@each(ORIGINAL)
def test_texts_are_the_rows_own(benchmark, data):
    """They hold no words of the prompt, by which rows of two sets would look alike."""
    language, split, files = originals.files(benchmark)[0]
    data(files)
    for example in tokens.prompted(benchmark, language, split):
        for text in example.get("texts", ()):
            assert isinstance(text, str)
            assert not any(word in text for word in ("premise:", "question:", "choice1:"))


# -------------------------------------------------------------------------------------- real data
# Rows of shared/data/README.md, by benchmark, over all languages and splits that are there.
ROWS = {
    "xcopa": 6600,
    "copa": 500,
    "xquad": 14280,
    "lareqa": 13090,
    "tatoeba": 73384 // 2,  # both sides are counted
    "tydiqa": 8076,
    "mlqa": 4199,
    "pawsx": 14000 + 4000,
    "pawsx_pairs": 13 * 2000 - 2 * (68 + 38 + 35 + 20 + 16 + 8),  # with English, but NS
    "panx": 30500,
    "udpos": 14597,
    "xnli": 4500,
    "xnli_pairs": 29 * 300,
    "squad": 1027 + 9380,
    "hellaswag": 4000,
    "cosmos_qa": 2985,
    "social_i_qa": 4178,
    "mnli": 5000,
    "uner": 6129,
    "sib200": 11000,
    "afrisenti": 6000,
    "commonsense_qa": 10962,
    "snli": 3000,
    "indonli": 3197,
    "klue_nli": 1000,
    "jnli": 1000,
    "jcommonsenseqa": 1119,
    "afriqa": 1258,
    "pubmed_qa": 1000,  # and 500 ids
    "crossner": 2700,
    "sec_filings": 1475 - 8,  # lines between documents
}
_ALSO = {"lareqa_candidates", "panx_text", "squad_sentences", "tatoeba_english"}


def _family(benchmark) -> str:
    group = benchmark.name.partition("_")[0]
    return group if group in ("uner", "crossner") else benchmark.name


@needs_shared
def test_every_benchmark_with_shared_data_is_counted(monkeypatch):
    monkeypatch.setenv("XLT_DATA_DIR", str(SHARED))
    there = {
        _family(benchmark)
        for benchmark in ORIGINAL
        for language, split in itertools.product(benchmark.languages, benchmark.splits)
        if sources.find(benchmark, language, split)
    }
    assert there - _ALSO == set(ROWS)


@needs_shared
@pytest.mark.parametrize("name", ROWS)
def test_shared_data(name, monkeypatch):
    """All languages and splits load, in the number that the README states, and format."""
    monkeypatch.setenv("XLT_DATA_DIR", str(SHARED))
    found = [benchmark for benchmark in ORIGINAL if _family(benchmark) == name]
    count, seen = 0, set()
    for benchmark in found:
        for language in benchmark.languages:
            if name.endswith("_pairs") and "en" not in language.split("-"):
                continue
            for split in benchmark.splits:
                place = sources.find(benchmark, language, split)
                if place is None or (language, place.paths) in seen:
                    continue
                seen.add((language, place.paths))
                rows = list(sources.rows(benchmark, language, split))
                count += len(rows)
                for number, row in enumerate(rows[:20]):
                    made = benchmark.prompt({"number": number, "split": split, **row})
                    assert made is None or made["inputs"]
                    assert not (benchmark.request is Request.RANK and made) or (
                        made["targets"] in made["choices"]
                    )
    assert count == ROWS[name]


# Place of a sample below shared/data/schema_samples -> benchmark, split, path that it is read from,
# rows, and the target of the first.
SAMPLES = {
    "commonsense_qa/train_rand_split.jsonl": (
        ("commonsense_qa", "train", "commonsense_qa/train_rand_split.jsonl"),
        (5, "bookstore"),
    ),
    "hellaswag/hellaswag_val.jsonl": (
        ("hellaswag", "validation", "hellaswag/hellaswag_val.jsonl"),
        (2, None),
    ),
    "lex_glue_case_hold/casehold.csv": (("case_hold", "train", "lex_glue/casehold.csv"), (6, None)),
    "lex_glue_ledgar/ledgar.jsonl": (
        ("ledgar", "validation", "lex_glue/ledgar.jsonl"),
        (2, "Amendments"),
    ),
    "lex_glue_unfair_tos/unfair_tos.jsonl": (
        ("unfair_tos", "validation", "lex_glue/unfair_tos.jsonl"),
        (2, "none"),
    ),
    "multi_nli/multinli_1.0_dev_matched.jsonl": (
        ("mnli", "validation", "multinli_1.0/multinli_1.0_dev_matched.jsonl"),
        (5, "1"),
    ),
    "paws_wiki_labeled_final/train.tsv": (
        ("paws_wiki", "train", "paws_wiki/final/train.tsv"),
        (4, "different_meaning"),
    ),
    "scitail_tsv/scitail_1.0_test.tsv": (
        ("sci_tail", "test", "SciTailV1.1/tsv_format/scitail_1.0_test.tsv"),
        (6, "1"),
    ),
    "squad_v2/dev-v2.0.json": (("squad_v2", "validation", "squad/dev-v2.0.json"), (2, "France")),
}


@needs_shared
@pytest.mark.parametrize("sample", SAMPLES)
def test_samples_of_original_files(sample, data):
    (name, split, path), (rows, target) = SAMPLES[sample]
    data({path: (SHARED / "schema_samples" / sample).read_text(encoding="utf-8")})
    examples = tokens.prompted(benchmarks.get(name), "en", split)
    assert len(examples) == rows
    assert target in (None, examples[0]["targets"])
