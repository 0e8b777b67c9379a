"""``python -m xlt_jax.convert``: import, export, inspect, subtract and add checkpoints."""

import argparse
import contextlib
import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from etils import epath
from rich.console import Console
from rich.progress import Progress

from xlt_jax.convert import huggingface, names, restore, t5x, vectors, weights
from xlt_jax.convert.weights import Tensor, Weights

DTYPES = ("float32", "bfloat16")
BYTES = "bytes"


def import_(
    source: str, model_dir: str, *, step: int | None, dtype: str, scan_layers: bool
) -> None:
    """Writes ``model_dir/checkpoint_STEP``, from which both engines start.

    Raises:
        ValueError: ``source`` is no checkpoint, or is damaged; a parameter that the name table does
            not have, or that is not finite; or the step is there already.
    """
    opened = restore.open_weights(source)
    step = opened.step if step is None else step
    target = _new_checkpoint(model_dir, step)
    plain = weights.unstacked(opened.tensors)
    sizes = names.network_sizes(plain)
    names.to_huggingface(plain)  # every parameter is one of this network
    tensors = weights.arranged(opened.tensors, weights.stacks(plain) if scan_layers else plain)
    print(f"Importing {opened.path} ({opened.format}), {_count(tensors):,} parameters.")
    with _progress(tensors) as tensors_shown:
        path = t5x.write_orbax(target, tensors_shown, step, dtype)
    print(f"Wrote {path}. Start from it: --gin.INITIAL_CHECKPOINT_PATH=\"'{path}'\"")
    print(_as_gin(sizes, scan_layers))


def subtract(base: str, tuned: str, file: str, *, keep: float, scope: str, rank: int) -> None:
    """Writes what training changed, without the smallest changes, see ``vectors.difference``.

    Raises:
        ValueError: Not two checkpoints of one network, an option is out of range, or the file is
            there already.
    """
    if epath.Path(file).exists():
        raise ValueError(f"{file} exists: choose another name or remove it.")
    opened = restore.open_weights(base), restore.open_weights(tuned)
    vector = vectors.difference(*opened, keep=keep, scope=scope, rank=rank)
    vectors.write(file, vector)
    kept = sum(map(len, vector.places.values()))
    print(f"Wrote {file}: {kept:,} values, {vector.share:.2%} of the network's.")


def add(base: str, model_dir: str, *, vector: Sequence[str], step: int | None) -> None:
    """Writes ``model_dir/checkpoint_STEP``: a checkpoint with vectors added.

    Raises:
        ValueError: ``base`` is no checkpoint, a vector is not of its network or its factor no
            number, or the step is there already.
    """
    opened = restore.open_weights(base)
    step = opened.step if step is None else step
    target = _new_checkpoint(model_dir, step)
    chosen = []
    for text in vector:
        file, _, factor = text.partition("*")
        try:
            factor = float(factor or 1)
        except ValueError as error:
            raise ValueError(f"{text!r}: give FILE or FILE*FACTOR, such as v*0.5.") from error
        chosen.append((vectors.read(file), factor))
    tensors = weights.arranged(vectors.added(opened, chosen), opened.tensors)
    with _progress(tensors) as shown:
        path = t5x.write_orbax(target, shown, step, "float32")
    print(f"Wrote {path}. Evaluate it: --gin.CHECKPOINT_PATH=\"'{path}'\"")


def _new_checkpoint(model_dir: str, step: int) -> epath.Path:
    """The folder to write into, which lacks the step."""
    target = epath.Path(model_dir)
    target = target if "://" in model_dir else target.absolute()
    if (target / f"checkpoint_{step}").exists():
        raise ValueError(
            f"{target / f'checkpoint_{step}'} exists: choose another folder or another --step."
        )
    return target


def export(
    source: str,
    folder: str,
    *,
    vocabulary: str | None,
    extra_ids: int,
    model_type: str | None,
    dtype: str,
    max_shard_gb: float,
) -> None:
    """Writes a folder that Hugging Face's ``from_pretrained`` loads.

    Raises:
        ValueError: ``source`` is no checkpoint or damaged, the folder exists, the vocabulary does
            not belong to the network, or Hugging Face has no such network.
    """
    opened = restore.open_weights(source)
    target = epath.Path(folder)
    if target.exists():
        raise ValueError(f"{target} exists: choose another folder or remove it.")
    tensors = weights.unstacked(opened.tensors)
    sizes = names.network_sizes(tensors)
    if model_type is None:
        model_type = "umt5" if sizes["relative_bias"] == "per_layer" else "mt5"
        model_type = "t5" if vocabulary == BYTES else model_type
    files = _tokenizer(vocabulary, opened, extra_ids, sizes["vocab_size"])
    print(f"Exporting {opened.path} ({opened.format}), {_count(tensors):,} parameters.")
    with _progress(tensors) as shown:
        huggingface.write(
            target,
            shown,
            model_type=model_type,
            vocabulary=files,
            dtype=dtype,
            max_shard_bytes=int(max_shard_gb * 1e9),
        )
    if not files:
        print("No tokenizer files were written: give --vocabulary to add them.")
    print(f"Wrote {target}: {huggingface.ARCHITECTURES[model_type]}.from_pretrained('{folder}')")


def inspect(source: str, *, all_values: bool) -> None:
    """Prints what a checkpoint holds; with ``all_values`` reads everything and counts.

    Raises:
        ValueError: ``source`` is no checkpoint, or is damaged; a value is not finite.
    """
    opened = restore.open_weights(source)
    plain = weights.unstacked(opened.tensors)
    stacked = len(plain) != len(opened.tensors)
    size = sum(int(np.prod(t.shape)) * t.dtype.itemsize for t in opened.tensors.values())
    types = sorted({str(tensor.dtype) for tensor in opened.tensors.values()})
    print(f"{opened.path}\n  format      {opened.format}\n  step        {opened.step:,}")
    print(
        f"  parameters  {_count(plain):,} in {len(opened.tensors)} arrays, {size / 2**20:,.1f} MiB"
    )
    print(f"  type        {', '.join(types)}\n  layers      {'stacked' if stacked else 'apart'}")
    if opened.note:
        print(f"  note        {opened.note}")
    print(_as_gin(names.network_sizes(plain), stacked))
    for name, tensor in sorted(opened.tensors.items()):
        line = f"  {name:<66} {'x'.join(map(str, tensor.shape)):>14}  {tensor.dtype}"
        if all_values:
            values = weights.checked(name, tensor.whole(), tensor.file).astype(np.float32)
            line += f"  mean {values.mean():+.3e}  deviation {values.std():.3e}"
        print(line)


def _count(tensors: Mapping[str, Tensor]) -> int:
    return sum(int(np.prod(tensor.shape)) for tensor in tensors.values())


def _as_gin(sizes: Mapping[str, object], scan_layers: bool) -> str:
    lines = [f"  {name} = {value!r}" for name, value in sizes.items()]
    if scan_layers:
        lines.append("  scan_layers = True")
    return "\n".join(["mt5.T5Config:", *lines])


@contextlib.contextmanager
def _progress(tensors: Mapping[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """Tensors that move a progress bar when they are read, and are checked to be finite."""
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("parameters", total=_count(tensors))

        def watched(name: str, tensor: Tensor) -> Tensor:
            def read(index: weights.Index) -> np.ndarray:
                values = weights.checked(name, tensor.read(index), tensor.file)
                bar.advance(task, values.size)
                return values

            return Tensor(tensor.shape, tensor.dtype, read, tensor.file)

        yield {name: watched(name, tensor) for name, tensor in tensors.items()}


def _tokenizer(
    vocabulary: str | None, opened: Weights, extra_ids: int, network_ids: int
) -> dict[str, bytes]:
    """Name -> content of the files from which transformers makes the tokenizer."""
    shared = {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    if vocabulary == BYTES:
        config = {"tokenizer_class": "ByT5Tokenizer", "extra_ids": 125, **shared}
        return {"tokenizer_config.json": huggingface.json_text(config).encode()}
    source = epath.Path(vocabulary or opened.path)
    candidates = (
        [source] if source.is_file() else [source / n for n in huggingface.VOCABULARY_FILES]
    )
    found = next((path for path in candidates if path.is_file()), None)
    if found is None:
        if vocabulary is None:
            return {}
        raise ValueError(
            f"{vocabulary} is no SentencePiece model and has none of "
            f"{', '.join(huggingface.VOCABULARY_FILES)} in it. Give a file, or {BYTES!r} for ByT5."
        )
    import sentencepiece

    model = found.read_bytes()
    processor = sentencepiece.SentencePieceProcessor()
    try:
        processor.LoadFromSerializedProto(model)
    except RuntimeError as error:
        raise ValueError(f"{found} is not a SentencePiece model ({error}).") from error
    ids = processor.GetPieceSize() + extra_ids
    if not 0 <= network_ids - ids < 256:
        raise ValueError(
            f"{found} has {ids} ids with --extra_ids={extra_ids}, the network {network_ids}: "
            "this vocabulary does not belong to it."
        )
    config = {"tokenizer_class": "T5Tokenizer", "extra_ids": extra_ids, **shared}
    return {"spiece.model": model, "tokenizer_config.json": huggingface.json_text(config).encode()}


def main(argv: Sequence[str]) -> None:
    """Runs one command; user errors end in one line."""
    parser = argparse.ArgumentParser("python -m xlt_jax.convert", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    readable = "MODEL_DIR, a checkpoint of ours or T5X's, or a Hugging Face folder; local or gs://"
    command = commands.add_parser("import", help="any checkpoint -> MODEL_DIR/checkpoint_STEP")
    command.add_argument("source", help=readable)
    command.add_argument("model_dir")
    command.add_argument("--step", type=int, help="default: the source's, or 0")
    command.add_argument("--dtype", choices=DTYPES, default="float32")
    command.add_argument("--scan_layers", action="store_true", help="stack the layers")
    command = commands.add_parser("export", help="any checkpoint -> a Hugging Face folder")
    command.add_argument("source", help=readable)
    command.add_argument("folder")
    command.add_argument("--vocabulary", help=f"SentencePiece model or its folder; {BYTES!r}: ByT5")
    command.add_argument(
        "--extra_ids", type=int, default=0, help="sentinels beyond the model's pieces (umT5: 300)"
    )
    command.add_argument("--model_type", choices=sorted(huggingface.ARCHITECTURES))
    command.add_argument("--dtype", choices=DTYPES, default="float32")
    command.add_argument("--max_shard_gb", type=float, default=2.0, help="in memory at one time")
    command = commands.add_parser("inspect", help="what a checkpoint holds")
    command.add_argument("source", help=readable)
    command.add_argument("--all_values", action="store_true", help="read and check every value")
    command = commands.add_parser("subtract", help="what training changed -> a sparse vector")
    command.add_argument("base", help=f"before; {readable}")
    command.add_argument("tuned", help="after")
    command.add_argument("file", help="to write, .safetensors")
    command.add_argument("--keep", type=float, default=0.1, help="share of values; default 0.1")
    command.add_argument("--scope", choices=vectors.SCOPES, default="global")
    command.add_argument("--rank", type=int, default=0, help="denoise: components that stay whole")
    command = commands.add_parser("add", help="a checkpoint and vectors -> a checkpoint")
    command.add_argument("base", help=readable)
    command.add_argument("vector", nargs="+", help="FILE, or FILE*FACTOR")
    command.add_argument("model_dir")
    command.add_argument("--step", type=int, help="default: the base's")
    arguments = vars(parser.parse_args(argv))
    logging.getLogger("absl").setLevel(logging.ERROR)  # Orbax's remarks on its own defaults
    commands = {
        "import": import_, "export": export, "inspect": inspect, "subtract": subtract, "add": add,
    }  # fmt: skip
    run = commands[arguments.pop("command")]
    try:
        run(**arguments)
    except BrokenPipeError:  # of `inspect ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ValueError, OSError) as error:
        if os.environ.get("XLT_TRACEBACK"):
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main(sys.argv[1:])
