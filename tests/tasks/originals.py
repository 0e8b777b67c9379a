"""Made-up rows in the formats of the original downloads; no sentence is of a data set.

``files(benchmark)``: for each of its ``Files`` sources, in their order, a language, a split and the
files of that source: all sources of a benchmark hold the same three rows.
"""

import json

from xlt_jax.registry.benchmarks import Benchmark, Files

NLI = (
    ("The tram leaves at “six”.", "A tram leaves.", "entailment"),
    ('He said "no" twice.', "He likes tea.", "neutral"),
    ("No shop was open.", "Every shop was open.", "contradiction"),
)
PARAPHRASES = (
    ("Mira wrote to Jon .", "Jon wrote to Mira .", "0"),
    ('The "old" mill is red .', "Red is the old mill .", "1"),
    ("It rained in May .", "In May it rained .", "1"),
)
COPA = (
    ("The lamp went out.", "The bulb broke.", "The sun rose.", "cause", 0),
    ("It froze at night.", "The lake was warm.", "The lake had ice.", "effect", 1),
    ("Ana missed the bus.", "She slept long.", "She woke early.", "cause", 0),
)
# (words, tags, parts of speech) and in CoNLL-U a joined word, a word that is not written.
SENTENCES = (
    (
        "Mira Kolb visits Oldtown .",
        "B-PER I-PER O B-LOC O",
        "PROPN PROPN VERB PROPN PUNCT",
    ),
    ("it rains", "O O", "PRON VERB"),
    ("Blue Mill Ltd sells bread", "B-ORG I-ORG I-ORG O O", "ADJ NOUN NOUN VERB NOUN"),
)
QUESTIONS = (
    ("q1", "Who built the mill?", "The mill (1702) was built by Ola Brandt.", "Ola Brandt"),
    ("q2", "When was it built?", "The mill (1702) was built by Ola Brandt.", "1702"),
    ("q3", "What is red?", "Two doors are red. The gate is blue.", "Two doors"),
)


def jsonl(rows) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def table(rows, *header: str, delimiter: str = "\t", quoted: bool = False) -> str:
    def field(value) -> str:
        text = str(value)
        special = quoted and ('"' in text or delimiter in text)
        return '"' + text.replace('"', '""') + '"' if special else text

    rows = [header, *rows] if header else rows
    return "".join(delimiter.join(map(field, row)) + "\n" for row in rows)


def squad(questions=QUESTIONS, prefix: str = "") -> str:
    paragraphs = [
        {
            "context": context,
            "qas": [
                {
                    "id": prefix + row_id,
                    "question": question,
                    "answers": [{"text": answer, "answer_start": context.index(answer)}],
                }
            ],
        }
        for row_id, question, context, answer in questions
    ]
    return json.dumps({"version": "1.1", "data": [{"title": "Mill", "paragraphs": paragraphs}]})


def tagged(kind: int, prefix: str = "") -> str:
    return "\n".join(
        "".join(f"{prefix}{w}\t{t}\n" for w, t in zip(row[0].split(), row[kind].split()))
        for row in SENTENCES
    )


def conllu() -> str:
    """The second sentence is written as one word, and a word that is not written is between."""
    text = []
    for number, (words, _, tags) in enumerate(SENTENCES):
        lines = [f"# sent_id = {number}", f"# text = {words}"]
        if number == 1:
            lines.append("1-2\titrains\t" + "\t".join("_" * 8))
        for place, (word, tag) in enumerate(zip(words.split(), tags.split()), start=1):
            head, heads = (0, "0:root") if place == 2 else (2, "2:dep")
            lines.append(f"{place}\t{word}\t_\t{tag}\t_\t_\t{head}\tdep\t{heads}\t_")
            if number == 1 and place == 1:
                lines.append("1.1\tunwritten\t_\tVERB\t_\t_\t_\t_\t0:root\t_")
        text.append("\n".join(lines) + "\n")
    return "\n".join(text)


def joined_tsv() -> str:
    """What XTREME's script makes of ``conllu``."""
    first, _, last = tagged(2).split("\n\n")
    return f"{first}\n\nitrains\tVERB\n\n{last}"


def iob2() -> str:
    return "\n".join(
        f"# text = {words}\n"
        + "".join(
            f"{place}\t{word}\t{tag}\t-\tann\n"
            for place, (word, tag) in enumerate(zip(words.split(), tags.split()), start=1)
        )
        for words, tags, _ in SENTENCES
    )


def xnli_original(*languages: str) -> str:
    header = ("language", "gold_label", "s1_b", "s2_b", "s1_p", "s2_p", "sentence1", "sentence2")
    rows = [
        (code, label, "", "", "", "", f"{premise}", f"{hypothesis}")
        for code in languages
        for premise, hypothesis, label in NLI
    ]
    return table(rows, *header)


def copa_rows():
    for number, (premise, first, second, question, label) in enumerate(COPA):
        yield {
            "premise": premise,
            "choice1": first,
            "choice2": second,
            "question": question,
            "label": label,
            "idx": number,
        }


def lareqa_files(folder: str) -> dict[str, str]:
    """The same paragraphs in all 11 languages, with the places of their sentences."""
    text = json.loads(squad())
    for paragraph in text["data"][0]["paragraphs"]:
        context = paragraph["context"]
        end = context.find(". ") + 1 or len(context)
        breaks = [[0, end], [end + 1, len(context)]] if end < len(context) else [[0, end]]
        paragraph["sentence_breaks"] = breaks
        paragraph["sentences"] = [context[start:stop] for start, stop in breaks]
    codes = "ar de el en es hi ru th tr vi zh".split()
    return {f"{folder}/{code}.json": json.dumps(text) for code in codes}


def mention(number: int, start: int, end: int, entity: str) -> dict:
    return {
        "example_id": f"m{number}",
        "mention_span": {"start": start, "end": end},
        "entity_id": entity,
    }


DOCUMENT = {
    "text": "News of May. The Blue Mill in Oldtown closed.",
    "language": "de",
    "sentence_spans": [{"start": 0, "end": 12}, {"start": 13, "end": 45}],
}
MENTIONS = (mention(1, 17, 26, "Q7"), mention(2, 30, 37, "Q8"), mention(3, 8, 11, "Q9"))
ENTITIES = tuple(
    {"entity_id": f"Q{number}", "title": title, "description": f"{title} is made up."}
    for number, title in ((7, "Blue Mill"), (8, "Oldtown"), (9, "May"))
)


def mewslix_text() -> str:
    other = {**DOCUMENT, "language": "ta"}
    return jsonl(
        [
            {"context": other, "mentions": [mention(0, 0, 4, "Q1")]},
            {"context": DOCUMENT, "mentions": MENTIONS},
        ]
    )


def bucc_files(stem: str) -> dict[str, str]:
    own = [("de-1", "Die Mühle ist alt."), ("de-2", "Es regnet."), ("de-3", "Ja.")]
    english = [("en-1", "It rains."), ("en-2", "The mill is old."), ("en-3", "Never.")]
    gold = [("de-1", "en-2"), ("de-2", "en-1")]
    return {
        f"{stem}.de": table(own),
        f"{stem}.en": table(english),
        f"{stem}.gold": table(gold),
    }


def xglue_files(name: str, language: str, split: str) -> dict[str, str]:
    stem = f"xglue_full_dataset/{name.upper()}/xglue.{name}.{language}"
    if name in ("qg", "ntg"):
        return {
            f"{stem}.src.{split}": "The mill is old .\nIt rains .\nBread is sold here .\n",
            f"{stem}.tgt.{split}": "how old is the mill\nrain\nwhere is bread\n",
        }
    labels = {
        "nc": ("news", "foodanddrink", "autos"),
        "qadsm": ("Good", "Bad", "Good"),
        "wpr": ("0", "4", "2"),
        "qam": ("1", "0", "1"),
    }[name]
    texts = ("old mill", 'The "old" mill', "A mill in Oldtown")
    columns = 2 if name in ("nc", "qam") else 3
    return {f"{stem}.{split}": table([(*texts[:columns], label) for label in labels])}


def _five_columns(rows) -> str:
    return table([("English 1", "English 2", *row) for row in rows])


_MT = tuple((p, h, {"contradiction": "contradictory"}.get(x, x)) for p, h, x in NLI)
_TWEETS = (("good mill @user", "positive"), ("“bad” mill", "negative"), ("a mill", "neutral"))
_TOPICS = (
    (1, "travel", 'They call it "the mill".'),
    (2, "science/technology", "A mill turns."),
    (3, "health", "Bread is good."),
)
_SOCIAL = [
    {
        "context": f"Ana helped Jon {when}.",
        "question": "What does Jon feel?",
        "answerA": "thanks",
        "answerB": "anger",
        "answerC": "cold",
        "correct": correct,
    }
    for when, correct in (("today", "A"), ("in May", "B"), ("twice", "C"))
]
_SWAG = [
    {"ctx": f"He opens door {n}.", "endings": [f"e{k}" for k in range(4)], "label": n}
    for n in range(3)
]
_COSMOS = [
    (f"r{n}", f'I ran, "late", {n}', "Why?", "rain", "sun", "sleep", "None of the above", n)
    for n in range(3)
]
_QA_TREES = ("mlqa/", "MLQA_V1/test/", "mlqa/MLQA_V1/test/")


def _topics() -> str:
    return table(_TOPICS, "index_id", "category", "text", quoted=True)


def _tweets() -> str:
    return table(_TWEETS, "tweet", "label")


def _paws(language: str) -> str:
    rows = [(number, *row) for number, row in enumerate(PARAPHRASES, start=1)]
    return table(rows, "id", "sentence1", "sentence2", "label")


def _pairs(codes, stem: str, rows) -> dict[str, str]:
    return {stem.format(code): table(rows, quoted=True) for code in codes}


_BY_NAME = {
    "afrisenti": [
        ("sw", "test", {f"{path}.tsv": _tweets()})
        for path in (
            "afrisenti/swa.test",
            "afrisenti/swa/test",
            "afrisent-semeval-2023-main/data/swa/test",
        )
    ],
    "bucc2018": [
        ("de", "test", bucc_files("bucc2018/de-en.test")),
        ("de", "test", bucc_files("bucc2018/de-en/de-en.training")),
    ],
    "copa": [
        ("en", "train", {f"{path}.jsonl": jsonl(copa_rows())})
        for path in ("copa/train.en", "xcopa/train-en", "COPA/train")
    ],
    "cosmos_qa": [
        (
            "en",
            "train",
            {
                "cosmos_qa/train.csv": table(
                    _COSMOS,
                    *("id", "context", "question"),
                    *(f"answer{n}" for n in range(4)),
                    "label",
                    delimiter=",",
                    quoted=True,
                )
            },
        )
    ],
    "hellaswag": [
        ("en", "train", {f"hellaswag/{name}.jsonl": jsonl(_SWAG)})
        for name in ("hellaswag_train", "train.first")
    ],
    "lareqa": [
        ("de", "test", lareqa_files(folder))
        for folder in ("lareqa_xquad_r", "lareqa/xquad-r", "lareqa")
    ],
    "mewslix": [
        ("de", "test", {"mewslix/wikinews_mentions-test.jsonl": mewslix_text()}),
        ("de", "test", {"mewslix/wikinews_mentions/test-de.jsonl": mewslix_text()}),
    ],
    "mewslix_candidates": [
        ("en", "test", {"mewslix/candidate_set_entities.jsonl": jsonl(ENTITIES)})
    ],
    "mewslix_pairs": [
        (
            "en",
            "train",
            {
                "mewslix/wikipedia_pairs-train.jsonl": jsonl(
                    {
                        "contextual_mention": {"mention": one, "context": DOCUMENT},
                        "entity": entity,
                    }
                    for one, entity in zip(MENTIONS, ENTITIES)
                )
            },
        )
    ],
    "mlqa": [
        ("de", "test", {f"{tree}test-context-de-question-de.json": squad()}) for tree in _QA_TREES
    ],
    "mnli": [
        (
            "en",
            "train",
            {
                "multinli_1.0/multinli_1.0_train.jsonl": jsonl(
                    {"sentence1": p, "sentence2": h, "gold_label": label} for p, h, label in NLI
                )
            },
        ),
        ("en", "train", {"xnli/train-en.tsv": table(NLI, quoted=True)}),
        (
            "en",
            "validation",
            {
                "nli_en/mnli.dev.some.csv": table(
                    [
                        (p, h, "entailment neutral contradiction".split().index(x))
                        for p, h, x in NLI
                    ],
                    *("premise", "hypothesis", "label"),
                    delimiter=",",
                    quoted=True,
                )
            },
        ),
    ],
    "panx": [
        ("de", "test", {"panx_dataset/de-test": tagged(1, "de:")}),
        ("de", "test", {"panx_dataset/de/test": tagged(1, "de:")}),
        ("de", "test", {"panx/test-de.tsv": tagged(1)}),
    ],
    "pawsx": [
        ("de", "test", {"pawsx/test-de.labelled.tsv": _paws("de")}),
        ("en", "train", {"x-final/en/train.tsv": _paws("en")}),
        ("de", "train", {"x-final/de/translated_train.tsv": _paws("de")}),
        ("de", "test", {"x-final/de/test_2k.tsv": _paws("de")}),
        ("de", "validation", {"pawsx/dev-de.tsv": table(PARAPHRASES, quoted=True)}),
    ],
    "pawsx_pairs": [
        ("de-ja", "test", {f"x-final/{code}/test_2k.tsv": _paws(code) for code in ("de", "ja")}),
        ("de-ja", "validation", _pairs(("de", "ja"), "pawsx/dev-{}.tsv", PARAPHRASES)),
    ],
    "pawsx_translate_train": [
        (
            "de",
            "train",
            {
                "xtreme_translations/PAWSX/translate-train/en-de-translated.tsv": table(
                    [("English 1", "English 2", *row) for row in PARAPHRASES]
                    + [("E", "E", "no label", "here")],
                    quoted=True,
                )
            },
        )
    ],
    "sib200": [
        ("zh", "test", {f"{path}.tsv": _topics()})
        for path in (
            "sib200/zho_Hans.test",
            "sib200/zho_Hans/test",
            "sib-200-main/data/annotated/zho_Hans/test",
        )
    ],
    "social_i_qa": [
        ("en", "train", {f"{folder}/socialIQa_v1.4_trn.jsonl": jsonl(_SOCIAL)})
        for folder in ("social_i_qa", "siqa")
    ],
    "squad": [("en", "train", {"squad/train-v1.1.json": squad()})],
    "tatoeba": [
        (
            "sw",
            "test",
            {
                "tatoeba/tatoeba.swh-eng.swh": "Kinu ni kizee.\nInanyesha.\nHapana.\n",
                "tatoeba/tatoeba.swh-eng.eng": "The mill is old.\nIt rains.\nNo.\n",
            },
        )
    ],
    "tydiqa": [
        (
            "sw",
            "train",
            {
                "tydiqa/tydiqa-goldp-v1.1-train.json": squad(
                    [("english-1", "Q?", "A b.", "b")]
                    + [(f"swahili-{row[0]}", *row[1:]) for row in QUESTIONS]
                )
            },
        ),
        (
            "sw",
            "test",
            {"tydiqa/tydiqa-goldp-v1.1-dev/tydiqa-goldp-dev-swahili.json": squad()},
        ),
        ("sw", "train", {"tydiqa_goldp/tydiqa.goldp.sw.train.json": squad()}),
        (
            "sw",
            "train",
            {"tydiqa/tydiqa-goldp-v1.1-train/tydiqa.goldp.sw.train.json": squad()},
        ),
    ],
    "tydiqa_translate_train": [
        (
            "sw",
            "train",
            {
                "xtreme_translations/TyDiQA-GoldP/translate-train/"
                "tydiqa.translate.train.en-sw.json": squad()
            },
        )
    ],
    "udpos": [
        ("de", "test", {"udpos/de_gsd-ud-test.conllu": conllu()}),
        ("de", "test", {"ud-treebanks-v2.5/UD_German-GSD/de_gsd-ud-test.conllu": conllu()}),
        ("pl", "test", {"ud-treebanks-v2.7/UD_Polish-PDB/pl_pdb-ud-test.conllu": conllu()}),
        ("de", "test", {"udpos/test-de.tsv": joined_tsv()}),
    ],
    "xcopa": [
        ("sw", "test", {"xcopa/test.sw.jsonl": jsonl(copa_rows())}),
        ("sw", "test", {"xcopa/data/sw/test.sw.jsonl": jsonl(copa_rows())}),
        ("sw", "validation", {"xcopa/val-sw.jsonl": jsonl(copa_rows())}),
    ],
    "xnli": [
        ("de", "test", {"XNLI-1.0/xnli.test.tsv": xnli_original("ar", "de")}),
        ("de", "validation", {"xnli/dev-de.tsv": table(NLI, quoted=True)}),
        ("de", "validation", {"nc/xnli/dev-de.tsv": table(NLI, quoted=True)}),
    ],
    "xnli_pairs": [
        ("de-sw", "test", {"XNLI-1.0/xnli.test.tsv": xnli_original("de", "sw")}),
        ("de-sw", "validation", _pairs(("de", "sw"), "xnli/dev-{}.tsv", NLI)),
        ("de-sw", "validation", _pairs(("de", "sw"), "nc/xnli/dev-{}.tsv", NLI)),
    ],
    "xnli_translate_train": [
        (
            "de",
            "train",
            {"xtreme_translations/XNLI/translate-train/en-de-translated.tsv": _five_columns(_MT)},
        ),
        (
            "de",
            "train",
            {"XNLI-MT-1.0/multinli/multinli.train.de.tsv": table(_MT, "premise", "hypo", "label")},
        ),
    ],
    "xquad": [("de", "test", {"xquad/xquad.de.json": squad()})],
    "xquad_translate_train": [
        (
            "de",
            "train",
            {"xtreme_translations/SQuAD/translate-train/squad.translate.train.en-de.json": squad()},
        )
    ],
}
# Of the same files.
_SAME = {
    "bucc2018_english": "bucc2018",
    "lareqa_candidates": "lareqa",
    "panx_text": "panx",
    "squad_sentences": "squad",
    "tatoeba_english": "tatoeba",
}


def files(benchmark: Benchmark) -> list[tuple[str, str, dict[str, str]]]:
    """(language, split, {path: text}) for each of the benchmark's ``Files``."""
    import originals_intermediate  # which imports this module

    group, _, rest = benchmark.name.partition("_")
    if group == "uner":
        code = benchmark.languages[-1]
        name = f"{code}_{rest}-ud-test.iob2"
        return [(code, "test", {path: iob2()}) for path in (f"uner/{name}", f"UNER_Some/{name}")]
    if group == "xglue":
        return [
            ("en", "train", xglue_files(rest, "en", "train")),
            ("de", "test", xglue_files(rest, "de", "test")),
        ]
    name = _SAME.get(benchmark.name, benchmark.name)
    return (_BY_NAME | originals_intermediate.BY_NAME)[name]


def file_sources(benchmark: Benchmark) -> list[Files]:
    """The benchmark's ``Files``."""
    return [source for source in benchmark.source if isinstance(source, Files)]
