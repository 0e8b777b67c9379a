"""Exact match and F1 of extracted answers, in several manners of normalising them.

The manners (``MANNERS``):

* ``"any"``, for our own benchmarks, any language: NFKC, lower case, no Unicode punctuation, then
  tokens. Scripts written without spaces between words (Han, kana, Thai, Lao, Khmer, Burmese) are
  split into characters, a base with its combining marks, so that F1 means the same as between
  spaced words. No articles are dropped: which words are articles depends on the language. NFKC,
  because SentencePiece applies it to what a model reads and writes: without it a Thai answer with
  U+0E33 could never be generated exactly.
* ``"squad"``, SQuAD v1.1's official one, for XQuAD and TyDi QA in every language: lower case, no
  ASCII punctuation, no English articles, tokens between white space.
* ``"mlqa.ar"`` and so on for each language of MLQA, its official one: lower case, no Unicode
  punctuation, no articles of that language; Chinese characters are tokens of their own.

Sources: Rajpurkar et al. 2016, arXiv:1606.05250 (F1 over bags of tokens) and evaluate-v1.1.py;
Lewis et al. 2020, arXiv:1910.07475, section 5, and mlqa_evaluation_v1.py of
github.com/facebookresearch/MLQA.
"""

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Sequence

from xlt_jax.metrics.classification import check_lengths

# MLQA's lists. The Arabic pattern takes the two letters out wherever they stand, as there.
_ARTICLES = {
    "en": r"\b(?:a|an|the)\b",
    "es": r"\b(?:un|una|unos|unas|el|la|los|las)\b",
    "hi": None,
    "vi": r"\b(?:của|là|cái|chiếc|những)\b",
    "de": r"\b(?:ein|eine|einen|einem|eines|einer|der|die|das|den|dem|des)\b",
    "ar": "ال",
    "zh": None,
}
MANNERS = ("any", "squad", *(f"mlqa.{language}" for language in sorted(_ARTICLES)))
_MLQA_HAN = re.compile("([\u4e00-\u9fa5])")
# Blocks of the scripts without spaces: Thai and Lao; Burmese with its extensions; Khmer; kana, Han.
_UNSPACED = (
    "\u0e01-\u0eff\u1000-\u109f\ua9e0-\ua9ff\uaa60-\uaa7f\u1780-\u17ff\u3005-\u3007"
    "\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
_UNSPACED_CHARACTER = re.compile(f"([{_UNSPACED}])")
_ASCII_PUNCTUATION = dict.fromkeys(map(ord, string.punctuation))


class _WithoutPunctuation(dict):
    """A table for ``str.translate``, filled as characters come: Unicode has a million of them."""

    def __missing__(self, code: int) -> int | None:
        self[code] = None if unicodedata.category(chr(code)).startswith("P") else code
        return self[code]


_PUNCTUATION = _WithoutPunctuation(_ASCII_PUNCTUATION)


def squad(
    targets: Sequence[str | Sequence[str]], predictions: Sequence[str], manner: str = "any"
) -> dict[str, float]:
    """Means of ``f1`` and ``em`` over rows, in 0..1: ``{"f1": ..., "em": ...}``.

    Args:
        targets: The gold answer of each row, or several, of which the best counts.
        predictions: The model's answers.
        manner: One of ``MANNERS``.
    """
    check_lengths(targets, predictions)
    rows = len(targets)
    return {
        "f1": sum(f1(t, p, manner) for t, p in zip(targets, predictions)) / rows,
        "em": sum(em(t, p, manner) for t, p in zip(targets, predictions)) / rows,
    }


def f1(target: str | Sequence[str], prediction: str, manner: str = "any") -> float:
    """Harmonic mean of precision and recall over bags of tokens, in 0..1.

    Args:
        target: The gold answer, or several, of which the best counts.
        prediction: The model's answer.
        manner: One of ``MANNERS``.

    Two answers without any token score 0, as in the official scripts (``em`` scores 1 there).
    """
    given = Counter(tokens(prediction, manner))
    return max(_bag_f1(Counter(tokens(gold, manner)), given) for gold in _golds(target))


def em(target: str | Sequence[str], prediction: str, manner: str = "any") -> float:
    """1.0 when the normalised prediction equals a normalised gold answer, else 0.0."""
    given = tokens(prediction, manner)
    return float(any(tokens(gold, manner) == given for gold in _golds(target)))


def tokens(text: str, manner: str = "any") -> list[str]:
    """Normalised tokens of an answer; the module's docstring describes the manners.

    Raises:
        ValueError: ``manner`` is not one of ``MANNERS``.
    """
    if manner not in MANNERS:
        raise ValueError(f"Unknown manner {manner!r} of normalising; known: {', '.join(MANNERS)}.")
    if manner == "any":
        text = unicodedata.normalize("NFKC", text).lower().translate(_PUNCTUATION)
        return _join_marks(_UNSPACED_CHARACTER.sub(r" \1 ", text).split())
    if manner == "squad":
        return re.sub(_ARTICLES["en"], " ", text.lower().translate(_ASCII_PUNCTUATION)).split()
    language = manner.removeprefix("mlqa.")
    text = text.lower().translate(_PUNCTUATION)
    if _ARTICLES[language]:
        text = re.sub(_ARTICLES[language], " ", text)
    if language == "zh":
        text = _MLQA_HAN.sub(r" \1 ", text)
    return text.split()


def _join_marks(pieces: list[str]) -> list[str]:
    """Puts single combining marks of unspaced scripts back onto the piece before them."""
    joined: list[str] = []
    for piece in pieces:
        if joined and len(piece) == 1 and unicodedata.category(piece).startswith("M"):
            joined[-1] += piece
        else:
            joined.append(piece)
    return joined


def _bag_f1(gold: Counter, given: Counter) -> float:
    common = (gold & given).total()
    return 2 * common / (gold.total() + given.total()) if common else 0.0


def _golds(target: str | Sequence[str]) -> Sequence[str]:
    return (target,) if isinstance(target, str) else target
