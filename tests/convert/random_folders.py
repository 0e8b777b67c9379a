"""Random weights of a small network, and folders of them in the formats that others write."""

import json

import ml_dtypes
import numpy as np
import safetensors.numpy
import tensorstore
from flax import serialization, traverse_util

CONFIG = {
    "architectures": ["MT5ForConditionalGeneration"],
    "model_type": "mt5",
    "d_model": 16,
    "d_kv": 4,
    "d_ff": 24,
    "num_layers": 2,
    "num_decoder_layers": 3,
    "num_heads": 3,
    "vocab_size": 40,
    "relative_attention_num_buckets": 32,
    "feed_forward_proj": "gated-gelu",
    "tie_word_embeddings": False,
    "decoder_start_token_id": 0,
}


def pytorch_arrays(config=CONFIG, seed=0):
    """PyTorch's names and layouts, written down from its documentation of the T5 model."""
    rng = np.random.default_rng(seed)
    width, joined = config["d_model"], config["num_heads"] * config["d_kv"]
    ff, vocab, heads = config["d_ff"], config["vocab_size"], config["num_heads"]
    shapes = {"shared.weight": (vocab, width), "lm_head.weight": (vocab, width)}
    for stack, layers in (
        ("encoder", config["num_layers"]),
        ("decoder", config["num_decoder_layers"]),
    ):
        shapes[f"{stack}.final_layer_norm.weight"] = (width,)
        for n in range(layers):
            block = f"{stack}.block.{n}.layer"
            attentions = ["SelfAttention"] + ["EncDecAttention"] * (stack == "decoder")
            for number, attention in enumerate(attentions):
                for letter in "qkv":
                    shapes[f"{block}.{number}.{attention}.{letter}.weight"] = (joined, width)
                shapes[f"{block}.{number}.{attention}.o.weight"] = (width, joined)
                shapes[f"{block}.{number}.layer_norm.weight"] = (width,)
            if n == 0 or config["model_type"] == "umt5":
                name = f"{block}.0.SelfAttention.relative_attention_bias.weight"
                shapes[name] = (config["relative_attention_num_buckets"], heads)
            last = len(attentions)
            shapes[f"{block}.{last}.layer_norm.weight"] = (width,)
            for part, shape in (("wi_0", (ff, width)), ("wi_1", (ff, width)), ("wo", (width, ff))):
                shapes[f"{block}.{last}.DenseReluDense.{part}.weight"] = shape
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def write_config(folder, config=CONFIG):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))


def write_safetensors(folder, arrays, shards=1, config=CONFIG):
    write_config(folder, config)
    if shards == 1:
        safetensors.numpy.save_file(arrays, folder / "model.safetensors")
        return folder
    weight_map = {}
    for number in range(shards):
        file = f"model-{number + 1:05}-of-{shards:05}.safetensors"
        part = {name: arrays[name] for name in sorted(arrays)[number::shards]}
        safetensors.numpy.save_file(part, folder / file)
        weight_map |= dict.fromkeys(part, file)
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def write_flax(folder, arrays, config=CONFIG):
    """Flax's layout: kernels are (in, out), and names are nested."""
    write_config(folder, config)
    flat = {}
    for name, array in arrays.items():
        *path, _ = name.split(".")
        if path[-1] in ("shared", "relative_attention_bias"):
            flat[(*path, "embedding")] = array
        elif path[-1] in ("layer_norm", "final_layer_norm"):
            flat[(*path, "weight")] = array
        else:
            flat[(*path, "kernel")] = array.T
    content = serialization.msgpack_serialize(traverse_util.unflatten_dict(flat))
    (folder / "flax_model.msgpack").write_bytes(content)
    return folder


def write_legacy(folder, tensors, step=7, inline=("encoder/encoder_norm/scale",), dtype="float32"):
    """T5X's legacy layout: a msgpack index whose leaves are arrays or specs of zarr folders."""
    folder.mkdir(parents=True)
    target = {}
    for name, array in tensors.items():
        node = target
        *path, last = name.split("/")
        for part in path:
            node = node.setdefault(part, {})
        if name in inline:
            node[last] = array
            continue
        zarr = f"target.{name.replace('/', '.')}"
        stored = array
        if dtype == "uint16":  # the bits of bfloat16
            stored = array.astype(ml_dtypes.bfloat16).view(np.uint16)
        store = tensorstore.open(
            {
                "driver": "zarr",
                "kvstore": f"file://{folder / zarr}/",
                "metadata": {"compressor": {"id": "gzip"}},
            },
            create=True,
            dtype=stored.dtype,
            shape=stored.shape,
        ).result()
        store.write(stored).result()
        node[last] = {
            "driver": "zarr",
            "dtype": dtype,
            "kvstore": {"driver": "file", "path": zarr},
            "metadata": {
                "chunks": list(array.shape),
                "compressor": {"id": "gzip"},
                "dtype": np.dtype(stored.dtype).str,
                "shape": list(array.shape),
            },
        }
    index = {
        "version": 3,
        "optimizer": {"state": {"step": np.int32(step), "param_states": {}}, "target": target},
    }
    (folder / "checkpoint").write_bytes(serialization.msgpack_serialize(index))
    return folder


def cut(file, share=0.5):
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])


__all__ = [
    "CONFIG",
    "cut",
    "pytorch_arrays",
    "write_flax",
    "write_legacy",
    "write_safetensors",
]
