"""Lexicons out of CLDR, so that methods which replace words need no download.

A word is what the embedded rows have between two spaces. Lists and days put a comma after a word
("Friday, March 7, 2014", "Malagasy, Occitan, and Yiddish"), and a look-up does not take it off: so
every word stands in a lexicon twice, as it is and with a comma, and its members too. A symbol that
touches its number ("€9,719.00") and a name of several words are no words of their own.

Names of places, languages, cities and currencies are those of the train split alone. Months,
weekdays and units have no split, here as in the rows (``facts.Fact.ids``): they are vocabulary.
"""

import datetime
from collections.abc import Iterable, Iterator

from tasks.cldr import facts, forms

Slot = tuple[str, ...]  # what a word says: kind, which one, and in which style

# The locales of English whose words differ from `en`: Sept, mins, litres, Bengali, Rangoon.
_ENGLISH = ("en", "en_GB", "en_AU", "en_CA", "en_IN")
_NUMBER = 50  # of money and measures: its plural form is the one that most numbers ask for


def synonyms() -> dict[str, tuple[str, ...]]:
    """English word -> other English words for the same: ``hours`` -> ``hr``, ``hrs``.

    Months and weekdays with their abbreviations, units with their short forms, codes of currencies
    with their symbols and names, other spellings of names in locales of English. It is symmetrical.
    CLDR's short and variant names of places are not there: Babel leaves them out.
    """
    groups: dict[Slot, dict[str, None]] = {}
    for code in _ENGLISH:
        for (kind, key, style), word in _words(code):
            # Abroad "$" is another dollar.
            if style != "symbol" or code == "en":
                groups.setdefault((kind, key), {})[word] = None
    found: dict[str, dict[str, None]] = {}
    for group in groups.values():
        for word in group:
            found.setdefault(word, {}).update(dict.fromkeys(one for one in group if one != word))
    return _with_commas(found)


def translations(languages: Iterable[str] | None = None) -> dict[str, dict[str, tuple[str, ...]]]:
    """Language -> English word -> words of the language, as the embedded rows write them.

    Names, months, weekdays, units and names of currencies of one word in both languages, without
    digits. Months are as in dates of a day and as in "March 2014", which differ in case in some
    languages; units and currencies have one plural form. What is spelled as in English is left out.

    Args:
        languages: Of ``facts.LANGUAGES``; None: all but English.

    Raises:
        ValueError: A language is English or not in CLDR.
    """
    others = [code for code in facts.LANGUAGES if code != "en"]
    chosen = others if languages is None else list(languages)
    if unknown := [code for code in chosen if code not in others]:
        raise ValueError(
            f"There are no translations into {', '.join(map(repr, unknown))}; into: "
            f"{' '.join(others)}."
        )
    english = dict(_words("en"))
    result = {}
    for code in chosen:
        found: dict[str, dict[str, None]] = {}
        for slot, word in _words(code):
            if slot in english and english[slot] != word and slot[2] not in ("symbol", "code"):
                found.setdefault(english[slot], {})[word] = None
        result[code] = _with_commas(found)
    return result


def _words(code: str) -> Iterator[tuple[Slot, str]]:
    """What a locale says in a single word, by slot; no word that also names a held-out fact.

    Some do: the Persian for Monday is how the city of Dushanbe is called.
    """
    writer = forms.forms(code)
    held = {word.casefold() for _, word in _names(writer, "validation", "test")}
    for slot, word in (*_vocabulary(writer), *_names(writer, "train")):
        single = not any(letter.isspace() or letter.isdigit() for letter in word)
        if word and single and word.casefold() not in held:
            yield slot, word


def _vocabulary(writer: forms.Forms) -> Iterator[tuple[Slot, str]]:
    for style in ("full", "medium", "month_year"):
        for month in range(1, 13):
            form = writer.date(datetime.date(2014, month, 1), style)
            yield ("month", str(month), style), _field(form, "month")
    for day in range(7):
        form = writer.date(datetime.date(2014, 3, 3 + day), "full")  # a Monday first
        yield ("weekday", str(day), "full"), _field(form, "weekday")
        yield ("weekday", str(day), "short"), writer.weekday(day)
    for unit in forms.UNITS:
        for style in facts.STYLES["measure"]:
            yield ("unit", unit, style), _field(writer.measure(unit, _NUMBER, style), "unit")


def _names(writer: forms.Forms, *splits: str) -> Iterator[tuple[Slot, str]]:
    for kind, entities in facts.entities().items():
        for entity in entities:
            if facts.split_of(entity) not in splits:
                continue
            if kind != "currency":
                yield ("name", entity, "plain"), forms.text(writer.name(entity))
                continue
            currency = entity.split(":")[1]
            for style in facts.STYLES["money"]:
                form = writer.money(currency, _NUMBER, style)
                yield ("currency", currency, style), _field(form, "currency")


def _field(form: forms.Form, field: str) -> str:
    """The part of a form that is the field; nothing where it is in several parts."""
    parts = [part for part, name in form if name == field]
    return parts[0] if len(parts) == 1 else ""


def _with_commas(found: dict[str, dict[str, None]]) -> dict[str, tuple[str, ...]]:
    """The lexicon and, beside each word, the word with a comma; without words that have none."""
    return {
        word + mark: tuple(member + mark for member in members)
        for word, members in found.items()
        for mark in ("", ",")
        if members
    }
