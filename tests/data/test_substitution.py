"""Replaced words: their frequencies, the same draws everywhere, and nothing else changed."""

import dataclasses
import hashlib
import json
import os
import pathlib
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from scipy import stats

import tasks  # noqa: F401 (registers)
from xlt_jax.data import substitution, tokens
from xlt_jax.data.substitution import Substitution, applies, read_lexicon, stretches
from xlt_jax.registry import benchmarks

# Beside the checkout, or one folder further up for a worktree.
_BESIDE = [folder / "shared/data" for folder in pathlib.Path(__file__).resolve().parents[3:5]]
SHARED = next(filter(pathlib.Path.is_dir, _BESIDE), _BESIDE[0])
NEIGHBOURS = SHARED / "lexicon/counterfitted_neighbors.json.gz"
# Chi-squared tests are of fixed draws: a p-value below this is a fault, not bad luck.
LEAST_P = 0.01

# Words with one to eight neighbours, as many as the released file's words have.
SYNONYMS = {f"w{count}": [f"w{count}.{i}" for i in range(count)] for count in range(1, 9)}
TRANSLATIONS = {
    "de": {"film": ["Film"], "mill": ["Mühle"], "red": ["rot", "rote", "roter"]},
    "sw": {"film": ["filamu", "sinema"], "red": ["nyekundu"]},
    "zh": {"red": ["红"]},
}


def row(*texts, inputs=None, **fields):
    inputs = inputs or f"xnli: premise: {texts[0]} hypothesis: {texts[1]}"
    return {"id": "7", "inputs": inputs, "targets": "0", "texts": texts, **fields}


def shouting(*words):
    """Replaces each of the words by itself in capitals, every time."""
    return Substitution({"en": {word: [word.upper()] for word in words}}, rate=1)


# ------------------------------------------------------------------------------ frequencies
@pytest.mark.parametrize("word", SYNONYMS)
def test_rs_da_is_uniform_over_the_word_and_its_neighbours(word):
    """Within a text, and over the rows, copies and texts that paths tell apart."""
    method = Substitution({"en": SYNONYMS}, seed=1)
    within = method.text(" ".join([word] * 20_000), "a").split(" ")
    over = [
        method.text(word, f"train-{row_id}", copy, number)
        for row_id in range(1000)
        for copy in range(10)
        for number in range(2)
    ]
    for drawn in (within, over):
        counts = Counter(drawn)
        assert set(counts) == {word, *SYNONYMS[word]}
        assert stats.chisquare(list(counts.values())).pvalue > LEAST_P


def test_words_of_one_text_are_drawn_for_independently():
    method = Substitution({"en": SYNONYMS}, seed=2)
    table = np.zeros((4, 4), int)
    for row_id in range(20_000):
        first, second = method.text("w3 w3", row_id).split(" ")
        table[int(first[3:] or 3), int(second[3:] or 3)] += 1
    assert stats.chisquare(table, axis=None).pvalue > LEAST_P


def test_texts_of_a_row_and_its_copies_are_drawn_for_independently():
    method = Substitution({"en": SYNONYMS}, seed=3)
    texts, copies = np.zeros((4, 4), int), np.zeros((4, 4), int)
    for row_id in range(10_000):
        first, second = (
            method.example({**row("w3 .", "w3 !"), "id": str(row_id)}, copy)["inputs"].split(" ")
            for copy in (0, 1)
        )
        member = {word: i for i, word in enumerate(("w3", *SYNONYMS["w3"]))}
        texts[member[first[2]], member[first[5]]] += 1
        copies[member[first[2]], member[second[2]]] += 1
    assert stats.chisquare(texts, axis=None).pvalue > LEAST_P
    assert stats.chisquare(copies, axis=None).pvalue > LEAST_P


@pytest.mark.parametrize("rate", [0.1, 0.5, 1])
@pytest.mark.parametrize("word", ["film", "mill", "red"])
def test_code_switching_has_its_rate_and_uniform_languages(rate, word):
    """First a language of those that have the word, then one of its translations."""
    count = 20_000
    method = Substitution(TRANSLATIONS, rate=rate, seed=4)
    drawn = Counter(method.text(" ".join([word] * count), "a").split(" "))
    having = [lexicon[word] for lexicon in TRANSLATIONS.values() if word in lexicon]
    expected = {t: rate / len(having) / len(members) for members in having for t in members}
    if rate < 1:
        expected[word] = 1 - rate
    assert set(drawn) == set(expected)
    if len(expected) > 1:
        observed = [drawn[one] for one in expected]
        wanted = [count * share for share in expected.values()]
        assert stats.chisquare(observed, wanted).pvalue > LEAST_P


def test_rs_da_over_several_lexicons_takes_all_members_as_one():
    drawn = Counter(Substitution(TRANSLATIONS).text(" ".join(["red"] * 20_000), "a").split(" "))
    assert set(drawn) == {"red", "rot", "rote", "roter", "nyekundu", "红"}
    assert stats.chisquare(list(drawn.values())).pvalue > LEAST_P


# ------------------------------------------------------------------------------ words
def test_words_are_split_at_single_spaces_in_their_own_case():
    method = shouting("film", "red")
    assert method.text("A film, a Film; red  film") == "A film, a Film; RED  FILM"
    for text in ("", " ", "no word of it\tfilm", " film\u00a0red "):
        assert method.text(text) == text


def test_doubles_and_the_word_itself_do_not_count():
    clean = Substitution({"en": {"red": ["rouge", "crimson"]}}, rate=0.5)
    given = {"red": ["rouge", "red", "crimson", "rouge"], "alone": ["alone"], "none": []}
    method = dataclasses.replace(clean, lexicons={"en": given})
    text = "red alone none " * 100
    assert method.text(text, 1) == clean.text(text, 1) != text
    assert method.fingerprint == clean.fingerprint


@pytest.mark.parametrize("rate", [0, -0.1, 1.1, float("nan")])
def test_rates_that_are_no_probability_are_refused(rate):
    with pytest.raises(ValueError, match=r"above 0 and up to 1, or None"):
        Substitution(TRANSLATIONS, rate=rate)


@pytest.mark.parametrize("lexicons", [{}, SYNONYMS])
def test_lexicons_are_given_by_language(lexicons):
    with pytest.raises(ValueError, match="by language, at least one"):
        Substitution(lexicons)


# ------------------------------------------------------------------------------ determinism
def test_draws_follow_the_formula():
    """SHAKE-128 of seed and path, three little-endian 64-bit numbers a word."""
    method = Substitution(TRANSLATIONS, rate=0.7, seed=11)
    words = ["red", "x", "film", "red"]
    digest = hashlib.shake_128(b'[11, "a", 2, 0]').digest(8 * 3 * len(words))
    numbers = [int.from_bytes(digest[i : i + 8], "little") for i in range(0, len(digest), 8)]
    expected = []
    for place, word in enumerate(words):
        whether, which, who = (number / 2**64 for number in numbers[3 * place : 3 * place + 3])
        having = [lexicon[word] for lexicon in TRANSLATIONS.values() if word in lexicon]
        if having and whether < 0.7:
            members = having[int(which * len(having))]
            word = members[int(who * len(members))]
        expected.append(word)
    assert method.text(" ".join(words), "a", 2, 0) == " ".join(expected)
    assert method.text(" ".join(words), "a", np.int64(2), np.int32(0)) == " ".join(expected)


def test_rows_in_bulk_equal_rows_one_by_one_in_any_order():
    rows = [{**row("w1 w2 w3 w4", "w5 w6 w7 w8"), "id": str(number)} for number in range(50)]
    method = Substitution({"en": SYNONYMS}, seed=5)
    bulk = {(e["id"], copy): method.example(e, copy) for e in rows for copy in range(3)}
    for number in np.random.default_rng(0).permutation(len(bulk)):
        one, copy = rows[number // 3], number % 3
        fresh = Substitution({"en": SYNONYMS}, seed=5)
        assert fresh.example(one, copy) == bulk[one["id"], copy]
    assert len({example["inputs"] for example in bulk.values()}) > 140


def test_seed_and_every_part_of_the_path_matter():
    text = " ".join(["w8"] * 20)
    drawn = [Substitution({"en": SYNONYMS}, seed=seed).text(text, "a", 0) for seed in (0, 1)]
    paths = (("a",), ("a", 1), ("a", "0"), ("a0",), ("b", 0), (0, "a"), ())
    drawn += [Substitution({"en": SYNONYMS}).text(text, *path) for path in paths]
    assert len(set(drawn)) == len(drawn)


def test_another_process_draws_the_same_whatever_the_hash_seed():
    program = (
        "import json, sys\n"
        "from xlt_jax.data.substitution import Substitution\n"
        "method = Substitution(json.loads(sys.argv[1]), rate=0.5, seed=6)\n"
        "print(method.fingerprint, json.dumps([method.text('red film ' * 50, i) for i in (0, 1)]))"
    )
    shuffled = {language: TRANSLATIONS[language] for language in ("zh", "de", "sw")}
    environment = {**os.environ, "PYTHONHASHSEED": "1234"}
    output = subprocess.run(
        [sys.executable, "-c", program, json.dumps(shuffled)],
        env=environment, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    method = Substitution(TRANSLATIONS, rate=0.5, seed=6)
    fingerprint, texts = output.split(" ", 1)
    assert fingerprint == method.fingerprint
    assert json.loads(texts) == [method.text("red film " * 50, i) for i in (0, 1)]


def test_the_fingerprint_changes_with_what_changes_draws():
    method = Substitution(TRANSLATIONS, rate=1)
    others = [
        dataclasses.replace(method, seed=1),
        dataclasses.replace(method, rate=0.5),
        dataclasses.replace(method, rate=None),
        dataclasses.replace(method, lexicons={**TRANSLATIONS, "zh": {"red": ["赤"]}}),
        dataclasses.replace(method, lexicons={k: TRANSLATIONS[k] for k in ("de", "sw")}),
    ]
    assert len({one.fingerprint for one in (method, *others)}) == 6
    assert dataclasses.replace(method, rate=1.0).fingerprint == method.fingerprint
    reordered = {k: dict(reversed(TRANSLATIONS[k].items())) for k in reversed(TRANSLATIONS)}
    assert dataclasses.replace(method, lexicons=reordered).fingerprint == method.fingerprint


def test_importing_does_not_need_tensorflow():
    code = "import sys, xlt_jax.data.substitution; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# ------------------------------------------------------------------------------ examples
def test_only_own_texts_are_changed():
    """The prompt's words are in the lexicon too, with and without their colons."""
    example = row("the premise of xnli:", "a hypothesis: red", choices=("0", "1"), extra=[1])
    method = shouting("premise:", "premise", "hypothesis:", "xnli:", "red", "0")
    made = method.example(example, 0)
    assert made == {
        **example,
        "inputs": "xnli: premise: the PREMISE of XNLI: hypothesis: a HYPOTHESIS: RED",
    }
    assert example["inputs"].endswith("red")  # the row itself is as it was


def test_a_text_inside_another_is_not_perturbed_twice():
    chain = Substitution({"en": {"red": ["rot"], "rot": ["rouge"]}}, rate=1)
    inside = row("He said: red !", "red !")
    assert chain.example(inside)["inputs"] == "xnli: premise: He said: rot ! hypothesis: rot !"
    reverse = row("red !", "He said: red !")
    assert chain.example(reverse)["inputs"] == "xnli: premise: rot ! hypothesis: He said: rot !"
    only_inside = row("red !", "He said: red !", inputs="premise: He said: red !")
    assert stretches(only_inside) == substitution.Stretches(((9, 23, 1),), missing=1)
    assert chain.example(only_inside)["inputs"] == "premise: He said: rot !"


def test_equal_texts_take_their_places_in_order():
    found = stretches(row("red", "red")).found
    assert found == ((15, 18, 0), (31, 34, 1))
    overlapping = row("a b a", "b a b", inputs="x a b a b y")
    assert stretches(overlapping) == substitution.Stretches(((2, 7, 0),), missing=1)


def test_a_short_text_is_no_part_of_a_word():
    example = row("is", "x", inputs="xnli: premise: is hypothesis: x")
    assert shouting("is").example(example)["inputs"] == "xnli: premise: IS hypothesis: x"
    assert stretches(row("is", inputs="hypothesis: this")).missing == 1


def test_missing_texts_are_counted_and_left():
    example = row("red  mill", "red", "", "  ", inputs="premise: red mill hypothesis: red")
    assert stretches(example).missing == 1
    made = shouting("red").example(example)
    assert made["inputs"] == "premise: RED mill hypothesis: red"


def test_a_row_without_texts_is_refused():
    example = {"id": "1", "inputs": "pairs: red | red", "targets": "agree"}
    with pytest.raises(ValueError, match=r"'pairs: red \| red' has no 'texts'.*prompt return them"):
        shouting("red").example(example)


def test_choices_stay_as_the_target_has_them():
    example = row(
        "a red film", "red", "blue film",
        inputs="copa: a red film choice1: red choice2: blue film",
        targets="red", choices=("red", "blue film"),
    )  # fmt: skip
    made = shouting("red", "film").example(example)
    assert made["inputs"] == "copa: a RED FILM choice1: red choice2: blue film"


def test_kinds_whose_answers_quote_the_inputs_are_left_alone():
    kinds = {b.kind for b in benchmarks.all_benchmarks() if applies(b)}
    assert kinds == set(substitution.KINDS)
    for name in ("squad", "panx", "tatoeba", "mc4", "xglue_qg"):
        assert not applies(benchmarks.get(name))


def test_every_benchmark_keeps_its_own_words(monkeypatch, tmp_path):
    """Of made-up rows: all texts are found; prompts, choices and targets stay; the rest goes."""
    monkeypatch.syspath_prepend(pathlib.Path(__file__).parent.parent / "tasks")
    import originals

    read = 0
    for benchmark in benchmarks.all_benchmarks():
        if not applies(benchmark) or callable(benchmark.source):
            continue
        monkeypatch.setenv("XLT_DATA_DIR", str(tmp_path / benchmark.name))
        language, split, files = originals.files(benchmark)[0]
        for path, content in files.items():
            file = tmp_path / benchmark.name / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content, encoding="utf-8")
        for example in tokens.prompted(benchmark, language, split):
            where = stretches(example)
            assert where.missing == 0 and where.found, benchmark.name
            every = Substitution({"en": {w: ["#"] for w in example["inputs"].split(" ")}}, rate=1)
            made = every.example(example, 0)
            answers = (example["targets"], *example.get("choices", ()))
            inputs, expected, cursor = example["inputs"], "", 0
            for start, end, number in where.found:
                text = inputs[start:end]
                assert text == example["texts"][number]
                kept = text if text in answers else " ".join("#" for _ in text.split(" "))
                expected += inputs[cursor:start] + kept
                cursor = end
            assert made["inputs"] == expected + inputs[cursor:] != inputs
            assert {**made, "inputs": inputs} == example
            if benchmark.kind == "choice":
                assert all(choice in made["inputs"] for choice in example["choices"])
            else:  # no answer is copied from what may be perturbed
                assert example["targets"] not in example["texts"]
            read += 1
    assert read > 50


# ------------------------------------------------------------------------------ files
@pytest.fixture
def write(tmp_path):
    def written(name, text):
        (tmp_path / name).write_bytes(text.encode())
        return tmp_path / name

    return written


def test_json_and_two_columns(write):
    json_file = write("en.json", '{"film": ["movie", "picture", "movie"], "br": [], "x": ["x"]}')
    assert read_lexicon(json_file) == {"film": ("movie", "picture"), "br": (), "x": ("x",)}
    lines = "film Film\nred rot\n\nfilm\tder Film\nred rot\nred  rote \nneu new\n"
    found = read_lexicon(str(write("en-de.txt", lines)))
    assert found == {"film": ("Film", "der Film"), "red": ("rot", "rote"), "neu": ("new",)}


def test_compressed_files_are_read_too(write, tmp_path):
    import gzip

    for name, text in (("en.json", '{"a": ["b"]}'), ("en-de.txt", "a b\n")):
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(text.encode()))
        assert read_lexicon(tmp_path / f"{name}.gz") == {"a": ("b",)}


def test_lexicons_may_be_given_as_files(write, monkeypatch):
    file = write("en-de.txt", "film Film\nmill Mühle\nred rot\nred rote\nred roter\n")
    method = Substitution({**TRANSLATIONS, "de": str(file)}, rate=0.5)
    again = Substitution(TRANSLATIONS | {"de": read_lexicon(file)}, rate=0.5)
    assert method.fingerprint == again.fingerprint
    monkeypatch.setenv("XLT_DATA_DIR", str(file.parent))
    assert read_lexicon(file.name) == read_lexicon(file)
    assert method.fingerprint == Substitution(TRANSLATIONS, rate=0.5).fingerprint
    with pytest.raises(ValueError, match=r"There is no lexicon .*en-sw\.txt"):
        _ = Substitution({"sw": file.with_name("en-sw.txt")}).fingerprint


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", "a b\nred rot rote\n", r"a\.txt, line 2, has 3 columns and not 2: 'red rot rote"),
        ("a.txt", "a b\n\nred\n", r"line 3, has 1 columns and not 2: 'red'.*a tab or a space"),
        ("a.tsv", "red\trot\trote\n", r"line 1, has 3 columns"),
        ("a.txt", "\n \n", r"a\.txt has no words"),
        ("a.json", "{}", r"a\.json has no words"),
        ("a.json", '["film"]', r"is a JSON list; a lexicon is an object"),
        ("a.json", '{"film": "movie"}', r"\"movie\" for the word 'film'; allowed is a list"),
        ("a.json", '{"film": ["movie", 3]}', r"\[\"movie\", 3\] for the word 'film'"),
        ("a.json", '{"film": [""]}', r"for the word 'film'"),
        ("a.json", '{"film": [', r"a\.json is not JSON \(.*line 1"),
        ("a.txt.gz", "a b\n", r"no whole gzip file"),
    ],
)
def test_what_is_no_lexicon_is_refused(write, name, text, message):
    with pytest.raises(ValueError, match=message):
        read_lexicon(write(name, text))


def test_a_missing_file_and_another_encoding_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"There is no lexicon .*de\.txt"):
        read_lexicon(tmp_path / "de.txt")
    (tmp_path / "de.txt").write_bytes("red rot\nmill Mühle\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"de\.txt, line 2, is not UTF-8"):
        read_lexicon(tmp_path / "de.txt")


@pytest.mark.skipif(not NEIGHBOURS.is_file(), reason="needs ../shared/data")
def test_the_released_synonyms_are_as_counted():
    """``papers.md``, section 1; the mean is over all words, also those without neighbours."""
    lexicon = read_lexicon(NEIGHBOURS)
    counts = np.array([len(members) for members in lexicon.values()])
    assert len(lexicon) == 49_975 and (counts > 0).sum() == 25_591 and counts.max() == 8
    assert counts.mean() == pytest.approx(2.18, abs=0.005)
    assert counts[counts > 0].mean() == pytest.approx(4.26, abs=0.005)
    assert not any(word in members for word, members in lexicon.items())


@pytest.mark.skipif(not NEIGHBOURS.is_file(), reason="needs ../shared/data")
def test_the_released_synonyms_are_drawn_as_released():
    """Over all words at once: as many stay as the sum of 1 / (1 + neighbours) says."""
    lexicon = read_lexicon(NEIGHBOURS)
    words = [word for word, members in lexicon.items() if members]
    drawn = Substitution({"en": lexicon}).text(" ".join(words), 0).split(" ")
    stayed = sum(a == b for a, b in zip(words, drawn, strict=True))
    shares = np.array([1 / (1 + len(lexicon[word])) for word in words])
    z = (stayed - shares.sum()) / np.sqrt((shares * (1 - shares)).sum())
    assert abs(z) < 2.6
    assert all(b in (a, *lexicon[a]) for a, b in zip(words, drawn))
    # The place among [word, *neighbours] is uniform for each number of neighbours.
    for count in range(1, 9):
        places = Counter(
            (a, *lexicon[a]).index(b) for a, b in zip(words, drawn) if len(lexicon[a]) == count
        )
        assert stats.chisquare([places[i] for i in range(count + 1)]).pvalue > LEAST_P
