"""What tasks do about faults of tensorflow-datasets 4.9.10, with a stand-in for its ``load``."""

import sys

import numpy as np
import pytest

import tasks  # noqa: F401 (registers)
from xlt_jax.data import sources, tokens
from xlt_jax.registry import benchmarks, xtreme
from xlt_jax.registry.benchmarks import Tfds

ORIGINAL = [b for b in benchmarks.all_benchmarks() if not callable(b.source)]
OTHERS = tuple(code for code in xtreme.task("xnli").languages if code != "en")


class StandIn:
    """``load(name, split)`` gives the rows of ``data[name, split]`` as NumPy has them."""

    def __init__(self):
        self.data: dict[tuple[str, str], list] = {}

    def load(self, name: str, *, split: str, shuffle_files: bool, data_dir) -> list:
        assert not shuffle_files  # the order of rows is that of the set
        if (name, split) not in self.data:
            raise ValueError(f"{name} has no split {split}; there are {list(self.data)}")
        return self.data[name, split]

    def as_numpy(self, rows: list) -> list:
        return [_as_numpy(row) for row in rows]


def _as_numpy(value):
    if isinstance(value, dict):
        return {name: _as_numpy(item) for name, item in value.items()}
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, list):
        texts = all(isinstance(item, str) for item in value)
        return np.array([_as_numpy(item) for item in value], object if texts else np.int64)
    return np.int64(value)


@pytest.fixture
def served(monkeypatch, tmp_path):
    """The stand-in's data; no files are there."""
    stand_in = StandIn()
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", stand_in)
    monkeypatch.setenv("XLT_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    return stand_in.data


def examples(task: str, split: str) -> list[dict]:
    return tokens.prompted(*benchmarks.split_task(task), split)


def nli_row(label: int, codes) -> dict:
    """As xnli and xtreme_xnli have it; the hypotheses are not in the order of the premises."""
    shuffled = sorted(codes, reverse=True)
    return {
        "premise": {code: f"premise {code}" for code in codes},
        "hypothesis": {
            "language": shuffled,
            "translation": [f"hypothesis {code}" for code in shuffled],
        },
        "label": label,
    }


def question(row_id: str) -> dict:
    return {
        "id": row_id,
        "title": "",
        "context": f"The answer is {row_id}.",
        "question": "What is it?",
        "answers": {"text": [row_id], "answer_start": [14]},
    }


@pytest.mark.parametrize(("language", "config"), [("ta", "tl"), ("tl", "ta"), ("te", "te")])
def test_tamil_and_tagalog_are_swapped_there(served, language, config):
    row = {"tokens": ["it", "rains"], "upos": [10, 15]}
    served[f"xtreme_pos/xtreme_pos_{config}:1.0.0", "test"] = [row]
    (example,) = examples(f"udpos.{language}", "test")
    assert example["references"] == "PRON VERB"


def test_the_validation_split_is_called_dev_there(served):
    row = {"tokens": ["it", "rains\u200cnow\u00a0 ."], "upos": [10, 15]}
    served["xtreme_pos/xtreme_pos_de:1.0.0", "dev"] = [row]
    assert examples("udpos.de", "validation")[0]["tokens"] == ["it", "rainsnow\u00a0."]
    served["multi_nli:1.1.0", "validation_matched"] = [
        {"premise": "a", "hypothesis": "b", "label": 2}
    ]
    assert examples("mnli.en", "validation")[0]["targets"] == "2"


@pytest.mark.parametrize("language", ["lt", "pl", "ro", "uk", "wo"])
def test_languages_that_xtreme_pos_lacks_come_from_their_treebank(served, language):
    treebank = {"lt": "alksnis", "pl": "pdb", "ro": "rrt", "uk": "iu", "wo": "wtb"}[language]
    row = {"idx": "1", "text": "a b", "tokens": ["a", "b"], "upos": [7, 12], "lemmas": ["a", "b"]}
    served[f"universal_dependencies/{language}_{treebank}:1.0.1", "dev"] = [row]
    assert examples(f"udpos.{language}", "validation")[0]["references"] == "NOUN PUNCT"


@pytest.mark.parametrize("task", ["xquad.ro", *(f"tatoeba.{c}" for c in "az lt pl ro uk".split())])
def test_what_it_lacks_is_said_to_be_missing(served, task):
    name = task.split(".")[0]
    with pytest.raises(ValueError, match=rf"no data for {task}.*looked for {name}/{name}[^;]*\)"):
        examples(task, "test")


def test_the_test_set_is_called_train_and_keeps_its_newlines(served):
    row = {
        "source_sentence": "Inanyesha.\n",
        "target_sentence": "It rains.\n",
        "source_language": "sw",
        "target_language": "en",
    }
    served["tatoeba/tatoeba_sw:1.0.0", "train"] = [row, row]
    assert [e["inputs"] for e in examples("tatoeba.sw", "test")] == ["Inanyesha."] * 2
    assert examples("tatoeba_english.sw", "test")[0]["inputs"] == "It rains."
    with pytest.raises(ValueError, match="has no split 'train'; it has test"):
        examples("tatoeba.sw", "train")


def test_missing_translations_are_scored_and_not_trained_on(served):
    rows = [
        {"sentence1": "a", "sentence2": "b", "label": 1},
        {"sentence1": "NS", "sentence2": "b", "label": 0},
    ]
    for split in ("train", "test"):
        served["paws_x_wiki/de:1.0.0", split] = rows
    served["xtreme_pawsx/de:1.0.0", "train"] = rows
    assert len(examples("pawsx.de", "test")) == 2
    assert len(examples("pawsx.de", "train")) == 1
    assert len(examples("pawsx_translate_train.de", "train")) == 1


def test_rows_without_a_label_are_dropped(served):
    swag = {"context": "c", "endings": list("abcd"), "activity_label": "x"}
    cosmos = {"context": "c", "question": "q", "id": "1"} | {f"answer{n}": f"{n}" for n in range(4)}
    copa = {"premise": "p", "choice1": "a", "choice2": "b", "question": "cause", "idx": 0}
    for task, name, row in (
        ("hellaswag.en", "hellaswag:1.1.0", swag),
        ("cosmos_qa.en", "cosmos_qa:1.0.0", cosmos),
        ("copa.en", "super_glue/copa:1.0.2", copa),
        ("mnli.en", "multi_nli:1.1.0", {"premise": "p", "hypothesis": "h"}),
        ("snli.en", "snli:1.1.0", {"premise": "p", "hypothesis": "h"}),
        ("qqp.en", "glue/qqp:2.0.0", {"question1": "p", "question2": "h", "idx": 0}),
    ):
        served[name, "train"] = [row | {"label": label} for label in (-1, 1)]
        assert len(examples(task, "train")) == 1


def test_one_language_of_the_mixed_training_set(served):
    rows = [question(row_id) for row_id in ("swahili-1", "english-2", "swahili-3", "korean-4")]
    served["tydi_qa/goldp:3.0.0", "train"] = rows
    served["tydi_qa/goldp:3.0.0", "validation-sw"] = rows[:1]
    served["tydi_qa/goldp:3.0.0", "translate-train-sw"] = [question("2"), question("5")]
    assert [e["id"] for e in examples("tydiqa.sw", "train")] == ["swahili-1", "swahili-3"]
    assert [e["id"] for e in examples("tydiqa.sw", "validation")] == ["swahili-1"]
    assert [e["id"] for e in examples("tydiqa_translate_train.sw", "train")] == ["2", "5"]


def test_hypotheses_are_found_by_their_language(served):
    served["xnli:1.1.0", "test"] = [nli_row(label, ("en", *OTHERS)) for label in range(3)]
    served["xtreme_xnli:1.1.0", "train"] = [nli_row(1, ("en", *OTHERS))]
    for code in xtreme.task("xnli").languages:
        found = examples(f"xnli.{code}", "test")
        assert [e["targets"] for e in found] == ["0", "1", "2"]
        assert found[0]["inputs"] == f"xnli: premise: premise {code} hypothesis: hypothesis {code}"
    (found, *_) = examples("xnli_pairs.sw-zh", "test")
    assert found["inputs"] == "xnli: premise: premise sw hypothesis: hypothesis zh"
    (found,) = examples("xnli_translate_train.sw", "train")
    assert found["inputs"].endswith("hypothesis: hypothesis sw") and found["targets"] == "1"


def test_translations_are_a_split_of_xquad(served):
    served["xquad/de:3.0.0", "translate-train"] = [question("q")]
    served["xquad/de:3.0.0", "test"] = [question("t")]
    assert examples("xquad_translate_train.de", "train")[0]["id"] == "q"
    assert examples("xquad.de", "test")[0]["id"] == "t"


def test_tags_are_numbers_there(served):
    row = {"tokens": ["Ana", "Lee"], "tags": [1, 2], "langs": ["de", "de"], "spans": ["PER: x"]}
    served["wikiann/de:1.0.0", "validation"] = [row]
    assert examples("panx.de", "validation")[0]["targets"] == "PER: Ana Lee"


@pytest.mark.parametrize(
    ("task", "name", "fields"),
    [
        ("anli_r2.en", "anli/r2:0.1.0", ("context", "hypothesis")),
        ("sci_tail.en", "sci_tail:1.0.0", ("premise", "hypothesis")),
        ("paws_wiki.en", "paws_wiki/labeled_final_tokenized:1.1.0", ("sentence1", "sentence2")),
    ],
)
def test_pairs_of_sentences(served, task, name, fields):
    served[name, "test"] = [dict(zip(fields, "ab"), label=label) for label in (0, 1)]
    found = examples(task, "test")
    assert [e["targets"] for e in found] == [e["choices"][n] for n, e in enumerate(found)]
    assert found[0]["texts"] == ("a", "b")


def test_questions_without_an_answer(served):
    none = question("q2") | {"answers": {"text": [], "answer_start": []}, "is_impossible": 1}
    served["squad/v2.0:3.0.0", "validation"] = [question("q1"), none]
    assert [e["targets"] for e in examples("squad_v2.en", "validation")] == ["q1", "unanswerable"]


@pytest.mark.parametrize(("language", "there"), [("he", "iw"), ("tl", "fil"), ("sw", "sw")])
def test_languages_of_mc4_are_splits(served, language, there):
    page = {"text": "A page.", "url": "u", "timestamp": "t"}
    served["c4/multilingual:3.1.0", there] = [page]
    served["c4/multilingual:3.1.0", f"{there}-validation"] = [page, page]
    assert [e["targets"] for e in examples(f"mc4.{language}", "train")] == ["A page."]
    assert len(examples(f"mc4.{language}", "validation")) == 2


def test_paragraphs_of_wikipedia(served):
    text = (
        "\n_START_ARTICLE_\nMill\n_START_PARAGRAPH_\nIt is old._NEWLINE_It is red.\n"
        "_START_SECTION_\nUse\n_START_PARAGRAPH_\nIt grinds."
    )
    served["wiki40b/zh-cn:1.3.0", "train"] = [
        {"text": text, "wikidata_id": "Q1", "version_id": "1"}
    ]
    found = examples("wikipedia.zh", "train")
    assert [e["targets"] for e in found] == ["It is old.", "It is red.", "It grinds."]


def test_pairs_of_sentences_with_their_english(served):
    served["para_crawl/ende:1.2.0", "train"] = [{"en": "A dog.", "de": "Ein Hund."}]
    assert [(e["inputs"], e["targets"]) for e in examples("parallel_text.de", "train")] == [
        ("de en: Ein Hund.", "A dog."),
        ("en de: A dog.", "Ein Hund."),
    ]


@pytest.mark.slow  # the builders of Universal Dependencies alone take minutes
def test_every_name_is_tfdss_own(monkeypatch):
    """Builders exist for every name, configuration and version that a task pins."""
    tfds = pytest.importorskip("tensorflow_datasets")
    monkeypatch.setattr(tfds.core.utils.gcs_utils, "_is_gcs_disabled", True)
    for benchmark in ORIGINAL:
        for source in benchmark.source:
            if not isinstance(source, Tfds):
                continue
            for code in source.languages or benchmark.languages[:1]:
                place = sources._place(source, code, next(iter(source.splits)))
                assert tfds.builder(
                    sources._filled(source.name, place), try_gcs=False
                ).info.features
