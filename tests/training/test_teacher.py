"""A teacher gives its checkpoint's logits on any devices, and a smaller network learns."""

import jax
import numpy as np
import pytest

from xlt_jax.evaluation.teacher import Teacher
from xlt_jax.objectives import distillation
from xlt_jax.training import checkpoint, optim, state, step
from xlt_jax.training.config import SaveCheckpointConfig
from xlt_jax.training.partition import Partitioner


@pytest.fixture(scope="module")
def saved(tmp_path_factory, make_run):
    """(folder, parameters) of a run."""
    folder = tmp_path_factory.mktemp("teacher")
    trained, _ = make_run().train(2)
    saver = checkpoint.Checkpointer(str(folder), SaveCheckpointConfig(period=1))
    saver.save(2, trained, {})
    saver.close()
    return folder, jax.device_get(trained.params)


@pytest.mark.parametrize("devices, num_partitions", [(1, 1), (8, 2)])
def test_logits_are_the_checkpoints(devices, num_partitions, saved, make_network, make_batch):
    folder, params = saved
    network = make_network()
    partitioner = Partitioner(num_partitions, devices=jax.devices()[:devices])
    expected = step.make_forward(network)(params, make_batch(), None).logits
    for own in (partitioner, None):
        batch = partitioner.shard_batch(make_batch())
        found = Teacher(network, folder, own)(batch)
        np.testing.assert_allclose(found["teacher_logits"], expected, rtol=1e-4, atol=1e-5)
        assert found["encoder_input_tokens"] is batch["encoder_input_tokens"]


def test_the_largest_logits_are_kept(saved, make_network, make_batch):
    whole, few = (Teacher(make_network(), saved[0], top=top)(make_batch()) for top in (None, 3))
    expected = np.sort(whole["teacher_logits"], axis=-1)[..., :-4:-1]
    np.testing.assert_allclose(few["teacher_logits"], expected, rtol=1e-5, atol=1e-6)
    again = np.take_along_axis(
        np.asarray(whole["teacher_logits"]), np.asarray(few["teacher_tokens"]), axis=-1
    )
    np.testing.assert_allclose(again, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("top", [None, 16])
@pytest.mark.parametrize("devices, num_partitions, num_microbatches", [(1, 1, 1), (8, 2, 2)])
def test_a_smaller_network_learns_from_it(
    devices, num_partitions, num_microbatches, top, saved, make_network, make_batch
):
    student, optimizer = make_network(emb_dim=8, num_heads=2), optim.adafactor(1e-2)
    partitioner = Partitioner(num_partitions, devices=jax.devices()[:devices])
    teacher = Teacher(make_network(), saved[0], partitioner, top)
    train_state = state.create(student, optimizer, partitioner, jax.random.key(0))

    def objective(*arguments):
        return distillation.objective(*arguments, hard=0.0)

    train_step = step.make_train_step(
        step.make_forward(student),
        objective,
        optimizer,
        partitioner,
        train_state,
        num_microbatches=num_microbatches,
        loss_normalizer="NUM_REAL_TARGET_TOKENS",
    )
    batch, losses = teacher(partitioner.shard_batch(make_batch())), []
    for _ in range(60):
        train_state, metrics = train_step(train_state, batch, jax.random.key(1))
        losses.append(float(metrics["divergence"][0] / metrics["divergence"][1]))
    assert losses[-1] < 0.5 * losses[0]


def test_bad_teachers_are_refused(saved, make_network):
    with pytest.raises(ValueError, match="does not fit"):
        Teacher(make_network(emb_dim=16), saved[0])
    with pytest.raises(ValueError, match="top is 0"):
        Teacher(make_network(), saved[0], top=0)
