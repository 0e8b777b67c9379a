"""Noise on token ids: span corruption, and masks over parallel pairs.

A noise is called with the stored ids of one row, a generator and the feature lengths, and returns
ids by name: ``inputs`` and ``targets``, and as long as the inputs ``masked``, the original id at
each position that was masked and 0 elsewhere, and ``aligned``, the id of the aligned token there.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

Row = Mapping[str, np.ndarray]
Noise = Callable[[Row, np.random.Generator, Mapping[str, int]], dict[str, np.ndarray]]


def span_corruption(
    ids: np.ndarray,
    generator: np.random.Generator,
    *,
    first_sentinel: int,
    eos_id: int,
    density: float = 0.15,
    mean_span_tokens: float = 3.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Inputs with spans replaced by sentinels, and targets with the spans, both ending in eos.

    Args:
        ids: Tokens of one text without end-of-sequence, at least 2.
        generator: Source of the draw.
        first_sentinel: Id of ``<extra_id_0>``; later sentinels count down from it.
        eos_id: End-of-sequence.
        density: Share of tokens that is masked, rounded to whole tokens, at least one.
        mean_span_tokens: Mean length of a masked span.

    Source: Raffel et al. 2020, arXiv:1910.10683, section 3.1.4; numbers of noise and plain spans
        are equal, both cut at random; the text begins with a plain span.
    """
    length = len(ids)
    noise_tokens = int(np.clip(round(length * density), 1, length - 1))
    spans = int(np.clip(round(noise_tokens / mean_span_tokens), 1, length - noise_tokens))
    noise_lengths = _random_parts(noise_tokens, spans, generator)
    plain_lengths = _random_parts(length - noise_tokens, spans, generator)
    starts = np.cumsum(np.stack([plain_lengths, noise_lengths], axis=1).ravel())
    inputs, targets, position = [], [], 0
    for number in range(spans):
        noise_start, noise_end = starts[2 * number], starts[2 * number + 1]
        sentinel = [first_sentinel - number]
        inputs += [ids[position:noise_start], sentinel]
        targets += [sentinel, ids[noise_start:noise_end]]
        position = noise_end
    end = [eos_id]
    return (
        np.concatenate([*inputs, end]).astype(np.int32),
        np.concatenate([*targets, end]).astype(np.int32),
    )


def longest_noisable(input_tokens: int, target_tokens: int) -> int:
    """Length of the longest text whose corrupted inputs and targets fit these lengths.

    Of n tokens 0.85 n stay, 0.15 n move to the targets, and 0.05 n sentinels stand in both.
    """
    return max(2, min(int((input_tokens - 2) / 0.9), int((target_tokens - 2) / 0.2)))


def _random_parts(total: int, parts: int, generator: np.random.Generator) -> np.ndarray:
    """``parts`` positive lengths that add up to ``total``, every composition equally likely."""
    cuts = np.sort(generator.choice(total - 1, size=parts - 1, replace=False)) + 1
    return np.diff(np.concatenate([[0], cuts, [total]]))


@dataclass(frozen=True)
class SpanCorruption:
    """``span_corruption`` of a row's ``targets``, cut so that both sides fit."""

    first_sentinel: int
    eos_id: int
    extras: ClassVar[tuple[str, ...]] = ()

    def __call__(
        self, row: Row, generator: np.random.Generator, lengths: Mapping[str, int]
    ) -> dict[str, np.ndarray]:
        """Inputs and targets."""
        ids = row["targets"][: longest_noisable(lengths["inputs"], lengths["targets"])]
        inputs, targets = span_corruption(
            ids, generator, first_sentinel=self.first_sentinel, eos_id=self.eos_id
        )
        return {"inputs": inputs, "targets": targets}


@dataclass(frozen=True)
class PairMasks:
    """Masked tokens of a parallel pair, for a head on the encoder.

    Inputs are ``source eos target eos``, or one of the two alone. Of the masked tokens most become
    the mask, some a random token, some stay.

    Attributes:
        rate: Share of the tokens that is masked, rounded to whole tokens, at least one.
        mask_id: What a masked token becomes; mT5 has no mask, its first sentinel serves.
        eos_id: End-of-sequence, never masked.
        random_ids: (first, end) of the ids that random tokens are drawn from.
        random_share: Of the masked tokens, those that become a random token.
        kept_share: Of the masked tokens, those that stay.
        joint: Both sentences are one input; else one of them, drawn at random, so that no attention
            can look an aligned token up.
        aligned: Also give ``aligned``.

    Source: the mask of TLM, Lample and Conneau 2019, arXiv:1901.07291, section 3.3 (15 % of the
        tokens; 80 % mask, 10 % random, 10 % kept).
    """

    rate: float
    mask_id: int
    eos_id: int
    random_ids: tuple[int, int]
    random_share: float = 0.1
    kept_share: float = 0.1
    joint: bool = True
    aligned: bool = False

    @property
    def extras(self) -> tuple[str, ...]:
        """Names of what it makes beside inputs and targets."""
        return ("masked", "aligned") if self.aligned else ("masked",)

    def __call__(
        self, row: Row, generator: np.random.Generator, lengths: Mapping[str, int]
    ) -> dict[str, np.ndarray]:
        """Inputs, ``masked`` and, if asked for, ``aligned``; targets are empty."""
        sides = np.array([0, 1]) if self.joint else generator.integers(2, size=1)
        pair = _cut_pair(row, lengths["inputs"] - len(sides), sides)
        inputs, masked, aligned = [], [], []
        for side in sides:
            end = [self.eos_id]
            inputs += [pair.ids[side], end]
            masked += [pair.ids[side], [0]]
            aligned += [pair.aligned(side), [0]]
        inputs, masked, aligned = (
            np.concatenate(parts).astype(np.int32) for parts in (inputs, masked, aligned)
        )
        maskable = np.flatnonzero(masked)
        count = max(1, round(len(maskable) * self.rate))
        chosen = generator.choice(maskable, size=min(count, len(maskable)), replace=False)
        is_chosen = np.zeros(len(inputs), bool)
        is_chosen[chosen] = True
        fate = generator.random(len(inputs))
        is_random = is_chosen & (fate < self.random_share)
        is_kept = is_chosen & (fate >= 1.0 - self.kept_share)
        inputs[is_chosen & ~is_random & ~is_kept] = self.mask_id
        inputs[is_random] = generator.integers(*self.random_ids, size=int(is_random.sum()))
        made = {
            "inputs": inputs,
            "targets": np.empty(0, np.int32),
            "masked": np.where(is_chosen, masked, 0),
        }
        if self.aligned:
            made["aligned"] = np.where(is_chosen, aligned, 0)
        return made


@dataclass(frozen=True)
class PairSpans:
    """A parallel pair as text-to-text noise: masked words out, with their aligned words or without.

    Inputs are ``source eos target eos`` with spans replaced by sentinels; targets are sentinels,
    each with its span and, if ``aligned``, the word of the other language that is aligned to it.

    Attributes:
        rate: Share of the tokens that is masked.
        first_sentinel: Id of ``<extra_id_0>``.
        eos_id: End-of-sequence.
        aligned: Spans are single words, each followed by its aligned words; without, spans are
            those of span corruption, over both sentences.
        mean_span_tokens: Of span corruption.
    """

    rate: float
    first_sentinel: int
    eos_id: int
    aligned: bool = False
    mean_span_tokens: float = 3.0
    extras: ClassVar[tuple[str, ...]] = ()

    def __call__(
        self, row: Row, generator: np.random.Generator, lengths: Mapping[str, int]
    ) -> dict[str, np.ndarray]:
        """Inputs and targets."""
        pair = _cut_pair(row, lengths["inputs"] - 2, (0, 1))
        if not self.aligned:
            inputs, targets = span_corruption(
                np.concatenate([pair.ids[0], [self.eos_id], pair.ids[1]]),
                generator,
                first_sentinel=self.first_sentinel,
                eos_id=self.eos_id,
                density=self.rate,
                mean_span_tokens=self.mean_span_tokens,
            )
            return {"inputs": inputs, "targets": targets}
        inputs, targets, sentinel = [], [], self.first_sentinel
        for side in (0, 1):
            words = pair.words[side]
            numbers = np.unique(words)
            count = max(1, round(len(numbers) * self.rate))
            chosen = set(generator.choice(numbers, size=min(count, len(numbers)), replace=False))
            for number in numbers:
                span = pair.ids[side][words == number]
                if number not in chosen:
                    inputs.append(span)
                    continue
                inputs.append([sentinel])
                targets += [[sentinel], span, pair.aligned_word(side, number)]
                sentinel -= 1
            inputs.append([self.eos_id])
        targets.append([self.eos_id])
        return {
            "inputs": np.concatenate(inputs).astype(np.int32),
            "targets": np.concatenate(targets).astype(np.int32),
        }


@dataclass(frozen=True)
class _Pair:
    """Both sentences: of each its ids and the number of the word that each belongs to."""

    ids: tuple[np.ndarray, np.ndarray]
    words: tuple[np.ndarray, np.ndarray]
    links: np.ndarray  # (links, 2): number of a source word and of a target word

    def aligned_word(self, side: int, number: int) -> np.ndarray:
        """Ids of the other side's first word aligned to this one; none where there is no link."""
        others = self.links[self.links[:, side] == number, 1 - side]
        if not len(others):
            return np.empty(0, np.int32)
        return self.ids[1 - side][self.words[1 - side] == others.min()]

    def aligned(self, side: int) -> np.ndarray:
        """For each token the id of its aligned token, 0 where there is none.

        Of two aligned words of several tokens each token goes with that at its relative place.
        """
        result = np.zeros(len(self.ids[side]), np.int32)
        for number in np.unique(self.words[side]):
            places = np.flatnonzero(self.words[side] == number)
            other = self.aligned_word(side, number)
            if len(other):
                result[places] = other[np.arange(len(places)) * len(other) // len(places)]
        return result


def _cut_pair(row: Row, tokens: int, sides: np.ndarray | tuple[int, ...]) -> _Pair:
    """The pair, its sentences cut at the end so that those of ``sides`` have ``tokens`` in all."""
    ids = [row["inputs"], row["targets"]]
    total = sum(len(ids[side]) for side in sides)
    if total > tokens:
        for side in sides:
            ids[side] = ids[side][: max(1, len(ids[side]) * tokens // total)]
    size = len(row["inputs"])
    words = (row["words"][: len(ids[0])], row["words"][size : size + len(ids[1])])
    return _Pair((ids[0], ids[1]), words, row["links"].reshape(-1, 2))
