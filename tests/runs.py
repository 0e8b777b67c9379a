"""Training runs as users start them, and what they leave behind."""

import json
import os
import pathlib
import re
import socket
import subprocess
import sys

import numpy as np
import orbax.checkpoint as ocp

ROOT = pathlib.Path(__file__).parent.parent
# One device, as a user's machine; the tests' own process has eight.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}


FOLDERS = {"train": "MODEL_DIR", "evaluate": "EVAL_OUTPUT_DIR"}


# A run of seconds, but for its number of steps.
SMALL = {
    "MIXTURE_OR_TASK_NAME": "cldr_kind.sw",
    "TASK_FEATURE_LENGTHS": {"inputs": 64, "targets": 16},
    "BATCH_SIZE": 4,
    "TRAIN_EVAL": None,
    "SAVE_PERIOD": 4,
    "STATS_PERIOD": 1,
    "DROPOUT_RATE": 0.1,
    "mt5.T5Config.emb_dim": 32,
    "mt5.T5Config.mlp_dim": 32,
    "mt5.T5Config.num_encoder_layers": 1,
    "mt5.T5Config.num_decoder_layers": 1,
}


def literal(value):
    return value if isinstance(value, str) and value.startswith("@") else repr(value)


def command(
    model_dir,
    bindings,
    *flags,
    gin_files=("gin/pretrain.gin", "gin/local.gin"),
    program="train",
):
    return [
        sys.executable,
        "-m",
        f"xlt_jax.{program}",
        *(f"--gin_file={file}" for file in gin_files),
        *(
            f"--gin.{name}={literal(value)}"
            for name, value in {FOLDERS[program]: str(model_dir), **bindings}.items()
        ),
        *flags,
    ]


def start(arguments, environment=ENVIRONMENT):
    return subprocess.Popen(
        arguments,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def start_processes(count, model_dir, bindings, *flags, environment=ENVIRONMENT, **options):
    """``count`` processes of one run, on this machine's own address."""
    port = free_port()
    return [
        start(
            command(
                model_dir,
                bindings,
                f"--coordinator_address=127.0.0.1:{port}",
                f"--process_count={count}",
                f"--process_index={index}",
                *flags,
                **options,
            ),
            environment,
        )
        for index in range(count)
    ]


def wait_for_step(process, step):
    """Reads the progress lines until one is at or behind ``step``."""
    lines = []
    for line in process.stdout:
        lines.append(line)
        found = re.match(r"step ([\d,]+)/", line)
        if found and int(found[1].replace(",", "")) >= step:
            return
    raise AssertionError("the run ended first:\n" + "".join(lines))


def metrics(model_dir):
    return [json.loads(line) for line in (model_dir / "metrics.jsonl").read_text().splitlines()]


def losses(model_dir):
    return [(line["step"], line["loss"], line["grad_norm"]) for line in metrics(model_dir)]


def state_of(model_dir, step):
    path = model_dir / f"checkpoint_{step}" / "state"
    tree = ocp.Checkpointer(ocp.PyTreeCheckpointHandler()).restore(path)
    return {str(path): np.asarray(leaf) for path, leaf in _leaves(tree)}


def _leaves(tree, path=()):
    if not hasattr(tree, "items"):
        yield path, tree
        return
    for name, value in tree.items():
        yield from _leaves(value, (*path, name))
