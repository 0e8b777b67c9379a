"""Jobs of T5X as shipped: its network, Adafactor, Trainer and InferenceEvaluator."""

import functools
import itertools
import time

import jax
import jax.numpy as jnp
import numpy as np
import seqio
import tensorflow as tf
from t5x import adafactor, models, partitioning, trainer, utils
from t5x import eval as t5x_eval
from t5x.examples.t5 import network

from bench import shapes
from bench.process import serve

BATCH_SIZE = 8  # the best or within 2 % of it of 4, 8, 16 and 32 on two cores

_training = {}
_evaluation = {}


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


def evaluate_setup(shape: str, quick: bool) -> dict:
    """Makes parameters and, for each set, seqio tasks and an InferenceEvaluator; warms it up.

    All tasks of a set are padded to one length: one batch compiles what all need.
    """
    shape = shapes.SHAPES[shape]
    model, partitioner, train_state, axes = _made(shape, ForcedModel)
    _evaluation.update(train_state=train_state, axes=axes)
    for spec in shapes.eval_specs(shape.name, quick):
        tasks = shapes.eval_set(spec)
        _register(spec.name, tasks)
        _register(f"{spec.name}_warm", [tasks[0][:BATCH_SIZE]])
        evaluator = _evaluator(spec, spec.name, model, partitioner)
        warm = _evaluator(spec, f"{spec.name}_warm", model, partitioner)
        warm.evaluate(train_state, axes).result()
        for name in ("_predict_fn", "_predict_with_aux_fn", "_score_fn"):
            setattr(evaluator, name, getattr(warm, name))  # compiled functions
        _evaluation[spec.name] = (spec, evaluator)
    return {"batch_size": BATCH_SIZE}


def evaluate(name: str) -> dict:
    """Seconds of one evaluation of the set, metrics included."""
    spec, evaluator = _evaluation[name]
    start = time.perf_counter()
    results = evaluator.evaluate(_evaluation["train_state"], _evaluation["axes"]).result()
    seconds = time.perf_counter() - start
    answer_tokens = sum(int(metrics["tokens"]) for metrics in results.values())
    return {"seconds": seconds, "examples": spec.examples, "answer_tokens": answer_tokens}


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
    vocabulary = seqio.PassThroughVocabulary(shape.vocab_size, eos_id=shapes.EOS_ID)
    model = model_class(
        module=network.Transformer(config),
        input_vocabulary=vocabulary,
        output_vocabulary=vocabulary,
        optimizer_def=adafactor.Adafactor(
            decay_rate=0.8,
            step_offset=0,
            logical_factor_rules=adafactor.standard_logical_factor_rules(),
        ),
        z_loss=shapes.Z_LOSS,
        label_smoothing=0.0,
    )
    partitioner = partitioning.PjitPartitioner(num_partitions=1)
    lengths = {
        "encoder_input_tokens": (shapes.BATCH_SIZE, shapes.INPUT_TOKENS),
        "decoder_input_tokens": (shapes.BATCH_SIZE, shapes.TARGET_TOKENS),
        "decoder_target_tokens": (shapes.BATCH_SIZE, shapes.TARGET_TOKENS),
        "decoder_loss_weights": (shapes.BATCH_SIZE, shapes.TARGET_TOKENS),
    }
    initializer = utils.TrainStateInitializer(
        optimizer_def=model.optimizer_def,
        init_fn=model.get_initial_variables,
        input_shapes=lengths,
        partitioner=partitioner,
    )
    train_state = initializer.from_scratch(jax.random.PRNGKey(0))
    return model, partitioner, train_state, initializer.train_state_axes


def _register(name: str, tasks: list[list[shapes.Example]]) -> None:
    """A seqio mixture of in-memory tasks, tokenised already."""
    vocabulary = seqio.PassThroughVocabulary(shapes.LAST_WORD_ID + 1, eos_id=shapes.EOS_ID)
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
            metric_fns=[_count_tokens],
        )
    seqio.MixtureRegistry.add(
        name, [f"{name}.{number}" for number in range(len(tasks))], default_rate=1.0
    )


def _dataset(split, shuffle_files, seed=None, examples=()):
    inputs = tf.ragged.constant([example.inputs.tolist() for example in examples], dtype=tf.int32)
    return tf.data.Dataset.from_tensor_slices(inputs).map(
        lambda ids: {"inputs": ids, "targets": tf.constant([70, shapes.EOS_ID])}
    )


def _answer(ids, example=None, is_target=False) -> int:
    """Tokens before the end of the sequence; the vocabulary leaves that itself in."""
    return sum(token != shapes.EOS_ID for token in ids)


def _count_tokens(targets, predictions) -> dict:
    return {"tokens": sum(predictions)}


def _evaluator(spec: shapes.SetSpec, name: str, model, partitioner):
    config = utils.DatasetConfig(
        mixture_or_task_name=name,
        task_feature_lengths={"inputs": spec.longest, "targets": spec.decode_length},
        split="test",
        batch_size=BATCH_SIZE,
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
