"""Names of parameters: Hugging Face's T5, mT5 and umT5 against T5X's, and sizes read off them."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

EMBEDDING = "token_embedder/embedding"
LOGITS = "decoder/logits_dense/kernel"


@dataclass(frozen=True)
class Name:
    """One parameter, or one of each layer where the names hold ``{n}``."""

    ours: str
    theirs: str
    transposed: bool  # a matrix that PyTorch keeps as (out, in)


def _norm(stack: str, ours: str, layer: int) -> Name:
    return Name(
        f"{stack}/layers_{{n}}/{ours}/scale",
        f"{stack}.block.{{n}}.layer.{layer}.layer_norm.weight",
        False,
    )


def _attention(stack: str, ours: str, layer: int, theirs: str) -> tuple[Name, ...]:
    return tuple(
        Name(
            f"{stack}/layers_{{n}}/{ours}/{projection}/kernel",
            f"{stack}.block.{{n}}.layer.{layer}.{theirs}.{letter}.weight",
            True,
        )
        for projection, letter in (("query", "q"), ("key", "k"), ("value", "v"), ("out", "o"))
    )


def _mlp(stack: str, layer: int) -> tuple[Name, ...]:
    return tuple(
        Name(
            f"{stack}/layers_{{n}}/mlp/{part}/kernel",
            f"{stack}.block.{{n}}.layer.{layer}.DenseReluDense.{part}.weight",
            True,
        )
        for part in ("wi", "wi_0", "wi_1", "wo")
    )


def _relative_bias(stack: str) -> tuple[Name, ...]:
    theirs = f"{stack}.block.{{n}}.layer.0.SelfAttention.relative_attention_bias.weight"
    return (
        Name(f"{stack}/relpos_bias/rel_embedding", theirs.replace("{n}", "0"), True),
        Name(f"{stack}/layers_{{n}}/relpos_bias/rel_embedding", theirs, True),
    )


TABLE: tuple[Name, ...] = (
    Name(EMBEDDING, "shared.weight", False),
    Name(LOGITS, "lm_head.weight", True),
    Name("encoder/encoder_norm/scale", "encoder.final_layer_norm.weight", False),
    Name("decoder/decoder_norm/scale", "decoder.final_layer_norm.weight", False),
    *_relative_bias("encoder"),
    *_relative_bias("decoder"),
    _norm("encoder", "pre_attention_layer_norm", 0),
    *_attention("encoder", "attention", 0, "SelfAttention"),
    _norm("encoder", "pre_mlp_layer_norm", 1),
    *_mlp("encoder", 1),
    _norm("decoder", "pre_self_attention_layer_norm", 0),
    *_attention("decoder", "self_attention", 0, "SelfAttention"),
    _norm("decoder", "pre_cross_attention_layer_norm", 1),
    *_attention("decoder", "encoder_decoder_attention", 1, "EncDecAttention"),
    _norm("decoder", "pre_mlp_layer_norm", 2),
    *_mlp("decoder", 2),
)

# Hugging Face's further names of the token table: copies, where a file has them.
COPIES_OF_EMBEDDING = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
# Written by old releases, read by no code: cross-attention has no relative positions.
UNUSED = ("decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight",)


def _bias_per_layer(theirs: Collection[str]) -> bool:
    return any(re.search(r"\.block\.[1-9]\d*\..*relative_attention_bias", name) for name in theirs)


def from_huggingface(theirs: Collection[str]) -> dict[str, Name]:
    """Their name -> the pair with numbers filled in, for all but copies and unused ones.

    Raises:
        ValueError: A name that the table does not have.
    """
    per_layer = _bias_per_layer(theirs)
    result, unknown = {}, []
    for name in theirs:
        if name in UNUSED or name in COPIES_OF_EMBEDDING:
            continue
        found = [pair for entry in TABLE if (pair := _filled(entry, name))]
        if len(found) == 2:  # layer 0's relative bias: the stack's, or its own
            found = [pair for pair in found if ("/layers_" in pair.ours) == per_layer]
        if found:
            result[name] = found[0]
        else:
            unknown.append(name)
    if unknown:
        raise ValueError(
            f"Unknown parameter{'s' * (len(unknown) > 1)} {', '.join(sorted(unknown)[:5])}"
            f"{' ...' if len(unknown) > 5 else ''}: this is no T5, mT5 or umT5 encoder-decoder."
        )
    return result


def _filled(entry: Name, theirs: str) -> Name | None:
    pattern = re.escape(entry.theirs).replace(r"\{n\}", r"(\d+)")
    match = re.fullmatch(pattern, theirs)
    if not match:
        return None
    number = match[1] if match.groups() else ""
    return Name(entry.ours.replace("{n}", number), theirs, entry.transposed)


def to_huggingface(ours: Collection[str]) -> dict[str, Name]:
    """Our name (layers unstacked) -> the pair with numbers filled in.

    Raises:
        ValueError: A name that the table does not have.
    """
    result = {}
    for name in ours:
        for entry in TABLE:
            match = re.fullmatch(re.escape(entry.ours).replace(r"\{n\}", r"(\d+)"), name)
            if match:
                number = match[1] if match.groups() else ""
                result[name] = Name(name, entry.theirs.replace("{n}", number), entry.transposed)
                break
        else:
            raise ValueError(f"Parameter {name} has no name in Hugging Face's T5, mT5 or umT5.")
    return result


def of_flax(theirs: str) -> tuple[str, bool]:
    """PyTorch's name of a parameter of ``flax_model.msgpack``, and whether both lie alike.

    Flax's kernels are (in, out) and PyTorch's (out, in).
    """
    name = theirs.replace("/", ".")
    if name.endswith(".kernel"):
        return name.removesuffix("kernel") + "weight", False
    if name.endswith(".embedding"):
        return name.removesuffix("embedding") + "weight", True
    return name, True


def network_sizes(tensors: Mapping[str, Any]) -> dict[str, object]:
    """Arguments of ``mt5.T5Config`` for parameters of these names (unstacked).

    Raises:
        ValueError: A parameter without which sizes cannot be known is missing.
    """
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    layers = {
        stack: 1
        + max(
            (int(m[1]) for name in shapes if (m := re.match(rf"{stack}/layers_(\d+)/", name))),
            default=-1,
        )
        for stack in ("encoder", "decoder")
    }
    shared = "encoder/relpos_bias/rel_embedding"
    bias = shared if shared in shapes else "encoder/layers_0/relpos_bias/rel_embedding"
    needed = (EMBEDDING, bias, "encoder/layers_0/attention/query/kernel")
    missing = [name for name in needed if name not in shapes]
    if missing or not all(layers.values()):
        raise ValueError(
            "This is not an encoder-decoder of the T5 family: it lacks "
            f"{', '.join(missing) or 'encoder or decoder layers'}."
        )
    vocab_size, width = shapes[EMBEDDING]
    num_heads = shapes[bias][0]
    gated = "encoder/layers_0/mlp/wi_0/kernel" in shapes
    mlp = shapes[f"encoder/layers_0/mlp/{'wi_0' if gated else 'wi'}/kernel"]
    return {
        "vocab_size": vocab_size,
        "emb_dim": width,
        "num_heads": num_heads,
        "num_encoder_layers": layers["encoder"],
        "num_decoder_layers": layers["decoder"],
        "head_dim": shapes["encoder/layers_0/attention/query/kernel"][1] // num_heads,
        "mlp_dim": mlp[1],
        "mlp_activations": ("gelu", "linear") if gated else ("relu",),
        "logits_via_embedding": LOGITS not in shapes,
        "relative_bias": "shared" if bias == shared else "per_layer",
    }
