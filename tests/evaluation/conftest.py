"""A tiny random network that listens to its encoder."""

import types

import jax
import jax.numpy as jnp
import pytest
from toys import VOCAB

from xlt_jax.models import mt5


@pytest.fixture(scope="module")
def model():
    network = mt5.Transformer(
        mt5.T5Config(
            vocab_size=VOCAB,
            emb_dim=16,
            num_heads=2,
            num_encoder_layers=1,
            num_decoder_layers=1,
            head_dim=8,
            mlp_dim=32,
            mlp_activations=("gelu", "linear"),
            dropout_rate=0.0,
        )
    )
    ids = jnp.ones((1, 4), jnp.int32)
    make = jax.jit(lambda rng: network.init(rng, ids, ids, ids, enable_dropout=False))
    variables = make(jax.random.key(0))

    def strengthen(path, leaf):
        """Makes the decoder listen to the encoder: answers then differ from row to row."""
        return 5 * leaf if "encoder_decoder_attention" in jax.tree_util.keystr(path) else leaf

    params = jax.tree_util.tree_map_with_path(strengthen, variables["params"])
    return types.SimpleNamespace(network=network, params=params, axes=variables["params_axes"])
