"""A network of the synthetic weights' sizes."""

import jax
import optax
import pytest

from xlt_jax.models import mt5
from xlt_jax.training import state
from xlt_jax.training.partition import Partitioner

SIZES = dict(
    vocab_size=40,
    emb_dim=16,
    num_heads=3,
    num_encoder_layers=2,
    num_decoder_layers=3,
    head_dim=4,
    mlp_dim=24,
    mlp_activations=("gelu", "linear"),
)


@pytest.fixture(scope="session")
def describe_params():
    """Shapes and shardings of a network's parameters, on one device."""

    def describe(**changes):
        network = mt5.Transformer(mt5.T5Config(**(SIZES | changes)))
        partitioner = Partitioner(1, devices=jax.devices()[:1])
        return state.describe(network, optax.identity(), partitioner).params

    return describe
