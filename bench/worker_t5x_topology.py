"""T5X's training step as shipped, compiled for a described topology: one JSON record.

Its scalable mT5 (scanned layers, full rematerialisation, bfloat16), its partitioner, Adafactor and
``train_with_lr``; only the mesh's devices are given. The figures are read as ours are.
"""

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from t5x import partitioning, trainer
from t5x.examples.scalable_t5 import network

from bench import shapes, t5x_model
from xlt_jax.training import hlo, partition, programs, topology

VOCABULARY, INPUTS, TARGETS = 250112, 512, 128
# Width, heads, layers of each stack, MLP: Xue et al. 2021, arXiv:2010.11934, and T5 1.1.
SIZES = {
    "small": (512, 6, 8, 1024),
    "base": (768, 12, 12, 2048),
    "large": (1024, 16, 24, 2816),
    "xl": (2048, 32, 24, 5120),
    "xxl": (4096, 64, 24, 10240),
}


class Partitioner(partitioning.PjitPartitioner):
    """T5X's on given devices, arranged as ours are."""

    def __init__(self, num_partitions: int, devices: np.ndarray):
        super().__init__(num_partitions=num_partitions)
        self._devices = devices

    @property
    def mesh(self) -> Mesh:
        """Axes "data" and "model"."""
        return Mesh(self._devices, ("data", "model"))


def main(size: str, name: str, rows: int, partitions: int) -> dict:
    """Compiles; the record has the fields of ``xlt_jax.aot --json`` that tables read."""
    target = topology.described(name)
    grid = partition.Partitioner(partitions, devices=target.devices).mesh.devices[0]
    partitioner = Partitioner(partitions, grid)
    width, heads, depth, mlp = SIZES[size]
    config = network.T5Config(
        vocab_size=VOCABULARY,
        dtype=jnp.bfloat16,
        emb_dim=width,
        num_heads=heads,
        num_encoder_layers=depth,
        num_decoder_layers=depth,
        head_dim=64,
        mlp_dim=mlp,
        mlp_activations=("gelu", "linear"),
        dropout_rate=shapes.DROPOUT_RATE,
        remat_policy="full",
        scan_layers=True,
    )
    model = t5x_model.model_of(network.Transformer(config))
    lengths = t5x_model.batch_shapes(rows, INPUTS, TARGETS)
    initializer = t5x_model.initializer_of(model, partitioner, lengths)

    def train_step(train_state, batch, rng):
        return trainer.train_with_lr(
            train_state, batch, jnp.float32(shapes.LEARNING_RATE), rng, model, None
        )

    step = partitioner.partition(
        train_step,
        in_axis_resources=(initializer.train_state_axes, PartitionSpec("data"), None),
        out_axis_resources=(initializer.train_state_axes, None),
        donate_argnums=(0,),
    )
    batch = {key: jax.ShapeDtypeStruct(shape, jnp.int32) for key, shape in lengths.items()}
    key = jax.eval_shape(lambda: jax.random.PRNGKey(0))
    record = {
        "topology": name,
        "chips": target.num_chips,
        "devices": len(target.devices),
        "mesh": dict(partitioner.mesh.shape),
        "hbm_bytes": programs.capacity(target),
    }
    lowered = step.lower(initializer.global_train_state_shape, batch, key)
    try:
        compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        found = programs.out_of_memory(error)
        if found is None:
            raise
        return record | {"fits": False, "needed_bytes": found[0]}
    used = compiled.memory_analysis()
    needed = used.argument_size_in_bytes + used.temp_size_in_bytes
    needed += used.output_size_in_bytes - used.alias_size_in_bytes
    work = hlo.work(compiled.as_text(), partitioner.mesh.shape)
    return record | {
        "fits": True,
        "needed_bytes": needed + used.generated_code_size_in_bytes,
        "temporaries": used.temp_size_in_bytes,
        "compiled_flops": work.flops,
        "sent_bytes": sum(work.sent_bytes.values()),
    }


if __name__ == "__main__":
    print(json.dumps([main(*sys.argv[1:3], *map(int, sys.argv[3:5]))]))
