"""Which vocabulary belongs to which network."""

from types import SimpleNamespace

import numpy as np
import pytest

from xlt_jax.objectives import dual_encoder, lm
from xlt_jax.training import model, optim


def build(network_ids, vocabulary_ids):
    return model.EncoderDecoderModel(
        module=SimpleNamespace(config=SimpleNamespace(vocab_size=network_ids)),
        vocabulary=SimpleNamespace(vocab_size=vocabulary_ids, path="some.model"),
        optimizer_def=None,
        objective=None,
    )


@pytest.mark.parametrize(
    "network_ids, vocabulary_ids",
    [
        (250112, 250100),  # mT5
        (384, 259),  # ByT5
        (384, 384),  # ByT5 with 125 extra ids
        (256384, 256300),  # umT5
    ],
)
def test_public_networks_take_their_vocabularies(network_ids, vocabulary_ids):
    build(network_ids, vocabulary_ids)


@pytest.mark.parametrize(
    "network_ids, vocabulary_ids",
    [
        (250112, 250200),  # mT5's file, whose sentinels were added once more
        (256384, 256000),  # umT5 without its extra ids
        (256384, 250100),
        (250112, 256300),
        (250112, 259),
        (384, 250100),
    ],
)
def test_other_pairs_are_refused(network_ids, vocabulary_ids):
    with pytest.raises(
        ValueError, match=f"{network_ids} token ids.*some.model has {vocabulary_ids}"
    ):
        build(network_ids, vocabulary_ids)


@pytest.mark.parametrize(("num_microbatches", "pack"), [(2, False), (1, True)])
def test_rows_that_are_compared_are_neither_packed_nor_split(num_microbatches, pack):
    for objective in (dual_encoder.objective, lm.objective):
        model.check_whole_batches(objective, 1, pack=False)
    model.check_whole_batches(lm.objective, num_microbatches, pack)
    with pytest.raises(ValueError, match=f"{num_microbatches} and PACK {pack}"):
        model.check_whole_batches(dual_encoder.objective, num_microbatches, pack)


def test_the_optimizer_knows_stacked_layers():
    """Scanned or not, a layer has the same moments."""
    params = {
        "encoder": {
            "encoder": {"mlp": {"wo": {"kernel": np.ones((256, 3, 128))}}},
            "layers_0": {"mlp": {"wo": {"kernel": np.ones((256, 128))}}},
        }
    }
    moments = model.adafactor_def()(lambda step: 0.1).init(params)
    assert isinstance(moments, optim.AdafactorState)
    rows = moments.row["encoder"]
    assert rows["encoder"]["mlp"]["wo"]["kernel"].shape == (3, 128)
    assert rows["layers_0"]["mlp"]["wo"]["kernel"].shape == (128,)
