"""Noise on token ids: span corruption."""

import numpy as np


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
