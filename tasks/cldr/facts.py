"""What the embedded benchmark is about: facts, their splits, and how a fact is said in a language.

A fact is language-free: a place, a day, an amount of money. Every fact belongs to one split, the
same in all languages, by a hash of its id. Plans are lists of facts drawn from a seed; they too
know no language, so row k is the same fact in every language, and only ``say`` makes it text.
"""

import datetime
import functools
import hashlib
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tasks.cldr import forms
from xlt_jax.registry import languages as language_registry

# CLDR has no Haitian Creole: Babel's locale `ht` would answer in French.
LANGUAGES = tuple(code for code in language_registry.XTREME_R if code != "ht")
SPLITS = ("train", "validation", "test")
# English has most of the labelled data, here as elsewhere.
ENGLISH_TRAIN_ROWS = 16_000
ROWS = {"train": 2000, "validation": 50, "test": 200}
CITATION = "Unicode CLDR through Babel; Unicode License v3."
NAME_KINDS = ("place", "language", "city")
STYLES = {
    "name": ("plain",),
    "date": forms.DATE_STYLES,
    "money": ("name", "symbol", "code"),
    "measure": ("long", "short"),
    "month": ("plain",),
    "percent": ("plain",),
}
_SEED = "xlt_jax.cldr.1"
_SHARES = {"test": 0.25, "validation": 0.10}  # the rest is train
_LONGEST_NAME = 24  # characters, in every language: rows stay within about 48 tokens
_UNFIT = re.compile(r"[][(){},،、&/:\d]")
_FIRST_DAY, _DAYS = datetime.date(1950, 1, 1), 36525  # so that years of two digits are unambiguous


@dataclass(frozen=True)
class Fact:
    """One thing that can be said.

    Attributes:
        kind: One of STYLES.
        key: Entity id, ISO day or month, currency code or unit.
        value: The number of money, measures and percentages.
    """

    kind: str
    key: str
    value: int = 0

    @property
    def ids(self) -> tuple[str, ...]:
        """What must not occur in two splits: entities, days and numbers (units are vocabulary)."""
        if self.kind == "name":
            return (self.key,)
        if self.kind in ("date", "month"):
            return (f"{self.kind}:{self.key}",)
        number = f"number:{self.value}"
        return (f"currency:{self.key}", number) if self.kind == "money" else (number,)


def split_of(identifier: str) -> str:
    """The split of a fact's id, by SHA-256, the same on every machine."""
    digest = hashlib.sha256(f"{_SEED} {identifier}".encode()).digest()
    share = int.from_bytes(digest[:8], "big") / 2**64
    if share < _SHARES["test"]:
        return "test"
    return "validation" if share < _SHARES["test"] + _SHARES["validation"] else "train"


@functools.cache
def entities() -> dict[str, tuple[str, ...]]:
    """Kind of name, and "currency", -> ids of what every language names, and names unmistakably.

    Left out everywhere: what one language lacks, names longer than 24 characters or with brackets,
    commas, digits or "&", and what shares its name with another place, language or city in some
    language. Languages that Wolof calls as English does are left out too: there CLDR has copies.
    """
    writers = [forms.forms(code) for code in LANGUAGES]
    latin = language_registry.select(script="Latin")
    kinds: dict[str, list[str]] = {kind: [] for kind in ("currency", *NAME_KINDS)}
    taken = [set() for _ in writers]
    for kind, kept in kinds.items():
        having = [w.names for w in writers if kind != "city" or w.language not in latin]
        for entity in sorted(set.intersection(*(set(names) for names in having))):
            if not entity.startswith(f"{kind}:"):
                continue
            names = [forms.text(writer.name(entity)).casefold() for writer in writers]
            by_language = dict(zip(LANGUAGES, names))
            copied = kind == "language" and by_language["wo"] == by_language["en"]
            if copied or any(len(name) > _LONGEST_NAME or _UNFIT.search(name) for name in names):
                continue
            if kind != "currency":
                if any(name in known for name, known in zip(names, taken)):
                    continue
                for name, known in zip(names, taken):
                    known.add(name)
            kept.append(entity)
    return {kind: tuple(kept) for kind, kept in kinds.items()}


@functools.cache
def _pools(split: str) -> dict[str, tuple]:
    """Everything of one split: ids of each kind of name, days, amounts, small numbers."""
    pools = {
        kind: tuple(e for e in known if split_of(e) == split) for kind, known in entities().items()
    }
    names = (entity for kind in NAME_KINDS for entity in pools[kind])
    pools["short"] = tuple(entity for entity in names if _words(entity) <= 2)
    days = [(_FIRST_DAY + datetime.timedelta(days=i)).isoformat() for i in range(_DAYS)]
    pools["date"] = tuple(day for day in days if split_of(f"date:{day}") == split)
    months = sorted({day[:7] for day in days})
    pools["month"] = tuple(month for month in months if split_of(f"month:{month}") == split)
    numbers = [n for n in range(3, 10000) if split_of(f"number:{n}") == split]
    pools["amount"] = tuple(n for n in numbers if n >= 100)
    pools["number"] = tuple(n for n in numbers if n < 100)
    return pools


def _words(entity: str) -> int:
    return max(len(forms.text(forms.forms(code).name(entity)).split()) for code in LANGUAGES)


class Draw(random.Random):
    """Draws facts of one split; the same sequence for the same purpose and split, everywhere."""

    def __init__(self, purpose: str, split: str):
        super().__init__(f"{_SEED} {purpose} {split}")  # a string seeds through SHA-512
        self._pools = _pools(split)

    def name(self, kind: str | None = None) -> Fact:
        """A place, language or city."""
        return Fact("name", self.choice(self._pools[kind or self.choice(NAME_KINDS)]))

    def names(self, count: int, kind: str | None = None) -> list[Fact]:
        """Different names of one kind."""
        pool = self._pools[kind or self.choice(NAME_KINDS)]
        return [Fact("name", entity) for entity in self.sample(pool, count)]

    def fact(self, kind: str) -> Fact:
        """A fact of a kind of STYLES."""
        if kind == "name":
            return self.name()
        if kind in ("date", "month"):
            return Fact(kind, self.choice(self._pools[kind]))
        if kind == "money":
            currency = self.choice(self._pools["currency"]).split(":")[1]
            return Fact("money", currency, self.choice(self._pools["amount"]))
        number = self.choice(self._pools["number"])
        if kind == "percent":
            return Fact("percent", "", number)
        return Fact("measure", self.choice(tuple(forms.UNITS)), number)

    def short_name(self) -> Fact:
        """A name of at most two words in every language."""
        return Fact("name", self.choice(self._pools["short"]))

    def other(self, fact: Fact) -> Fact:
        """Another fact of the same kind, that no style could write alike."""
        while True:
            if fact.kind == "name":
                found = self.name(fact.key.split(":")[0])
            elif fact.kind == "money":
                found = Fact("money", fact.key, self.choice(self._pools["amount"]))
            elif fact.kind == "measure":
                found = Fact("measure", fact.key, self.choice(self._pools["number"]))
            else:
                found = self.fact(fact.kind)
            if found != fact:
                return found

    def styles(self, kind: str) -> tuple[str, str]:
        """Two different styles of a kind, in random order."""
        return tuple(self.sample(STYLES[kind], 2))


@functools.lru_cache(maxsize=50_000)
def say(language: str, fact: Fact, style: str = "") -> forms.Form:
    """The fact in a language; without a style in its fullest one."""
    writer = forms.forms(language)
    style = style or STYLES[fact.kind][0]
    if fact.kind == "name":
        return writer.name(fact.key)
    if fact.kind == "date":
        return writer.date(datetime.date.fromisoformat(fact.key), style)
    if fact.kind == "month":
        return writer.date(datetime.date.fromisoformat(f"{fact.key}-01"), "month_year")
    if fact.kind == "percent":
        return writer.percent(fact.value)
    if fact.kind == "money":
        return writer.money(fact.key, fact.value, style)
    return writer.measure(fact.key, fact.value, style)


def written(language: str, fact: Fact, style: str = "") -> str:
    """``say`` as a string."""
    return forms.text(say(language, fact, style))


def joined(language: str, items: list[forms.Form]) -> str:
    """Forms joined by the locale's list pattern, as a string."""
    return forms.text(forms.forms(language).join(items))


def listed(language: str, facts: list[Fact] | tuple[Fact, ...]) -> str:
    """Facts in their fullest style, joined by the locale's list pattern."""
    return joined(language, [say(language, fact) for fact in facts])


def ids_of(*facts: Fact) -> tuple[str, ...]:
    """The ids of several facts, each once."""
    return tuple(dict.fromkeys(i for fact in facts for i in fact.ids))


def rows(
    benchmark: str,
    plan: Callable[[Draw, int], tuple],
    render: Callable[..., dict],
    train: int = ROWS["train"],
    english_train: int | None = None,
) -> Callable[[str, str], Iterator[dict]]:
    """A Benchmark's ``source``: plans once per split, renders per language.

    Args:
        benchmark: Its name; part of the seed and of the rows' ids.
        plan: ``(draw, index) -> (facts, *rest)``: the language-free row and all facts it is about.
        render: ``(language, facts, *rest) -> row`` without ``id`` and ``fact``.
        train: Rows of the train split.
        english_train: Rows of the English train split if it is larger: its first rows are those of
            the other languages.
    """

    @functools.cache
    def plans(split: str, count: int) -> tuple:
        draw = Draw(benchmark, split)
        return tuple(plan(draw, index) for index in range(count))

    def source(language: str, split: str) -> Iterator[dict]:
        count = train if split == "train" else ROWS[split]
        if (language, split) == ("en", "train"):
            count = english_train or train
        for index, (about, *rest) in enumerate(plans(split, count)):
            row = render(language, about, *rest)
            yield {"id": f"{split}-{index}", "fact": ids_of(*about), **row}

    return source
