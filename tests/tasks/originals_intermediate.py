"""Made-up rows of the intermediate tasks, as ``originals`` has those of the others."""

import json

from originals import NLI, PARAPHRASES, QUESTIONS, SENTENCES, jsonl, squad, table

_LETTERS = {"entailment": "e", "neutral": "n", "contradiction": "c"}
_LABELS = {"PER": "person", "LOC": "location", "ORG": "organisation"}


def _inference(premise: str, label: str, names=None, hypothesis: str = "hypothesis", **more):
    return [{premise: p, hypothesis: h, label: (names or {}).get(x, x), **more} for p, h, x in NLI]


def _words(separator: str, kind: int = 1, names=None, columns: str = "") -> str:
    """Words with their tags; ``names`` of labels in place of PER, LOC, ORG."""
    text = []
    for sentence in SENTENCES:
        tags = sentence[kind]
        for label, name in (names or {}).items():
            tags = tags.replace(label, name)
        pairs = zip(sentence[0].split(), tags.split())
        text.append("".join(f"{w}{separator}{columns}{t}\n" for w, t in pairs))
    return "\n".join(text)


def _unanswerable() -> str:
    """SQuAD 2.0's form; the second question has no answer."""
    text = json.loads(squad())
    text["version"] = "v2.0"
    for number, paragraph in enumerate(text["data"][0]["paragraphs"]):
        question = paragraph["qas"][0]
        question["is_impossible"] = number == 1
        if question["is_impossible"]:
            question["plausible_answers"], question["answers"] = question["answers"], []
    return json.dumps(text)


_CHOICES = [
    ("Where does one buy bread?", ("mill", "bakery", "river", "door", "lamp"), 1),
    ("What is cold?", ("ice", "fire", "bread", "sand", "noon"), 0),
    ("Who grinds corn?", ("a cat", "a tree", "a king", "a song", "a miller"), 4),
]


def _commonsense_original():
    for number, (question, choices, right) in enumerate(_CHOICES):
        listed = [{"label": x, "text": text} for x, text in zip("ABCDE", choices)]
        stem = {"question_concept": "mill", "choices": listed, "stem": question}
        yield {"answerKey": "ABCDE"[right], "id": f"c{number}", "question": stem}


def _commonsense_list() -> str:
    return json.dumps(
        [
            {"query": question, "cands": choices, "answer": choices[right]}
            for question, choices, right in _CHOICES
        ]
    )


def _jcommonsense():
    for number, (question, choices, right) in enumerate(_CHOICES):
        named = {f"choice{place}": text for place, text in enumerate(choices)}
        yield {"q_id": number, "question": question, **named, "label": right}


_CATEGORIES = (
    "N/N N (S[dcl]\\NP)/NP N .",
    "NP S[dcl]\\NP",
    "N/N N/N N (S[dcl]\\NP)/NP N",
)


def _derivations() -> str:
    """Flat trees are enough: leaves are read."""
    text = ""
    for number, (sentence, categories) in enumerate(zip(SENTENCES, _CATEGORIES), start=1):
        leaves = " ".join(
            f"(<L {category} NN NN {word} {category}_1>)"
            for word, category in zip(sentence[0].split(), categories.split())
        )
        text += f"ID=wsj_0001.{number} PARSER=GOLD NUMPARSE=1\n(<T S[dcl] 0 2> {leaves} )\n"
    return text


def _afriqa():
    for row_id, question, context, answer in QUESTIONS:
        yield {
            "answer_pivot": {"answer_start": [context.index(answer)], "text": [answer]},
            "context": context,
            "id": row_id,
            "question_lang": question,
            "question_translated": f"{question} (in English)",
            "title": "Mill",
            "answer_lang": answer,
        }


def _pubmed(folder: str, tested: bool) -> dict[str, str]:
    rows = {
        f"{number}": {
            "QUESTION": f"Does bread {effect}?",
            "CONTEXTS": ["We asked a miller.", f"Part {number} is made up."],
            "final_decision": answer,
        }
        for number, (effect, answer) in enumerate(
            (("help", "yes"), ("harm", "no"), ("sleep", "maybe"))
        )
    }
    other = {"99": {"QUESTION": "Is it?", "CONTEXTS": ["It is."], "final_decision": "yes"}}
    test_ids = dict.fromkeys(rows if tested else other, "yes")
    return {
        f"{folder}ori_pqal.json": json.dumps(other | rows),
        f"{folder}test_ground_truth.json": json.dumps(test_ids),
    }


def _lex_glue(name: str) -> dict[str, str]:
    """The same three rows in each part, and one in no part."""
    texts = ("The mill may be sold.", "We may end this at any time.", "The old law holds.")
    field, labels = {
        "ledgar": ("clause_type", ("Sales", "Terminations", "Governing Laws")),
        "unfair_tos": (
            "labels",
            ([], ["Unilateral termination"], ["Jurisdiction", "Choice of law"]),
        ),
        "scotus": ("issueArea", ("8", "12", "1")),
    }[name]
    parts = ("train", "val" if name == "unfair_tos" else "dev", "test")
    rows = [
        {"text": text, field: label, "data_type": part}
        for part in parts
        for text, label in zip(texts, labels)
    ]
    return {f"lex_glue/{name}.jsonl": jsonl([rows[0] | {"data_type": "none of them"}, *rows])}


def _case_hold() -> dict[str, str]:
    """Three rows where each split begins, and rows without a label in between."""
    excerpt = 'The mill ("Mill") v. Jon (<HOLDING>)'
    rows = [
        (number, excerpt, *(f"holding {n}" for n in "abcde"), 0.5, 0, 0.5, 0.5, 0.5, number)
        for number in range(3)
    ]
    labelled = table(rows, delimiter=",", quoted=True)
    empty = "," * 12 + "\n"
    header = table([range(13)], delimiter=",")
    text = header + labelled + empty * 44_997 + labelled + empty * 3_897 + labelled
    return {"lex_glue/casehold.csv": text}


def _sentiments(tenths: bool) -> dict[str, str]:
    rows = (
        "Sales of bread rose .@positive",
        "The mill is in Oldtown .@neutral",
        "A loss @negative",
    )
    lines = [line for row in rows for line in ["Nothing @neutral"] * (9 if tenths else 0) + [row]]
    return {"FinancialPhraseBank-v1.0/Sentences_AllAgree.txt": "\n".join(lines) + "\n"}


_TEXTS = ("The mill is old.", "It rains in Oldtown.", "Bread is sold here.")
_PAGES = jsonl({"text": text, "url": "made-up", "timestamp": "2019"} for text in _TEXTS)
_CCG = "CCGbank1_2/data/AUTO"

BY_NAME = {
    **{
        f"anli_r{n}": [
            (
                "en",
                "test",
                {f"{folder}/R{n}/test.jsonl": jsonl(_inference("context", "label", _LETTERS))},
            )
            for folder in ("anli_v1.0", "anli_v0.1")
        ]
        for n in (1, 2, 3)
    },
    "afriqa": [
        ("ha", split, {f"{folder}/gold_span_passages.afriqa.hau.en.{name}.json": jsonl(_afriqa())})
        for folder in ("afriqa", "afriqa-main/data/gold_passages/hau")
        for split, name in (("train", "train"), ("validation", "dev"), ("test", "test"))
    ],
    "case_hold": [("en", split, _case_hold()) for split in ("train", "validation", "test")],
    "ccg": [
        (
            "en",
            "train",
            {
                f"{_CCG}/02/wsj_0200.auto": _derivations(),
                f"{_CCG}/00/wsj_0001.auto": _derivations(),
            },
        ),
        ("en", "test", {f"{_CCG}/23/wsj_2300.auto": _derivations()}),
    ],
    "commonsense_qa": [
        (
            "en",
            "train",
            {"commonsense_qa/train_rand_split.jsonl": jsonl(_commonsense_original())},
        ),
        ("en", "train", {"commonsense_qa/train.csqa.json": _commonsense_list()}),
    ],
    "financial_phrasebank": [
        ("en", "test", _sentiments(True)),
        ("en", "train", _sentiments(False)),
    ],
    "indonli": [
        ("id", "test", {f"{stem}test_lay.jsonl": jsonl(_inference("premise", "label", _LETTERS))})
        for stem in ("indonli/", "nli_other/indonli.")
    ],
    "jcommonsenseqa": [
        ("ja", "train", {"jcommonsenseqa/train-v1.3.json": jsonl(_jcommonsense())}),
        ("ja", "train", {"nli_other/jcommonsenseqa-train-v1.3.jsonl": jsonl(_jcommonsense())}),
    ],
    "jnli": [
        (
            "ja",
            "validation",
            {path: jsonl(_inference("sentence1", "label", hypothesis="sentence2"))},
        )
        for path in ("jnli/valid-v1.3.json", "nli_other/jnli-valid-v1.3.some.jsonl")
    ],
    "klue_nli": [
        ("ko", "train", {path: json.dumps(_inference("premise", "gold_label", guid="k"))})
        for path in (
            "klue_nli/klue-nli-v1.1_train.json",
            "nli_other/klue-nli-v1.1_train.some.json",
        )
    ],
    **{
        name: [("en", split, _lex_glue(name)) for split in ("train", "validation", "test")]
        for name in ("ledgar", "unfair_tos", "scotus")
    },
    **{
        name: [
            ("ha", "test", {f"{path}/hau/test.txt": _words(" ").replace("rains O", "rains B-DATE")})
            for path in (name, f"masakhane-ner-main/{folder}")
        ]
        for name, folder in (("masakhaner", "data"), ("masakhaner2", "MasakhaNER2.0/data"))
    },
    "mc4": [
        ("sw", "train", {"c4/multilingual/c4-sw.tfrecord-00000-of-00002.json": _PAGES}),
        ("sw", "validation", {"c4/multilingual/c4-sw-validation.tfrecord-0-of-1.json": _PAGES}),
    ],
    "parallel_text": [
        (
            "sw",
            "train",
            {
                "parallel/sw.train.tsv": table(
                    (("mbwa", "a dog"), ("paka wa", "cats", "0-0 1-0"), ("x", "y", ""))
                )
            },
        )
    ],
    "paws_wiki": [
        (
            "en",
            "test",
            {
                "paws_wiki/final/test.tsv": table(
                    [(number, *row) for number, row in enumerate(PARAPHRASES)],
                    *("id", "sentence1", "sentence2", "label"),
                )
            },
        )
    ],
    "plain_text": [("sw", "train", {"text/sw-mill.txt": "\n\n".join(_TEXTS) + "\n"})],
    "pubmed_qa": [
        ("en", split, _pubmed(folder, split == "test"))
        for folder in ("pubmed_qa/", "domain/pubmedqa.")
        for split in ("train", "test")
    ],
    "qqp": [
        (
            "en",
            "train",
            {
                "QQP/train.tsv": table(
                    [(n, n, n, *row) for n, row in enumerate(PARAPHRASES)] + [("7", "no label")],
                    *("id", "qid1", "qid2", "question1", "question2", "is_duplicate"),
                )
            },
        )
    ],
    "sci_tail": [
        (
            "en",
            "test",
            {
                "SciTailV1.1/tsv_format/scitail_1.0_test.tsv": table(
                    (premise, hypothesis, "entails" if label == "entailment" else "neutral")
                    for premise, hypothesis, label in NLI
                )
            },
        )
    ],
    "sec_filings": [
        (
            "en",
            "test",
            {
                path: "-DOCSTART- -X- O O\n\n"
                + _words(" ", names={"B-": "I-"}, columns="NN - ").replace(
                    "rains NN - O", "rains NN - I-MISC"
                )
            },
        )
        for path in (
            "sec_filings/test/FIN3.txt",
            "SEC-filings/CONLL-format/data/test/FIN3.txt",
            "domain/sec_filings.test.FIN3.txt",
        )
    ],
    "snli": [
        (
            "en",
            "train",
            {
                "snli_1.0/snli_1.0_train.jsonl": jsonl(
                    [
                        *_inference("sentence1", "gold_label", hypothesis="sentence2"),
                        {"sentence1": "A.", "sentence2": "B.", "gold_label": "-"},
                    ]
                )
            },
        ),
        (
            "en",
            "validation",
            {
                "nli_en/snli.dev.some.csv": table(
                    NLI, "premise", "hypothesis", "label", delimiter=",", quoted=True
                )
            },
        ),
    ],
    "squad_v2": [("en", "train", {"squad/train-v2.0.json": _unanswerable()})],
    "wikipedia": [
        (
            "sw",
            "train",
            {
                "wikipedia/sw/AA/wiki_00": jsonl(
                    [
                        {"id": "1", "title": "Mill", "text": "\n".join(_TEXTS[:2])},
                        {"id": "2", "title": "Bread", "text": f"\n{_TEXTS[2]}\n"},
                    ]
                )
            },
        )
    ],
    **{
        f"crossner_{domain}": [
            ("en", "test", {path: _words("\t", names=_LABELS)})
            for path in (
                f"crossner/{domain}/test.txt",
                f"CrossNER-main/ner_data/{domain}/test.txt",
                f"domain/crossner.{domain}.test.txt",
            )
        ]
        for domain in ("ai", "literature", "music", "politics", "science")
    },
}
