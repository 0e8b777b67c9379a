"""Word alignment of parallel text: fast_align's model, eflomal, a network's own vectors.

Extra axis letters. In a pair of sentences: S source words, T target words, W words. In a corpus,
one side of which is given and the other predicted: R predicted words (rows), X cells (a predicted
word with a given word of its pair), P distinct cells, also those with NULL.
"""

import functools
import itertools
import pathlib
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from scipy.special import digamma

from xlt_jax.data import pharaoh
from xlt_jax.data.pharaoh import Links, Pair

ONE_DIRECTION = ("forward", "reverse")
GROWN = ("grow-diag", "grow-diag-final", "grow-diag-final-and")
SYMMETRISATIONS = (*ONE_DIRECTION, "intersection", "union", *GROWN)
UNSEEN = 1e-9  # theta of what training has not seen, and of everything before the first M step
ITERATIONS = 5
TENSION_STEPS, TENSION_RATE, TENSION_RANGE = 8, 20.0, (0.1, 14.0)
_CHUNK_CELLS = 1 << 20  # worked on at a time, which bounds the memory
_NEIGHBOURS = [step for step in itertools.product((-1, 0, 1), repeat=2) if step != (0, 0)]


def fast_align(
    pairs: Sequence[Pair], *, symmetrisation: str = "grow-diag-final-and", **options: Any
) -> list[Links]:
    """Links of every pair after training on all of them in both directions, a thread for each.

    Args:
        pairs: One with an empty side has no links and teaches nothing.
        symmetrisation: One of ``SYMMETRISATIONS``; "forward" and "reverse" train one direction.
        options: Others of ``train``; ``advance`` is called from both threads.

    Raises:
        ValueError: Unknown symmetrisation, or options that ``train`` refuses.
    """
    _check_symmetrisation(symmetrisation)
    if symmetrisation in ONE_DIRECTION:
        return align(pairs, reverse=symmetrisation == "reverse", **options)
    with ThreadPoolExecutor(2) as pool:
        directions = pool.map(lambda r: align(pairs, reverse=r, **options), (False, True))
        return [symmetrise(*links, symmetrisation) for links in zip(*directions)]


def align(pairs: Sequence[Pair], **options: Any) -> list[Links]:
    """Links of every pair after training on all of them in one direction; options of ``train``."""
    return train(pairs, **options).align(pairs)


def train(
    pairs: Sequence[Pair],
    *,
    reverse: bool = False,
    iterations: int = ITERATIONS,
    p0: float = 0.08,
    tension: float | None = 4.0,
    optimise_tension: bool = True,
    alpha: float | None = 0.01,
    advance: Callable[[str], None] = lambda step: None,
) -> "Model":
    """The model of one direction. Memory: 4 bytes a cell and about 70 a distinct one.

    IBM model 2 with one parameter for the places, the tension. Two quirks of the original program
    are kept, so that links agree. Both lie in the gradient of the tension: the data's places of
    predicted words count from 0, the model's from 1; and the normaliser has the lengths exchanged.

    Args:
        pairs: Source words and target words.
        reverse: Predict the source words from the target words, not target from source.
        iterations: Of EM, at least 1. As the original reads the links off in the last E step, which
            is ``Model.align``, there is one M step fewer.
        p0: Probability that a word comes from NULL, between 0 and 1.
        tension: Pull to the diagonal at the start; None: NULL and all places are alike (IBM model
            1), and p0 has no effect.
        optimise_tension: Fit it, from the second iteration on.
        alpha: Dirichlet prior of the translations, estimated by mean-field variational Bayes; None:
            maximum likelihood.
        advance: Called with each of the ``iterations + 1`` steps that begins.

    Raises:
        ValueError: An option out of its range.

    Source: Dyer, Chahuneau and Smith 2013, "A Simple, Fast, and Effective Reparameterization of IBM
        Model 2"; numbers, quirks and schedule of github.com/clab/fast_align with -d -o -v.
    """
    positive = [value for value in (iterations, p0, tension, alpha) if value is not None]
    if min(positive) <= 0 or p0 >= 1:
        raise ValueError(
            f"iterations {iterations}, p0 {p0}, tension {tension} and alpha {alpha} must be "
            "positive, and p0 below 1; tension and alpha may be None."
        )
    direction = "reverse" if reverse else "forward"
    advance(f"{direction}: words")
    pairs = [pair for pair in pairs if len(pair[0]) and len(pair[1])]
    ids = [_numbers(pair[side] for pair in pairs) for side in (0, 1)]
    given_ids, predicted_ids = reversed(ids) if reverse else ids
    rows = _rows(pairs, reverse, given_ids, predicted_ids)
    words_P, places = _distinct(rows, len(given_ids), len(predicted_ids))
    theta = np.full(len(words_P) + 1, UNSEEN)
    for iteration in range(1, iterations) if pairs else ():
        advance(f"{direction}: iteration {iteration} of {iterations}")
        model = Model(reverse, given_ids, predicted_ids, words_P, theta, tension, p0)
        counts_P, closeness = _e_step(rows, places, model)
        theta[:-1] = m_step(counts_P, words_P // len(predicted_ids), alpha)
        if optimise_tension and tension is not None and iteration > 1:
            tension = _fitted(tension, rows, closeness)
    advance(f"{direction}: iteration {iterations} of {iterations}")
    return Model(reverse, given_ids, predicted_ids, words_P, theta, tension, p0)


@dataclass(frozen=True)
class Model:
    """What one direction has learnt: the words of one side given those of the other.

    Attributes:
        reverse: Whether target words are given and source words predicted.
        given_ids: Number of each word of the given side; the next one is that of NULL.
        predicted_ids: Number of each word of the predicted side.
        words: Words that met in training, words_P, increasing: the given word's number times the
            number of predicted words, plus the predicted word's number. NULL's come last.
        theta: Their weights, theta_P, of which those of a given word sum to at most 1 (to less with
            alpha), and then that of words that did not meet, ``UNSEEN``.
        tension: Pull to the diagonal; None: NULL and all places are alike.
        p0: Probability of NULL.
    """

    reverse: bool
    given_ids: Mapping[str, int]
    predicted_ids: Mapping[str, int]
    words: np.ndarray
    theta: np.ndarray
    tension: float | None
    p0: float

    def align(self, pairs: Sequence[Pair]) -> list[Links]:
        """Links of any pairs: each predicted word has its likeliest given word, or none.

        Of equals NULL is taken, or else the first word.
        """
        rows = _rows(pairs, self.reverse, self.given_ids, self.predicted_ids)
        best_R = np.zeros(len(rows.word), np.int64)
        for part, chunk in rows.chunks():
            place_X = self._places(chunk.words(len(self.predicted_ids)))
            joint_X, null_R = self._joint(chunk, place_X)
            largest_R = np.maximum.reduceat(joint_X, chunk.start)
            i_X = np.where(joint_X == chunk.spread(largest_R), chunk.i, chunk.i.max())
            best_R[part] = (largest_R > null_R) * np.minimum.reduceat(i_X, chunk.start)
        linked_R = best_R > 0
        links = best_R[linked_R] - 1, rows.j[linked_R] - 1
        return _split(rows.pair[linked_R], *links[:: -1 if self.reverse else 1], len(pairs))

    def _joint(self, rows: "_Rows", place_X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """p(place) theta of each cell and of NULL, joint_X and joint_R, up to a row's factor."""
        null_place_R = np.where(rows.word < 0, -1, self._first_null + rows.word)
        theta_X, null_theta_R = self.theta[place_X], self.theta[null_place_R]
        if self.tension is None:
            return theta_X, null_theta_R  # the n + 1 places are alike
        share_R = (1 - self.p0) / diagonal_sums(rows.j, rows.m, rows.n, self.tension)[0]
        pull_X = np.exp(self.tension * rows.closeness(rows.j))
        return pull_X * theta_X * rows.spread(share_R), null_theta_R * self.p0

    @property
    def _first_null(self) -> int:
        """Where ``words`` has NULL with the first predicted word."""
        return len(self.words) - len(self.predicted_ids)

    def _places(self, words_X: np.ndarray) -> np.ndarray:
        """Where ``words`` has each cell; -1 if nowhere."""
        distinct, inverse_X = np.unique(words_X, return_inverse=True)  # sorted look-ups are faster
        start, end = (np.searchsorted(self.words, distinct, side) for side in ("left", "right"))
        return np.where(end > start, start, -1)[inverse_X]


def symmetrise(forward: Links, reverse: Links, how: str) -> Links:
    """One alignment of a pair from those of the two directions, both as (source, target).

    "grow-diag" begins with the intersection and adds links of the union that touch one, if only at
    a corner, and have a word without a link: sweep after sweep in sorted order, until none is left.
    "-final" then adds links of the forward, after that of the reverse direction that have a word
    without a link, "-final-and" those whose two words are without.

    Raises:
        ValueError: Unknown symmetrisation.

    Source: Koehn, Och and Marcu 2003, "Statistical Phrase-Based Translation". The order is that of
        fast_align's atools; Moses sweeps over the growing alignment, which differs in some pairs.
    """
    _check_symmetrisation(how)
    union, links = {*forward, *reverse}, set(forward) & set(reverse)
    if how not in GROWN:
        simple = {"forward": forward, "reverse": reverse, "intersection": links, "union": union}
        return tuple(sorted(simple[how]))
    rest = sorted(union - links)
    while _add(rest, links, free_words=1, touching=True):
        pass
    if how != "grow-diag":
        for direction in (forward, reverse):
            _add(sorted(direction), links, free_words=2 if how.endswith("and") else 1)
    return tuple(sorted(links))


def _add(candidates, links: set, *, free_words: int, touching: bool = False) -> bool:
    """Adds to ``links`` the candidates with so many words without a link; whether any has."""
    sources, targets = {i for i, _ in links}, {j for _, j in links}
    before = len(links)
    for i, j in candidates:
        if (i not in sources) + (j not in targets) >= free_words and (
            not touching or any((i + down, j + right) in links for down, right in _NEIGHBOURS)
        ):
            links.add((i, j))
            sources.add(i)
            targets.add(j)
    return len(links) > before


def _check_symmetrisation(how: str) -> None:
    if how not in SYMMETRISATIONS:
        raise ValueError(f"Unknown symmetrisation {how!r}; known: {', '.join(SYMMETRISATIONS)}.")


# --------------------------------------------------------------------------------------- EM's steps
def m_step(counts_P: np.ndarray, given_P: np.ndarray, alpha: float | None) -> np.ndarray:
    """Translation weights theta_P from expected counts of cells whose given words are ``given_P``.

    exp(digamma(count + alpha) - digamma(sum of count + alpha over the cells of the given word)), or
    with alpha None the share of the given word's count.
    """
    if alpha is None:
        return counts_P / np.bincount(given_P, counts_P)[given_P]
    theta_P = counts_P + alpha
    log_total = digamma(np.bincount(given_P, theta_P))  # by given word
    digamma(theta_P, out=theta_P)
    theta_P -= log_total[given_P]
    return np.exp(theta_P, out=theta_P)


def diagonal_sums(
    j_R: np.ndarray, m_R: np.ndarray, n_R: np.ndarray, tension: float
) -> tuple[np.ndarray, np.ndarray]:
    """Sums over i = 1 ... n of exp(tension h) and of h exp(tension h), h = -abs(i/n - j/m).

    In closed form: a geometric series on each side of the diagonal. For j above m, which only the
    exchanged lengths bring about, the second would have fewer than 0 terms; the original, whose
    counts have no sign, takes it as infinite, and so do we.
    """
    below_R = j_R * n_R // m_R
    ratio_R = np.exp(-tension / n_R)
    total_R, moment_R = np.zeros((2, len(j_R)))
    for nearest_R, terms_R in ((below_R, below_R), (below_R + 1, n_R - below_R)):
        h_R = -np.abs(nearest_R / n_R - j_R / m_R)
        largest_R = np.exp(tension * h_R)
        power_R = np.where(terms_R < 0, 0.0, ratio_R ** np.abs(terms_R))
        series_R = (1 - power_R) / (1 - ratio_R)
        steps_R = (ratio_R * series_R - terms_R * power_R) / (1 - ratio_R)  # of k ratio ** k
        total_R += largest_R * series_R
        moment_R += largest_R * (h_R * series_R - steps_R / n_R)
    return total_R, moment_R


def _e_step(rows: "_Rows", places: Iterable[np.ndarray], model: Model) -> tuple[np.ndarray, float]:
    """Expected counts, counts_P, and closeness to the diagonal with places counted from 0."""
    counts_P, closeness = np.zeros(len(model.words)), 0.0
    for (_, chunk), place_X in zip(rows.chunks(), places):
        joint_X, null_R = model._joint(chunk, place_X)
        total_R = null_R + np.add.reduceat(joint_X, chunk.start)
        posterior_X = joint_X / chunk.spread(total_R)
        np.add.at(counts_P, place_X, posterior_X)
        np.add.at(counts_P, model._first_null + chunk.word, null_R / total_R)
        closeness += float(posterior_X @ chunk.closeness(chunk.j - 1))
    return counts_P, closeness


def _fitted(tension: float, rows: "_Rows", closeness: float) -> float:
    """Tension after its gradient steps, given the closeness of all rows in the E step."""
    size = int(max(rows.n.max(), rows.m.max())) + 1
    lengths, count_R = np.unique(
        np.ravel_multi_index((rows.j, rows.m, rows.n), (size,) * 3), return_counts=True
    )
    j_R, m_R, n_R = np.unravel_index(lengths, (size,) * 3)
    for _ in range(TENSION_STEPS):
        moment_R = diagonal_sums(j_R, m_R, n_R, tension)[1]
        exchanged_R = diagonal_sums(j_R, n_R, m_R, tension)[0]
        gap = (closeness - float(count_R @ (moment_R / exchanged_R))) / len(rows.word)
        tension = float(np.clip(tension + TENSION_RATE * gap, *TENSION_RANGE))
    return tension


# ----------------------------------------------------------------------------------- rows and cells
@dataclass(frozen=True)
class _Rows:
    """A row for each predicted word of pairs with no empty side; its cells are the given words."""

    given: np.ndarray  # of all pairs: the given words' numbers, -1 of unknown words
    first: np.ndarray  # where ``given`` has the pair's first word; from here on all are _R
    word: np.ndarray  # the predicted word's number, or -1
    n: np.ndarray  # given words of the pair
    m: np.ndarray  # predicted words of the pair
    j: np.ndarray  # place of the predicted word in the pair, from 1
    pair: np.ndarray

    def part(self, index: np.ndarray | slice) -> "_Rows":
        return _Rows(self.given, *(getattr(self, field.name)[index] for field in fields(self)[1:]))

    def chunks(self) -> "Iterator[tuple[slice, _Rows]]":
        """Some rows at a time, with about ``_CHUNK_CELLS`` cells."""
        chunk_R = np.cumsum(self.n) // _CHUNK_CELLS
        bounds = np.flatnonzero(np.diff(chunk_R, prepend=-1, append=chunk_R[-1:] + 1))
        for start, stop in itertools.pairwise(bounds):
            yield slice(start, stop), self.part(slice(start, stop))

    def spread(self, values_R: np.ndarray) -> np.ndarray:
        """The row's value in each of its cells, values_X."""
        return np.repeat(values_R, self.n)

    @functools.cached_property
    def start(self) -> np.ndarray:
        """First cell of each row, start_R."""
        return np.cumsum(self.n) - self.n

    @functools.cached_property
    def i(self) -> np.ndarray:
        """Place of the given word in the pair, from 1, i_X."""
        return np.arange(1, self.n.sum() + 1) - self.spread(self.start)

    def closeness(self, j_R: np.ndarray) -> np.ndarray:
        """h_X, from -1 to 0 on the diagonal, if the predicted words were at ``j_R``."""
        return -np.abs(self.i / self.spread(self.n) - self.spread(j_R / self.m))

    def words(self, num_predicted: int) -> np.ndarray:
        """Given number times ``num_predicted`` plus predicted number, words_X; -1 if one is -1."""
        given_X = self.given[self.spread(self.first - 1) + self.i]
        predicted_X = self.spread(self.word)
        is_known_X = (given_X >= 0) & (predicted_X >= 0)
        return np.where(is_known_X, given_X * num_predicted + predicted_X, -1)


def _rows(pairs: Sequence[Pair], reverse: bool, given_ids, predicted_ids) -> _Rows:
    given, predicted = ([pair[side] for pair in pairs] for side in ((1, 0) if reverse else (0, 1)))
    n_B, m_B = (np.fromiter(map(len, side), np.int64, len(pairs)) for side in (given, predicted))
    pair_R = np.repeat(np.arange(len(pairs)), m_B)
    rows = _Rows(
        given=_ids(given, given_ids),
        first=(np.cumsum(n_B) - n_B)[pair_R],
        word=_ids(predicted, predicted_ids),
        n=n_B[pair_R],
        m=m_B[pair_R],
        j=np.arange(1, len(pair_R) + 1) - (np.cumsum(m_B) - m_B)[pair_R],
        pair=pair_R,
    )
    return rows.part(rows.n > 0)


def _numbers(sentences: Iterable[Sequence[str]]) -> dict[str, int]:
    distinct = dict.fromkeys(itertools.chain.from_iterable(sentences))
    return dict(zip(distinct, itertools.count()))


def _ids(sentences: Iterable[Sequence[str]], numbers: Mapping[str, int]) -> np.ndarray:
    words = itertools.chain.from_iterable(sentences)
    return np.fromiter(map(numbers.get, words, itertools.repeat(-1)), np.int64)


def _distinct(rows: _Rows, num_given: int, num_predicted: int) -> tuple[np.ndarray, list]:
    """Words that meet, words_P as in ``Model``, and where it has each chunk's cells, place_X."""
    found = [num_given * num_predicted + np.arange(num_predicted)]
    inverses = []
    for _, chunk in rows.chunks():
        distinct, inverse_X = np.unique(chunk.words(num_predicted), return_inverse=True)
        found.append(distinct)
        inverses.append(inverse_X.astype(np.int32))
    words_P = np.sort(np.concatenate(found))
    words_P = words_P[np.diff(words_P, prepend=-1) > 0]  # np.unique alone hashes, which is slower
    for distinct, inverse_X in zip(found[1:], inverses):
        inverse_X[:] = np.searchsorted(words_P, distinct)[inverse_X]
    return words_P, inverses


def _split(pair_R: np.ndarray, i_R: np.ndarray, j_R: np.ndarray, num_pairs: int) -> list[Links]:
    order = np.lexsort((j_R, i_R, pair_R))
    links = list(zip(i_R[order].tolist(), j_R[order].tolist()))
    bounds = np.searchsorted(pair_R[order], np.arange(num_pairs + 1)).tolist()
    return [tuple(links[start:stop]) for start, stop in itertools.pairwise(bounds)]


# ----------------------------------------------------------------------------------- other aligners
def eflomal_align(
    pairs: Sequence[Pair], *, symmetrisation: str = "grow-diag-final-and", **options: Any
) -> list[Links]:
    """Links of every pair by eflomal, an optional package; letter case is ignored.

    It draws samples and takes no seed, so that two calls differ in some links.

    Args:
        pairs: One with an empty side has no links.
        symmetrisation: One of ``SYMMETRISATIONS``.
        options: Of ``eflomal.Aligner``.

    Raises:
        ImportError: eflomal is not installed.
        ValueError: Unknown symmetrisation.

    Source: Östling and Tiedemann 2016, "Efficient Word Alignment with Markov Chain Monte Carlo".
    """
    _check_symmetrisation(symmetrisation)
    try:
        import eflomal
    except ImportError as error:
        raise ImportError(
            "eflomal is not installed: `pip install eflomal` compiles it (GPL-3; it needs a C "
            "compiler), or use fast_align of this module."
        ) from error
    full = [place for place, pair in enumerate(pairs) if len(pair[0]) and len(pair[1])]
    lowered = [[[word.lower() for word in side] for side in pairs[place]] for place in full]
    numbers = _numbers(side for pair in lowered for side in pair)  # words may have spaces in them
    texts = [
        [" ".join(str(numbers[word]) for word in pair[side]) for pair in lowered] for side in (0, 1)
    ]
    links: list[Links] = [()] * len(pairs)
    if full:
        with tempfile.TemporaryDirectory() as folder:
            files = [pathlib.Path(folder, direction) for direction in ONE_DIRECTION]
            eflomal.Aligner(**options).align(*texts, *map(str, files))
            directions = [
                pharaoh.read_links(file.read_text("utf-8").splitlines()) for file in files
            ]
        for place, forward, reverse in zip(full, *directions, strict=True):
            links[place] = symmetrise(forward.sure, reverse.sure, symmetrisation)
    return links


def mutual_argmax(
    source_vectors_SD: np.ndarray,
    target_vectors_TD: np.ndarray,
    *,
    threshold: float | None = None,
) -> Links:
    """Links of words each of which is the other's most similar, by cosine, the first of equals.

    Words whose similarity to all others is 0, such as those of zero vectors, have no link.

    Args:
        source_vectors_SD: Of words or tokens, any float type.
        target_vectors_TD: The same.
        threshold: Smallest cosine of a link; None: any.

    Source: Jalili Sabet et al. 2020, arXiv:2004.08728, Argmax.
    """
    similarity_ST = _unit(source_vectors_SD) @ _unit(target_vectors_TD).T
    if not similarity_ST.size:
        return ()
    best_S, best_T = similarity_ST.argmax(axis=1), similarity_ST.argmax(axis=0)
    i_S = np.arange(len(best_S))
    is_link_S = (best_T[best_S] == i_S) & similarity_ST.any(axis=1)
    is_link_S &= similarity_ST.any(axis=0)[best_S]
    if threshold is not None:
        is_link_S &= similarity_ST[i_S, best_S] >= threshold
    return tuple(zip(i_S[is_link_S].tolist(), best_S[is_link_S].tolist()))


def word_vectors(states: np.ndarray, word_of_token_L: np.ndarray, num_words: int) -> np.ndarray:
    """Mean state of each word's tokens, WD or NWD float32; zeros of a word without any.

    Args:
        states: Of one sentence, of one layer LD, or of several NLD.
        word_of_token_L: Number of the word of each token, -1 of padding and special tokens.
        num_words: W, also of words that were cut off.
    """
    of_word_LW = np.asarray(word_of_token_L)[:, None] == np.arange(num_words)
    sums = of_word_LW.T.astype(np.float32) @ np.asarray(states).astype(np.float32)
    return sums / np.maximum(of_word_LW.sum(axis=0), 1)[:, None].astype(np.float32)


def _unit(vectors_WD: np.ndarray) -> np.ndarray:
    vectors_WD = np.asarray(vectors_WD).astype(np.float32)
    norm_W1 = np.linalg.norm(vectors_WD, axis=-1, keepdims=True)
    return vectors_WD / np.where(norm_W1 > 0, norm_W1, 1.0)
