"""Jobs of xlt_jax: the functions that its training and evaluation programs call."""

import dataclasses
import functools
import itertools
import json
import pathlib
import tempfile
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
from etils import epath
from flax import struct

from bench import shapes
from bench.process import serve
from xlt_jax import train as train_program
from xlt_jax.arrays import Array
from xlt_jax.convert import huggingface, names, restore, weights
from xlt_jax.data import formats, mixtures, vocab
from xlt_jax.data.tokens import Ragged, TokenTable
from xlt_jax.evaluation import zero_shot
from xlt_jax.evaluation.teacher import Teacher
from xlt_jax.models import mt5
from xlt_jax.objectives import (
    consistency,
    distillation,
    dual_encoder,
    lm,
    masked,
    push_pull,
    robust,
)
from xlt_jax.registry import benchmarks, languages
from xlt_jax.registry.benchmarks import Benchmark, Files, Request
from xlt_jax.training import memory, optim, partition, state, step
from xlt_jax.training.config import DatasetConfig

_BASE = functools.partial(lm.objective, z_loss=shapes.Z_LOSS)
OBJECTIVES = {
    "": _BASE,
    "random_perturbation": functools.partial(robust.random_perturbation, base=_BASE),
    "adversarial, 3 steps": functools.partial(robust.adversarial, base=_BASE, steps=3),
    "push_pull": functools.partial(push_pull.objective, z_loss=shapes.Z_LOSS),
    "consistency": functools.partial(consistency.objective, z_loss=shapes.Z_LOSS),
    "tlm": functools.partial(masked.objective, z_loss=shapes.Z_LOSS),
    "weam": functools.partial(masked.objective, z_loss=shapes.Z_LOSS),
    "distillation, same size": functools.partial(distillation.objective, z_loss=shapes.Z_LOSS),
    "layer_aggregation": _BASE,
    "dual_encoder": dual_encoder.objective,
}
_training = {}
_evaluation = {}


def ceiling(sizes: list[int], repeats: int) -> dict:
    """GFLOP/s of ``jnp.dot`` of float32 square matrices, each run."""
    product = jax.jit(jnp.dot)
    rates = []
    for size in sizes:
        left, right = np.random.default_rng(0).random((2, size, size), np.float32)
        left, right = jnp.asarray(left), jnp.asarray(right)
        product(left, right).block_until_ready()
        for _ in range(repeats):
            start = time.perf_counter()
            product(left, right).block_until_ready()
            rates.append(2 * size**3 / (time.perf_counter() - start) / 1e9)
    return {"gflops": rates}


def train_setup(shape: str, objective: str = "") -> dict:
    """Makes the state, compiles, and takes two steps, of plain training or another objective."""
    shape = shapes.SHAPES[shape]
    config = _config(shape, shapes.DROPOUT_RATE)
    aggregates = objective == "layer_aggregation"
    network = mt5.Transformer(dataclasses.replace(config, layer_aggregation=aggregates))
    optimizer = optim.adafactor(shapes.LEARNING_RATE)
    partitioner = partition.Partitioner()
    train_state = state.create(network, optimizer, partitioner, jax.random.key(0))
    parameters = state.num_parameters(train_state.params)
    train_step = step.make_train_step(
        step.make_forward(network),
        OBJECTIVES[objective],
        optimizer,
        partitioner,
        train_state,
    )
    _training.update(
        state=train_state,
        step=train_step,
        shard=partitioner.shard_batch,
        batches=itertools.cycle(shapes.train_batches(shape, objective=objective)),
        rng=jax.random.key(1),
    )
    if objective.startswith("distillation"):
        with tempfile.TemporaryDirectory() as folder:
            write_weights(train_state.params, f"{folder}/teacher")
            teacher = Teacher(mt5.Transformer(_config(shape, 0.0)), f"{folder}/teacher")
        _training["shard"] = lambda batch: teacher(partitioner.shard_batch(batch))
    train(2)
    return {"parameters": parameters}


def train(steps: int) -> dict:
    """Seconds of so many steps, until their metrics are on the host."""
    start = time.perf_counter()
    train_state, waiting = _training["state"], []
    for _ in range(steps):
        batch = _training["shard"](next(_training["batches"]))
        train_state, metrics = _training["step"](train_state, batch, _training["rng"])
        waiting.append(metrics)
    _training["state"] = train_state
    losses = [float(metrics["loss"]) for metrics in jax.device_get(waiting)]
    jax.block_until_ready(train_state)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "loss": losses[-1]}


@struct.dataclass
class ForcedMemory(mt5.Memory):
    """A decoder's memory that knows how long each answer has to be."""

    answer_tokens: Array  # B

    def take(self, rows_N, rows_axis):
        """As in ``Memory``."""
        memory = super().take(rows_N, rows_axis)
        return memory.replace(answer_tokens=self.answer_tokens[rows_N])


class ForcedTransformer(mt5.Transformer):
    """Ends every generated answer at the length that the first input id carries."""

    def memory(self, encoded_BLD, encoder_input_tokens, max_decode_len):
        """As in ``Transformer``."""
        memory = super().memory(encoded_BLD, encoder_input_tokens, max_decode_len)
        answer_tokens = encoder_input_tokens[:, 0] - shapes.FIRST_LENGTH_ID
        return ForcedMemory(memory.source, memory.is_source, memory.bias, answer_tokens)

    def step(self, ids_B, caches, position, memory):
        """As in ``Transformer``."""
        logits_BV, caches = super().step(ids_B, caches, position, memory)
        is_eos_V = jnp.arange(logits_BV.shape[-1]) == shapes.EOS_ID
        ends_B1 = (position == memory.answer_tokens)[:, None]
        return jnp.where(is_eos_V == ends_B1, logits_BV, shapes.FORBIDDEN), caches


class Numbers:
    """A vocabulary whose text is the ids."""

    eos_id = shapes.EOS_ID

    def __init__(self, vocab_size: int):
        self.vocab_size = vocab_size

    def decode(self, ids) -> str:
        """Ids before the end of the sequence."""
        return " ".join(map(str, itertools.takewhile(lambda token: token != shapes.EOS_ID, ids)))


def evaluate_setup(shape: str, quick: bool, folder: str) -> dict:
    """Makes and writes parameters and, for each set, tables and evaluator, and runs it once."""
    shape = shapes.SHAPES[shape]
    network = ForcedTransformer(_config(shape, 0.0))
    ids = jnp.ones((1, 1), jnp.int32)
    _evaluation["params"] = jax.jit(network.init)(jax.random.key(0), ids, ids, ids)["params"]
    write_weights(_evaluation["params"], folder)
    compiled = {}
    for spec in shapes.eval_specs(shape.name, quick):
        for request in (Request.GENERATE, Request.RANK):
            if request is Request.RANK and spec.name != "pairs":
                continue
            name = spec.name if request is Request.GENERATE else f"{spec.name}_rank"
            tables = _tables(spec, request)
            evaluator = zero_shot.Evaluator(network, Numbers(shape.vocab_size), tables)
            _evaluation[name] = (spec, evaluator)
            compiled[name] = evaluator.num_shapes
            evaluate(name)
    return {"shapes": compiled}


def evaluate(name: str) -> dict:
    """Seconds of one evaluation of the set, metrics included."""
    spec, evaluator = _evaluation[name]
    start = time.perf_counter()
    results = evaluator.run(_evaluation["params"])
    seconds = time.perf_counter() - start
    texts = [row.prediction for result in results.values() for row in result.predictions]
    answers = [[int(token) for token in text.split()] for text in texts]
    return {"seconds": seconds, "rows": list(range(spec.examples)), "answers": answers}


def mixture(folder: str) -> dict:
    """Seconds from nothing to the first batch of the files' mixture."""
    folder = pathlib.Path(folder)
    facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    start = time.perf_counter()
    vocabulary = vocab.sentence_piece(facts["vocabulary"], extra_ids=100)
    names = {}
    for benchmark, language in facts["tasks"]:
        names.setdefault(benchmark, []).append(language)
    for name, codes in names.items():
        benchmarks.register(
            Benchmark(
                name=name,
                description="Synthetic files.",
                languages=tuple(codes),
                source=(
                    Files(
                        f"{name}/{{language}}.{{split}}.tsv", formats.table(), {"train": "train"}
                    ),
                ),
                prompt=_prompt,
                request=Request.TRAIN_ONLY,
                kind="other",
            )
        )
    parts = mixtures.Part(mixtures.tasks(names))
    mixtures.register("bench_files", parts)
    config = DatasetConfig(
        mixture_or_task_name="bench_files",
        task_feature_lengths=facts["feature_lengths"],
        split="train",
        batch_size=facts["batch_size"],
        shuffle=True,
        seed=0,
        pack=True,
    )
    stream, tables = train_program.open_stream(config, vocabulary)
    batch = next(stream).arrays
    seconds = time.perf_counter() - start
    rows = sum(map(len, tables))
    return {"seconds": seconds, "rows": rows, **_filled(batch)}


def _prompt(row) -> dict:
    return {"inputs": row["inputs"], "targets": row["targets"]}


def _filled(batch) -> dict:
    inputs = batch["encoder_input_tokens"]
    return {"batch_rows": len(inputs), "filled": float((inputs > 0).mean())}


def write_weights(params, folder: str) -> None:
    """A Hugging Face folder of these parameters."""
    tensors = {
        jax.tree_util.keystr(path, simple=True, separator="/"): weights.of_array(leaf, "random")
        for path, leaf in jax.tree_util.tree_leaves_with_path(jax.device_get(params))
    }
    huggingface.write(epath.Path(folder), tensors, model_type="mt5", vocabulary={})


def write_folder(shape: str, folder: str) -> dict:
    """A Hugging Face folder of random weights."""
    described = _described(mt5.Transformer(_config(shapes.FOLDERS[shape], 0.0)))
    generator = np.random.default_rng(0)

    def random(leaf) -> weights.Tensor:
        def read(index) -> np.ndarray:
            return generator.standard_normal(leaf.shape, dtype=np.float32)[index]

        return weights.Tensor(tuple(leaf.shape), np.dtype(np.float32), read, "random")

    tensors = {
        jax.tree_util.keystr(path, simple=True, separator="/"): random(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(described)
    }
    huggingface.write(epath.Path(folder), tensors, model_type="mt5", vocabulary={})
    return {}


def load(folder: str) -> dict:
    """Seconds of putting a folder's parameters on the device, all of them touched."""
    start = time.perf_counter()
    opened = restore.open_weights(folder)
    sizes = names.network_sizes(opened.tensors)
    described = _described(mt5.Transformer(mt5.T5Config(**sizes)))
    params = restore.restore_params(opened, described)
    total = sum(float(leaf.sum()) for leaf in jax.tree.leaves(params))
    return {"seconds": time.perf_counter() - start, "sum": total}


def _described(network: mt5.Transformer):
    return state.describe(network, optax.identity(), partition.Partitioner()).params


def _config(shape: shapes.Shape, dropout_rate: float) -> mt5.T5Config:
    return mt5.T5Config(
        vocab_size=shape.vocab_size,
        emb_dim=shape.emb_dim,
        num_heads=shape.num_heads,
        num_encoder_layers=shape.num_layers,
        num_decoder_layers=shape.num_layers,
        head_dim=shape.head_dim,
        mlp_dim=shape.mlp_dim,
        mlp_activations=("gelu", "linear"),
        dropout_rate=dropout_rate,
    )


def _tables(spec: shapes.SetSpec, request: Request) -> dict[str, TokenTable]:
    """Tables as ``data.tokens`` makes them, without files of rows.

    To rank, an example has three choices of one to three tokens.
    """
    codes = languages.XTREME_R
    benchmark = Benchmark(
        name=f"bench_{spec.name}",
        description="Random ids.",
        languages=tuple(codes[: spec.languages]),
        source=(),
        prompt=_prompt,
        request=request,
        kind="pair",
        metric=lambda targets, predictions: {"tokens": sum(len(p.split()) for p in predictions)},
        example_score=lambda target, prediction: float(target == prediction),
        main_metric="tokens",
        chance=lambda rows: 0.0,
        max_target_tokens=spec.decode_length,
    )
    tables = {}
    for code, examples in zip(benchmark.languages, shapes.eval_set(spec)):
        folder = pathlib.Path(tempfile.mkdtemp())
        choices = ("70", "71 72", "73 74 75")
        with open(folder / "texts.jsonl", "w", encoding="utf-8") as file:
            for number in range(len(examples)):
                row = {"id": str(number), "inputs": "", "targets": "70", "choices": choices}
                file.write(json.dumps(row) + "\n")
        choice_ids = [[*map(int, choice.split()), shapes.EOS_ID] for choice in choices]
        tables[f"{benchmark.name}.{code}"] = TokenTable(
            name=f"{benchmark.name}.{code}",
            split="test",
            benchmark=benchmark,
            language=code,
            folder=folder,
            inputs=_ragged([example.inputs for example in examples]),
            targets=_ragged([choice_ids[0]] * len(examples)),
            choices=_ragged(choice_ids * len(examples)),
            choice_offsets=np.arange(len(examples) + 1) * len(choices),
            chance=0.0,
        )
    return tables


def _ragged(rows) -> Ragged:
    offsets = np.cumsum([0, *map(len, rows)], dtype=np.int64)
    return Ragged(np.concatenate([np.asarray(row, np.int32) for row in rows]), offsets)


if __name__ == "__main__":
    memory.reuse_freed_memory()  # as the programs do
    serve(
        {"jax": jax.__version__, "devices": [str(device) for device in jax.devices()]},
        {
            job.__name__: job
            for job in (
                ceiling,
                train_setup,
                train,
                evaluate_setup,
                evaluate,
                mixture,
                write_folder,
                load,
            )
        },
    )
