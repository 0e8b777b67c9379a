"""How one language writes names, dates, money, measures and lists: CLDR's patterns as segments.

A form is a tuple of segments ``(text, field)``. ``field`` says what the text is (``"month"``,
``"amount"``, ``"name"`` ...) and is ``None`` for text of the pattern itself (spaces, "and", 年).
Word order, digits, grouping and plural forms are the locale's own. ``text()`` joins a form.

Source: Unicode CLDR (Unicode licence) as packaged by Babel; pattern letters are those of UTS #35.
"""

import copy
import datetime
import functools
import re
import unicodedata

from babel import localedata
from babel.numbers import get_currency_precision

Segment = tuple[str, str | None]
Form = tuple[Segment, ...]

# Languages whose CLDR locale is not their code. CLDR's plain `ar` is the world's Arabic with Latin
# digits; Egypt, the likely region of `ar`, has Arabic ones.
LOCALES = {"ar": "ar_EG", "tl": "fil", "zh": "zh_Hans"}
UNSPACED = frozenset(("ja", "my", "th", "zh"))  # words are not separated by spaces
# Units with an international symbol: CLDR has no Wolof names and inherits just the symbols.
UNITS = {
    "hour": "duration-hour",
    "minute": "duration-minute",
    "second": "duration-second",
    "kilometer": "length-kilometer",
    "meter": "length-meter",
    "kilogram": "mass-kilogram",
    "gram": "mass-gram",
    "liter": "volume-liter",
}
DATE_STYLES = ("full", "long", "medium", "short")
_PLURAL_FREE = "other"
_LETTERS = re.compile(r"'((?:[^']|'')*)'|([A-Za-z])\2*|([^A-Za-z']+)")
_FIELDS = {"y": "year", "M": "month", "L": "month", "d": "day", "E": "weekday", "c": "weekday"}


def clean(text: str) -> str:
    """NFKC with plain spaces and no invisible direction marks, so a tokenizer can restore it."""
    text = unicodedata.normalize("NFKC", text)
    return re.sub(r"\s+", " ", re.sub("[\u061c\u200b\u200e\u200f]", "", text))


def text(form: Form) -> str:
    """The form as one string."""
    return "".join(part for part, _ in form)


class Forms:
    """All forms of one language; use ``forms(language)``, which keeps one of each.

    Every method returns a Form.
    """

    def __init__(self, language: str):
        locale = LOCALES.get(language, language)
        # A deep copy: Babel stores resolved aliases in dictionaries that locales share, so what one
        # locale has looked up would show in the next.
        self._data = data = localedata.LocaleDataDict(copy.deepcopy(localedata.load(locale)))
        self.language = language
        system = data["default_numbering_system"]
        zero = {"latn": 0x30, "arab": 0x660, "arabext": 0x6F0, "beng": 0x9E6, "deva": 0x966}
        zero["mymr"] = 0x1040
        self._digits = {0x30 + i: zero[system] + i for i in range(10)}
        symbols = dict(data["number_symbols"]["latn"]) | dict(
            data["number_symbols"].get(system, {})
        )
        self._group, self._decimal = clean(symbols["group"]), clean(symbols["decimal"])
        self._percent_sign = clean(symbols["percentSign"])
        self._grouping = data["decimal_formats"][None].grouping
        self._plural = functools.cache(data["plural_form"])
        self._months = {
            (width, letter): {m: clean(data["months"][context][width][m]) for m in range(1, 13)}
            for letter, context in (("M", "format"), ("L", "stand-alone"))
            for width in ("abbreviated", "wide")
        }
        self._days = {
            (width, letter): {d: clean(data["days"][context][width][d]) for d in range(7)}
            for letter, context in (("E", "format"), ("c", "stand-alone"))
            for width in ("abbreviated", "wide")
        }
        self._dates = {
            style: self._parts(data["date_formats"][style].pattern) for style in DATE_STYLES
        }
        for style, skeleton in (("month_year", "yMMMM"), ("day_month", "MMMMd")):
            self._dates[style] = self._parts(data["datetime_skeletons"][skeleton].pattern)
        lists = data["list_patterns"]["standard"]
        self._lists = {key: clean(lists[key]) for key in ("2", "start", "middle", "end")}

    # Names -------------------------------------------------------------------------------------

    @functools.cached_property
    def names(self) -> dict[str, str]:
        """Entity id (``place:DE``, ``language:sv``, ``currency:EUR``, ``city:Asia/Tokyo``) -> name.

        A city that CLDR does not list is written as in the time zone's id, if the script is Latin:
        CLDR leaves out what its root already says. Nothing else is inherited.
        """
        data = self._data
        names = {f"place:{c}": n for c, n in data["territories"].items() if c.isalpha()}
        names |= {f"language:{c}": n for c, n in data["languages"].items() if "_" not in c}
        names |= {f"currency:{c}": n for c, n in data["currency_names"].items()}
        names |= {f"city:{z}": v["city"] for z, v in data["time_zones"].items() if "city" in v}
        return {
            entity: clean(name)
            for entity, name in names.items()
            if isinstance(name, str) and name and name != entity.split(":")[1]
        }

    def name(self, entity: str) -> Form:
        """``France``."""
        if entity.startswith("city:") and entity not in self.names:
            return ((entity.rsplit("/", 1)[1].replace("_", " "), "name"),)
        return ((self.names[entity], "name"),)

    # Numbers -----------------------------------------------------------------------------------

    def digits(self, value: int) -> str:
        """``1234`` in the language's digits, without grouping."""
        return str(value).translate(self._digits)

    def grouped(self, value: int) -> str:
        """``1,234``."""
        first, later = self._grouping
        whole, groups = str(value), []
        size = first
        while len(whole) > size:
            groups.insert(0, whole[-size:])
            whole, size = whole[:-size], later
        return self._group.join([whole, *groups]).translate(self._digits)

    def number(self, value: int) -> Form:
        """``1,234``."""
        return ((self.grouped(value), "number"),)

    def percent(self, value: int) -> Form:
        """``37%``; the sign stands where the locale puts it."""
        pattern = self._data["percent_formats"][None]
        prefix, suffix = (
            clean(side.replace("%", self._percent_sign))
            for side in (pattern.prefix[0], pattern.suffix[0])
        )
        return _segments((prefix, "sign"), (self.digits(value), "number"), (suffix, "sign"))

    def compact(self, value: int) -> Form:
        """``12 thousand`` for 12000; ``12,000`` where CLDR has no long compact form, or English."""
        patterns = self._data["compact_decimal_formats"].get("long", {})
        category = patterns.get(self._plural(value // 1000)) or patterns.get(_PLURAL_FREE) or {}
        pattern = category.get("1000")
        positive = pattern.pattern.split(";")[0].replace("'", "") if pattern else ""
        english = "thousand" in positive and self.language != "en"
        if value % 1000 or positive.count("0") != 1 or english:
            return self.number(value)
        before, after = clean(positive).split("0")
        return _segments((before, "unit"), (self.digits(value // 1000), "number"), (after, "unit"))

    def money(self, currency: str, value: int, style: str) -> Form:
        """``125 US dollars`` (name), ``$125.00`` (symbol) or ``USD 125.00`` (code).

        Wolof names are copies of English ones in CLDR: there ``name`` is written as ``code``.
        """
        data = self._data
        style = "code" if style == "name" and self.language == "wo" else style
        if style == "name":
            category = self._plural(value)
            names = data["currency_names_plural"].get(currency, {})
            name = (
                names.get(category) or names.get(_PLURAL_FREE) or data["currency_names"][currency]
            )
            patterns = data["currency_unit_patterns"]
            pattern = clean(patterns.get(category) or patterns[_PLURAL_FREE])
            values = {"0": (self.grouped(value), "amount"), "1": (clean(name), "currency")}
            return _filled(pattern, values)
        code = clean(
            data["currency_symbols"].get(currency, currency) if style == "symbol" else currency
        )
        pattern = data["currency_formats"]["standard"]
        amount = self.grouped(value)
        if decimals := get_currency_precision(currency):
            amount += self._decimal + "0".translate(self._digits) * decimals
        sides = [clean(side) for side in (pattern.prefix[0], pattern.suffix[0])]
        # UTS #35, currencySpacing: a code that ends in a letter is kept apart from the digits.
        if sides[0].endswith("¤") and code[-1:].isalpha():
            sides[0] += " "
        if sides[1].startswith("¤") and code[:1].isalpha():
            sides[1] = " " + sides[1]
        whole = f"{sides[0]}{{0}}{sides[1]}".replace("¤", "{1}")
        return _filled(whole, {"0": (amount, "amount"), "1": (code, "currency")})

    def measure(self, unit: str, value: int, style: str) -> Form:
        """``3 hours`` (long) or ``3 hr`` (short)."""
        patterns = self._data["unit_patterns"][UNITS[unit]]
        for width in (style, "long", "short"):
            found = patterns.get(width, {})
            pattern = found.get(self._plural(value)) or found.get(_PLURAL_FREE)
            if pattern:
                return _filled(clean(pattern), {"0": (self.digits(value), "number")}, "unit")
        raise ValueError(f"CLDR has no pattern for {unit} in {self.language}.")

    def relative(self, unit: str, value: int) -> Form | None:
        """``in 3 days`` or, below zero, ``3 days ago``; ``None`` where CLDR has only "+3 d"."""
        patterns = self._data["date_fields"][unit]["future" if value > 0 else "past"]
        pattern = patterns.get(self._plural(abs(value))) or patterns[_PLURAL_FREE]
        if pattern[0] in "+-" or "{0}" not in pattern:
            return None
        return _filled(clean(pattern), {"0": (self.digits(abs(value)), "number")}, "unit")

    # Dates -------------------------------------------------------------------------------------

    def date(self, day: datetime.date, style: str) -> Form:
        """A day in one of DATE_STYLES, or ``month_year`` or ``day_month``."""
        return tuple(
            (part if isinstance(part, str) else part(day), field)
            for part, field in self._dates[style]
        )

    def interval(self, first: datetime.date, last: datetime.date) -> Form:
        """``March 7, 2014 – May 1, 2014``, by the pattern for dates that share nothing."""
        pattern = clean(self._data["interval_formats"][None])
        return _joined(pattern, self.date(first, "long"), self.date(last, "long"))

    def _parts(self, pattern: str) -> list:
        parts = []
        for found in _LETTERS.finditer(pattern):
            quoted, letter, literal = found.groups()
            if letter is None:
                literal = "'" if quoted == "" else quoted if quoted is not None else literal
                parts.append((clean(literal), None))
            elif letter == "G":
                parts.append((clean(self._data["eras"]["abbreviated"][1]), None))
            else:
                parts.append((self._writer(letter, len(found.group())), _FIELDS[letter]))
        merged = []
        for part, field in parts:  # neighbouring literals become one
            if merged and field is None and merged[-1][1] is None:
                merged[-1] = (merged[-1][0] + part, None)
            else:
                merged.append((part, field))
        return merged

    def weekday(self, number: int) -> str:
        """Short name of a day of the week, 0 being Monday."""
        return self._days["abbreviated", "E"][number]

    def _writer(self, letter: str, length: int):
        width = "wide" if length >= 4 else "abbreviated"
        if letter in "ML" and length >= 3:
            return lambda day, names=self._months[width, letter]: names[day.month]
        if letter in "Ec":
            return lambda day, names=self._days[width, letter]: names[day.weekday()]
        write = {
            "y": (lambda day: f"{day.year % 100:02}")
            if length == 2
            else (lambda day: str(day.year)),
            "M": lambda day: f"{day.month:0{length}}",
            "L": lambda day: f"{day.month:0{length}}",
            "d": lambda day: f"{day.day:0{length}}",
        }[letter]
        return lambda day: write(day).translate(self._digits)

    # Combinations ------------------------------------------------------------------------------

    def join(self, items: list[Form]) -> Form:
        """``A, B, and C``."""
        if len(items) == 1:
            return items[0]
        if len(items) == 2:
            return _joined(self._lists["2"], items[0], items[1])
        form = _joined(self._lists["start"], items[0], items[1])
        for item in items[2:-1]:
            form = _joined(self._lists["middle"], form, item)
        return _joined(self._lists["end"], form, items[-1])


def bracketed(outer: Form, inner: Form) -> Form:
    """``outer (inner)``: punctuation only, the same in all languages."""
    return (*outer, (" (", None), *inner, (")", None))


def labelled(form: Form, label: str) -> Form:
    """The form with its fields called ``label.field``, to tell the items of a list apart."""
    return tuple((part, field and f"{label}.{field}") for part, field in form)


@functools.cache
def forms(language: str) -> Forms:
    """The forms of a language of the registry that CLDR has."""
    return Forms(language)


def _segments(*segments: Segment) -> Form:
    """Segments without the empty ones; spaces at a field's edge become segments of their own."""
    form = []
    for part, field in segments:
        core = part.strip()
        if field is None or core == part:
            form.append((part, field))
            continue
        left, right = part[: len(part) - len(part.lstrip())], part[len(part.rstrip()) :]
        form += [(left, None), (core, field), (right, None)] if core else [(part, None)]
    return tuple((part, field) for part, field in form if part)


@functools.cache
def _split(pattern: str) -> tuple[str, ...]:
    return tuple(re.split(r"\{(\d)\}", pattern))


def _filled(pattern: str, values: dict[str, Segment], field: str | None = None) -> Form:
    pieces = _split(pattern)
    return _segments(
        *((values[piece] if i % 2 else (piece, field)) for i, piece in enumerate(pieces))
    )


def _joined(pattern: str, first: Form, second: Form) -> Form:
    before, one, between, _, after = _split(pattern)
    left, right = (first, second) if one == "0" else (second, first)
    return tuple(
        segment
        for segment in ((before, None), *left, (between, None), *right, (after, None))
        if segment[0]
    )
