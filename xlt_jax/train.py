"""``python -m xlt_jax.train``: trains, evaluates and saves; the loop, top to bottom."""

import collections
import dataclasses
import functools
import math
import os
import signal
import sys
import threading
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from etils import epath

from xlt_jax import configuration, run_log
from xlt_jax.arrays import Params
from xlt_jax.convert import restore
from xlt_jax.data import budget, features, record, tokens
from xlt_jax.data.augmentation import Augmentation
from xlt_jax.data.vocab import Vocabulary
from xlt_jax.evaluation import predictions, selection, zero_shot
from xlt_jax.models import mt5
from xlt_jax.training import (
    checkpoint,
    distributed,
    fit,
    flops,
    goodput,
    monitor,
    partition,
    prefetch,
    programs,
    state,
    step,
)
from xlt_jax.training.bad_steps import BadSteps
from xlt_jax.training.config import CheckpointConfig, DatasetConfig
from xlt_jax.training.model import (
    EncoderDecoderModel,
    Trainer,
    check_whole_batches,
    make_train_step,
)
from xlt_jax.training.watchdog import Watchdog

# Steps enqueued beyond the last one that is known to be computed: the device never waits, and what
# went wrong is known soon.
IN_FLIGHT = 2


def train(
    *,
    model: EncoderDecoderModel,
    model_dir: str,
    train_dataset_cfg: DatasetConfig,
    train_eval_dataset_cfg: DatasetConfig | None,
    infer_eval_dataset_cfg: DatasetConfig | None,
    checkpoint_cfg: CheckpointConfig,
    partitioner: partition.Partitioner,
    trainer_cls: Callable[[], Trainer],
    total_steps: int,
    eval_steps: int,
    eval_period: int,
    relative_steps: int | None = None,
    stats_period: int = 50,
    random_seed: int = 0,
    summarize_config_fn: Callable = configuration.summarize_config,
    inference_evaluator_cls: Callable[..., zero_shot.Evaluator] = zero_shot.of_mixture,
    train_state_initializer_cls: Callable[..., Params] = restore.restore_params,
    profile: int | str | None = None,
) -> int:
    """Trains to ``total_steps`` and returns the last step; arguments are T5X's.

    A run is resumed by the same command: it continues from the newest checkpoint in ``model_dir``,
    bit for bit as if it had not stopped. SIGTERM or Ctrl-C saves and ends. Several processes
    (``training.distributed``) compute what one computes, and any number of them resumes the run.

    Args:
        model: Network, vocabulary, optimizer, objective.
        model_dir: Folder of everything that this run writes, local or gs://.
        train_dataset_cfg: Mixture to train on.
        train_eval_dataset_cfg: Its loss on another split, every ``eval_period``; None for none.
        infer_eval_dataset_cfg: Tasks to score zero-shot, every ``eval_period``; None for none.
        checkpoint_cfg: What to start from, and what to save.
        partitioner: The mesh.
        trainer_cls: Makes the trainer's settings.
        total_steps: Number of the last step, the initial checkpoint's steps included.
        eval_steps: Batches of the evaluation loss.
        eval_period: Steps between evaluations.
        relative_steps: Steps after the initial checkpoint's, instead of ``total_steps``.
        stats_period: Steps between lines in the log and points in TensorBoard.
        random_seed: Of parameters and dropout.
        summarize_config_fn: Called once with the folder, a TensorBoard writer and the step.
        inference_evaluator_cls: Makes the zero-shot evaluator; see ``zero_shot.of_mixture``.
        train_state_initializer_cls: Gives the initial checkpoint's parameters; see
            ``convert.restore.restore_params``.
        profile: So many steps are traced into MODEL_DIR/profile; None for none.

    Raises:
        ValueError: Bad input, before the first compilation; a bad step, as ``Trainer.bad_steps``
            says.
    """
    # ---------------------------------------------------------------- what the run is made of
    stop = StopSignal()
    folder = epath.Path(model_dir)
    log = run_log.RunLog(folder, jax.process_index() == 0)
    restarts = goodput.Restarts(folder, jax.process_index() == 0)
    profiler = monitor.Profile(folder, profile, jax.process_index() == 0)
    saver = checkpoint.Checkpointer(model_dir, checkpoint_cfg.save)
    initial, opened = checkpoint_cfg.restore, None
    if initial and initial.path and saver.latest_step() is None:  # a wrong path is told at once
        opened = restore.open_weights(initial.path, initial.mode)
    trainer = trainer_cls()
    microbatches = trainer.num_microbatches or 1
    if train_dataset_cfg.seed is None:
        seed = zlib.crc32(str(folder).encode())
        train_dataset_cfg = dataclasses.replace(train_dataset_cfg, seed=seed)
    if trainer.forgetting and not eval_steps:
        raise ValueError("FORGETTING is measured on EVAL_STEPS batches, which is 0: raise it.")
    for dataset_cfg in filter(None, (train_dataset_cfg, train_eval_dataset_cfg)):
        check_whole_batches(model.objective, microbatches, dataset_cfg.pack)
    needs = functools.partial(
        fit.needs,
        model.module,
        rows=train_dataset_cfg.batch_size,
        lengths=train_dataset_cfg.task_feature_lengths,
        num_microbatches=microbatches,
    )
    choice = fit.here(partitioner, needs)
    partitioner = choice.partitioner
    partitioner.check_batch_size(train_dataset_cfg.batch_size, microbatches)
    teacher = trainer.teacher and trainer.teacher(partitioner=partitioner)
    stream, tables = open_stream(
        train_dataset_cfg, model.vocabulary, model.augmentations, partitioner
    )
    eval_batches = open_eval_batches(
        train_eval_dataset_cfg, eval_steps, model.vocabulary, model.augmentations, partitioner
    )
    earlier = {  # mixtures of earlier stages, to see what is forgotten
        name: open_eval_batches(
            dataclasses.replace(
                train_dataset_cfg,
                mixture_or_task_name=name,
                split="validation",
                shuffle=False,
                seed=42,
            ),
            eval_steps,
            model.vocabulary,
            partitioner=partitioner,
        )
        for name in trainer.forgetting
    }
    evaluator = None
    if infer_eval_dataset_cfg:
        evaluator = inference_evaluator_cls(
            model.module, model.vocabulary, infer_eval_dataset_cfg, partitioner
        )
    selection.check(checkpoint_cfg.save, trainer, evaluator)

    # ---------------------------------------------------------------- state: resumed, given or new
    optimizer = model.optimizer_def(trainer.learning_rate_fn)
    described = state.describe(model.module, optimizer, partitioner)
    base_rng = jax.random.key(random_seed)
    run = {"first_step": 0, "initial_checkpoint": initial.path if initial else None}
    patience = selection.Patience(checkpoint_cfg.save, trainer.early_stop)
    seen = np.zeros(len(tables), np.int64)  # examples of each task since the run's first step
    bad_steps = BadSteps(
        trainer.bad_steps, trainer.max_bad_steps, folder, stream.names, jax.process_index() == 0
    )
    norms = [step.no_norms()] if trainer.spike_factor else []  # what the step takes and gives
    position: dict[str, Any] = {}  # what a checkpoint has beside the state
    if resumed := saver.restore_newest(described, log.warn):
        train_state, position = resumed
        if "stream" not in position:
            raise ValueError(
                f"The checkpoints in {model_dir} have no position in the training data "
                "(SaveCheckpointConfig.save_dataset was False): the run cannot go on. Set "
                "INITIAL_CHECKPOINT_PATH to it, and another MODEL_DIR."
            )
        stream.restore(position["stream"])
        seen = np.asarray([position["examples"][table.name] for table in tables])
        run = position["run"]
        patience.restore(position.get("patience"))
        bad_steps.in_a_row = position.get("bad_steps", 0)
        if norms and position.get("norms"):
            norms = [np.asarray(position["norms"][0], np.float32)]
        log.say(f"Resuming {model_dir} at step {int(train_state.step):,}.")
    elif opened:
        run["first_step"] = opened.step
        wanted = described.params
        if initial.fallback_to_scratch:
            wanted = state.create(model.module, optimizer, partitioner, base_rng).params
        params = train_state_initializer_cls(
            opened,
            wanted,
            strict=initial.strict,
            fallback_to_scratch=initial.fallback_to_scratch,
        )
        train_state = state.with_params(params, optimizer, described, opened.step)
        log.say(f"Starting from {opened.path} ({opened.format}), step {opened.step:,}.")
    else:
        train_state = state.create(model.module, optimizer, partitioner, base_rng)
    if relative_steps is not None:
        total_steps = run["first_step"] + relative_steps
    now = int(train_state.step)
    if total_steps <= run["first_step"]:
        raise ValueError(
            f"TRAIN_STEPS is {total_steps:,}, but the initial checkpoint is at step "
            f"{run['first_step']:,}: TRAIN_STEPS counts its steps too. Set TRAIN_STEPS_RELATIVE."
        )

    # ---------------------------------------------------------------- compiled functions
    forward = step.make_forward(model.module)

    def train_step_of(network: mt5.Transformer) -> Callable:
        return make_train_step(
            model, trainer, network, optimizer, partitioner, described, run["first_step"]
        )

    train_step, plain = train_step_of(model.module), mt5.plain(model.module)
    eval_step = step.make_eval_step(forward, model.objective, partitioner)

    # ---------------------------------------------------------------- the loop
    log.start(
        now,
        total_steps,
        described,
        tables,
        train_dataset_cfg.task_feature_lengths,
        summarize_config_fn,
    )
    drawn = (total_steps - run["first_step"]) * stream.examples_per_batch
    sizes = {table.name: table.size for table in tables}
    log.say(f"Partitioning: {choice.reason}." if choice.is_ours else None)
    log.say(budget.warning(budget.expected(stream.rates, sizes, drawn)))
    agreement, stopped_by = distributed.Agreement(), 0
    watchdog = Watchdog(trainer.hang_limit_s)
    stop.begin()
    # Metrics of the steps since the last line in the log, still on the device; a run that goes on
    # has those of its last process.
    waiting: list[Mapping[str, Any]] = position.pop("waiting", [])
    in_flight: collections.deque = collections.deque()  # steps that may not have been computed yet
    failure, failed_step = None, 0
    saved_step = now if saver.latest_step() is not None else None
    is_best_kept = checkpoint_cfg.save.keep_best_metric is not None

    def finish_steps(left: int = 0) -> str | None:
        """Waits for all steps but so many; why the run has to end, or None."""
        nonlocal failed_step
        while len(in_flight) > left:
            number, metrics, sources = in_flight.popleft()
            reason = bad_steps.take(number, metrics, sources)
            watchdog.step()
            if reason:
                failed_step = number
                return reason
        return None

    def save(number: int, metrics: Mapping[str, float] | None = None) -> None:
        nonlocal saved_step
        if number == saved_step:
            return
        with log.aside():
            log.keep()
            more = {
                "bad_steps": bad_steps.in_a_row,
                "norms": [n.tolist() for n in norms],
                "waiting": run_log.on_host(waiting),
            }
            saver.save(number, train_state, position | more, metrics)
            watchdog.beat()
        saved_step = number

    def loss_of(batches: list[dict[str, np.ndarray]]) -> dict[str, float]:
        totals = mean_loss(eval_step, train_state.params, batches, partitioner)
        watchdog.beat()
        return totals

    def measure_forgetting() -> None:
        for name, batches in earlier.items():
            log.forgetting(now, name, loss_of(batches))

    def on_progress(done: int, total: int) -> None:
        watchdog.beat()
        # With a best checkpoint its score is saved beside it: such an evaluation is not cut short.
        if not is_best_kept and (signalled := agreement.reached(stop.requested)):
            raise InterruptionError(signalled)

    def evaluate() -> Mapping[str, float] | None:
        """Writes losses and zero-shot scores; the latter. None where a signal cuts it short."""
        nonlocal stopped_by
        try:
            with log.aside():
                if stopped_by and not is_best_kept:
                    raise InterruptionError(stopped_by)
                return evaluate_whole()
        except InterruptionError as interruption:
            (stopped_by,) = interruption.args
            position["unevaluated"] = True  # done first when the run goes on
            return None

    def evaluate_whole() -> Mapping[str, float] | None:
        if eval_batches:
            log.loss(now, loss_of(eval_batches))
        log.examples(now, position["examples"])
        if evaluator is None:
            return None
        with partitioner.context():
            results = evaluator.run(train_state.params, on_progress=on_progress)
        watchdog.beat()
        scores = predictions.scalars(results)
        patience.take(scores)
        position["patience"] = patience.state()
        if jax.process_index() == 0:
            predictions.write(folder / "inference_eval", now, results)
            log.scores(now, scores)
        watchdog.beat()
        return scores

    if now == run["first_step"]:
        with log.aside():
            measure_forgetting()
    left = 0 if patience.spent else total_steps - now  # spent: this run stopped early before
    done = not left and distributed.from_first(record.finished_step(folder) or -1) == now
    if not done:
        restarts.started(now)
    if position.pop("unevaluated", False) and not done:
        evaluate()
        left = 0 if stopped_by else left
    compiled = None
    batches = prefetch.Batches(stream, partitioner.shard_batch, left)
    for ready in batches:
        batch = teacher(ready.arrays) if teacher else ready.arrays
        if compiled is None:
            with log.aside():
                traced = train_step.trace(train_state, batch, base_rng, *norms)
                counted = traced  # utilisation counts what the formulas need, and no more
                if plain is not model.module:
                    arguments = train_state, batch, base_rng, *norms
                    counted = train_step_of(plain).trace(*arguments)
                log.flops_per_step = flops.matmul_flops(counted.jaxpr)
                compiled = compile_or_advise(traced, needs, partitioner)
        train_state, metrics = compiled(train_state, batch, base_rng, *norms)
        if norms:
            norms = [metrics.pop("norms")]
        profiler.step(metrics["loss"])
        now += 1
        in_flight.append((now, metrics, ready.sources))
        waiting.append(metrics)
        seen += ready.examples
        position = {
            "stream": ready.position,
            "examples": dict(zip(stream.names, seen.tolist())),
            "run": run,
            "patience": patience.state(),
        }
        stopped_by = agreement.reached(stop.requested)
        last = now == total_steps
        evaluates = now % eval_period == 0 or last
        saves = checkpoint_cfg.save.period and now % checkpoint_cfg.save.period == 0
        needs_all = evaluates or saves or last or stopped_by
        if failure := finish_steps(0 if needs_all else IN_FLIGHT):
            break
        if now % stats_period == 0 or last:
            log.train(now, run_log.on_host(waiting), batches.waited_s)
            waiting = []
        scores = None
        if evaluates:
            scores = evaluate()
            last = last or patience.spent
        if last and waiting:
            log.train(now, run_log.on_host(waiting), batches.waited_s)
            waiting = []
        if last or saves:
            save(now, scores)
        if stopped_by or last:
            break

    # ---------------------------------------------------------------- the end
    failure = failure or finish_steps()
    profiler.close()
    whole = not failure and not position.get("unevaluated")
    finished = bool(whole and (now == total_steps or patience.spent))
    if failure:
        if before := waiting[: max(0, len(waiting) - (now - failed_step) - 1)]:
            log.train(failed_step - 1, run_log.on_host(before), batches.waited_s)
        saver.close()  # what was being written is whole; this state is not saved
    else:
        if finished and not done:
            measure_forgetting()
        if left:
            save(now)
        watchdog.beat()
        saver.close()
    watchdog.close()
    log.finish()
    if failure:
        restarts.ended(now, "bad step")
        raise ValueError(failure)
    ended_early = stopped_by and (now < total_steps or not whole) and not patience.spent
    restarts.ended(now, signal.Signals(stopped_by).name if ended_early else "finished")
    if jax.process_index() == 0:
        examples_seen = dict(zip(stream.names, seen.tolist()))
        trained = (
            record.TrainedTask(table.name, table.split, examples_seen[table.name], table.hashes.ids)
            for table in tables
        )
        record.write(folder, trained, steps=now, finished=finished, **run)
    if patience.spent:
        log.say(f"Stopped at step {now:,} of {total_steps:,}: {patience.words}.")
    elif ended_early:
        seconds = time.monotonic() - stop.time if stop.requested else None
        log.say(
            f"\nStopped by {signal.Signals(stopped_by).name} at step {now:,}, saved"
            + (f" {seconds:.1f} s later" if seconds is not None else "")
            + ". The same command resumes."
        )
        sys.exit(128 + stopped_by)
    return now


# ------------------------------------------------------------------------------------- data
def open_stream(
    config: DatasetConfig,
    vocabulary: Vocabulary,
    augmentations: Sequence[Augmentation] = (),
    partitioner: partition.Partitioner | None = None,
) -> tuple[features.BatchStream, list[tokens.TokenTable]]:
    """Endless batches, and the tables they come from.

    Of a batch only the rows that this process's devices have in the partitioner's mesh; None: all.
    """
    own_rows = None
    if partitioner is not None:
        own_rows = distributed.own_rows(partitioner.batch_sharding, config.batch_size)
    stream, tables, missing = features.of_mixture(
        config.mixture_or_task_name,
        config.split,
        vocabulary,
        augmentations,
        feature_lengths=config.task_feature_lengths,
        batch_size=config.batch_size,
        seed=config.seed or 0,
        pack=config.pack,
        shuffle=config.shuffle,
        own_rows=own_rows,
    )
    if missing and jax.process_index() == 0:
        print(f"No data, left out: {' '.join(missing)}.", flush=True)
    return stream, tables


def open_eval_batches(
    config: DatasetConfig | None,
    eval_steps: int,
    vocabulary: Vocabulary,
    augmentations: Sequence[Augmentation] = (),
    partitioner: partition.Partitioner | None = None,
) -> list[dict[str, np.ndarray]]:
    """The first ``eval_steps`` batches of the mixture's evaluation split."""
    if config is None or not eval_steps:
        return []
    stream, _ = open_stream(config, vocabulary, augmentations, partitioner)
    return [next(stream).arrays for _ in range(eval_steps)]


# ------------------------------------------------------------------------------------- programs
def compile_or_advise(
    traced: jax.stages.Traced, needs: Callable[[], fit.Needs], partitioner: partition.Partitioner
) -> jax.stages.Compiled:
    """The step's program.

    Raises:
        ValueError: It does not fit into the devices' memory.
    """
    try:
        return traced.lower().compile()
    except jax.errors.JaxRuntimeError as error:
        found = programs.out_of_memory(error)
        if found is None:
            raise
        needed, there = found
        there = fit.device_memory() if math.isnan(there) else there
        what = "does not fit into a device's memory"
        if not math.isnan(needed):
            what = f"needs {needed / fit.GIB:.1f} GiB of a device's {there / fit.GIB:.1f}"
        advice = fit.advice(needs(), partitioner, there) if there else "Lower BATCH_SIZE."
        raise ValueError(
            f"The training step {what}. {advice} "
            "python -m xlt_jax.aot tells beforehand what fits a TPU."
        ) from error


# ------------------------------------------------------------------------------------- metrics
def mean_loss(eval_step: Callable, params, batches: list, partitioner) -> dict[str, float]:
    """Token-weighted means over the evaluation batches."""
    totals = [eval_step(params, partitioner.shard_batch(batch)) for batch in batches]
    return run_log.weighted_means(jax.device_get(totals))


class StopSignal:
    """Turns the first SIGTERM or Ctrl-C into a request; the second ends the process at once.

    So does the first before ``begin``, with ``UNBEGUN`` instead of 128 and its number: that would
    say that the run got somewhere, and is to be started again.
    """

    UNBEGUN = 1

    def __init__(self):
        self.requested = 0  # the signal's number
        self.time = 0.0  # when it came
        self._begun = False
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, self._handle)

    def begin(self) -> None:
        """From here on there are steps to finish."""
        self._begun = True

    def _handle(self, number: int, frame) -> None:
        if not self._begun:
            name = signal.Signals(number).name
            print(f"\n{name} before the first step: nothing to save.", flush=True)
            os._exit(self.UNBEGUN)
        if self.requested:
            os._exit(128 + number)
        self.requested, self.time = number, time.monotonic()
        print(f"\n{signal.Signals(number).name}: saving after this step ...", flush=True)


class InterruptionError(Exception):
    """A signal came during an evaluation; its number."""


if __name__ == "__main__":
    configuration.run_program(
        "xlt_jax.train",
        __doc__,
        train,
        {"profile": "steps to trace into MODEL_DIR/profile, after the first ten"},
    )
