"""mT5: T5 1.1's encoder-decoder with T5X's parameter names, logical axes and call signature."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import struct
from flax.linen import partitioning

from xlt_jax.arrays import Array
from xlt_jax.models import layers, stacks

DTYPES = ("float32", "bfloat16")
CHOICES = {
    "embedding_lookup": ("gather", "one_hot"),
    "relative_bias": ("shared", "per_layer"),
    "scan_layers": (False, True),
    "remat_policy": stacks.REMAT_POLICIES,
    "layer_aggregation": (False, True),
}


@dataclasses.dataclass(frozen=True)
class T5Config:
    """Sizes and options of the network; fields and defaults are T5X's, but for the last six.

    mT5 has ``mlp_activations=("gelu", "linear")``, umT5 also ``relative_bias="per_layer"``.

    Attributes:
        dtype: Of activations; parameters, softmax and logits are float32.
        logits_via_embedding: Output tied to the token table (T5 1.0).
        float32_attention_logits: Multiplies queries and keys in float32 whatever ``dtype`` is.
        embedding_lookup: "gather", or "one_hot" for TPUs with the table sharded over tokens.
        relative_bias: "shared": one table of relative positions for all layers of a stack (T5,
            mT5, ByT5); "per_layer": one in each layer (umT5).
        scan_layers: Layers are stacked and run by a scan, with the parameter names of T5X's
            scalable_t5 (which splits attention's "joined_kv" in two axes). Compiles faster, decodes
            slower: every step copies the cache.
        remat_policy: What the backward pass computes anew to save memory, by T5X's names: "none",
            "full" all but the input of each layer, "minimal" all but that and the products with
            parameters.
        layer_aggregation: The encoder's output mixes all its layers, see ``LayerAggregation``.
        logits_chunks: In training the positions are scored in so many parts, one after the other,
            so that the logits, the largest array of all, are never whole in memory. For objectives
            that read nothing but a cross entropy from them; others make them whole.

    Raises:
        ValueError: A size below 1, a rate outside [0, 1), an unknown dtype, activation or option.
    """

    vocab_size: int
    dtype: jnp.dtype = jnp.float32
    emb_dim: int = 512
    num_heads: int = 8
    num_encoder_layers: int = 6
    num_decoder_layers: int = 6
    head_dim: int = 64
    mlp_dim: int = 2048
    mlp_activations: Sequence[str] = ("relu",)
    dropout_rate: float = 0.1
    logits_via_embedding: bool = False
    float32_attention_logits: bool = False
    embedding_lookup: str = "gather"
    relative_bias: str = "shared"
    scan_layers: bool = False
    remat_policy: str = "none"
    layer_aggregation: bool = False
    logits_chunks: int = 1

    def __post_init__(self):
        for field in dataclasses.fields(self):
            size = getattr(self, field.name)
            if field.type is int and (not isinstance(size, int) or size < 1):
                raise ValueError(f"T5Config.{field.name} is {size!r}; give a whole number from 1.")
        if not 0 <= self.dropout_rate < 1:
            raise ValueError(
                f"T5Config.dropout_rate is {self.dropout_rate!r}; give a number from 0 to below 1."
            )
        dtype = self.dtype if isinstance(self.dtype, str) else jnp.dtype(self.dtype).name
        if dtype not in DTYPES:
            raise ValueError(f"T5Config.dtype is {self.dtype!r}; give one of {DTYPES}.")
        unknown = [name for name in self.mlp_activations if name not in layers.ACTIVATIONS]
        if unknown or not self.mlp_activations or isinstance(self.mlp_activations, str):
            raise ValueError(
                f"T5Config.mlp_activations is {self.mlp_activations!r}; give a tuple of "
                f"{', '.join(layers.ACTIVATIONS)}. mT5 has ('gelu', 'linear')."
            )
        for name, allowed in CHOICES.items():
            value = getattr(self, name)
            if value not in allowed or type(value) is not type(allowed[0]):
                raise ValueError(f"T5Config.{name} is {value!r}; give one of {allowed}.")
        # Gin gives strings and lists; Flax wants hashable values.
        object.__setattr__(self, "dtype", jnp.dtype(dtype))
        object.__setattr__(self, "mlp_activations", tuple(self.mlp_activations))

    @property
    def rows_axis(self) -> int:
        """Axis of the examples in caches and stacked sources: scanned layers come first."""
        return int(self.scan_layers)


@struct.dataclass
class Memory:
    """What every decoding step reads and no step changes."""

    # A layers.Source for short outputs, for long ones a StepCache for each layer, or stacked.
    source: Any
    is_source: Array  # BL, True on source tokens
    bias: Any  # HTT, relative position bias of the decoder; "per_layer" one for each, or stacked

    def take(self, rows_N: Array, rows_axis: int) -> "Memory":
        """That of some rows, in any order and number; ``rows_axis`` is ``T5Config``'s."""
        source_axis = 0 if isinstance(self.source, layers.Source) else rows_axis
        return self.replace(
            source=take_rows(self.source, rows_N, source_axis),
            is_source=jnp.take(self.is_source, rows_N, axis=0),
        )


def take_rows(tree: Any, rows_N: Array, rows_axis: int) -> Any:
    """Some rows of every array, of caches or ``Memory.source``."""
    return jax.tree.map(lambda leaf: jnp.take(leaf, rows_N, rows_axis), tree)


def layer_axis(path: str) -> int | None:
    """The axis of layers in the parameter at ``path``, such as "encoder/encoder/mlp/wo/kernel".

    None of a parameter that no scan stacked.
    """
    is_stacked = path.startswith(("encoder/encoder/", "decoder/decoder/"))
    return stacks.LAYER_AXIS if is_stacked else None


def make_norm(config: T5Config) -> layers.RMSNorm:
    """A norm in the network's dtype."""
    return layers.RMSNorm(config.dtype)


def make_attention(config: T5Config) -> layers.Attention:
    """An attention layer of the network's sizes."""
    return layers.Attention(
        width=config.emb_dim,
        num_heads=config.num_heads,
        head_dim=config.head_dim,
        dropout_rate=config.dropout_rate,
        dtype=config.dtype,
        float32_logits=config.float32_attention_logits,
    )


def make_mlp(config: T5Config) -> layers.GatedMLP:
    """A gated MLP of the network's sizes."""
    return layers.GatedMLP(
        config.emb_dim, config.mlp_dim, config.mlp_activations, config.dropout_rate, config.dtype
    )


def make_dropout(config: T5Config) -> nn.Dropout:
    """Dropout of whole features: one mask for all positions of an example."""
    return nn.Dropout(config.dropout_rate, broadcast_dims=(-2,))


class EncoderLayer(nn.Module):
    """Self-attention and MLP, each normalised before and added to its input."""

    config: T5Config

    def setup(self):
        """Creates the sublayers."""
        if self.config.relative_bias == "per_layer":
            self.relpos_bias = layers.RelativeBias(self.config.num_heads)
        self.pre_attention_layer_norm = make_norm(self.config)
        self.attention = make_attention(self.config)
        self.pre_mlp_layer_norm = make_norm(self.config)
        self.mlp = make_mlp(self.config)
        self.dropout = make_dropout(self.config)

    def __call__(
        self, x_BLD: Array, mask_B1LL: Array, bias_HLL: Array | None, deterministic: bool
    ) -> Array:
        """The layer's output, BLD; without ``bias_HLL`` it has its own."""
        if bias_HLL is None:
            length = x_BLD.shape[1]
            bias_HLL = self.relpos_bias(length, length, bidirectional=True)
        y_BLD = layers.together(self.pre_attention_layer_norm(x_BLD))
        y_BLD = self.attention(y_BLD, y_BLD, mask_B1LL, bias_HLL, deterministic)
        x_BLD = layers.between(x_BLD + self.dropout(y_BLD, deterministic=deterministic))
        y_BLD = layers.together(self.pre_mlp_layer_norm(x_BLD))
        y_BLD = self.mlp(y_BLD, deterministic)
        return layers.between(x_BLD + self.dropout(y_BLD, deterministic=deterministic))


class DecoderLayer(nn.Module):
    """Causal self-attention, attention to the source, and MLP."""

    config: T5Config

    def setup(self):
        """Creates the sublayers."""
        if self.config.relative_bias == "per_layer":
            self.relpos_bias = layers.RelativeBias(self.config.num_heads)
        self.pre_self_attention_layer_norm = make_norm(self.config)
        self.self_attention = make_attention(self.config)
        self.pre_cross_attention_layer_norm = make_norm(self.config)
        self.encoder_decoder_attention = make_attention(self.config)
        self.pre_mlp_layer_norm = make_norm(self.config)
        self.mlp = make_mlp(self.config)
        self.dropout = make_dropout(self.config)

    def __call__(
        self,
        x_BTD: Array,
        encoded_BLD: Array,
        self_mask_B1TT: Array | None,
        cross_mask_B1TL: Array,
        bias_HTT: Array | None,
        max_decode_length: int,
        deterministic: bool,
    ) -> Array:
        """The layer's output, BTD; without ``self_mask_B1TT`` one step of T5X's cache protocol.

        Without ``bias_HTT`` the layer has its own, for ``max_decode_length`` positions.
        """
        if bias_HTT is None:
            bias_HTT = self.relpos_bias(max_decode_length, max_decode_length, bidirectional=False)
        y_BTD = layers.together(self.pre_self_attention_layer_norm(x_BTD))
        if self_mask_B1TT is None:
            y_BTD = self.self_attention.cached(y_BTD, bias_HTT)
        else:
            y_BTD = self.self_attention(y_BTD, y_BTD, self_mask_B1TT, bias_HTT, deterministic)
        x_BTD = layers.between(x_BTD + self.dropout(y_BTD, deterministic=deterministic))
        y_BTD = layers.together(self.pre_cross_attention_layer_norm(x_BTD))
        y_BTD = self.encoder_decoder_attention(
            y_BTD, encoded_BLD, cross_mask_B1TL, None, deterministic
        )
        x_BTD = layers.between(x_BTD + self.dropout(y_BTD, deterministic=deterministic))
        y_BTD = layers.together(self.pre_mlp_layer_norm(x_BTD))
        y_BTD = self.mlp(y_BTD, deterministic)
        return layers.between(x_BTD + self.dropout(y_BTD, deterministic=deterministic))

    def step(
        self,
        x_B1D: Array,
        cache: layers.StepCache,
        position: Array,
        source: layers.Source | layers.StepCache,
        is_source_BL: Array,
        bias_HTT: Array,
    ) -> tuple[Array, layers.StepCache]:
        """The layer's output for one token, B1D, and its new cache."""
        y_B1D = self.pre_self_attention_layer_norm(x_B1D)
        y_B1D, cache = self.self_attention.causal_step(y_B1D, cache, position, bias_HTT)
        x_B1D = x_B1D + y_B1D
        y_B1D = self.pre_cross_attention_layer_norm(x_B1D)
        attention = self.encoder_decoder_attention
        if isinstance(source, layers.Source):
            x_B1D = x_B1D + attention.read(y_B1D, source, is_source_BL[:, None, None])
        else:
            x_B1D = x_B1D + attention.step(y_B1D, source, is_source_BL, None)
        return x_B1D + self.mlp(self.pre_mlp_layer_norm(x_B1D), deterministic=True), cache


class LayerAggregation(nn.Module):
    """A mean of all layers' outputs, weighted by attention, mixed into the last one.

    Of each token z = sum_n a_n h_n with a = softmax_n(query . norm(h_n)); the result is
    h_N + gate (z - h_N). Query and gate begin at zero, so that a trained network is at first what
    it was. A training step costs no more (CPU; ``python -m bench``).

    Source: Chen et al. 2022, arXiv:2205.08497, of which only a sketch is known here; the gate and
    the norm are ours.
    """

    @nn.compact
    def __call__(self, states_NBLD: Array) -> Array:
        """The mixed states, BLD, in the type that came."""
        width, zeros = states_NBLD.shape[-1], nn.initializers.zeros
        query_D, gate_D = (
            partitioning.param_with_axes(name, zeros, (width,), jnp.float32, axes=("embed",))
            for name in ("query", "gate")
        )
        query_D, gate_D = (
            layers.whole(vector_D, ("embed",), jnp.float32) for vector_D in (query_D, gate_D)
        )
        states_NBLD = states_NBLD.astype(jnp.float32)
        scale_NBL1 = jax.lax.rsqrt(jnp.square(states_NBLD).mean(axis=-1, keepdims=True) + 1e-6)
        scores_NBL = jnp.einsum("NBLD,D->NBL", states_NBLD * scale_NBL1, query_D)
        mean_BLD = jnp.einsum("NBL,NBLD->BLD", jax.nn.softmax(scores_NBL, axis=0), states_NBLD)
        last_BLD = states_NBLD[-1]
        return last_BLD + gate_D * (mean_BLD - last_BLD)


class Encoder(nn.Module):
    """The stack of encoder layers."""

    config: T5Config

    def setup(self):
        """Creates the layers."""
        config = self.config
        if config.relative_bias == "shared":
            self.relpos_bias = layers.RelativeBias(config.num_heads)
        if config.scan_layers:
            self.encoder = EncoderLayer(config)  # for all layers; the name is scalable_t5's
        else:
            self.layers = [EncoderLayer(config) for _ in range(config.num_encoder_layers)]
        if config.layer_aggregation:
            self.layer_aggregation = LayerAggregation()
        self.encoder_norm = make_norm(config)
        self.input_dropout = make_dropout(config)
        self.output_dropout = nn.Dropout(config.dropout_rate)  # every value, as in T5X

    def __call__(
        self, x_BLD: Array, mask_B1LL: Array, deterministic: bool, num_layers: int | None = None
    ) -> Array:
        """Encoded tokens, BLD, normalised; after ``num_layers`` as they are, unless it is None."""
        config, length, bias_HLL = self.config, x_BLD.shape[1], None
        if config.relative_bias == "shared":
            bias_HLL = self.relpos_bias(length, length, bidirectional=True)
            if deterministic:
                # XLA on CPU would compute it anew in every layer: a quarter of a tiny encoder's
                # time at 384 tokens. A training step was no shorter.
                bias_HLL = jax.lax.optimization_barrier(bias_HLL)
        x_BLD = layers.between(self.input_dropout(x_BLD, deterministic=deterministic))
        layers.probe(self, "embedded", lambda: x_BLD)
        keeps_states = config.layer_aggregation or self.is_mutable_collection(layers.PROBES)

        def one(layer: EncoderLayer, x_BLD: Array) -> tuple[Array, Array | None]:
            x_BLD = layer(x_BLD, mask_B1LL, bias_HLL, deterministic)
            return x_BLD, x_BLD if keeps_states else None

        x_BLD, states = stacks.run(
            self.encoder if config.scan_layers else self.layers,
            one,
            x_BLD,
            length=config.num_encoder_layers,
            stop=num_layers,
            remat_policy=config.remat_policy,
        )
        if num_layers is not None:
            return x_BLD
        layers.probe(self, "states", lambda: states)
        if config.layer_aggregation:
            states_NBLD = states if config.scan_layers else jnp.stack(states)
            x_BLD = self.layer_aggregation(states_NBLD).astype(x_BLD.dtype)
        x_BLD = self.output_dropout(self.encoder_norm(x_BLD), deterministic=deterministic)
        return layers.together(x_BLD)


class Decoder(nn.Module):
    """The stack of decoder layers, and the output projection unless that is the token table."""

    config: T5Config

    def setup(self):
        """Creates the layers."""
        config = self.config
        if config.relative_bias == "shared":
            self.relpos_bias = layers.RelativeBias(config.num_heads)
        if config.scan_layers:
            self.decoder = DecoderLayer(config)  # for all layers; the name is scalable_t5's
        else:
            self.layers = [DecoderLayer(config) for _ in range(config.num_decoder_layers)]
        self.decoder_norm = make_norm(config)
        self.dropout = make_dropout(config)
        if not config.logits_via_embedding:
            self.logits_dense = layers.Dense(config.vocab_size, ("embed", "vocab"), jnp.float32)

    def __call__(
        self,
        x_BTD: Array,
        encoded_BLD: Array,
        self_mask_B1TT: Array | None,
        cross_mask_B1TL: Array,
        max_decode_length: int,
        deterministic: bool,
    ) -> Array:
        """Decoded tokens, BTD, normalised."""
        bias_HTT = None
        if self.config.relative_bias == "shared":
            bias_HTT = self.relpos_bias(max_decode_length, max_decode_length, bidirectional=False)

        def one(layer: DecoderLayer, x_BTD: Array) -> tuple[Array, None]:
            x_BTD = layer(
                x_BTD,
                encoded_BLD,
                self_mask_B1TT,
                cross_mask_B1TL,
                bias_HTT,
                max_decode_length,
                deterministic,
            )
            return x_BTD, None

        x_BTD = layers.between(self.dropout(x_BTD, deterministic=deterministic))
        x_BTD, _ = self._over_layers(one, x_BTD, remat_policy=self.config.remat_policy)
        x_BTD = self.dropout(self.decoder_norm(x_BTD), deterministic=deterministic)
        return layers.together(x_BTD)

    def memory(self, encoded_BLD: Array, mask_BL: Array, max_decode_length: int) -> Memory:
        """All that decoding steps read, computed once."""

        def keys_and_values(layer: DecoderLayer, carry: tuple) -> tuple[tuple, layers.StepCache]:
            return carry, layer.encoder_decoder_attention.memory(encoded_BLD)

        def own_bias(layer: DecoderLayer, carry: tuple) -> tuple[tuple, Array]:
            size = (max_decode_length, max_decode_length)
            return carry, layer.relpos_bias(*size, bidirectional=False)

        if self.config.relative_bias == "shared":
            bias = self.relpos_bias(max_decode_length, max_decode_length, bidirectional=False)
        else:
            _, bias = self._over_layers(own_bias, ())
        if layers.few_queries(max_decode_length, self.config.head_dim):
            source = layers.Source.of(encoded_BLD)
        else:
            _, source = self._over_layers(keys_and_values, ())
        return Memory(source, mask_BL, bias)

    def step(self, x_B1D: Array, caches: Any, position: Array, memory: Memory) -> tuple[Array, Any]:
        """One decoded token, B1D, normalised, and the new caches."""
        is_shared = self.config.relative_bias == "shared"

        def one(
            layer: DecoderLayer,
            x_B1D: Array,
            cache: layers.StepCache,
            own_source: layers.StepCache | None,
            own_bias_HTT: Array | None,
        ) -> tuple[Array, layers.StepCache]:
            bias_HTT = memory.bias if is_shared else own_bias_HTT
            source = memory.source if is_whole else own_source
            return layer.step(x_B1D, cache, position, source, memory.is_source, bias_HTT)

        is_whole = isinstance(memory.source, layers.Source)
        own_biases = None if is_shared else memory.bias
        own_sources = None if is_whole else memory.source
        x_B1D, caches = self._over_layers(one, x_B1D, caches, own_sources, own_biases)
        return self.decoder_norm(x_B1D), caches

    def _over_layers(
        self, body: Callable, carry: Any, *own: Any, remat_policy: str = "none"
    ) -> tuple[Any, Any]:
        return stacks.run(
            self.decoder if self.config.scan_layers else self.layers,
            body,
            carry,
            *own,
            length=self.config.num_decoder_layers,
            remat_policy=remat_policy,
        )


class Transformer(nn.Module):
    """The encoder-decoder. Token 0 is padding, and the decoder's first input."""

    config: T5Config

    @property
    def scan_layers(self) -> bool:
        """Whether T5X's decoding finds the layers first in caches."""
        return self.config.scan_layers

    def setup(self):
        """Creates table and stacks."""
        config = self.config
        self.token_embedder = layers.Embedding(
            config.vocab_size, config.emb_dim, config.dtype, config.embedding_lookup == "one_hot"
        )
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)

    def __call__(
        self,
        encoder_input_tokens: Array,
        decoder_input_tokens: Array,
        decoder_target_tokens: Array,
        encoder_segment_ids: Array | None = None,
        decoder_segment_ids: Array | None = None,
        encoder_positions: Array | None = None,
        decoder_positions: Array | None = None,
        *,
        enable_dropout: bool = True,
        decode: bool = False,
    ) -> Array:
        """Logits, BTV float32, under teacher forcing.

        Args:
            encoder_input_tokens: BL.
            decoder_input_tokens: BT, the targets shifted right.
            decoder_target_tokens: BT; 0 marks padding.
            encoder_segment_ids: BL, number of the example within a packed row.
            decoder_segment_ids: BT.
            encoder_positions: Unused, since relative positions agree within a packed example.
            decoder_positions: Unused.
            enable_dropout: Needs the random stream "dropout".
            decode: Makes the collection "cache" for T5X's decoding.
        """
        encoded_BLD = self.encode(encoder_input_tokens, encoder_segment_ids, enable_dropout)
        return self.decode(
            encoded_BLD,
            encoder_input_tokens,
            decoder_input_tokens,
            decoder_target_tokens,
            encoder_segment_ids,
            decoder_segment_ids,
            decoder_positions,
            enable_dropout=enable_dropout,
            decode=decode,
        )

    def all_states(self, encoder_input_tokens: Array) -> Array:
        """States of all depths, NBLD float32: the token vectors, then after each encoder layer.

        To be called with the collection "probes" mutable; without dropout. As ``encoder_states``.
        """
        self.encoder_states(encoder_input_tokens, None)
        found = self.encoder.variables[layers.PROBES]
        states = [found["embedded"], *found["states"]]
        return jnp.stack([x_BLD.astype(jnp.float32) for x_BLD in states])

    def encode(
        self,
        encoder_input_tokens: Array,
        encoder_segment_ids: Array | None = None,
        enable_dropout: bool = True,
        perturb: Callable[[Array], Array] | None = None,
    ) -> Array:
        """Encoded tokens, BLD; ``perturb`` takes and gives the token vectors, BLD."""
        tokens_BL = check_tokens("encoder_input_tokens", encoder_input_tokens)
        mask_B1LL = layers.pair_mask(tokens_BL > 0, tokens_BL > 0)
        if encoder_segment_ids is not None:
            mask_B1LL &= layers.same_segment(encoder_segment_ids, encoder_segment_ids)
        embedded_BLD = self.token_embedder(tokens_BL)
        if perturb:
            embedded_BLD = perturb(embedded_BLD)
        return self.encoder(embedded_BLD, mask_B1LL, deterministic=not enable_dropout)

    def encoder_states(
        self, encoder_input_tokens: Array, num_layers: int | None, enable_dropout: bool = False
    ) -> Array:
        """States after ``num_layers`` encoder layers (None: all, and the final norm), BLD.

        For decoding and pooling, which skip padding: only there the states differ from ``encode``'s
        and so from T5X's. A mask of keys alone made the tiny encoder a quarter faster on CPU.
        """
        if num_layers is not None and not 0 <= num_layers <= self.config.num_encoder_layers:
            raise ValueError(
                f"Encoder layer {num_layers!r} was asked for; give 0 (token vectors) to "
                f"{self.config.num_encoder_layers}, or None for the final output."
            )
        tokens_BL = check_tokens("encoder_input_tokens", encoder_input_tokens)
        mask_B11L = (tokens_BL > 0)[:, None, None]
        embedded_BLD = self.token_embedder(tokens_BL)
        return self.encoder(embedded_BLD, mask_B11L, not enable_dropout, num_layers)

    def decode(
        self,
        encoded: Array,
        encoder_input_tokens: Array,
        decoder_input_tokens: Array,
        decoder_target_tokens: Array,
        encoder_segment_ids: Array | None = None,
        decoder_segment_ids: Array | None = None,
        decoder_positions: Array | None = None,
        enable_dropout: bool = True,
        decode: bool = False,
        max_decode_length: int | None = None,
    ) -> Array:
        """Logits, BTV float32.

        With ``decode`` this is T5X's protocol: a first call without the collection "cache" makes
        it, each later one feeds one token (T = 1) and needs ``max_decode_length``, the cache's.
        """
        hidden_BTD = self.hidden(
            encoded,
            encoder_input_tokens,
            decoder_input_tokens,
            decoder_target_tokens,
            encoder_segment_ids,
            decoder_segment_ids,
            enable_dropout=enable_dropout,
            decode=decode,
            max_decode_length=max_decode_length,
        )
        return self.logits(hidden_BTD)

    def hidden(
        self,
        encoded: Array,
        encoder_input_tokens: Array,
        decoder_input_tokens: Array,
        decoder_target_tokens: Array,
        encoder_segment_ids: Array | None = None,
        decoder_segment_ids: Array | None = None,
        *,
        enable_dropout: bool = True,
        decode: bool = False,
        max_decode_length: int | None = None,
    ) -> Array:
        """What ``logits`` turns into logits, BTD: the decoder's states after its final norm."""
        tokens_BT = check_tokens("decoder_input_tokens", decoder_input_tokens)
        if decode and encoder_segment_ids is not None:
            raise ValueError("encoder_segment_ids came with decode=True; decode unpacked examples.")
        length = tokens_BT.shape[1]
        if decode:  # tokens so far are all real, and the cache knows how many there are
            self_mask_B1TT = None
            is_target_BT = jnp.ones_like(tokens_BT, bool)
        else:
            is_target_BT = decoder_target_tokens > 0
            self_mask_B1TT = layers.pair_mask(is_target_BT, is_target_BT)
            self_mask_B1TT &= jnp.tril(jnp.ones((length, length), bool))
            if decoder_segment_ids is not None:
                self_mask_B1TT &= layers.same_segment(decoder_segment_ids, decoder_segment_ids)
        cross_mask_B1TL = layers.pair_mask(is_target_BT, encoder_input_tokens > 0)
        if encoder_segment_ids is not None:
            cross_mask_B1TL &= layers.same_segment(decoder_segment_ids, encoder_segment_ids)
        return self.decoder(
            self.token_embedder(tokens_BT),
            encoded,
            self_mask_B1TT,
            cross_mask_B1TL,
            max_decode_length=(decode and max_decode_length) or length,
            deterministic=not enable_dropout,
        )

    def logits(self, hidden_BTD: Array) -> Array:
        """Float32 scores of all tokens, BTV."""
        if self.config.logits_via_embedding:
            return self.token_scores(hidden_BTD)
        return self.decoder.logits_dense(hidden_BTD)

    def token_scores(self, states_BKD: Array) -> Array:
        """Float32 scores of all tokens by the token table, BKV, scaled as T5's tied output is.

        Of encoder states a masked-token head without weights of its own: mT5's output layer reads
        the decoder.
        """
        return self.token_embedder.attend(states_BKD) / jnp.sqrt(self.config.emb_dim)

    def output_kernel(self) -> Array:
        """The matrix that ``logits`` multiplies by, DV float32."""
        if self.config.logits_via_embedding:
            return self.token_kernel()
        return self.decoder.logits_dense.weights()

    def token_kernel(self) -> Array:
        """The matrix that ``token_scores`` multiplies by, DV float32."""
        return self.token_embedder.whole_table().T / jnp.sqrt(self.config.emb_dim)

    def output_vectors(self, ids: Array) -> Array:
        """Float32 vectors whose inner products with states are the logits of ``ids``, (*ids, D).

        For few ids of a large vocabulary: take them once before many steps, as columns of the
        output layer lie far apart in memory.
        """
        if self.config.logits_via_embedding:
            return self.token_embedder.whole_table()[ids] / jnp.sqrt(self.config.emb_dim)
        kernel_DV = self.decoder.logits_dense.weights()
        return jnp.moveaxis(jnp.take(kernel_DV, ids, axis=1, mode="clip"), 0, -1)

    def encoder_probes(self, probes: Mapping[str, Any]) -> tuple[Array, Any]:
        """Token vectors, BLD, and of each layer its attention, BHLL, of the collection "probes"."""
        found = probes["encoder"]
        if self.config.scan_layers:
            return found["embedded"], found["encoder"]["attention"]["attention"]
        numbers = range(self.config.num_encoder_layers)
        return found["embedded"], tuple(
            found[f"layers_{n}"]["attention"]["attention"] for n in numbers
        )

    def memory(
        self, encoded_BLD: Array, encoder_input_tokens: Array, max_decode_len: int
    ) -> Memory:
        """What all decoding steps of ``encoded_BLD`` share."""
        return self.decoder.memory(encoded_BLD, encoder_input_tokens > 0, max_decode_len)

    def step(self, ids_B: Array, caches: Any, position: Array, memory: Memory) -> tuple[Array, Any]:
        """Logits after one more token, BV float32, and the new caches; no dropout.

        Args:
            ids_B: The token at ``position``: 0 at first, then the one chosen last.
            caches: Of the earlier positions; at first those of ``empty_caches``.
            position: Int32 scalar from 0.
            memory: From ``memory``.
        """
        hidden_BD, caches = self.step_states(ids_B, caches, position, memory)
        return self.logits(hidden_BD[:, None])[:, 0], caches

    def step_states(
        self, ids_B: Array, caches: Any, position: Array, memory: Memory
    ) -> tuple[Array, Any]:
        """As ``step``, with what ``logits`` turns into logits, BD."""
        hidden_B1D, caches = self.decoder.step(
            self.token_embedder(ids_B[:, None]), caches, position, memory
        )
        return hidden_B1D[:, 0], caches


def plain(network: Transformer) -> Transformer:
    """The network that computes the same, nothing twice and no look-up as a product."""
    config = dataclasses.replace(
        network.config, remat_policy="none", embedding_lookup="gather", logits_chunks=1
    )
    return network if config == network.config else network.clone(config=config)


def empty_caches(config: T5Config, batch_size: int, max_decode_len: int) -> Any:
    """The decoder's caches before the first step: one for each layer, or one of stacked arrays."""
    shape = (batch_size, config.num_heads, config.head_dim, max_decode_len)
    if config.scan_layers:
        zeros = jnp.zeros((config.num_decoder_layers, *shape), config.dtype)
        return layers.StepCache(zeros, zeros)
    zeros = jnp.zeros(shape, config.dtype)
    return (layers.StepCache(zeros, zeros),) * config.num_decoder_layers


def check_tokens(name: str, tokens: Array) -> Array:
    """``tokens`` as int32, after a check of their rank."""
    if tokens.ndim != 2 or tokens.shape[1] == 0:
        raise ValueError(
            f"{name} has shape {tokens.shape}; it must be (examples, length) with length from 1."
        )
    return tokens.astype(jnp.int32)
