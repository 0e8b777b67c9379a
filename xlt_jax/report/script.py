"""Whether answers are written in the script of their language: accidental translation.

Source: Xue et al. 2021, arXiv:2010.11934, section 5 (illegal predictions, accidental translation).
Scripts are told apart, languages of one script are not.
"""

import functools
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from xlt_jax.registry import languages

# Script of registry/languages.py -> first words of the names that Unicode gives its letters.
_BLOCKS = {
    "Arabic": ("ARABIC",),
    "Bengali": ("BENGALI",),
    "Cyrillic": ("CYRILLIC",),
    "Devanagari": ("DEVANAGARI",),
    "Ethiopic": ("ETHIOPIC",),
    "Georgian": ("GEORGIAN",),
    "Greek": ("GREEK",),
    "Gujarati": ("GUJARATI",),
    "Gurmukhi": ("GURMUKHI",),
    "Han": ("CJK",),
    "Hangul": ("HANGUL",),
    "Hebrew": ("HEBREW",),
    "Japanese": ("HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "CJK"),
    "Latin": ("LATIN",),
    "Malayalam": ("MALAYALAM",),
    "Myanmar": ("MYANMAR",),
    "Tamil": ("TAMIL",),
    "Telugu": ("TELUGU",),
    "Thai": ("THAI",),
}
_READ = 400  # letters of a text that decide


@dataclass(frozen=True)
class ScriptCount:
    """Of one task's rows.

    Attributes:
        with_letters: Rows whose reference has letters.
        in_script: Rows whose reference is mostly in the language's script; only they can tell.
        wrong: Those of them whose prediction is mostly in another script.
    """

    with_letters: int
    in_script: int
    wrong: int


def known(code: str) -> bool:
    """Whether the language's script is in the table."""
    return _script(code) in _BLOCKS


def count(code: str, rows: Iterable[tuple[str | Sequence[str], str]]) -> ScriptCount | None:
    """Counts over (reference or several, prediction); None for a language without known script."""
    if not known(code):
        return None
    blocks = _BLOCKS[_script(code)]
    with_letters = in_script = wrong = 0
    for reference, prediction in rows:
        text = reference if isinstance(reference, str) else " ".join(map(str, reference))
        expected = _share(text, blocks)
        if expected is None:
            continue
        with_letters += 1
        if expected > 0.5:
            in_script += 1
            found = _share(str(prediction), blocks)
            wrong += found is not None and found < 0.5
    return ScriptCount(with_letters, in_script, wrong)


def is_latin(code: str) -> bool:
    """Whether the language is written in Latin letters, as names of classes are too."""
    return _script(code) == "Latin"


def _script(code: str) -> str | None:
    language = languages.LANGUAGES.get(code)
    return language.script if language else None


def _share(text: str, blocks: Sequence[str]) -> float | None:
    """Share of the letters that are of these blocks; None without letters."""
    letters = [c for c in unicodedata.normalize("NFKC", text[:_READ]) if c.isalpha()]
    if not letters:
        return None
    return sum(_block(letter) in blocks for letter in letters) / len(letters)


@functools.lru_cache(maxsize=1 << 16)
def _block(letter: str) -> str:
    return unicodedata.name(letter, "UNKNOWN").split()[0]
