"""Layers of T5 1.1: RMS norm, attention, gated MLP, embedding, relative position bias.

Parameter names, shapes, initialisers and logical axis names are those of T5X's T5 network, so that
its checkpoints load and its partitioner works. Parameters are float32; ``dtype`` is of activations.

    R relative position buckets
"""

import functools
import math
import operator
from collections.abc import Callable, Mapping
from types import MappingProxyType

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import struct
from flax.linen import partitioning

from xlt_jax.arrays import Array

MASKED = (
    -1e10
)  # a score that softmax turns into 0; finite, so that a row without a key gives no NaN

# T5's "gelu" is the tanh approximation (Hugging Face: "gelu_new"), not the exact one.
ACTIVATIONS: Mapping[str, Callable[[Array], Array]] = MappingProxyType(
    {
        "gelu": functools.partial(jax.nn.gelu, approximate=True),
        "linear": lambda x: x,
        "relu": jax.nn.relu,
        "silu": jax.nn.silu,
        "swish": jax.nn.silu,
    }
)

ATTENTION_INIT = nn.initializers.variance_scaling(1.0, "fan_in", "normal")
DENSE_INIT = nn.initializers.variance_scaling(1.0, "fan_in", "truncated_normal")
BIAS_INIT = nn.initializers.variance_scaling(1.0, "fan_avg", "uniform")


def constrain(x: Array, names: tuple[str, ...]) -> Array:
    """``x`` split by its logical axes; an axis that its devices do not divide stays whole."""
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        return x
    spec = [
        axes if size % _parts(mesh, axes) == 0 else None
        for size, axes in zip(x.shape, partitioning.logical_to_mesh_axes(names), strict=True)
    ]
    return jax.lax.with_sharding_constraint(x, jax.sharding.PartitionSpec(*spec))


def together(x_BLD: Array) -> Array:
    """Activations whose rows are split and nothing else: what projections read."""
    return constrain(x_BLD, ("batch", "length", "embed"))


def between(x_BLD: Array) -> Array:
    """Activations between sublayers, along the length too if the partitioner says so.

    Source: sequence parallelism, Korthikanti et al. 2022, arXiv:2205.05198.
    """
    return constrain(x_BLD, ("batch", "split_length", "embed"))


def row_parts() -> int:
    """Parts into which the partitioner splits the rows of a batch; 1 outside its context."""
    mesh = jax.sharding.get_abstract_mesh()
    return 1 if mesh.empty else _parts(mesh, partitioning.logical_to_mesh_axes(("batch",))[0])


def _parts(mesh: jax.sharding.AbstractMesh, axes: str | tuple[str, ...] | None) -> int:
    names = (axes,) if isinstance(axes, str) else axes or ()
    return math.prod(mesh.shape[name] for name in names)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def whole(weights: Array, axes: tuple[str, ...], dtype: jnp.dtype) -> Array:
    """Weights in ``dtype``, the parts gathered that fully sharded data keeps on other devices.

    Their gradient is scattered to the parts again; without this rule every device would add up all
    of it.

    Args:
        weights: Float32, laid out by ``axes``.
        axes: Logical axes; "embed" is the one to gather.
        dtype: Cast before the gathering, which then moves half the bytes.
    """
    return _whole_forward(weights, axes, dtype)[0]


def _whole_forward(weights, axes, dtype):
    names = tuple("whole" if axis == "embed" else axis for axis in axes)
    return constrain(weights.astype(dtype), names), None


def _whole_backward(axes, dtype, _, gradient):
    return (constrain(gradient.astype(jnp.float32), axes),)


whole.defvjp(_whole_forward, _whole_backward)


PROBES = "probes"  # the collection of inner values that objectives compare


def probe(module: nn.Module, name: str, value: Callable[[], Array]) -> None:
    """Keeps a value for a caller who has made ``PROBES`` mutable; else it is not computed."""
    if module.is_mutable_collection(PROBES) and not module.is_initializing():
        module.sow(PROBES, name, value(), reduce_fn=lambda _, new: new, init_fn=lambda: None)


def pair_mask(is_query_BT: Array, is_key_BM: Array) -> Array:
    """True where query and key are both real tokens, B1TM."""
    return (is_query_BT[:, :, None] & is_key_BM[:, None, :])[:, None]


def same_segment(query_ids_BT: Array, key_ids_BM: Array) -> Array:
    """True where query and key belong to the same example of a packed row, B1TM."""
    return (query_ids_BT[:, :, None] == key_ids_BM[:, None, :])[:, None]


class RMSNorm(nn.Module):
    """Division by the root mean square over the last axis, in float32, then a learned scale.

    Source: Zhang and Sennrich 2019, arXiv:1910.07467; no mean is subtracted and there is no bias.
    """

    dtype: jnp.dtype = jnp.float32
    epsilon: float = 1e-6

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """``x`` normalised, in ``dtype``."""
        x = x.astype(jnp.float32)
        mean_square = jnp.square(x).mean(axis=-1, keepdims=True)
        scale = partitioning.param_with_axes(
            "scale", nn.initializers.ones, (x.shape[-1],), jnp.float32, axes=("embed",)
        )
        y = (x * jax.lax.rsqrt(mean_square + self.epsilon)).astype(self.dtype)
        return y * whole(scale, ("embed",), self.dtype)


class Dense(nn.Module):
    """A matrix product over the last axis, without bias."""

    features: int
    axes: tuple[str, str]
    dtype: jnp.dtype = jnp.float32
    kernel_init: Callable[..., Array] = DENSE_INIT

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """``x`` times the kernel, in ``dtype``."""
        shape = (x.shape[-1], self.features)
        kernel = partitioning.param_with_axes(
            "kernel", self.kernel_init, shape, jnp.float32, axes=self.axes
        )
        return x.astype(self.dtype) @ whole(kernel, self.axes, self.dtype)

    def weights(self) -> Array:
        """The kernel in ``dtype``, for a product made elsewhere."""
        return whole(self.variables["params"]["kernel"], self.axes, self.dtype)


class Embedding(nn.Module):
    """The token table: look-up, and scores of every token for a tied output."""

    vocab_size: int
    width: int
    dtype: jnp.dtype = jnp.float32
    one_hot: bool = False

    def setup(self):
        """Creates the table."""
        self.embedding = partitioning.param_with_axes(
            "embedding",
            nn.initializers.normal(stddev=1.0),
            (self.vocab_size, self.width),
            jnp.float32,
            axes=("vocab", "embed"),
        )

    def __call__(self, ids_BL: Array) -> Array:
        """Vectors of tokens, BLD.

        ``one_hot`` multiplies by an indicator matrix: equal values, for TPUs whose table is sharded
        over the vocabulary. On CPU it made a training step of mT5-small 1.6 times as long.
        """
        if not self.one_hot:
            # Clip: the default fills ids outside the table with NaN at the cost of a mask.
            vectors_BLD = jnp.take(self.whole_table(), ids_BL, axis=0, mode="clip")
            return together(vectors_BLD.astype(self.dtype))
        indicator_BLV = jax.nn.one_hot(ids_BL, self.vocab_size, dtype=self.dtype)
        return together(indicator_BLV @ self.whole_table(self.dtype))

    def attend(self, hidden_BTD: Array) -> Array:
        """Inner products with every row of the table, BTV float32."""
        return together(hidden_BTD).astype(jnp.float32) @ self.whole_table().T

    def whole_table(self, dtype: jnp.dtype = jnp.float32) -> Array:
        """All vectors, VD; see ``whole``."""
        return whole(self.embedding, ("vocab", "embed"), dtype)


class GatedMLP(nn.Module):
    """Product of one projection per activation, projected back.

    ``("gelu", "linear")`` is T5 1.1's gated GELU, ``("relu",)`` the MLP of T5 1.0.

    Source: Shazeer 2020, arXiv:2002.05202.
    """

    width: int
    mlp_width: int
    activations: tuple[str, ...]
    dropout_rate: float
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x_BLD: Array, deterministic: bool) -> Array:
        """The block's output, BLD; dropout masks whole features along the length."""
        single = len(self.activations) == 1
        gates_BLF = [
            ACTIVATIONS[name](
                Dense(
                    self.mlp_width,
                    ("embed", "mlp"),
                    self.dtype,
                    name="wi" if single else f"wi_{index}",
                )(x_BLD)
            )
            for index, name in enumerate(self.activations)
        ]
        hidden_BLF = functools.reduce(operator.mul, gates_BLF)
        dropout = nn.Dropout(self.dropout_rate, broadcast_dims=(-2,))
        hidden_BLF = dropout(hidden_BLF, deterministic=deterministic)
        hidden_BLF = constrain(hidden_BLF, ("batch", "length", "mlp"))
        return Dense(self.width, ("mlp", "embed"), self.dtype, name="wo")(hidden_BLF)


def relative_buckets(
    distance: np.ndarray,
    *,
    bidirectional: bool,
    num_buckets: int = 32,
    max_distance: int = 128,
) -> np.ndarray:
    """Bucket of every distance (query minus key, in tokens), int32.

    Near distances have a bucket each, then buckets grow logarithmically; from ``max_distance`` on
    all share the last. Keys after the query have the upper half of the buckets; in a decoder (not
    ``bidirectional``) they are masked anyway and share bucket 0.

    Source: Raffel et al. 2020, arXiv:1910.10683, section 2.1.
    """
    first = np.zeros_like(distance)
    if bidirectional:
        num_buckets //= 2
        first = np.where(distance < 0, num_buckets, 0)
        distance = np.abs(distance)
    distance = np.maximum(distance, 0)
    num_exact = num_buckets // 2
    # Float32 as in T5X: the last bit decides the bucket at powers of the logarithm's base.
    ratio = np.maximum(distance, 1).astype(np.float32) / num_exact
    ratio = np.log(ratio + np.finfo(np.float32).eps) / np.log(max_distance / num_exact)
    far = num_exact + (ratio * (num_buckets - num_exact)).astype(np.int32)
    bucket = np.where(distance < num_exact, distance, far.clip(max=num_buckets - 1))
    return (first + bucket).astype(np.int32)


def shear(by_distance: Array, num_queries: int, num_keys: int) -> Array:
    """The matrix whose element (t, m) is ``by_distance[:, m - t + T - 1]``, HTM.

    Args:
        by_distance: H rows of T + M - 1 values, from the last query's first key on.
        num_queries: T.
        num_keys: M.

    Rows of T + M read as rows of T + M - 1 are each moved by one: no gather, and the gradient is a
    plain sum (by gather or by a product with TM indicators it was the tiny step's largest part).
    """
    rows = jnp.pad(by_distance, ((0, 0), (0, 1)))
    rows = jnp.broadcast_to(rows[:, None], (rows.shape[0], num_queries, rows.shape[1]))
    num_heads, _, length = rows.shape
    flat = rows.reshape(num_heads, -1)
    start = num_queries - 1
    flat = flat[:, start : start + num_queries * (length - 1)]
    return flat.reshape(num_heads, num_queries, length - 1)[:, :, :num_keys]


class RelativeBias(nn.Module):
    """A learned score for each head and bucket of relative position, shared by a stack's layers."""

    num_heads: int
    num_buckets: int = 32
    max_distance: int = 128

    @nn.compact
    def __call__(self, num_queries: int, num_keys: int, *, bidirectional: bool) -> Array:
        """Bias of attention scores, HTM float32."""
        table_HR = partitioning.param_with_axes(
            "rel_embedding",
            BIAS_INIT,
            (self.num_heads, self.num_buckets),
            jnp.float32,
            axes=("heads", "relpos_buckets"),
        )
        # Only T + M - 1 distances differ: from the last query's to the first key downward.
        bucket = relative_buckets(
            np.arange(num_queries - 1, -num_keys, -1),
            bidirectional=bidirectional,
            num_buckets=self.num_buckets,
            max_distance=self.max_distance,
        )
        # A product with indicators: the gradient of a gather would add values one by one.
        indicator = jnp.arange(self.num_buckets)[:, None] == bucket
        by_distance = jnp.einsum(
            "HR,Rd->Hd",
            table_HR,
            indicator.astype(jnp.float32),
            precision=jax.lax.Precision.HIGHEST,  # the sum has one term: keep all its bits
        )
        return shear(by_distance, num_queries, num_keys)


@jax.custom_vjp
def add_bias(scores_BHTM: Array, bias_HTM: Array) -> Array:
    """Scores plus the bias that all rows share, BHTM float32.

    The bias's gradient is a sum over rows, here as a product with ones: as a reduction it was the
    largest single operation of the tiny training step on CPU, and the step 15 % longer.
    """
    return scores_BHTM + bias_HTM


def _add_bias_forward(scores_BHTM: Array, bias_HTM: Array) -> tuple[Array, None]:
    return scores_BHTM + bias_HTM, None


def _add_bias_backward(_: None, gradient_BHTM: Array) -> tuple[Array, Array]:
    ones_B = jnp.ones(gradient_BHTM.shape[0], gradient_BHTM.dtype)
    bias_HTM = jnp.einsum("B,BHTM->HTM", ones_B, gradient_BHTM, precision=jax.lax.Precision.HIGHEST)
    return gradient_BHTM, bias_HTM


add_bias.defvjp(_add_bias_forward, _add_bias_backward)


@struct.dataclass
class StepCache:
    """Keys and values of one attention layer, positions last.

    One query reads this layout 15 to 35 times as fast on CPU as the BMHK that projections give.
    """

    key: Array  # BHKM
    value: Array  # BHKM

    def write(self, position: Array, key_BHK: Array, value_BHK: Array) -> "StepCache":
        """The cache with ``position`` (an int32 scalar) replaced."""
        put = functools.partial(jax.lax.dynamic_update_index_in_dim, index=position, axis=-1)
        return StepCache(put(self.key, key_BHK), put(self.value, value_BHK))


def few_queries(num_queries: int, head_dim: int) -> bool:
    """Whether ``Attention.read`` is the quicker one for so many queries of each example.

    It has fewer operations below ``head_dim`` queries, in smaller and so slower products.
    """
    return 4 * num_queries <= head_dim


@struct.dataclass
class Source:
    """The encoded source itself, which ``Attention.read`` reads; the same for all layers."""

    encoded: Array  # BMD
    turned: Array  # BDM, the same: scores of one query take a quarter of the time on CPU

    @classmethod
    def of(cls, encoded_BMD: Array) -> "Source":
        """Both layouts."""
        return cls(encoded_BMD, encoded_BMD.transpose(0, 2, 1))


class Attention(nn.Module):
    """Multi-head attention without biases and without the scaling by the root of the head width.

    The scaling sits in the query's initialiser (Raffel et al. 2020, arXiv:1910.10683). Softmax runs
    in float32; ``float32_logits`` also multiplies queries and keys in float32.
    """

    width: int
    num_heads: int
    head_dim: int
    dropout_rate: float
    dtype: jnp.dtype = jnp.float32
    float32_logits: bool = False

    def setup(self):
        """Creates the four projections."""

        def query_init(*args):
            return ATTENTION_INIT(*args) / math.sqrt(self.head_dim)

        joined = self.num_heads * self.head_dim
        into = functools.partial(Dense, joined, ("embed", "joined_kv"), self.dtype)
        self.query = into(kernel_init=query_init)
        self.key = into(kernel_init=ATTENTION_INIT)
        self.value = into(kernel_init=ATTENTION_INIT)
        self.out = Dense(self.width, ("joined_kv", "embed"), self.dtype, ATTENTION_INIT)

    def heads(self, project: Dense, x_BLD: Array) -> Array:
        """A projection split into heads, BLHK."""
        split_BLHK = project(x_BLD).reshape(*x_BLD.shape[:-1], self.num_heads, self.head_dim)
        return constrain(split_BLHK, ("batch", "length", "heads", "kv"))

    def __call__(
        self,
        x_BTD: Array,
        source_BMD: Array,
        mask_B1TM: Array | None,
        bias_HTM: Array | None,
        deterministic: bool,
    ) -> Array:
        """Attention of every position of ``x_BTD`` to ``source_BMD``, BTD.

        Args:
            x_BTD: Queries' side.
            source_BMD: Keys' and values' side.
            mask_B1TM: True where a query may look; None: everywhere.
            bias_HTM: Added to the scores.
            deterministic: No dropout. Otherwise one mask of keys serves all queries, as in T5X.
        """
        is_few = few_queries(x_BTD.shape[1], self.head_dim)
        is_plain = deterministic and bias_HTM is None and mask_B1TM is not None
        if is_few and is_plain and not self.is_initializing():
            return self.read(x_BTD, Source.of(source_BMD), mask_B1TM)
        query_BTHK = self.heads(self.query, x_BTD)
        key_BMHK = self.heads(self.key, source_BMD)
        value_BMHK = self.heads(self.value, source_BMD)
        if self.float32_logits:
            query_BTHK, key_BMHK = query_BTHK.astype(jnp.float32), key_BMHK.astype(jnp.float32)
        scores_BHTM = jnp.einsum("BTHK,BMHK->BHTM", query_BTHK, key_BMHK).astype(jnp.float32)
        if bias_HTM is not None:
            scores_BHTM = add_bias(scores_BHTM, bias_HTM)
        if mask_B1TM is not None:
            scores_BHTM = jnp.where(mask_B1TM, scores_BHTM, MASKED)
        # Softmax, but its sum divides the small context instead of the weights: one pass less over
        # the largest array here.
        largest_BHT1 = jax.lax.stop_gradient(scores_BHTM.max(axis=-1, keepdims=True))
        weights_BHTM = jnp.exp(scores_BHTM - largest_BHT1)
        sum_BHT1 = weights_BHTM.sum(axis=-1, keepdims=True)
        probe(self, "attention", lambda: weights_BHTM / sum_BHT1)
        weights_BHTM = weights_BHTM.astype(self.dtype)
        if not deterministic and self.dropout_rate > 0:
            keep_rate = 1 - self.dropout_rate
            batch, heads, _, keys = weights_BHTM.shape
            keep = jax.random.bernoulli(
                self.make_rng("dropout"), keep_rate, (batch, heads, 1, keys)
            )
            weights_BHTM *= keep.astype(self.dtype) / jnp.asarray(keep_rate, self.dtype)
        context_BHTK = jnp.einsum("BHTM,BMHK->BHTK", weights_BHTM, value_BMHK)
        context_BTHK = (context_BHTK / sum_BHT1).astype(self.dtype).transpose(0, 2, 1, 3)
        context_BTHK = constrain(context_BTHK, ("batch", "length", "heads", "kv"))
        return self.out(context_BTHK.reshape(*x_BTD.shape[:-1], -1))

    def read(self, x_BTD: Array, source: Source, mask_B1TM: Array) -> Array:
        """Attention to a source whose keys and values are not made, BTD; no dropout, no bias.

        A score is the product of the source itself with the query taken through the keys' kernel,
        and the values' kernel comes after the weighted mean: equal in exact arithmetic.

            N queries times heads
        """
        key_DHK, value_DHK = (
            layer.weights().reshape(self.width, self.num_heads, self.head_dim)
            for layer in (self.key, self.value)
        )
        batch, length, _ = x_BTD.shape
        query_BTHD = jnp.einsum("BTHK,DHK->BTHD", self.heads(self.query, x_BTD), key_DHK)
        query_BND, source_BDM = query_BTHD.reshape(batch, -1, self.width), source.turned
        if self.float32_logits:
            query_BND, source_BDM = query_BND.astype(jnp.float32), source_BDM.astype(jnp.float32)
        scores_BNM = jnp.einsum("BND,BDM->BNM", query_BND, source_BDM).astype(jnp.float32)
        scores_BTHM = scores_BNM.reshape(batch, length, self.num_heads, -1)
        scores_BTHM = jnp.where(mask_B1TM.transpose(0, 2, 1, 3), scores_BTHM, MASKED)
        weights_BNM = jax.nn.softmax(scores_BTHM).astype(self.dtype).reshape(scores_BNM.shape)
        mean_BND = jnp.einsum("BNM,BMD->BND", weights_BNM, source.encoded)
        context_BTHK = jnp.einsum("BTHD,DHK->BTHK", mean_BND.reshape(query_BTHD.shape), value_DHK)
        return self.out(context_BTHK.reshape(batch, length, -1))

    def memory(self, source_BMD: Array) -> StepCache:
        """Keys and values of all of ``source_BMD``, to be read by every decoding step."""
        key_BHKM = self.heads(self.key, source_BMD).transpose(0, 2, 3, 1)
        value_BHKM = self.heads(self.value, source_BMD).transpose(0, 2, 3, 1)
        return StepCache(key_BHKM, value_BHKM)

    def step(self, x_B1D: Array, cache: StepCache, mask_BM: Array, bias_HM: Array | None) -> Array:
        """Attention of one query per example to ``cache``, B1D; ``mask_BM`` may have B = 1."""
        query_BHK = self.heads(self.query, x_B1D)[:, 0]
        key_BHKM = cache.key
        if self.float32_logits:
            query_BHK, key_BHKM = query_BHK.astype(jnp.float32), key_BHKM.astype(jnp.float32)
        scores_BHM = jnp.einsum("BHK,BHKM->BHM", query_BHK, key_BHKM).astype(jnp.float32)
        if bias_HM is not None:
            scores_BHM += bias_HM
        scores_BHM = jnp.where(mask_BM[:, None], scores_BHM, MASKED)
        weights_BHM = jax.nn.softmax(scores_BHM).astype(self.dtype)
        context_BHK = jnp.einsum("BHM,BHKM->BHK", weights_BHM, cache.value)
        return self.out(context_BHK.reshape(x_B1D.shape[0], 1, -1))

    def causal_step(
        self, x_B1D: Array, cache: StepCache, position: Array, bias_HTT: Array
    ) -> tuple[Array, StepCache]:
        """Self-attention of the token at ``position`` to all up to itself, and the new cache."""
        key_BHK = self.heads(self.key, x_B1D)[:, 0]
        value_BHK = self.heads(self.value, x_B1D)[:, 0]
        cache = cache.write(position, key_BHK, value_BHK)
        bias_HT = jax.lax.dynamic_index_in_dim(bias_HTT, position, axis=1, keepdims=False)
        mask_1T = (jnp.arange(cache.key.shape[-1]) <= position)[None]
        return self.step(x_B1D, cache, mask_1T, bias_HT), cache

    def cached(self, x_BTD: Array, bias_HTT: Array) -> Array:
        """Causal self-attention by T5X's protocol: the cache is Flax's mutable collection "cache".

        The first call (no cache yet) gives the shape and makes zeros; a later one feeds one token.
        """
        if not self.has_variable("cache", "cached_key"):
            batch, length, _ = x_BTD.shape
            zeros = jnp.zeros((batch, self.num_heads, self.head_dim, length), self.dtype)
            self.put_variable("cache", "cached_key", zeros)
            self.put_variable("cache", "cached_value", zeros)
            self.put_variable("cache", "cache_index", jnp.zeros((), jnp.int32))
            return self(x_BTD, x_BTD, None, bias_HTT, deterministic=True)
        key = self.get_variable("cache", "cached_key")
        position = self.get_variable("cache", "cache_index")
        expected = (key.shape[0], 1, self.width), key.shape[-1]
        if (x_BTD.shape, bias_HTT.shape[-1]) != expected:
            raise ValueError(
                f"A decoding step got inputs of shape {x_BTD.shape} and max_decode_length "
                f"{bias_HTT.shape[-1]}; the cache was made for {expected[0]} and {expected[1]}. "
                "Feed one token at a time and pass the length the cache was made with."
            )
        cache = StepCache(key, self.get_variable("cache", "cached_value"))
        output_B1D, cache = self.causal_step(x_BTD, cache, position, bias_HTT)
        self.put_variable("cache", "cached_key", cache.key)
        self.put_variable("cache", "cached_value", cache.value)
        self.put_variable("cache", "cache_index", position + 1)
        return output_B1D
