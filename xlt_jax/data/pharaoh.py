"""Files of parallel text and word links: fast_align's pairs, Pharaoh's links."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Links = tuple[tuple[int, int], ...]  # (source word, target word), counted from 0, sorted
Pair = tuple[Sequence[str], Sequence[str]]  # source words, target words

_LINK = re.compile(r"([0-9]+)([-?p])([0-9]+)")


@dataclass(frozen=True)
class Gold:
    """An annotated alignment; the possible links hold the sure ones."""

    sure: Links
    possible: Links


def read_links(lines: Iterable[str], *, first: int = 0) -> list[Gold]:
    """Alignments of lines with ``i-j`` for sure links, ``i?j`` or ``ipj`` for possible ones.

    Args:
        lines: One for each pair; an empty one has no links.
        first: Number that the files give the first word, 0 or 1; ours is 0.

    Raises:
        ValueError: Not a link, or a word before the first; the message has the line's number.
    """
    found = []
    for number, line in enumerate(lines, start=1):
        try:
            found.append(read_line(line, first=first))
        except ValueError as error:
            raise ValueError(f"Line {number}: {error}") from error
    return found


def read_line(line: str, *, first: int = 0) -> Gold:
    """The alignment of one pair, as ``read_links`` has it.

    Raises:
        ValueError: Not a link, or a word before the first.
    """
    kinds: dict[bool, set] = {True: set(), False: set()}
    for item in line.split():
        link = _LINK.fullmatch(item)
        if link is None or min(int(link[1]), int(link[3])) < first:
            raise ValueError(
                f"{item!r} is no link. Allowed are i-j for a sure and i?j or ipj for a possible "
                f"link, words counted from {first}."
            )
        kinds[link[2] == "-"].add((int(link[1]) - first, int(link[3]) - first))
    return Gold(tuple(sorted(kinds[True])), tuple(sorted(kinds[True] | kinds[False])))


def links_as_text(alignments: Iterable[Links], *, first: int = 0) -> list[str]:
    """A line of ``i-j`` for each alignment, the first word numbered ``first``."""
    return [" ".join(f"{i + first}-{j + first}" for i, j in links) for links in alignments]


def read_pairs(lines: Iterable[str]) -> list[Pair]:
    """Words of lines ``source ||| target``; a side may be empty.

    Only spaces and tabs part words: U+3000 is a word of Japanese text, and counted by its links.

    Raises:
        ValueError: Not two sides; the message has the line's number.
    """
    pairs = []
    for number, line in enumerate(lines, start=1):
        words = re.split("[ \t]+", line.strip(" \t\r\n"))
        bars = [place for place, word in enumerate(words) if word == "|||"]
        if len(bars) != 1:
            raise ValueError(
                f"Line {number} has {len(bars)} times the word '|||': {' '.join(words)[:80]!r}. "
                "Allowed are the words of the source, ' ||| ' once, and the words of the target."
            )
        pairs.append((tuple(words[: bars[0]]), tuple(words[bars[0] + 1 :])))
    return pairs
