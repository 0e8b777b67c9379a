"""Sentence vectors from the encoder, exact search for the nearest of many, and mining of pairs.

Vectors are made on the device. The search is NumPy's: it takes candidates from a memory map, and
nothing is compiled for each size.

Q queries   N candidates   M candidates at a time   G groups of them   X products   P pairs
"""

import functools
import importlib.util
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from xlt_jax.arrays import Array, Params, unit, unit_mean
from xlt_jax.decoding.slices import in_slices
from xlt_jax.metrics.representation import pair_scores
from xlt_jax.models import mt5

POOLINGS = ("mean", "max")
BACKENDS = ("numpy", "faiss")
MARGINS = ("ratio", "cosine")
# Products of these sizes: 32 MB at a time, near the speed of larger ones.
QUERY_BLOCK = 1024
CANDIDATE_BLOCK = 8192


class Neighbours(NamedTuple):
    """The best candidates of every query, best first."""

    indices: np.ndarray  # Q x k int32
    scores: np.ndarray  # Q x k float32, inner products


class Pairs(NamedTuple):
    """Rows of two sets that belong together, best first; no row occurs twice."""

    first: np.ndarray  # P int32
    second: np.ndarray  # P int32
    scores: np.ndarray  # P float32


def embed(
    network: mt5.Transformer,
    params: Params,
    encoder_input_tokens_BL: Array,
    *,
    layer: int | None = None,
    pooling: str = "mean",
    slice_tokens: int | None = None,
) -> Array:
    """Unit vectors of sentences, vectors_BD float32; a row of padding only gives zeros.

    There is no pooling by the first token: T5 has no token like BERT's CLS that was trained to
    stand for the sentence, and its first token is an ordinary word.

    Args:
        network: The encoder-decoder, of which the encoder is used.
        params: Its parameters.
        encoder_input_tokens_BL: Sentences; 0 is padding and has no share in the vector.
        layer: Output of this many layers, 0 being the token vectors; None: after the final norm.
        pooling: "mean" or "max" over tokens.
        slice_tokens: Tokens that are encoded at a time; None: all.
    """
    if pooling not in POOLINGS:
        raise ValueError(f"pooling is {pooling!r}; give one of {POOLINGS}.")

    def vectors(ids_BL: Array) -> Array:
        hidden_BLD = network.apply({"params": params}, ids_BL, layer, method="encoder_states")
        is_token_BL = ids_BL > 0
        if pooling == "mean":
            return unit_mean(hidden_BLD, is_token_BL)
        is_token_BL1 = is_token_BL[..., None]
        pooled_BD = jnp.where(is_token_BL1, hidden_BLD.astype(jnp.float32), -jnp.inf).max(axis=1)
        return unit(jnp.where(is_token_BL1.any(axis=1), pooled_BD, 0.0))

    return in_slices(vectors, encoder_input_tokens_BL, slice_tokens)


def nearest(
    queries_QD: np.ndarray,
    candidates_ND: np.ndarray,
    k: int = 1,
    *,
    block: int = CANDIDATE_BLOCK,
    backend: str = "numpy",
) -> Neighbours:
    """The ``k`` candidates of largest inner product for each query; of equals the first.

    Exact. ``candidates_ND`` may be a memory map, of which ``block`` rows are read at a time: beside
    queries and results, memory is that of about 2 x 1024 x ``block`` floats.

    Args:
        queries_QD: Float32.
        candidates_ND: Any float type.
        k: From 1 to N.
        block: Rows of candidates at a time.
        backend: "numpy", or "faiss" for that package's exact search of a block, which leaves the
            order of equal scores open.

    Raises:
        ValueError: ``k`` is not from 1 to the number of candidates; an unknown or missing backend.
    """
    num_candidates = len(candidates_ND)
    if not 1 <= k <= num_candidates:
        raise ValueError(f"k is {k}; there are {num_candidates} candidates: give 1 to that many.")
    if backend not in BACKENDS:
        raise ValueError(f"backend is {backend!r}; give one of {BACKENDS}.")
    if backend == "faiss" and importlib.util.find_spec("faiss") is None:
        raise ValueError("backend is 'faiss', which is not installed: pip install faiss-cpu.")
    queries_QD = np.asarray(queries_QD, np.float32)
    shape = (len(queries_QD), k)
    if backend == "faiss":
        search = _search_faiss
    else:  # one array for all products: new ones of this size take longer to map than to fill
        sizes = min(QUERY_BLOCK, len(queries_QD)), min(block, num_candidates)
        search = functools.partial(_search, np.empty(sizes, np.float32))
    best = Neighbours(np.zeros(shape, np.int32), np.full(shape, -np.inf, np.float32))
    for begin in range(0, num_candidates, block):
        candidates_MD = np.asarray(candidates_ND[begin : begin + block], np.float32)
        for low in range(0, len(queries_QD), QUERY_BLOCK):
            rows = slice(low, low + QUERY_BLOCK)
            row_X, index_X, score_X = search(queries_QD[rows], candidates_MD, best.scores[rows])
            _merge(best.indices[rows], best.scores[rows], row_X, index_X + begin, score_X)
    return best


def _search(
    product_QM: np.ndarray, queries_QD: np.ndarray, candidates_MD: np.ndarray, scores_QK: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(row, index, score) of products that may be among the best, and few others.

    Sorting all products takes many times as long as making them. Most are below the worst score so
    far; in the first blocks, below the k-th largest maximum of groups of candidates.
    """
    num_queries, block, k = len(queries_QD), len(candidates_MD), scores_QK.shape[1]
    product_QM = product_QM[:num_queries, :block]
    np.matmul(queries_QD, candidates_MD.T, out=product_QM)
    least_Q1 = np.nextafter(scores_QK[:, -1:], np.inf)  # equals come too late
    num_groups = 1 << (8 * k).bit_length()  # a power of two, so that most blocks divide
    if width := block // num_groups:
        grouped_QXG = product_QM[:, : num_groups * width].reshape(num_queries, width, num_groups)
        maxima_QG = grouped_QXG.max(axis=1)
        least_Q1 = np.maximum(least_Q1, np.partition(maxima_QG, -k, axis=1)[:, -k, None])
    found_X = np.flatnonzero(product_QM >= least_Q1)  # 10 times as fast as with two axes
    row_X, index_X = np.divmod(found_X, block)
    return row_X, index_X, product_QM[row_X, index_X]


def _search_faiss(
    queries_QD: np.ndarray, candidates_MD: np.ndarray, scores_QK: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As ``_search``, the k best of the block."""
    import faiss

    index = faiss.IndexFlatIP(candidates_MD.shape[1])
    index.add(candidates_MD)
    score_QK, index_QK = index.search(queries_QD, min(scores_QK.shape[1], len(candidates_MD)))
    row_QK = np.repeat(np.arange(len(queries_QD)), index_QK.shape[1])
    return row_QK, index_QK.ravel(), score_QK.ravel()


def _merge(
    indices_QK: np.ndarray,
    scores_QK: np.ndarray,
    row_X: np.ndarray,
    index_X: np.ndarray,
    score_X: np.ndarray,
) -> None:
    """Puts new products among the best, in place: earlier ones stay before equal ones."""
    num_queries, k = scores_QK.shape
    row_X = np.concatenate([np.repeat(np.arange(num_queries), k), row_X])
    index_X = np.concatenate([indices_QK.ravel(), index_X])
    score_X = np.concatenate([scores_QK.ravel(), score_X])
    order_X = np.lexsort((-score_X, row_X))  # stable
    first_Q1 = np.searchsorted(row_X[order_X], np.arange(num_queries))[:, None]
    best_QK = order_X[first_Q1 + np.arange(k)]
    indices_QK[:], scores_QK[:] = index_X[best_QK], score_X[best_QK]


def mutual(
    first_QD: np.ndarray,
    second_ND: np.ndarray,
    *,
    k: int = 4,
    margin: str = "ratio",
    backend: str = "numpy",
) -> Pairs:
    """Sentences of two sets that translate each other, best first, for mining of parallel text.

    Every row proposes the best of its ``k`` nearest rows of the other set; the proposals of both
    sets are accepted in order of score while neither row is taken. Keep those above a threshold
    that was chosen on development data.

    Args:
        first_QD: Unit vectors.
        second_ND: Unit vectors of the other set.
        k: Neighbours, at most the rows of the smaller set.
        margin: "cosine" scores a pair by its cosine; "ratio" divides that by the mean of both rows'
            mean cosine to their ``k`` neighbours, so that rows that are near to everything lose.
        backend: See ``nearest``.

    Raises:
        ValueError: An unknown margin, and as ``nearest``.

    Source: Artetxe and Schwenk 2019, arXiv:1811.01136, margin "ratio" and candidates by "max.
    score".
    """
    if margin not in MARGINS:
        raise ValueError(f"margin is {margin!r}; give one of {MARGINS}.")
    forward = nearest(first_QD, second_ND, k, backend=backend)
    backward = nearest(second_ND, first_QD, k, backend=backend)
    forward_QK, backward_NK = forward.scores, backward.scores
    if margin == "ratio":
        mean_Q1, mean_N1 = (x.mean(axis=1, keepdims=True) for x in (forward_QK, backward_NK))
        of_second_QK, of_first_NK = mean_N1[forward.indices, 0], mean_Q1[backward.indices, 0]
        forward_QK = pair_scores(forward_QK, mean_Q1, of_second_QK, "margin")
        backward_NK = pair_scores(backward_NK, of_first_NK, mean_N1, "margin")
    rows_Q, rows_N = np.arange(len(first_QD)), np.arange(len(second_ND))
    best_Q, best_N = forward_QK.argmax(axis=1), backward_NK.argmax(axis=1)
    first_P = np.concatenate([rows_Q, backward.indices[rows_N, best_N]])
    second_P = np.concatenate([forward.indices[rows_Q, best_Q], rows_N])
    scores_P = np.concatenate([forward_QK[rows_Q, best_Q], backward_NK[rows_N, best_N]])

    accepted, taken_first, taken_second = [], set(), set()
    order_P = np.argsort(-scores_P, kind="stable")
    for pair, one, other in zip(order_P, first_P[order_P].tolist(), second_P[order_P].tolist()):
        if one not in taken_first and other not in taken_second:
            accepted.append(pair)
            taken_first.add(one)
            taken_second.add(other)
    return Pairs(
        first_P[accepted].astype(np.int32), second_P[accepted].astype(np.int32), scores_P[accepted]
    )
