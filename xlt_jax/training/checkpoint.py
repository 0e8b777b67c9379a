"""A run's checkpoints, MODEL_DIR/checkpoint_STEP, written by Orbax beside the training.

The layout is T5X's: ``state`` holds {"target": parameters, "state": {"step", "param_states"}}, so
that T5X finds our parameters; ``convert`` reads those of others. A folder with that name is
complete: Orbax writes elsewhere and renames last.
"""

import errno
import json
import math
import os
import re
import shutil
import uuid
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from etils import epath
from orbax.checkpoint.checkpoint_managers import AnyPreservationPolicy, BestN, LatestN

from xlt_jax import files
from xlt_jax.training import distributed
from xlt_jax.training.config import SaveCheckpointConfig
from xlt_jax.training.state import TrainState

T = TypeVar("T")

PREFIX = "checkpoint"
STATE = "state"
DATA = "data"
DAMAGED = "damaged"  # what follows the name of a checkpoint that could not be read
# As Google's storage and TensorStore say that they do not answer, or not to this account.
_REFUSED = re.compile("UNAVAILABLE|DEADLINE_EXCEEDED|UNAUTHENTICATED|PERMISSION_DENIED|ABORTED")
CHOSEN_FILE = "chosen_checkpoint.json"  # in MODEL_DIR, which then stands for that checkpoint


class DamagedCheckpointError(ValueError):
    """The files of a checkpoint are missing, cut short or no checkpoint's."""


class Checkpointer:
    """Saves and restores the state of one run.

    Args:
        model_dir: The run's folder; made if missing.
        config: What is kept, and the saved type.

    Raises:
        OSError: ``model_dir`` is not writable.
    """

    def __init__(self, model_dir: str | os.PathLike, config: SaveCheckpointConfig):
        self._directory = writable_folder(_absolute(model_dir))
        self._config = config
        _set_damaged_metrics_aside(self._directory)  # Orbax reads all of them at once
        options = ocp.CheckpointManagerOptions(
            preservation_policy=_preservation_policy(config),
            # Orbax stores metrics only if it has a best_fn; the policy decides what is kept.
            best_fn=_metric_of(config) if config.keep_best_metric else None,
            best_mode=config.keep_best_mode,
            cleanup_tmp_directories=True,  # what a killed process left behind
            step_prefix=PREFIX,
        )
        self._manager = ocp.CheckpointManager(
            self._directory, item_names=(STATE, DATA), options=options
        )

    def save(
        self,
        step: int,
        state: TrainState,
        data_state: Mapping[str, Any] | None = None,
        metrics: Mapping[str, float] | None = None,
    ) -> bool:
        """Starts writing and returns; False if this step is saved already.

        The state may be donated afterwards. A save still under way is waited for.

        Args:
            step: Number of finished steps.
            state: Copied before the function returns.
            data_state: Position in the training data, JSON values; only kept if ``save_dataset``.
            metrics: To keep the best: has ``keep_best_metric``, or this step does not compete.

        Raises:
            OSError: The disk is full (``errno.ENOSPC``), or this or the last save failed.
        """
        self.wait()
        if step in self._manager.all_steps():
            return False
        _check_space(self._directory, state)
        if metrics is not None and self._config.keep_best_metric not in metrics:
            metrics = None
        tree = _saved_form(state)
        params_args = ocp.SaveArgs(dtype=jnp.dtype(self._config.dtype))
        save_args = jax.tree.map(lambda _: ocp.SaveArgs(), tree)
        save_args["target"] = jax.tree.map(lambda _: params_args, tree["target"])
        items = {STATE: ocp.args.PyTreeSave(tree, save_args=save_args)}
        if self._config.save_dataset:
            items[DATA] = ocp.args.JsonSave(dict(data_state or {}))
        try:
            return self._manager.save(
                step,
                args=ocp.args.Composite(**items),
                metrics=None if metrics is None else dict(metrics),
                force=True,
            )
        except Exception as error:
            raise self._write_error(step, error) from error

    def wait(self) -> None:
        """Returns when everything is on disk.

        Raises:
            OSError: The last save failed; earlier checkpoints are untouched.
        """
        try:
            self._manager.wait_until_finished()
            self._manager.check_for_errors()
        except Exception as error:
            raise self._write_error(None, error) from error

    def close(self) -> None:
        """Waits, notes the best checkpoint where one is kept, then ends the writing threads."""
        self.wait()
        if (step := self.best_step()) is not None and jax.process_index() == 0:
            chosen = {"step": step, "best": self._config.keep_best_metric}
            files.write_text(self._directory / CHOSEN_FILE, json.dumps(chosen) + "\n")
        self._manager.close()

    def latest_step(self) -> int | None:
        """The most recent complete step, or None."""
        return self._manager.latest_step()

    def all_steps(self) -> tuple[int, ...]:
        """The complete steps on disk, ascending."""
        return tuple(sorted(self._manager.all_steps()))

    def best_step(self) -> int | None:
        """The step with the best ``keep_best_metric``; None without metric."""
        return self._manager.best_step() if self._config.keep_best_metric else None

    def restore(
        self, described: TrainState, step: int | None = None
    ) -> tuple[TrainState, dict[str, Any]]:
        """The state with every bit as saved, and the data state ({} if none was saved).

        Args:
            described: Shapes, types and shardings to restore into (``state.describe``), or a state.
            step: Default: the latest.

        Raises:
            ValueError: No such step, another network or optimizer.
            DamagedCheckpointError: Its files cannot be read.
        """
        self.wait()
        step = self.latest_step() if step is None else step
        if step not in self._manager.all_steps():
            known = ", ".join(map(str, self.all_steps())) or "none"
            raise ValueError(
                f"{self._directory} has no checkpoint of step {step}; it has: {known}."
            )
        path = self._directory / f"{PREFIX}_{step}"
        wanted = _saved_form(described)
        _check_leaves(path, _saved_leaves(path), wanted)
        tree = _read(path, wanted)
        state = TrainState(tree["state"]["step"], tree["target"], tree["state"]["param_states"])
        data_state: dict[str, Any] = {}
        if self._config.save_dataset:
            data_state = _reading(path, lambda: ocp.JsonCheckpointHandler().restore(path / DATA))
        return state, data_state

    def restore_newest(
        self, described: TrainState, warn: Callable[[str], None]
    ) -> tuple[TrainState, dict[str, Any]] | None:
        """As ``restore``, of the newest step that can be read; None without any checkpoint.

        Newer ones, which cannot, are renamed to checkpoint_STEP.damaged.

        Args:
            described: See ``restore``.
            warn: Called with a sentence for each of them.

        Raises:
            ValueError: Another network or optimizer.
            DamagedCheckpointError: There are checkpoints, but none can be read; all stay.
        """
        damaged: list[tuple[int, str]] = []
        for step in reversed(self.all_steps()):
            restored = problem = None
            try:
                restored = self.restore(described, step)
            except DamagedCheckpointError as error:
                problem = str(error)
            if not distributed.any_process(problem is not None):
                for number, words in damaged:
                    renamed = self._set_aside(number)
                    warn(f"{words} It is now called {renamed.name}; going on from step {step:,}.")
                if damaged:
                    self._manager.reload()
                return restored
            other = "Another process cannot read its part."
            damaged.append((step, problem or other))
            del restored  # before the next: two states may be more than the memory
        if damaged:
            raise DamagedCheckpointError(damaged[0][1])
        return None

    def _set_aside(self, step: int) -> epath.Path:
        path = self._directory / f"{PREFIX}_{step}"
        renamed, number = path.with_name(f"{path.name}.{DAMAGED}"), 1
        while renamed.exists():
            number += 1
            renamed = path.with_name(f"{path.name}.{DAMAGED}{number}")
        distributed.any_process(False)  # all have looked before the first renames
        if jax.process_index() == 0:
            path.rename(renamed)
        distributed.any_process(False)
        return renamed

    def _write_error(self, step: int | None, error: Exception) -> OSError:
        kept = ", ".join(map(str, _steps(self._directory))) or "none"
        which = "The checkpoint before" if step is None else f"The checkpoint of step {step}"
        text = _messages(error)
        full = isinstance(error, OSError) and error.errno == errno.ENOSPC
        if full or "No space left" in text or "RESOURCE_EXHAUSTED" in text:
            return _disk_full(f"{which} could not be written to {self._directory}", kept)
        return OSError(
            getattr(error, "errno", None) or errno.EIO,
            f"{which} could not be written to {self._directory}; complete steps there: {kept}. "
            f"Cause: {text}",
        )


def _saved_form(state: TrainState) -> dict[str, Any]:
    """The state as T5X names its parts."""
    return {
        "target": state.params,
        "state": {"step": state.step, "param_states": state.opt_state},
    }


def _preservation_policy(config: SaveCheckpointConfig):
    policies = [LatestN(n=config.keep)]  # the latest always stays, so that the run can go on
    if config.keep_best_metric:
        best = BestN(
            get_metric_fn=_metric_of(config),
            reverse=config.keep_best_mode == "min",
            n=config.keep_best,
            keep_checkpoints_without_metrics=False,
        )
        policies.append(best)
    return AnyPreservationPolicy(policies)


def _metric_of(config: SaveCheckpointConfig):
    worst = -math.inf if config.keep_best_mode == "max" else math.inf

    def metric(metrics: Mapping[str, float]) -> float:
        value = metrics[config.keep_best_metric]
        return worst if math.isnan(value) else value

    return metric


def _absolute(path: str | os.PathLike) -> epath.Path:
    """A path that Orbax takes: absolute, or on an object store."""
    path = epath.Path(path)
    return path if "://" in str(path) else path.absolute()


def writable_folder(folder: epath.Path) -> epath.Path:
    """The folder, made if missing.

    Raises:
        OSError: It cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".writable-{uuid.uuid4()}"  # processes on other hosts probe too
        probe.write_text("")
        probe.unlink()
    except OSError as error:
        raise OSError(
            error.errno,
            f"The folder {folder} is not writable ({error.strerror}): "
            "choose another folder or change its permissions.",
        ) from error
    return folder


def _set_damaged_metrics_aside(folder: epath.Path) -> None:
    """Renames scores that were cut short; the state beside them may be whole."""
    if jax.process_index() == 0:
        for step in _steps(folder):
            path = folder / f"{PREFIX}_{step}" / "metrics" / "metrics"
            try:
                json.loads(files.read_text(path))
            except FileNotFoundError:
                continue
            except ValueError:
                path.rename(path.with_name(f"metrics.{DAMAGED}"))
    distributed.any_process(False)  # the others read them after that


def _check_space(folder: epath.Path, state: TrainState) -> None:
    """Fails before the first byte rather than in the middle."""
    if "://" in str(folder):
        return
    needed = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    free = shutil.disk_usage(folder).free
    if free < needed:
        kept = ", ".join(map(str, _steps(folder))) or "none"
        raise _disk_full(
            f"A checkpoint of {needed / 2**20:,.0f} MiB does not fit into the "
            f"{free / 2**20:,.0f} MiB free at {folder}",
            kept,
        )


def _disk_full(what: str, kept: str) -> OSError:
    return OSError(
        errno.ENOSPC,
        f"{what}: the disk is full. Complete steps there: {kept}, untouched. Free space, or set "
        "SaveCheckpointConfig.keep lower, and start the same command again.",
    )


def _steps(folder: epath.Path) -> list[int]:
    if not folder.is_dir():
        return []
    found = (child for child in folder.iterdir() if re.fullmatch(rf"{PREFIX}_\d+", child.name))
    return sorted(int(child.name.rpartition("_")[2]) for child in found if (child / STATE).is_dir())


def _named_leaves(tree: Any) -> dict[str, Any]:
    """``target/encoder/...`` -> leaf, the same for a state and for what Orbax reads without one."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def _saved_leaves(path: epath.Path) -> dict[str, Any]:
    def read() -> dict[str, Any]:
        metadata = ocp.PyTreeCheckpointHandler().metadata(path / STATE)
        return _named_leaves(metadata.tree if hasattr(metadata, "tree") else metadata)

    leaves = _reading(path, read)
    if not leaves:
        raise _damaged(path, ValueError("it names no array"))
    return leaves


def _check_leaves(path: epath.Path, saved: Mapping[str, Any], wanted: Any) -> None:
    """Compares names and shapes before anything is read."""
    leaves = _named_leaves(wanted)
    problems = [
        f"{name}: {_shape(saved[name])} in the checkpoint, {_shape(leaf)} in this run"
        for name, leaf in leaves.items()
        if name in saved and tuple(saved[name].shape) != tuple(leaf.shape)
    ]
    problems += [f"{name}: missing in the checkpoint" for name in leaves if name not in saved]
    problems += [f"{name}: unknown to this run" for name in saved if name not in leaves]
    if problems:
        more = f"\n  and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise ValueError(
            f"The checkpoint {path} does not fit, so that this run cannot go on from it:\n  "
            + "\n  ".join(problems[:5])
            + more
            + "\nUse the model's gin file, vocabulary and optimizer that the checkpoint was made "
            "with, or another MODEL_DIR with INITIAL_CHECKPOINT_PATH."
        )


def _shape(leaf: Any) -> str:
    return "x".join(map(str, leaf.shape)) or "a scalar"


def _read(path: epath.Path, wanted: Any) -> Any:
    shapes = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding), wanted
    )
    arguments = ocp.args.PyTreeRestore(
        item=shapes, restore_args=ocp.checkpoint_utils.construct_restore_args(shapes)
    )
    # No Checkpointer: where one process cannot read its part, the others would wait for it.
    handler = ocp.PyTreeCheckpointHandler()
    return _reading(path, lambda: handler.restore(path / STATE, args=arguments))


def _reading(path: epath.Path, read: Callable[[], T]) -> T:
    """What is read of a checkpoint, after errors that pass once more.

    Raises:
        DamagedCheckpointError: The files are not what was written.
        OSError: The place cannot be reached, or refuses: that says nothing of the files.
    """
    try:
        return files.retried(f"Reading {path}", read)
    except Exception as error:
        text = _messages(error)
        if "RESOURCE_EXHAUSTED" in text and isinstance(error, jax.errors.JaxRuntimeError):
            raise  # the device's memory
        refused = isinstance(error, PermissionError) or _REFUSED.search(text)
        disk_error = isinstance(error, OSError) and error.errno == errno.EIO
        if refused or (files.passes(error) and not disk_error):
            raise OSError(
                f"The checkpoint {path} cannot be read now; it stays as it is. Cause: {text}"
            ) from error
        raise _damaged(path, error) from error


def _damaged(path: epath.Path, error: Exception) -> DamagedCheckpointError:
    others = [step for step in _steps(path.parent) if f"{PREFIX}_{step}" != path.name]
    advice = (
        f"move {path} away to go on from step {others[-1]}" if others else "there is no other step"
    )
    return DamagedCheckpointError(
        f"The checkpoint {path} cannot be read: it is damaged or cut short; {advice}. "
        f"Cause: {_messages(error)}"
    )


def _messages(error: BaseException) -> str:
    """First lines of an error and of those that caused it."""
    lines = []
    while error is not None:
        text = str(error).strip().splitlines()
        lines.append(f"{type(error).__name__}: {text[0] if text else ''}"[:300])
        error = error.__cause__ or error.__context__
    return " | ".join(lines)
