"""Hugging Face's folders of T5, mT5, umT5 and ByT5: read without their library, and written."""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

import ml_dtypes
import numpy as np
import safetensors
import safetensors.numpy
from etils import epath
from flax import serialization, traverse_util

from xlt_jax.convert import names, weights
from xlt_jax.convert.t5x import damaged
from xlt_jax.convert.weights import Tensor, Weights

CONFIG = "config.json"
# Settings of Hugging Face's classes that T5's networks do not vary.
_FIXED = {
    "layer_norm_epsilon": 1e-6,
    "relative_attention_max_distance": 128,
    "relative_attention_num_buckets": 32,
}
ARCHITECTURES = {  # model_type -> the class that has an output layer
    "t5": "T5ForConditionalGeneration",
    "mt5": "MT5ForConditionalGeneration",
    "umt5": "UMT5ForConditionalGeneration",
}
# In order of preference; each may also be in parts, listed by NAME.index.json.
_FILES = ("model.safetensors", "flax_model.msgpack", "pytorch_model.bin")
VOCABULARY_FILES = ("spiece.model", "sentencepiece.bpe.model", "tokenizer.model")
_TIED = (
    "The folder has no lm_head.weight: its output layer is tied to the token table. Published mT5, "
    "umT5 and ByT5 are untied; transformers from release 5 on ties an mT5 made from a "
    "configuration, and then saves no output layer. Give the original weights."
)


def is_folder(path: epath.Path) -> bool:
    """Whether it is a folder with a Hugging Face configuration."""
    return path.is_dir() and (path / CONFIG).exists()


def read(path: epath.Path) -> Weights:
    """Parameters of a folder under our names.

    Raises:
        ValueError: Another architecture, a missing or damaged file, an unknown parameter, or a
            name that leads out of the folder.
    """
    config = _config(path)
    file, parts = _parts(path)
    reader = _READERS[file]
    theirs: dict[str, Tensor] = {}
    keep = _local_copies(path)
    for part in parts:
        if not (path / part).exists():
            raise ValueError(f"{path} lacks {part}, which {file}.index.json names: get it again.")
        found = reader(keep(part), str(path / part))
        twice = sorted(set(found) & set(theirs))
        if twice:
            raise ValueError(f"{path}: parameter {twice[0]} is in two files.")
        theirs |= found
    pairs = names.from_huggingface(theirs)
    tensors = {
        pair.ours: weights.transposed(theirs[name]) if pair.transposed else theirs[name]
        for name, pair in pairs.items()
    }
    return Weights(
        path=str(path),
        format=f"Hugging Face {config['model_type']}, {file}",
        step=0,
        tensors=tensors,
        note="" if names.LOGITS in tensors else _TIED,
    )


def _config(path: epath.Path) -> Mapping[str, Any]:
    try:
        config = json.loads((path / CONFIG).read_text())
        model_type, activation = config.get("model_type"), config.get("feed_forward_proj", "relu")
        architectures = config.get("architectures") or []
    except (ValueError, AttributeError, OSError) as error:
        raise damaged(path / CONFIG, error) from error
    known = [ARCHITECTURES[model_type]] if model_type in ARCHITECTURES else []
    if not known or any(name not in known for name in architectures):
        raise ValueError(
            f"{path / CONFIG} describes model_type {model_type!r}, architectures {architectures}; "
            f"readable are {', '.join(f'{k} ({v})' for k, v in ARCHITECTURES.items())}."
        )
    if activation not in ("gated-gelu", "relu"):
        raise ValueError(
            f"{path / CONFIG}: feed_forward_proj is {activation!r}; readable are 'gated-gelu' and "
            "'relu'."
        )
    for name, value in _FIXED.items():
        if config.get(name, value) != value:
            raise ValueError(
                f"{path / CONFIG}: {name} is {config[name]!r}; our network has {value!r}, as all "
                "published models of the family, and would give other outputs."
            )
    return config


def _parts(path: epath.Path) -> tuple[str, list[str]]:
    """The file that stands for the format, and the files that hold the parameters."""
    for file in _FILES:
        index = path / f"{file}.index.json"
        if (path / file).exists():
            return file, [file]
        if index.exists():
            try:
                parts = sorted(set(json.loads(index.read_text())["weight_map"].values()))
            except (ValueError, KeyError, AttributeError, TypeError) as error:
                raise damaged(index, error) from error
            for part in parts:
                if not re.fullmatch(r"[\w.-]+", str(part)) or part.startswith("."):
                    raise ValueError(f"{index} names {part!r}: files must lie in its own folder.")
            return file, parts
    raise ValueError(
        f"{path} has a {CONFIG} but no weights: none of {', '.join(_FILES)}, whole or in parts."
    )


def _local_copies(path: epath.Path) -> Callable[[str], str]:
    """Gives a local file for a name; from an object store a copy, kept while it is used."""
    if "://" not in str(path):
        return lambda part: str(path / part)
    folder = tempfile.TemporaryDirectory(prefix="xlt_jax-")

    def copy(part: str, folder=folder) -> str:  # holds the folder
        target = os.path.join(folder.name, part)
        with (path / part).open("rb") as source, open(target, "wb") as file:
            shutil.copyfileobj(source, file, 64 << 20)
        return target

    return copy


def _read_safetensors(file: str, origin: str) -> dict[str, Tensor]:
    try:
        with safetensors.safe_open(file, framework="np") as opened:
            headers = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118
            facts = {
                name: (tuple(header.get_shape()), _safetensors_dtype(header.get_dtype()))
                for name, header in headers.items()
            }
    except Exception as error:  # the library raises its own, without a base class
        raise damaged(epath.Path(origin), error) from error

    def tensor(name: str) -> Tensor:
        def read(index: weights.Index) -> np.ndarray:
            # Opened anew for each parameter: a file that stays mapped keeps what was read of it
            # in this process's memory.
            with safetensors.safe_open(file, framework="np") as opened:
                return opened.get_slice(name)[index]  # a copy already

        return Tensor(*facts[name], read, origin)

    return {name: tensor(name) for name in facts}


def _safetensors_dtype(name: str) -> np.dtype:
    known = {"F64": "f8", "F32": "f4", "F16": "f2", "BF16": ml_dtypes.bfloat16}
    return np.dtype(known.get(name) or {"I": "i8", "U": "u1", "B": "?"}.get(name[0], "V1"))


def _read_flax(file: str, origin: str) -> dict[str, Tensor]:
    try:
        with open(file, "rb") as opened:
            tree = serialization.msgpack_restore(opened.read())
        flat = traverse_util.flatten_dict(tree.get("params", tree), sep="/")
    except Exception as error:  # msgpack raises whatever it meets
        raise damaged(epath.Path(origin), error) from error
    result = {}
    for name, array in flat.items():
        pytorch, alike = names.of_flax(name)
        tensor = weights.of_array(np.asarray(array), origin)
        result[pytorch] = tensor if alike else weights.transposed(tensor)
    return result


def _read_pytorch(file: str, origin: str) -> dict[str, Tensor]:
    try:
        import torch
    except ImportError as error:
        raise ValueError(
            f"{origin} is PyTorch's own format, which only PyTorch reads: pip install torch, or "
            "save the model as safetensors."
        ) from error
    try:
        state = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
        items = {name: value.detach() for name, value in state.items()}
    except Exception as error:  # unpickling raises whatever it meets
        raise ValueError(
            f"{origin} is not read: PyTorch's weights-only loading refused it, so it is damaged or "
            f"holds more than arrays ({str(error).splitlines()[0][:200]})."
        ) from error

    def array(value) -> np.ndarray:
        if value.dtype == torch.bfloat16:
            return value.contiguous().view(torch.int16).numpy().view(ml_dtypes.bfloat16)
        return value.numpy()

    return {name: weights.of_array(array(value), origin) for name, value in items.items()}


_READERS = {
    "model.safetensors": _read_safetensors,
    "flax_model.msgpack": _read_flax,
    "pytorch_model.bin": _read_pytorch,
}


def config_of(sizes: Mapping[str, Any], model_type: str) -> dict[str, Any]:
    """The configuration for a network of these sizes (``names.network_sizes``).

    Raises:
        ValueError: Hugging Face's classes have no such network.
    """
    if sizes["logits_via_embedding"]:
        raise ValueError(
            "The output layer is tied to the token table; only untied networks are written, as "
            "transformers scales tied ones differently from class to class."
        )
    if (sizes["relative_bias"] == "per_layer") != (model_type == "umt5"):
        raise ValueError(
            f"model_type is {model_type!r}, but the network has relative biases "
            f"{'in every layer' if sizes['relative_bias'] == 'per_layer' else 'shared by layers'}: "
            "umt5 is the only type that has them in every layer."
        )
    return {
        "architectures": [ARCHITECTURES[model_type]],
        "d_ff": sizes["mlp_dim"],
        "d_kv": sizes["head_dim"],
        "d_model": sizes["emb_dim"],
        "decoder_start_token_id": 0,
        "dropout_rate": 0.1,
        "eos_token_id": 1,
        "feed_forward_proj": "gated-gelu" if len(sizes["mlp_activations"]) == 2 else "relu",
        "initializer_factor": 1.0,
        "is_encoder_decoder": True,
        "model_type": model_type,
        "num_decoder_layers": sizes["num_decoder_layers"],
        "num_heads": sizes["num_heads"],
        "num_layers": sizes["num_encoder_layers"],
        "pad_token_id": 0,
        **_FIXED,
        "tie_word_embeddings": False,
        "use_cache": True,
        "vocab_size": sizes["vocab_size"],
    }


def write(
    folder: epath.Path,
    tensors: Mapping[str, Tensor],
    *,
    model_type: str,
    vocabulary: Mapping[str, bytes],
    dtype: str = "float32",
    max_shard_bytes: int = 2 << 30,
    on_progress: Callable[[int], None] = lambda _: None,
) -> None:
    """A folder that ``from_pretrained`` loads: configuration, safetensors, tokenizer files.

    Args:
        folder: Must not exist; it appears when it is whole.
        tensors: Ours, unstacked.
        model_type: A key of ``ARCHITECTURES``.
        vocabulary: Name -> content of the tokenizer's files.
        dtype: Of the written parameters.
        max_shard_bytes: Several files from this size on; so much is in memory at one time.
        on_progress: Called with the bytes written by each file.

    Raises:
        ValueError: A parameter without a name there, or a network that their classes do not have.
    """
    config = config_of(names.network_sizes(tensors), model_type)
    config["dtype"] = dtype
    to_dtype = np.dtype(dtype)  # ml_dtypes, imported, knows "bfloat16"
    shards: list[list[names.Name]] = [[]]
    room = max_shard_bytes
    for name, pair in names.to_huggingface(tensors).items():
        size = int(np.prod(tensors[name].shape)) * to_dtype.itemsize
        if shards[-1] and size > room:
            shards.append([])
            room = max_shard_bytes
        shards[-1].append(pair)
        room -= size

    temporary = folder.with_name(f".{folder.name}.tmp")
    temporary.rmtree(missing_ok=True)
    temporary.mkdir(parents=True)
    weight_map, total = {}, 0
    for number, pairs in enumerate(shards, start=1):
        arrays = {}
        for pair in pairs:
            array = tensors[pair.ours].whole()
            array = weights.checked(pair.ours, array, tensors[pair.ours].file)
            array = array.T if pair.transposed else array
            arrays[pair.theirs] = np.ascontiguousarray(array, dtype=to_dtype)
        file = "model.safetensors"
        if len(shards) > 1:
            file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        size = sum(array.nbytes for array in arrays.values())
        _save_safetensors(arrays, temporary / file)
        weight_map |= dict.fromkeys(arrays, file)
        total += size
        on_progress(size)
    if len(shards) > 1:
        index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
        (temporary / "model.safetensors.index.json").write_text(json_text(index))
    (temporary / CONFIG).write_text(json_text(config))
    generation = {k: config[k] for k in ("decoder_start_token_id", "eos_token_id", "pad_token_id")}
    (temporary / "generation_config.json").write_text(json_text(generation))
    for name, content in vocabulary.items():
        (temporary / name).write_bytes(content)
    temporary.rename(folder)


def _save_safetensors(arrays: Mapping[str, np.ndarray], path: epath.Path) -> None:
    if "://" not in str(path):
        safetensors.numpy.save_file(dict(arrays), str(path), metadata={"format": "pt"})
        return
    path.write_bytes(safetensors.numpy.save(dict(arrays), metadata={"format": "pt"}))


def json_text(value: Any) -> str:
    """As these folders have it."""
    return json.dumps(value, indent=2) + "\n"
