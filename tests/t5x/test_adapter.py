"""What gin files bind means the same under T5X: records, arguments, loss, checkpoints, counting."""

import dataclasses
import functools
import inspect
import json
import types

import jax
import numpy as np
import pytest

pytest.importorskip("t5x.models")  # not tests/t5x itself

import t5x.checkpoints
import t5x.eval
import t5x.models
import t5x.train
import t5x.utils

import tasks  # noqa: F401 (registers)
from tasks.cldr import text
from xlt_jax import evaluate, t5x_adapter, train
from xlt_jax.data import vocab
from xlt_jax.models import layers, mt5
from xlt_jax.objectives import lm
from xlt_jax.training import config, optim

pytestmark = pytest.mark.t5x

SIZES = dict(
    vocab_size=8192,
    emb_dim=16,
    num_heads=2,
    num_encoder_layers=1,
    num_decoder_layers=1,
    head_dim=8,
    mlp_dim=32,
    mlp_activations=("gelu", "linear"),
)

# Field of our record -> why T5X's lacks it or has another default.
DIFFERENT = {
    "DatasetConfig": {
        "shuffle": "T5X has no default; ours is the plain case",
        "seed": "T5X has no default; ours is the plain case",
    },
    "SaveCheckpointConfig": {
        "save_dataset": "without the position in the data a resumed run repeats its beginning",
        "keep_best_metric": "T5X: an argument of its SaveBestCheckpointer",
        "keep_best_mode": "T5X: an argument of its SaveBestCheckpointer",
        "keep_best": "T5X takes the number from keep",
    },
    "RestoreCheckpointConfig": {"mode": "ours takes a MODEL_DIR and a single checkpoint"},
    "CheckpointConfig": {"save": "None saves nothing in T5X; ours saves at the end at least"},
}


def defaults(record):
    return {field.name: field.default for field in dataclasses.fields(record)}


@pytest.mark.parametrize("name", DIFFERENT)
def test_records_have_the_fields_and_defaults_of_t5x(name):
    ours, theirs = defaults(getattr(config, name)), defaults(getattr(t5x.utils, name))
    different = {field for field, default in ours.items() if theirs.get(field, field) != default}
    assert different == set(DIFFERENT[name])


@pytest.mark.parametrize("name", DIFFERENT)
def test_the_adapters_records_have_our_defaults(name):
    ours, adapted = defaults(getattr(config, name)), defaults(getattr(t5x_adapter, name))
    different = {field for field in ours if adapted[field] != ours[field]}
    assert different == {"DatasetConfig": {"shuffle", "seed"}, "CheckpointConfig": {"save"}}.get(
        name, set()
    )


@pytest.mark.parametrize(
    ("ours", "theirs"), [(train.train, t5x.train.train), (evaluate.evaluate, t5x.eval.evaluate)]
)
def test_our_programs_take_arguments_of_t5x(ours, theirs):
    own_flags = {
        "export_submission",
        "alignment",
        "profile",
    }  # of the command line: no gin file binds it
    extra = inspect.signature(ours).parameters.keys() - inspect.signature(theirs).parameters.keys()
    assert extra <= own_flags


@pytest.mark.parametrize(
    "option", [{"bad_steps": "skip"}, {"spike_factor": 5.0}, {"hang_limit_s": 60}]
)
def test_the_trainer_refuses_what_t5x_cannot_do(option):
    ((name, value),) = option.items()
    with pytest.raises(ValueError, match=f"{name.upper()} is {value!r}, which T5X's loop cannot"):
        t5x_adapter.Trainer(learning_rate_fn=lambda step: 0.0, **option)


def test_schedule_takes_arguments_of_t5x():
    ours, theirs = (
        {name: value.default for name, value in inspect.signature(function).parameters.items()}
        for function in (
            optim.create_learning_rate_scheduler,
            t5x.utils.create_learning_rate_scheduler,
        )
    )
    assert ours == theirs


# ------------------------------------------------------------------------------------- loss
@functools.cache
def vocabulary():
    return vocab.trained(text.corpus, 8192)


def batch():
    generator = np.random.default_rng(0)
    targets = generator.integers(3, 97, (4, 6)).astype(np.int32)
    targets[1, 3:] = 0
    return {
        "encoder_input_tokens": generator.integers(3, 97, (4, 8)).astype(np.int32),
        "decoder_target_tokens": targets,
        "decoder_input_tokens": np.pad(targets, ((0, 0), (1, 0)))[:, :-1],
        "decoder_loss_weights": (targets > 0).astype(np.int32),
    }


@functools.cache
def adapted(normalizer=None):
    return t5x_adapter.EncoderDecoderModel(
        module=mt5.Transformer(mt5.T5Config(**SIZES)),
        vocabulary=vocabulary(),
        optimizer_def=t5x_adapter.Adafactor(),
        objective=functools.partial(lm.objective, z_loss=1e-4, label_smoothing=0.1),
        loss_normalizing_factor=normalizer,
    )


@functools.cache
def params():
    shapes = {name: value.shape for name, value in batch().items()}
    types = dict.fromkeys(shapes, np.int32)
    return adapted().get_initial_variables(jax.random.key(0), shapes, types)["params"]


@pytest.mark.parametrize("normalizer", [None, 7.0, "NUM_REAL_TARGET_TOKENS"])
def test_loss_and_gradients_are_those_of_t5xs_own_model(normalizer):
    ours = adapted(normalizer)
    theirs = t5x.models.EncoderDecoderModel(
        module=ours.module,
        input_vocabulary=ours.input_vocabulary,
        output_vocabulary=ours.output_vocabulary,
        optimizer_def=None,
        z_loss=1e-4,
        label_smoothing=0.1,
        loss_normalizing_factor=normalizer,
    )
    results = [
        jax.value_and_grad(model.loss_fn, has_aux=True)(params(), batch(), None)
        for model in (ours, theirs)
    ]
    ((loss, curves), gradients), ((their_loss, their_curves), their_gradients) = results
    np.testing.assert_allclose(loss, their_loss, rtol=1e-6)
    np.testing.assert_allclose(curves["loss"].compute(), loss, rtol=1e-6)
    np.testing.assert_allclose(
        curves["accuracy"].compute(), their_curves["accuracy"].compute(), rtol=1e-6
    )
    close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
    jax.tree.map(close, gradients, their_gradients)


def test_other_normalizers_are_refused():
    with pytest.raises(ValueError, match="allowed: None"):
        adapted("AVERAGE_PER_SEQUENCE")
    with pytest.raises(ValueError, match="divides each microbatch by its own tokens"):
        t5x_adapter.Trainer(
            learning_rate_fn=None, num_microbatches=2, model=adapted("NUM_REAL_TARGET_TOKENS")
        )


def test_a_network_of_another_vocabulary_is_refused():
    with pytest.raises(ValueError, match="97 token ids"):
        t5x_adapter.EncoderDecoderModel(
            mt5.Transformer(mt5.T5Config(**SIZES | {"vocab_size": 97})), vocabulary(), None, None
        )


# ------------------------------------------------------------------------------------- checkpoints
def test_saving_that_t5x_cannot_do_is_refused():
    with pytest.raises(ValueError, match="saves only with a period"):
        t5x_adapter.SaveCheckpointConfig()
    with pytest.raises(ValueError, match=r"Means are for xlt_jax\.train"):
        t5x_adapter.SaveCheckpointConfig(period=1, keep_best_metric="mean/accuracy")
    with pytest.raises(ValueError, match="keep is -1"):
        t5x_adapter.SaveCheckpointConfig(period=1, keep=-1)


def test_the_best_metric_is_found_in_the_event_files_of_seqio():
    record = t5x_adapter.SaveCheckpointConfig(period=1, keep_best_metric="xnli.en/accuracy")
    bound = record.checkpointer_cls.keywords
    assert bound["metric_name_to_monitor"] == "inference_eval/xnli.en/eval/accuracy"


def checkpoints(folder, *numbers):
    """Folders that look like T5X's."""
    for number in numbers:
        (folder / f"checkpoint_{number}" / "state").mkdir(parents=True)
        (folder / f"checkpoint_{number}" / "state" / "_METADATA").write_text("{}")


def test_a_model_dir_means_its_latest_checkpoint(tmp_path):
    checkpoints(tmp_path, 5, 10)
    latest = str(tmp_path / "checkpoint_10")
    record = t5x_adapter.RestoreCheckpointConfig
    assert record(str(tmp_path)).path == latest
    assert record(str(tmp_path), mode="latest").path == latest
    assert record(str(tmp_path / "checkpoint_5")).path == str(tmp_path / "checkpoint_5")
    assert record([]).path == []
    with pytest.raises(ValueError, match="does not exist"):
        record(str(tmp_path / "checkpoint_7"))
    with pytest.raises(ValueError, match="single checkpoint"):
        record(latest, mode="latest")


STATE = {"target": {"a": 1, "b": {"c": 2}}, "state": {"step": 3, "param_states": {"a": 4}}}


def test_parameters_of_a_scored_checkpoint_must_fit():
    (check,) = t5x_adapter.RestoreCheckpointConfig([]).state_transformation_fns
    assert check(STATE, STATE) is STATE
    with pytest.raises(ValueError, match=r"b/c: missing"):
        check(STATE | {"target": {"a": 1}}, STATE)
    surplus = STATE | {"target": STATE["target"] | {"z": 1}}
    with pytest.raises(ValueError, match="z: unknown"):
        check(surplus, STATE)
    (check,) = t5x_adapter.RestoreCheckpointConfig([], strict=False).state_transformation_fns
    assert check(surplus, STATE) is surplus


def test_runs_of_our_engine_are_not_resumed_by_t5x():
    record = t5x_adapter.CheckpointConfig(restore=t5x_adapter.RestoreCheckpointConfig([]))
    (check,) = record.restore.state_transformation_fns
    assert check(STATE, STATE, is_resuming=True) is STATE
    with pytest.raises(ValueError, match=r"the run is one of xlt_jax\.train"):
        check(STATE | {"state": {"step": 3}}, STATE, is_resuming=True)


# ------------------------------------------------------------------------------------- counting
def test_steps_are_those_of_our_training(tmp_path, monkeypatch):
    initial, run = tmp_path / "initial", tmp_path / "run"
    (initial / "checkpoint_100").mkdir(parents=True)
    run.mkdir()
    opened = types.SimpleNamespace(step=100)
    monkeypatch.setattr(t5x_adapter.restore, "open_weights", lambda path: opened)
    total = functools.partial(t5x_adapter.total_steps, str(run), steps=110)
    assert total(str(initial), relative_steps=None) == 110
    assert total(str(initial), relative_steps=20) == 120
    assert total([], relative_steps=20) == 20
    assert t5x_adapter.relative_steps(20) is None
    with pytest.raises(ValueError, match="TRAIN_STEPS counts its steps too"):
        t5x_adapter.total_steps(str(run), str(initial), 100, None)
    # Resumed at 105, when the initial checkpoint is gone.
    (run / "checkpoint_105").mkdir()
    (run / "training_data.json").write_text(json.dumps({"first_step": 100}))
    assert total("/gone", relative_steps=20) == 120


def test_mesh_has_the_partitions_asked_for_on_cpu():
    shape = t5x_adapter.PjitPartitioner(num_partitions=2).mesh.shape
    assert dict(shape) == {"data": 4, "model": 2}


def test_partitioner_has_our_rules():
    split = t5x_adapter.PjitPartitioner(2, fully_sharded=True, sequence_parallel=True)
    rules = dict(split.logical_axis_rules)
    assert rules["embed"] == "data" and rules["split_length"] == "model"
    assert rules["batch"] == "data"
    with pytest.raises(ValueError, match="T5X does not choose"):
        t5x_adapter.PjitPartitioner(None)


def test_constraints_of_the_network_reach_t5x():
    """Traced by T5X's partitioner, activations are split along the length."""
    split = t5x_adapter.PjitPartitioner(2, sequence_parallel=True)
    between = split.partition(layers.between, in_axis_resources=(None,), out_axis_resources=None)
    lowered = between.lower(jax.ShapeDtypeStruct((4, 8, 16), "float32")).as_text()
    assert '{"data"}, {"model"}' in lowered
