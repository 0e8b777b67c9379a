"""Hashes of texts, by which a row is found again in another set, also in another spelling."""

import hashlib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

# Bytes of a normalised text, in UTF-8, below which it may well stand in two sets by chance: 24
# letters of English, 12 of Russian, 8 of Chinese.
MIN_BYTES = 24
NONE = np.empty(0, np.uint64)


def normalised(text: str) -> str:
    """Letters and numbers alone (no marks either), case-folded, in NFKC."""
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", text).casefold())


def hashes(example: Mapping[str, Any]) -> np.ndarray:
    """Sorted 64-bit hashes of a prompted row's texts, uint64, each once.

    Of its ``texts`` (without them, of ``inputs``, or ``targets`` where there are none) each that is
    long enough, and all of them together, so that a row of short texts has a hash too.
    """
    texts = example.get("texts") or (example["inputs"] or example["targets"],)
    alone = [normalised(text) for text in texts]
    together = ["\n".join(alone)] if len(alone) > 1 else []
    found = {_hash(text) for text in (*alone, *together) if len(text.encode("utf-8")) >= MIN_BYTES}
    return np.array(sorted(found), np.uint64)


def as_text(row_hashes: Sequence[int]) -> list[str]:
    """16 hexadecimal digits each: JSON's numbers are no 64-bit integers."""
    return [f"{int(value):016x}" for value in row_hashes]


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8"), digest_size=8).digest(), "big")
