"""Every file of gin/models gives the network that its paper describes."""

import functools
import json
import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest

from xlt_jax.models import mt5
from xlt_jax.training import state

ROOT = pathlib.Path(__file__).parent.parent
FILES = sorted(path.stem for path in (ROOT / "gin" / "models").glob("*.gin"))

# ids, width, heads, head width, encoder and decoder layers, MLP width, tables of relative bias
SIZES = {
    "tiny": (8192, 128, 4, 32, 2, 2, 256, 2),
    "mt5_small": (250112, 512, 6, 64, 8, 8, 1024, 2),
    "mt5_base": (250112, 768, 12, 64, 12, 12, 2048, 2),
    "mt5_large": (250112, 1024, 16, 64, 24, 24, 2816, 2),
    "mt5_xl": (250112, 2048, 32, 64, 24, 24, 5120, 2),
    "mt5_xxl": (250112, 4096, 64, 64, 24, 24, 10240, 2),
    "byt5_small": (384, 1472, 6, 64, 12, 4, 3584, 2),
    "byt5_base": (384, 1536, 12, 64, 18, 6, 3968, 2),
    "byt5_large": (384, 1536, 16, 64, 36, 12, 3840, 2),
    "byt5_xl": (384, 2560, 32, 64, 36, 12, 6720, 2),
    "byt5_xxl": (384, 4672, 64, 64, 36, 12, 12352, 2),
    "umt5_small": (256384, 512, 6, 64, 8, 8, 1024, 16),
    "umt5_base": (256384, 768, 12, 64, 12, 12, 2048, 24),
    "umt5_xl": (256384, 2048, 32, 64, 24, 24, 5120, 48),
    "umt5_xxl": (256384, 4096, 64, 64, 24, 24, 10240, 48),
}
# Values in the public checkpoints.
KNOWN = {
    "mt5_small": 300_176_768,
    "mt5_base": 582_401_280,
    "mt5_large": 1_229_581_312,
    "mt5_xl": 3_742_619_648,
    "mt5_xxl": 12_921_057_280,
    "byt5_small": 299_637_760,
}

# Gin is global to a process: one reads all files, after a run file that includes mT5-base.
READ = """
import dataclasses, json, sys
import gin
from xlt_jax.models import mt5
from xlt_jax.train import train
configs = {}
for name in sys.argv[1:]:
    gin.clear_config()
    files = ["gin/finetune.gin", f"gin/models/{name}.gin"]
    gin.parse_config_files_and_bindings(files, ["MODEL_DIR = 'x'"])
    fields = dataclasses.asdict(gin.get_configurable(mt5.T5Config)())
    vocabulary = gin.query_parameter("VOCABULARY/gin.macro.value")
    configs[name] = {**fields, "dtype": str(fields["dtype"]), "vocabulary": str(vocabulary)}
print(json.dumps(configs))
"""


@pytest.fixture(scope="module")
def configs():
    result = subprocess.run(
        [sys.executable, "-c", READ, *FILES],
        cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def num_parameters(ids, width, heads, head_width, encoder, decoder, mlp, tables):
    attention, gated = 4 * width * heads * head_width, 3 * width * mlp
    return (
        2 * ids * width  # tokens, logits
        + encoder * (attention + gated + 2 * width)
        + decoder * (2 * attention + gated + 3 * width)
        + 2 * width  # final norms
        + tables * heads * 32
    )


def test_every_file_is_described_here():
    assert set(FILES) == set(SIZES)


@pytest.mark.parametrize("name", FILES)
def test_number_of_parameters(name, configs):
    config = {key: value for key, value in configs[name].items() if key != "vocabulary"}
    # Scanned only to be traced faster: the values are as many.
    network = mt5.Transformer(mt5.T5Config(**config | {"scan_layers": True}))
    ids = np.ones((1, 1), np.int32)
    init = functools.partial(network.init, enable_dropout=False)
    params = jax.eval_shape(init, jax.random.key(0), ids, ids, ids)["params"]
    assert state.num_parameters(params) == num_parameters(*SIZES[name])
    assert num_parameters(*SIZES[name]) == KNOWN.get(name, num_parameters(*SIZES[name]))


@pytest.mark.parametrize("name", FILES)
def test_options_fit_the_public_checkpoints(name, configs):
    config = configs[name]
    family = name.split("_")[0]
    assert config["relative_bias"] == ("per_layer" if family == "umt5" else "shared")
    assert (config["scan_layers"], config["remat_policy"]) == (False, "none")
    assert config["mlp_activations"] == ["gelu", "linear"]
    assert config["dtype"] == ("float32" if family == "tiny" else "bfloat16")
    kind = {"byt5": "byte_vocabulary", "tiny": "trained"}.get(family, "sentence_piece")
    assert kind in config["vocabulary"]
