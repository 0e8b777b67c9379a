import dataclasses

import pytest

from xlt_jax.training import config

DATASET = dict(
    mixture_or_task_name="demo",
    task_feature_lengths={"inputs": 8, "targets": 4},
    split="train",
    batch_size=4,
)


def test_records_are_frozen_and_accept_plain_values():
    records = (
        config.DatasetConfig(**DATASET),
        config.SaveCheckpointConfig(period=100, keep=2),
        config.RestoreCheckpointConfig("somewhere"),
        config.CheckpointConfig(),
    )
    for record in records:
        field = dataclasses.fields(record)[0].name
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(record, field, None)


@pytest.mark.parametrize(
    "changes,message",
    [
        ({"task_feature_lengths": {"inputs": 0, "targets": 4}}, r"\['inputs'\] is 0"),
        ({"task_feature_lengths": {"inputs": 8, "targets": -4}}, r"\['targets'\] is -4"),
        ({"task_feature_lengths": {}}, "is empty"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"batch_size": 2.5}, "batch_size is 2.5"),
        ({"mixture_or_task_name": ""}, "is empty"),
    ],
)
def test_impossible_datasets_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        config.DatasetConfig(**(DATASET | changes))


@pytest.mark.parametrize(
    "changes,message",
    [
        ({"dtype": "float8"}, "'float8'; allowed: 'float32', 'bfloat16'"),
        ({"period": 0}, "period is 0"),
        ({"keep": -1}, "keep is -1"),
        ({"keep_best_mode": "largest"}, "allowed: 'max', 'min'"),
        ({"keep_best": 0}, "keep_best is 0"),
    ],
)
def test_impossible_saving_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        config.SaveCheckpointConfig(**changes)


def test_unknown_restore_mode_is_refused():
    with pytest.raises(ValueError, match="'newest'; allowed: 'specific', 'latest'"):
        config.RestoreCheckpointConfig("somewhere", mode="newest")
    with pytest.raises(ValueError, match="to start from random weights"):
        config.RestoreCheckpointConfig("")
