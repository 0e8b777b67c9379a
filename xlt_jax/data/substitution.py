"""Words of a text replaced by members of a lexicon: synonyms, or translations (code-switching)."""

import functools
import hashlib
import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from xlt_jax.data import cache, formats, sources
from xlt_jax.registry.benchmarks import Benchmark, Example

Lexicon = Mapping[str, Sequence[str]]  # word -> what may stand in its place

# Kinds of benchmark whose answer does not change with a word of the inputs. Those of "choice" are
# copied from the inputs: there the choices stay as they are.
KINDS = ("pair", "choice", "classification")
_FORMAT = "substitution-1"  # changes with the draws below
_BITS = 64


def applies(benchmark: Benchmark) -> bool:
    """Whether rows of the benchmark may be perturbed: answers of other kinds quote the inputs."""
    return benchmark.kind in KINDS


@dataclass(frozen=True)
class Stretches:
    """Where the row's own texts stand in ``inputs``.

    Attributes:
        found: (start, end, number of the text in ``texts``) in the order of ``inputs``; ``end`` is
            exclusive, none overlap.
        missing: Texts that do not stand there as they are; they cannot be perturbed.
    """

    found: tuple[tuple[int, int, int], ...]
    missing: int


def stretches(example: Example) -> Stretches:
    """Where the texts of a prompted row stand in its inputs, each once and between white space.

    The longest takes its place first and no other may take it again, so that a text which another
    contains is found outside of it, or is missing. Texts of white space alone are passed over.

    Raises:
        ValueError: The row has no ``texts``: its own words cannot be told from the prompt's.
    """
    if example.get("texts") is None:
        raise ValueError(
            f"The row {example['inputs'][:80]!r} has no 'texts', which say what of the inputs may "
            "be perturbed. Let the benchmark's prompt return them: the row's own sentences."
        )
    texts = example["texts"]
    found: list[tuple[int, int, int]] = []
    missing = 0
    for number in sorted(range(len(texts)), key=lambda number: -len(texts[number])):
        text = texts[number]
        if not text.strip():
            continue
        start = _free_place(example["inputs"], text, found)
        if start < 0:
            missing += 1
        else:
            found.append((start, start + len(text), number))
    return Stretches(tuple(sorted(found)), missing)


@dataclass(frozen=True)
class Substitution:
    """A way to replace words: a word is what stands between single spaces, in its own case.

    Punctuation stays attached: "film." is not "film". Of a word's members doubles count once and
    the word itself does not count; a word that has none left stays.

    Draws depend on the seed, the path and the word's place alone, so that rows can be made in any
    order, in bulk or one by one, by any process.

    Attributes:
        lexicons: Language -> lexicon, or the file of one; synonyms are ``{"en": lexicon}``.
        rate: None: a uniform draw from the word and its members in all lexicons, RS-DA. Above 0 and
            up to 1: the probability that a word is replaced, by a uniform draw from the members of
            a language, itself drawn uniformly from those that have the word.
        seed: Of all draws.

    Raises:
        ValueError: The rate is not allowed, or the lexicons are not given by language; when they
            are first needed: a file is not there or no lexicon.

    Source: RS-DA of Huang et al. 2021, arXiv:2104.08645, as in its released ``perturb.py``. Code-
        switching of Qin et al. 2020, arXiv:2006.06402 (CoSDA-ML); deviations from its released
        code: it draws among all languages and keeps the word where that one lacks it, so that words
        few languages have are replaced less often than by the rate; it also draws which sentences
        to touch, and lowers the text's case.
    """

    lexicons: Mapping[str, Lexicon | str | pathlib.Path] = field(repr=False)
    rate: float | None = None
    seed: int = 0

    def __post_init__(self):
        if self.rate is not None and not 0 < self.rate <= 1:
            raise ValueError(
                f"The rate is {self.rate!r}. Give a probability above 0 and up to 1, or None for a "
                "uniform draw from the word and its members."
            )
        allowed = (Mapping, str, pathlib.Path)
        if not self.lexicons or not all(isinstance(x, allowed) for x in self.lexicons.values()):
            raise ValueError(
                "The lexicons must be given by language, at least one: "
                '{"en": {"film": ["movie"]}} or {"de": "en-de.txt", "sw": "en-sw.txt"}.'
            )

    @functools.cached_property
    def _members(self) -> dict[str, tuple[tuple[str, ...], ...]]:
        """Per word that can be replaced, what each language may put there; RS-DA: all as one."""
        found: dict[str, list[tuple[str, ...]]] = {}
        for language in sorted(self.lexicons):  # whatever the order they came in
            given = self.lexicons[language]
            lexicon = given if isinstance(given, Mapping) else read_lexicon(given)
            for word, members in lexicon.items():
                if distinct := tuple(dict.fromkeys(one for one in members if one != word)):
                    found.setdefault(word, []).append(distinct)
        if self.rate is not None:
            return {word: tuple(groups) for word, groups in found.items()}
        return {
            word: (tuple(dict.fromkeys([word, *(one for group in groups for one in group)])),)
            for word, groups in found.items()
        }

    @functools.cached_property
    def fingerprint(self) -> str:
        """Hash of lexicons, rate and seed, for keys of caches: the same means the same draws."""
        rate = None if self.rate is None else float(self.rate)
        return cache.key(_FORMAT, json.dumps([self._members, rate, self.seed], sort_keys=True))

    def text(self, text: str, *path: int | str) -> str:
        """The text with words replaced.

        Args:
            text: Any text; white space stays as it is.
            path: What tells this draw from all others: a row's id, a copy, the number of the text.
        """
        words = text.split(" ")
        numbers = _numbers(3 * len(words), self.seed, *path)
        threshold = 2.0**_BITS * (1 if self.rate is None else self.rate)
        for place, word in enumerate(words):
            groups = self._members.get(word)
            if groups and numbers[3 * place] < threshold:
                group = _drawn(groups, numbers[3 * place + 1])
                words[place] = _drawn(group, numbers[3 * place + 2])
        return " ".join(words)

    def example(self, example: Example, *path: int | str) -> dict[str, Any]:
        """A prompted row with its own texts perturbed in ``inputs``, and all else as it is.

        Texts are drawn for independently; ``texts`` keeps them as they were. One stays where it is
        a choice or the target, or is missing (see ``stretches``). RS-DA trains on copies 0 to m - 1
        in place of the row; m is 3 on XNLI and 10 on PAWS-X.

        Args:
            example: With ``id``, ``inputs``, ``targets`` and ``texts``, of a benchmark to which
                this ``applies``, in the language whose words the lexicons have.
            path: Number of the copy or epoch; the task too, where rows of several share their ids.

        Raises:
            ValueError: The row has no ``texts``.
        """
        answers = {example["targets"], *example.get("choices", ())}
        inputs, pieces, cursor = example["inputs"], [], 0
        for start, end, number in stretches(example).found:
            text = inputs[start:end]
            if text not in answers:
                text = self.text(text, example["id"], *path, number)
            pieces += [inputs[cursor:start], text]
            cursor = end
        return {**example, "inputs": "".join([*pieces, inputs[cursor:]])}


def read_lexicon(path: str | pathlib.Path) -> dict[str, tuple[str, ...]]:
    """The lexicon in a file, words in the file's order and each of their members once.

    A file named ``.json`` is an object, word -> list of words, as the counter-fitted neighbours are
    (of a word given twice the last counts); any other has a word and one member a line, separated
    by a tab or a space, as MUSE's dictionaries have them. Both may be compressed (``.gz``). What is
    not at the path is looked for below the data folder.

    Raises:
        ValueError: No such file, or not in its format; the message has the word or the line.
    """
    given = pathlib.Path(path)
    path = given if given.is_file() else sources.data_dir() / given
    if not path.is_file():
        raise ValueError(
            f"There is no lexicon {given}, nor {path}. Name a .json file or one of two columns."
        )
    plain = path.with_suffix("") if path.suffix == ".gz" else path
    entries = _json_entries(path) if plain.suffix == ".json" else _two_columns(path)
    found: dict[str, dict[str, None]] = {}
    for word, members in entries:
        found.setdefault(word, {}).update(dict.fromkeys(members))
    if not found:
        raise ValueError(f"The lexicon {path} has no words. Fetch it again or leave it out.")
    return {word: tuple(members) for word, members in found.items()}


def _json_entries(path: pathlib.Path) -> Iterator[tuple[str, list[str]]]:
    entries = formats.json_value(path)
    if not isinstance(entries, dict):
        raise ValueError(
            f"{path} is a JSON {type(entries).__name__}; a lexicon is an object, word -> list of "
            "words."
        )
    for word, members in entries.items():
        if not isinstance(members, list) or not all(m and isinstance(m, str) for m in members):
            raise ValueError(
                f"{path} has {json.dumps(members)[:80]} for the word {word!r}; allowed is a list "
                "of words, which may be empty."
            )
        yield word, members


def _two_columns(path: pathlib.Path) -> Iterator[tuple[str, list[str]]]:
    for number, line in enumerate(formats.lines(path), start=1):
        columns = [column.strip() for column in line.split("\t" if "\t" in line else " ")]
        columns = [column for column in columns if column]
        if not columns:
            continue
        if len(columns) != 2:
            raise ValueError(
                f"{path}, line {number}, has {len(columns)} columns and not 2: {line[:80]!r}. "
                "Allowed is a word and one translation, separated by a tab or a space."
            )
        yield columns[0], [columns[1]]


def _free_place(inputs: str, text: str, taken: Sequence[tuple[int, int, int]]) -> int:
    """Where the text first stands between white space and apart from what is taken, or -1."""
    start = inputs.find(text)
    while start >= 0:
        end = start + len(text)
        around = inputs[max(start - 1, 0) : start] + inputs[end : end + 1]
        alone = not around or around.isspace()
        if alone and all(end <= other or stop <= start for other, stop, _ in taken):
            break
        start = inputs.find(text, start + 1)
    return start


def _numbers(count: int, *path: int | str) -> list[int]:
    """Uniform 64-bit numbers that depend on the path alone.

    By SHAKE-128, since streams of NumPy's generators may change with its version.
    """
    message = json.dumps(path, default=int).encode()  # NumPy's integers are none of JSON's
    return np.frombuffer(hashlib.shake_128(message).digest(8 * count), "<u8").tolist()


def _drawn(options: Sequence, number: int) -> Any:
    """One of the options; shares differ from uniform by less than 2**-60."""
    return options[number * len(options) >> _BITS]
