"""Jobs of T5X as shipped: its network, Adafactor, Trainer and InferenceEvaluator."""

import functools
import itertools
import time

import jax
import jax.numpy as jnp
import numpy as np
import seqio
import tensorflow as tf
from t5x import eval as t5x_eval
from t5x import models, partitioning, trainer, utils
from t5x.examples.t5 import network

from bench import shapes, t5x_model
from bench.process import serve
from xlt_jax.convert import restore

# Tried on the first tasks, the best is taken. Not tuned at mt5_small's shape: that takes too long.
BATCH_SIZES = {"tiny": (4, 8, 32), "mt5_small": (8,)}
TRIED_TASKS = 2

_training = {}
_evaluation = {}
_answers: dict[int, list] = {}  # of the last evaluation, by task


class ForcedModel(models.EncoderDecoderModel):
    """Ends every generated answer at the length that the first input id carries."""

    def _compute_logits_from_slice(
        self, decoding_state, params, encoded_inputs, raw_inputs, max_decode_length
    ):
        logits_BV, cache = super()._compute_logits_from_slice(
            decoding_state, params, encoded_inputs, raw_inputs, max_decode_length
        )
        is_eos_V = jnp.arange(logits_BV.shape[-1]) == shapes.EOS_ID
        position = decoding_state.cur_index  # of a beam search one number for all rows
        ends_B1 = (position == raw_inputs[:, 0] - shapes.FIRST_LENGTH_ID)[:, None]
        return jnp.where(is_eos_V == ends_B1, logits_BV, shapes.FORBIDDEN), cache


def train_setup(shape: str) -> dict:
    """Makes the state, compiles, and takes two steps."""
    shape = shapes.SHAPES[shape]
    model, partitioner, train_state, axes = _made(shape, models.EncoderDecoderModel)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(train_state.params))
    _training["trainer"] = trainer.Trainer(
        model=model,
        train_state=train_state,
        partitioner=partitioner,
        eval_names=[],
        summary_dir=None,
        train_state_axes=axes,
        rng=jax.random.PRNGKey(1),
        learning_rate_fn=lambda step: jnp.float32(shapes.LEARNING_RATE),
        num_microbatches=None,
    )
    _training["batches"] = itertools.cycle(shapes.train_batches(shape))
    train(2)
    return {"parameters": parameters}


def train(steps: int) -> dict:
    """Seconds of so many steps, until their metrics are on the host."""
    start = time.perf_counter()
    summary = _training["trainer"].train(_training["batches"], steps).result()
    jax.block_until_ready(_training["trainer"].train_state.params)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "loss": float(np.asarray(summary["loss"].value))}


def evaluate_setup(shape: str, quick: bool, folder: str) -> dict:
    """Loads parameters and, for each set, finds the best batch size; all is compiled then.

    All tasks of a set are padded to one length: one batch compiles what all need.
    """
    shape = shapes.SHAPES[shape]
    model, partitioner, train_state, axes = _made(shape, ForcedModel)
    params = restore.restore_params(restore.open_weights(folder), train_state.params)
    train_state = train_state.replace_params(params)
    _evaluation.update(train_state=train_state, axes=axes)
    sizes = {}
    for spec in shapes.eval_specs(shape.name, quick):
        if spec.t5x_rows == 0:
            continue
        tasks = shapes.eval_set(spec)
        rows = shapes.t5x_rows(spec)
        if spec.t5x_rows:
            examples = [example for task in tasks for example in task]
            tasks = [[examples[row] for row in rows]]
        _register(spec.name, tasks, shape.vocab_size)
        _register(f"{spec.name}_tried", tasks[:TRIED_TASKS], shape.vocab_size)
        seconds, evaluators = {}, {}
        for size in BATCH_SIZES[shape.name]:
            _register(f"{spec.name}_warm{size}", [tasks[0][:size]], shape.vocab_size)
            warm = _evaluator(spec, f"{spec.name}_warm{size}", model, partitioner, size)
            warm.evaluate(train_state, axes).result()
            tried, evaluators[size] = (
                _with_functions_of(warm, _evaluator(spec, name, model, partitioner, size))
                for name in (f"{spec.name}_tried", spec.name)
            )
            start = time.perf_counter()
            if len(BATCH_SIZES[shape.name]) > 1:
                tried.evaluate(train_state, axes).result()
            seconds[size] = time.perf_counter() - start
        size = sizes[spec.name] = min(seconds, key=seconds.get)
        _evaluation[spec.name] = (spec, rows, evaluators[size], size)
    return {"batch_sizes": sizes}


def _with_functions_of(warm, evaluator):
    """The evaluator with what the other one has compiled."""
    for name in ("_predict_fn", "_predict_with_aux_fn", "_score_fn"):
        setattr(evaluator, name, getattr(warm, name))
    return evaluator


def evaluate(name: str) -> dict:
    """Seconds of one evaluation of the set, metrics included."""
    spec, rows, evaluator, size = _evaluation[name]
    _answers.clear()
    start = time.perf_counter()
    evaluator.evaluate(_evaluation["train_state"], _evaluation["axes"]).result()
    seconds = time.perf_counter() - start
    answers = [answer for task in sorted(_answers) for answer in _answers[task]]
    note = f"batch {size}, all padded to {spec.longest}"
    if spec.t5x_rows:
        note += f", {spec.t5x_rows} of the {spec.examples} examples, drawn at random"
    return {"seconds": seconds, "rows": rows, "answers": answers, "note": note}


def _made(shape: shapes.Shape, model_class):
    config = network.T5Config(
        vocab_size=shape.vocab_size,
        dtype="float32",
        emb_dim=shape.emb_dim,
        num_heads=shape.num_heads,
        num_encoder_layers=shape.num_layers,
        num_decoder_layers=shape.num_layers,
        head_dim=shape.head_dim,
        mlp_dim=shape.mlp_dim,
        mlp_activations=("gelu", "linear"),
        dropout_rate=shapes.DROPOUT_RATE,
        logits_via_embedding=False,
    )
    model = t5x_model.model_of(network.Transformer(config), model_class)
    partitioner = partitioning.PjitPartitioner(num_partitions=1)
    lengths = t5x_model.batch_shapes(shapes.BATCH_SIZE, shapes.INPUT_TOKENS, shapes.TARGET_TOKENS)
    initializer = t5x_model.initializer_of(model, partitioner, lengths)
    train_state = initializer.from_scratch(jax.random.PRNGKey(0))
    return model, partitioner, train_state, initializer.train_state_axes


def _register(name: str, tasks: list[list[shapes.Example]], vocab_size: int) -> None:
    """A seqio mixture of in-memory tasks, tokenised already."""
    vocabulary = seqio.PassThroughVocabulary(vocab_size, eos_id=shapes.EOS_ID)
    feature = seqio.Feature(vocabulary, add_eos=False, dtype=tf.int32)
    for number, examples in enumerate(tasks):
        seqio.TaskRegistry.add(
            f"{name}.{number}",
            source=seqio.FunctionDataSource(
                functools.partial(_dataset, examples=examples), splits=("test",)
            ),
            preprocessors=[],
            output_features={"inputs": feature, "targets": feature},
            postprocess_fn=_answer,
            metric_fns=[_keeping(number)],
        )
    seqio.MixtureRegistry.add(
        name, [f"{name}.{number}" for number in range(len(tasks))], default_rate=1.0
    )


def _dataset(split, shuffle_files, seed=None, examples=()):
    inputs = tf.ragged.constant([example.inputs.tolist() for example in examples], dtype=tf.int32)
    return tf.data.Dataset.from_tensor_slices(inputs).map(
        lambda ids: {"inputs": ids, "targets": tf.constant([70, shapes.EOS_ID])}
    )


def _answer(ids, example=None, is_target=False) -> list[int]:
    """Ids before the end of the sequence, which the vocabulary leaves in."""
    return [int(token) for token in itertools.takewhile(lambda id: id != shapes.EOS_ID, ids)]


def _keeping(task: int):
    """A metric that keeps the answers of a task."""

    def count_tokens(targets, predictions) -> dict:
        _answers[task] = predictions
        return {"tokens": sum(map(len, predictions))}

    return count_tokens


def _evaluator(spec: shapes.SetSpec, name: str, model, partitioner, batch_size: int):
    config = utils.DatasetConfig(
        mixture_or_task_name=name,
        task_feature_lengths={"inputs": spec.longest, "targets": spec.decode_length},
        split="test",
        batch_size=batch_size,
        shuffle=False,
        seed=42,
    )
    return t5x_eval.InferenceEvaluator(
        infer_eval_dataset_cfg=config,
        inference_evaluator_cls=seqio.Evaluator,
        model=model,
        partitioner=partitioner,
        verify_matching_vocabs_fn=None,
    )


if __name__ == "__main__":
    serve(
        {"jax": jax.__version__, "devices": [str(device) for device in jax.devices()]},
        {job.__name__: job for job in (train_setup, train, evaluate_setup, evaluate)},
    )
