"""A network of a few thousand parameters and batches of random tokens."""

import functools

import jax
import numpy as np
import pytest

from xlt_jax.models import mt5
from xlt_jax.objectives import lm
from xlt_jax.training import optim, state, step
from xlt_jax.training.partition import Partitioner


def tiny_network(**changes):
    sizes = dict(
        vocab_size=64,
        emb_dim=32,
        num_heads=8,
        num_encoder_layers=1,
        num_decoder_layers=1,
        head_dim=4,
        mlp_dim=64,
        mlp_activations=("gelu", "linear"),
        dropout_rate=0.0,
    )
    return mt5.Transformer(mt5.T5Config(**(sizes | changes)))


def random_batch(rows=16, seed=0, inputs=12, targets=6, vocab_size=64):
    rng = np.random.default_rng(seed)

    def tokens(length):
        ids = rng.integers(2, vocab_size, (rows, length), dtype=np.int32)
        return ids * (np.arange(length) < rng.integers(2, length + 1, (rows, 1)))

    target = tokens(targets)
    return {
        "encoder_input_tokens": tokens(inputs),
        "decoder_input_tokens": np.pad(target, ((0, 0), (1, 0)))[:, :-1],
        "decoder_target_tokens": target,
        "decoder_loss_weights": (target > 0).astype(np.float32),
    }


# Stacks of a depth that is no other size of the network, and both kinds of factored tables.
SEVERAL_LAYERS = dict(num_encoder_layers=3, num_decoder_layers=2, relative_bias="per_layer")


class Run:
    """A tiny run; ``train(n)`` returns the state and all metrics.

    ``scan`` chooses a network of several layers, scanned or not, with a bias in each; ``split``
    splits parameters over the data axis and activations over the model axis too.
    """

    def __init__(
        self,
        devices=1,
        num_partitions=1,
        dropout_rate=0.0,
        scan=None,
        split=False,
        logits_chunks=1,
        remat_policy="none",
        **options,
    ):
        network = {} if scan is None else SEVERAL_LAYERS | {"scan_layers": scan}
        network |= {"logits_chunks": logits_chunks, "remat_policy": remat_policy}
        self.network = tiny_network(dropout_rate=dropout_rate, **network)
        self.partitioner = Partitioner(
            num_partitions,
            devices=jax.devices()[:devices],
            fully_sharded=split,
            sequence_parallel=split and num_partitions > 1,
        )
        self.learning_rate = optim.create_learning_rate_scheduler(warmup_steps=4)
        self.optimizer = optim.adafactor(
            self.learning_rate, min_dim_size_to_factor=16, layer_axis=mt5.layer_axis
        )
        self.described = state.describe(self.network, self.optimizer, self.partitioner)
        self.step = step.make_train_step(
            step.make_forward(self.network),
            lm.objective,
            self.optimizer,
            self.partitioner,
            self.described,
            learning_rate_fn=self.learning_rate,
            **options,
        )

    @functools.cached_property
    def _initial(self):
        key = jax.random.key(0)
        return jax.device_get(state.create(self.network, self.optimizer, self.partitioner, key))

    def create(self):
        """A new copy of the same initial state: steps donate theirs."""
        shardings = jax.tree.map(lambda leaf: leaf.sharding, self.described)
        return jax.device_put(self._initial, shardings, may_alias=False)

    def train(self, steps, start=None, first=0):
        current, metrics = start or self.create(), []
        for index in range(first, first + steps):
            batch = self.partitioner.shard_batch(random_batch(seed=index))
            current, values = self.step(current, batch, jax.random.key(1))
            metrics.append(jax.device_get(values))
        return current, metrics


@pytest.fixture(scope="session")
def make_run():
    """Runs by their options; equal options share one compiled step."""
    runs = {}

    def make(**options):
        key = tuple(sorted(options.items()))
        if key not in runs:
            runs[key] = Run(**options)
        return runs[key]

    return make


@pytest.fixture(scope="session")
def make_batch():
    return random_batch


@pytest.fixture(scope="session")
def make_network():
    return tiny_network
