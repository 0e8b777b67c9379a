"""Arms of a study that were started with one seed see the same batches in the target stage."""

import subprocess
import sys
from pathlib import Path

import pytest

from xlt_jax.recipes import stage

ROOT = Path(__file__).parents[2]
# In place of training: reads the stage's own command line and prints what it would be fed.
PROGRAM = """
import hashlib
import numpy as np
from xlt_jax import configuration
from xlt_jax.train import open_stream

def train(*, model, train_dataset_cfg, **others):
    stream, _ = open_stream(train_dataset_cfg, model.vocabulary)
    digest = hashlib.sha256()
    for _ in range(50):
        arrays = next(stream).arrays
        for name in sorted(arrays):
            digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    print("batches", digest.hexdigest())

if __name__ == "__main__":
    configuration.run_program("xlt_jax.train", "", train)
"""


@pytest.fixture(scope="module")
def batches(tmp_path_factory, user_environment):
    """``batches(stage) -> digest`` of the stage's first 50 batches."""
    program = tmp_path_factory.mktemp("program") / "program.py"
    program.write_text(PROGRAM)

    def call(one: stage.Stage) -> str:
        environment = user_environment | {"PYTHONPATH": str(ROOT)}
        words = [sys.executable, str(program), *stage.arguments(one, Path("runs/study"))]
        output = subprocess.run(
            words, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
        ).stdout
        return output.rpartition("batches ")[2].strip()

    return call


def test_target_batches_depend_on_the_seed_and_not_on_the_arm(batches):
    recipe = stage.get("english_tasks").with_seeds((0, 1))
    tuned = {one.name: one for one in recipe.stages if "_finetune" in one.name}
    found = {
        name: batches(tuned[name])
        for name in ("all_finetune.seed0", "none_finetune.seed0", "all_finetune.seed1")
    }
    assert found["all_finetune.seed0"] == found["none_finetune.seed0"]
    assert found["all_finetune.seed0"] != found["all_finetune.seed1"]
    assert tuned["all_finetune.seed0"].start_from != tuned["none_finetune.seed0"].start_from
    assert all(len(digest) == 64 for digest in found.values())
