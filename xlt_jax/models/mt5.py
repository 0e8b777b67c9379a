"""mT5: T5 1.1's encoder-decoder with T5X's parameter names, logical axes and call signature."""

import dataclasses
from collections.abc import Sequence

import jax.numpy as jnp
from flax import linen as nn
from flax import struct

from xlt_jax.arrays import Array
from xlt_jax.models import layers

DTYPES = ("float32", "bfloat16")
LOOKUPS = ("gather", "one_hot")


@dataclasses.dataclass(frozen=True)
class T5Config:
    """Sizes and options of the network; fields and defaults are T5X's, but for the last.

    mT5 has ``mlp_activations=("gelu", "linear")``.

    Attributes:
        dtype: Of activations; parameters, softmax and logits are float32.
        logits_via_embedding: Output tied to the token table (T5 1.0).
        float32_attention_logits: Multiplies queries and keys in float32 whatever ``dtype`` is.
        embedding_lookup: "gather", or "one_hot" for TPUs with the table sharded over tokens.

    Raises:
        ValueError: A size below 1, a rate outside [0, 1), an unknown dtype, activation or look-up.
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
        if self.embedding_lookup not in LOOKUPS:
            raise ValueError(
                f"T5Config.embedding_lookup is {self.embedding_lookup!r}; give one of {LOOKUPS}."
            )
        # Gin gives strings and lists; Flax wants hashable values.
        object.__setattr__(self, "dtype", jnp.dtype(dtype))
        object.__setattr__(self, "mlp_activations", tuple(self.mlp_activations))


@struct.dataclass
class Memory:
    """What every decoding step reads and no step changes."""

    layers: tuple[layers.StepCache, ...]  # keys and values of the encoded source
    is_source: Array  # BL, True on source tokens
    bias: Array  # HTT, relative position bias of the decoder


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
        self.pre_attention_layer_norm = make_norm(self.config)
        self.attention = make_attention(self.config)
        self.pre_mlp_layer_norm = make_norm(self.config)
        self.mlp = make_mlp(self.config)
        self.dropout = make_dropout(self.config)

    def __call__(
        self, x_BLD: Array, mask_B1LL: Array, bias_HLL: Array, deterministic: bool
    ) -> Array:
        """The layer's output, BLD."""
        y_BLD = self.pre_attention_layer_norm(x_BLD)
        y_BLD = self.attention(y_BLD, y_BLD, mask_B1LL, bias_HLL, deterministic)
        x_BLD = x_BLD + self.dropout(y_BLD, deterministic=deterministic)
        y_BLD = self.mlp(self.pre_mlp_layer_norm(x_BLD), deterministic)
        return x_BLD + self.dropout(y_BLD, deterministic=deterministic)


class DecoderLayer(nn.Module):
    """Causal self-attention, attention to the source, and MLP."""

    config: T5Config

    def setup(self):
        """Creates the sublayers."""
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
        bias_HTT: Array,
        deterministic: bool,
    ) -> Array:
        """The layer's output, BTD; without ``self_mask_B1TT`` one step of T5X's cache protocol."""
        y_BTD = self.pre_self_attention_layer_norm(x_BTD)
        if self_mask_B1TT is None:
            y_BTD = self.self_attention.cached(y_BTD, bias_HTT)
        else:
            y_BTD = self.self_attention(y_BTD, y_BTD, self_mask_B1TT, bias_HTT, deterministic)
        x_BTD = x_BTD + self.dropout(y_BTD, deterministic=deterministic)
        y_BTD = self.pre_cross_attention_layer_norm(x_BTD)
        y_BTD = self.encoder_decoder_attention(
            y_BTD, encoded_BLD, cross_mask_B1TL, None, deterministic
        )
        x_BTD = x_BTD + self.dropout(y_BTD, deterministic=deterministic)
        y_BTD = self.mlp(self.pre_mlp_layer_norm(x_BTD), deterministic)
        return x_BTD + self.dropout(y_BTD, deterministic=deterministic)

    def step(
        self,
        x_B1D: Array,
        cache: layers.StepCache,
        position: Array,
        source: layers.StepCache,
        memory: Memory,
    ) -> tuple[Array, layers.StepCache]:
        """The layer's output for one token, B1D, and its new cache."""
        y_B1D = self.pre_self_attention_layer_norm(x_B1D)
        y_B1D, cache = self.self_attention.causal_step(y_B1D, cache, position, memory.bias)
        x_B1D = x_B1D + y_B1D
        y_B1D = self.pre_cross_attention_layer_norm(x_B1D)
        x_B1D = x_B1D + self.encoder_decoder_attention.step(y_B1D, source, memory.is_source, None)
        return x_B1D + self.mlp(self.pre_mlp_layer_norm(x_B1D), deterministic=True), cache


class Encoder(nn.Module):
    """The stack of encoder layers."""

    config: T5Config

    def setup(self):
        """Creates the layers."""
        self.relpos_bias = layers.RelativeBias(self.config.num_heads)
        self.layers = [EncoderLayer(self.config) for _ in range(self.config.num_encoder_layers)]
        self.encoder_norm = make_norm(self.config)
        self.input_dropout = make_dropout(self.config)
        self.output_dropout = nn.Dropout(self.config.dropout_rate)  # every value, as in T5X

    def __call__(
        self, x_BLD: Array, mask_B1LL: Array, deterministic: bool, num_layers: int | None = None
    ) -> Array:
        """Encoded tokens, BLD, normalised; after ``num_layers`` as they are, unless it is None."""
        length = x_BLD.shape[1]
        bias_HLL = self.relpos_bias(length, length, bidirectional=True)
        x_BLD = self.input_dropout(x_BLD, deterministic=deterministic)
        for layer in self.layers[:num_layers]:
            x_BLD = layer(x_BLD, mask_B1LL, bias_HLL, deterministic)
        if num_layers is not None:
            return x_BLD
        return self.output_dropout(self.encoder_norm(x_BLD), deterministic=deterministic)


class Decoder(nn.Module):
    """The stack of decoder layers, and the output projection unless that is the token table."""

    config: T5Config

    def setup(self):
        """Creates the layers."""
        config = self.config
        self.relpos_bias = layers.RelativeBias(config.num_heads)
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
        bias_HTT = self.relpos_bias(max_decode_length, max_decode_length, bidirectional=False)
        x_BTD = self.dropout(x_BTD, deterministic=deterministic)
        for layer in self.layers:
            x_BTD = layer(
                x_BTD, encoded_BLD, self_mask_B1TT, cross_mask_B1TL, bias_HTT, deterministic
            )
        return self.dropout(self.decoder_norm(x_BTD), deterministic=deterministic)

    def memory(self, encoded_BLD: Array, mask_BL: Array, max_decode_length: int) -> Memory:
        """All that decoding steps read, computed once."""
        bias_HTT = self.relpos_bias(max_decode_length, max_decode_length, bidirectional=False)
        source = (layer.encoder_decoder_attention.memory(encoded_BLD) for layer in self.layers)
        return Memory(tuple(source), mask_BL, bias_HTT)

    def step(
        self, x_B1D: Array, caches: tuple[layers.StepCache, ...], position: Array, memory: Memory
    ) -> tuple[Array, tuple[layers.StepCache, ...]]:
        """One decoded token, B1D, normalised, and the new caches."""
        new_caches = []
        for layer, cache, source in zip(self.layers, caches, memory.layers):
            x_B1D, cache = layer.step(x_B1D, cache, position, source, memory)
            new_caches.append(cache)
        return self.decoder_norm(x_B1D), tuple(new_caches)


class Transformer(nn.Module):
    """The encoder-decoder. Token 0 is padding, and the decoder's first input."""

    config: T5Config

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

    def encode(
        self,
        encoder_input_tokens: Array,
        encoder_segment_ids: Array | None = None,
        enable_dropout: bool = True,
    ) -> Array:
        """Encoded tokens, BLD."""
        tokens_BL = check_tokens("encoder_input_tokens", encoder_input_tokens)
        mask_B1LL = layers.pair_mask(tokens_BL > 0, tokens_BL > 0)
        if encoder_segment_ids is not None:
            mask_B1LL &= layers.same_segment(encoder_segment_ids, encoder_segment_ids)
        embedded_BLD = self.token_embedder(tokens_BL)
        return self.encoder(embedded_BLD, mask_B1LL, deterministic=not enable_dropout)

    def encoder_states(self, encoder_input_tokens: Array, num_layers: int | None) -> Array:
        """States after ``num_layers`` encoder layers (None: all, and the final norm), BLD."""
        if num_layers is not None and not 0 <= num_layers <= self.config.num_encoder_layers:
            raise ValueError(
                f"Encoder layer {num_layers!r} was asked for; give 0 (token vectors) to "
                f"{self.config.num_encoder_layers}, or None for the final output."
            )
        tokens_BL = check_tokens("encoder_input_tokens", encoder_input_tokens)
        mask_B1LL = layers.pair_mask(tokens_BL > 0, tokens_BL > 0)
        embedded_BLD = self.token_embedder(tokens_BL)
        return self.encoder(embedded_BLD, mask_B1LL, True, num_layers)

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
            return self.token_embedder.attend(hidden_BTD) / jnp.sqrt(self.config.emb_dim)
        return self.decoder.logits_dense(hidden_BTD)

    def memory(
        self, encoded_BLD: Array, encoder_input_tokens: Array, max_decode_len: int
    ) -> Memory:
        """What all decoding steps of ``encoded_BLD`` share."""
        return self.decoder.memory(encoded_BLD, encoder_input_tokens > 0, max_decode_len)

    def step(
        self, ids_B: Array, caches: tuple[layers.StepCache, ...], position: Array, memory: Memory
    ) -> tuple[Array, tuple[layers.StepCache, ...]]:
        """Logits after one more token, BV float32, and the new caches; no dropout.

        Args:
            ids_B: The token at ``position``: 0 at first, then the one chosen last.
            caches: Of the earlier positions; at first those of ``empty_caches``.
            position: Int32 scalar from 0.
            memory: From ``memory``.
        """
        hidden_B1D, caches = self.decoder.step(
            self.token_embedder(ids_B[:, None]), caches, position, memory
        )
        return self.logits(hidden_B1D)[:, 0], caches


def empty_caches(
    config: T5Config, batch_size: int, max_decode_len: int
) -> tuple[layers.StepCache, ...]:
    """The decoder's caches before the first step, one for each layer."""
    shape = (batch_size, config.num_heads, config.head_dim, max_decode_len)
    zeros = jnp.zeros(shape, config.dtype)
    return (layers.StepCache(zeros, zeros),) * config.num_decoder_layers


def check_tokens(name: str, tokens: Array) -> Array:
    """``tokens`` as int32, after a check of their rank."""
    if tokens.ndim != 2 or tokens.shape[1] == 0:
        raise ValueError(
            f"{name} has shape {tokens.shape}; it must be (examples, length) with length from 1."
        )
    return tokens.astype(jnp.int32)
