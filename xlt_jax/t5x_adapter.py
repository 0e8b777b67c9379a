"""T5X's classes under our gin files: what those bind, in the form that T5X's programs expect.

Nothing that a gin file sets is lost: what T5X does otherwise is translated here, and what it cannot
do is an error. ``xlt_jax.engine`` imports this module only when the program is T5X's.
"""

import dataclasses
import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import seqio
import t5x.adafactor
import t5x.checkpoints
import t5x.decoding
import t5x.losses
import t5x.metrics
import t5x.models
import t5x.partitioning
import t5x.state_utils
import t5x.trainer
import t5x.utils
from clu import metrics as clu_metrics
from etils import epath
from flax import linen as nn
from jax.sharding import Mesh
from t5x.utils import DatasetConfig, create_learning_rate_scheduler

import gin
from xlt_jax import configuration, files
from xlt_jax.arrays import Array, Batch, Objective, Params
from xlt_jax.convert import restore
from xlt_jax.data import augmentation, builder, leaks, mixtures, record, vocab
from xlt_jax.data.tokens import prompted, tokens
from xlt_jax.data.vocab import Vocabulary
from xlt_jax.evaluation import predictions, zero_shot
from xlt_jax.registry import benchmarks
from xlt_jax.registry.benchmarks import Request
from xlt_jax.training import config, model, optim, partition, step
from xlt_jax.training.bad_steps import check_policy
from xlt_jax.training.optim import Schedule

__all__ = ["DatasetConfig", "create_learning_rate_scheduler"]  # as T5X has them

_RESTORE = "engine.RestoreCheckpointConfig"  # as gin knows it


# ------------------------------------------------------------------------------------- the model
class EncoderDecoderModel(t5x.models.EncoderDecoderModel):
    """T5X's model with our objective; see ``training.model.EncoderDecoderModel``.

    Making it registers all tasks with SeqIO: the first place that knows the vocabulary, and before
    T5X asks for any data.

    Raises:
        ValueError: The network does not fit the vocabulary, or an unknown normalizer.
    """

    def __init__(
        self,
        module: nn.Module,
        vocabulary: Vocabulary,
        optimizer_def: Any,
        objective: Objective,
        loss_normalizing_factor: float | str | None = None,
        augmentations: Sequence[augmentation.Augmentation] = (),
    ):
        model.check_vocabulary(module, vocabulary)
        if loss_normalizing_factor != step.NUM_REAL_TARGET_TOKENS and isinstance(
            loss_normalizing_factor, str
        ):
            raise ValueError(
                f"LOSS_NORMALIZER is {loss_normalizing_factor!r}; allowed: None (the plain sum), "
                f"a number, or {step.NUM_REAL_TARGET_TOKENS!r}."
            )
        builder.register_all(vocabulary, augmentations)
        extras = augmentation.extra_features(augmentations)
        self.FEATURE_CONVERTER_CLS = builder.feature_converter(extras)
        seqio_vocabulary = vocabulary.as_seqio()
        super().__init__(
            module,
            seqio_vocabulary,
            seqio_vocabulary,
            optimizer_def,
            # Greedy as ours; T5X's beam search with one beam prefers other lengths.
            decode_fn=functools.partial(t5x.decoding.temperature_sample, temperature=0.0, topk=1),
            loss_normalizing_factor=loss_normalizing_factor,
        )
        self.loss_normalizing_factor = loss_normalizing_factor
        self.objective, self._forward = objective, step.make_forward(module)

    def loss_fn(
        self, params: Params, batch: Batch, dropout_rng: Array | None
    ) -> tuple[Array, Mapping[str, clu_metrics.Metric]]:
        """The normalised loss, and the curves of ``xlt_jax.train`` under the same names."""
        loss = self.objective(self._forward, params, batch, dropout_rng)
        if self.loss_normalizing_factor is None:
            total = loss.total
        elif self.loss_normalizing_factor == step.NUM_REAL_TARGET_TOKENS:
            total = loss.total / jnp.maximum(loss.weight, 1e-9)
        else:
            total = loss.total / self.loss_normalizing_factor
        return total, {
            "loss": t5x.metrics.AveragePerStep(total=total),
            **_averages(loss.logs),
            "tokens_per_s": t5x.metrics.TimeRate(numerator=step.num_tokens(batch)),
            "steps_per_s": t5x.metrics.StepsPerTime(),
        }

    def eval_fn(
        self, params: Params, batch: Batch
    ) -> tuple[Array, Mapping[str, clu_metrics.Metric]]:
        """The summed loss, and means per target token."""
        loss = self.objective(self._forward, params, batch, None)
        return loss.total, _averages({"loss": (loss.total, loss.weight), **loss.logs})


def _averages(logs: Mapping[str, tuple[Array, Array]]) -> dict[str, clu_metrics.Average]:
    return {
        name: clu_metrics.Average(total=total, count=weight)
        for name, (total, weight) in logs.items()
    }


class Adafactor(t5x.adafactor.Adafactor):
    """T5X's Adafactor, whose updates are those of ``training.model.adafactor_def``."""

    def __init__(
        self,
        decay_rate: float = 0.8,
        step_offset: int = 0,
        multipliers: Sequence[tuple[str, float]] = (),
    ):
        optim.check_multipliers(multipliers)
        super().__init__(
            decay_rate=decay_rate,
            step_offset=step_offset,
            logical_factor_rules=t5x.adafactor.standard_logical_factor_rules(),
        )
        self._multipliers = tuple(multipliers)

    def init_state(self, params: Params) -> Any:
        """The optimizer's state; see ``training.optim.multiplied`` for what is refused."""
        optim.multiplied(optax.identity(), self._multipliers).init(flax.core.unfreeze(params))
        return super().init_state(params)

    def apply_gradient(
        self, hyper_params: Any, params: Params, state: Any, grads: Params
    ) -> tuple[Params, Any]:
        """New parameters and state."""
        changed, state = super().apply_gradient(hyper_params, params, state, grads)
        if not self._multipliers:
            return changed, state

        def scaled(path, before, after):
            path = jax.tree_util.keystr(path, simple=True, separator="/")
            factor = optim.multiplier(path, self._multipliers)
            return after if factor == 1.0 else before + factor * (after - before)

        return jax.tree_util.tree_map_with_path(scaled, params, changed), state


# ------------------------------------------------------------------------------------- the trainer
class Trainer(t5x.trainer.Trainer):
    """T5X's trainer; see ``training.model.Trainer``. Writes MODEL_DIR/metrics.jsonl as ours does.

    Args:
        learning_rate_fn: Rate by T5X's step.
        num_microbatches: Parts of a batch computed one after the other, to need less memory.
        clip_norm: Global gradient norm above which gradients are scaled down.
        early_stop: None: T5X's loop has no end before its last step.
        forgetting: Not measured.
        teacher: Makes ``batch -> batch``, see ``evaluation.teacher``.
        bad_steps: "stop" or "ignore", of a loss that is not finite.
        spike_factor: None: spikes are not looked for.
        max_bad_steps: Without a meaning: no step is skipped.
        hang_limit_s: None: T5X's loop has no such end.
        options: T5X's own.

    Raises:
        ValueError: ``early_stop``, ``spike_factor`` or ``hang_limit_s`` is set; bad steps are to be
            skipped; microbatches with a normalizer that T5X takes from each
            microbatch alone, or with an objective that compares the rows of a batch.
    """

    def __init__(
        self,
        *,
        learning_rate_fn: Schedule,
        num_microbatches: int | None = None,
        clip_norm: float | None = None,
        early_stop: int | None = None,
        forgetting: Sequence[str] = (),
        teacher: Callable[[], Callable[[Batch], Batch]] | None = None,
        bad_steps: str = "ignore",
        spike_factor: float | None = None,
        max_bad_steps: int | None = None,
        hang_limit_s: float | None = None,
        **options,
    ):
        check_policy(bad_steps)
        refused = {"SPIKE_FACTOR": spike_factor, "HANG_LIMIT_S": hang_limit_s}
        refused["BAD_STEPS"] = bad_steps if bad_steps == "skip" else None
        for name, value in refused.items():
            if value is not None:
                raise ValueError(
                    f"{name} is {value!r}, which T5X's loop cannot do. Leave it out, or train with "
                    "xlt_jax.train."
                )
        if early_stop is not None:
            raise ValueError(
                f"EARLY_STOP is {early_stop}: T5X trains to its last step. Set it to None, or "
                "train with xlt_jax.train."
            )
        normalizer = options["model"].loss_normalizing_factor
        if (num_microbatches or 1) > 1 and isinstance(normalizer, str):
            raise ValueError(
                f"NUM_MICROBATCHES is {num_microbatches} and LOSS_NORMALIZER {normalizer!r}: T5X "
                "divides each microbatch by its own tokens. Set one of them to None, or train "
                "with xlt_jax.train."
            )
        # Packed batches are refused by the objective itself: T5X does not tell who reads them.
        model.check_whole_batches(options["model"].objective, num_microbatches or 1)
        super().__init__(
            learning_rate_fn=learning_rate_fn, num_microbatches=num_microbatches, **options
        )
        self._clip_norm, self._teacher = clip_norm, teacher and teacher()
        self._stops_on_bad_steps = bad_steps == "stop"
        self._curve = _Curve(epath.Path(options["summary_dir"]), int(self.train_state.step))

    @functools.cached_property
    def _partitioned_train_step(self) -> Callable:
        def train_step(train_state, batch):
            gradients, metrics, _ = t5x.trainer.accumulate_grads_microbatched(
                self._model,
                train_state,
                batch,
                self._get_step_rng(train_state.step),
                self._num_microbatches,
                self._partitioner.data_partition_spec,
            )
            norm = optax.global_norm(gradients)
            metrics["grad_norm"] = t5x.metrics.AveragePerStep(total=norm)
            if self._clip_norm is not None:
                scale = jnp.minimum(1.0, self._clip_norm / jnp.maximum(norm, 1e-9))
                gradients = jax.tree.map(lambda gradient: gradient * scale, gradients)
            rate = self._learning_rate_fn(train_state.step)
            return t5x.trainer.apply_grads(train_state, gradients, metrics, rate, None)

        return self._partitioner.partition(
            train_step,
            in_axis_resources=(self._train_state_axes, self._partitioner.data_partition_spec),
            out_axis_resources=(self._train_state_axes, None),
            donate_argnums=(0,),
        )

    def compile_train(self, batch: Batch) -> None:
        """Compiles the step for such batches; with a teacher it is compiled when one comes."""
        if not self._teacher:
            super().compile_train(batch)

    def train(self, batch_iter, num_steps: int, start_step: int | None = None):
        """Takes steps and returns the future of their metrics."""
        start_step = int(self.train_state.step) if start_step is None else int(start_step)
        if self._teacher:
            batch_iter = map(self._teacher, batch_iter)
        summary = super().train(batch_iter, num_steps, start_step)
        self._curve.add(start_step + num_steps, summary)
        if self._stops_on_bad_steps:  # before T5X saves the state
            loss = float(summary.result()["loss"].value)
            if not np.isfinite(loss):
                raise ValueError(
                    f"The loss is {loss} up to step {start_step + num_steps:,}; nothing was saved "
                    "since. Lower LEARNING_RATE, set CLIP_NORM, or BAD_STEPS to 'ignore'."
                )
        return summary

    def close(self) -> None:
        """Waits for the metrics, and notes in the run's record how far it has come."""
        self._curve.close(int(t5x.utils.get_local_data(self.train_state.step)))
        super().close()


class _Curve:
    """MODEL_DIR/metrics.jsonl and a line on the screen; only process 0 writes."""

    def __init__(self, folder: epath.Path, first: int):
        self._folder, self._writes = folder, jax.process_index() == 0
        self._lines: list[str] = []
        self._waiting: tuple[int, Any] | None = None  # T5X computes metrics beside the next steps
        path = folder / "metrics.jsonl"
        if self._writes and path.exists():  # resumed: forget what came after
            lines = path.read_text().splitlines()
            self._lines = [line for line in lines if json.loads(line)["step"] <= first]

    def add(self, number: int, summary: Any) -> None:
        self._write_waiting()
        self._waiting = number, summary

    def close(self, number: int) -> None:
        self._write_waiting()
        known = _read_json(self._folder / record.DATA_FILE)
        if self._writes and known is not None:
            _write_json(self._folder / record.DATA_FILE, known | {"steps": number})

    def _write_waiting(self) -> None:
        if self._waiting is None or not self._writes:
            return
        number, summary = self._waiting
        self._waiting = None
        values = {
            name: float(value.value) for name, value in summary.result().items() if "/" not in name
        }
        self._lines.append(json.dumps({"step": number, **values}))
        files.write_text(
            self._folder / "metrics.jsonl", "".join(f"{line}\n" for line in self._lines)
        )
        shown = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        configuration.show_progress(f"step {number:,}  {shown}")


class PjitPartitioner(t5x.partitioning.PjitPartitioner):
    """T5X's partitioner with the options of ``training.partition.Partitioner``.

    On CPU too ``num_partitions`` devices hold one copy of the model; T5X itself ignores it there.

    Raises:
        ValueError: ``num_partitions`` is None.
    """

    def __init__(
        self,
        num_partitions: int | None = 1,
        logical_axis_rules: partition.LogicalAxisRules | None = None,
        fully_sharded: bool = False,
        sequence_parallel: bool = False,
        **options,
    ):
        if num_partitions is None:
            raise ValueError(
                "NUM_PARTITIONS is None: T5X does not choose it. Give a number, such as that which "
                "python -m xlt_jax.aot chooses for the same gin files."
            )
        rules = logical_axis_rules or partition.standard_rules(
            fully_sharded=fully_sharded, sequence_parallel=sequence_parallel, rows="data"
        )
        super().__init__(num_partitions=num_partitions, logical_axis_rules=rules, **options)

    @functools.cached_property
    def mesh(self) -> Mesh:
        """Axes "data" and "model"."""
        if jax.default_backend() == "cpu":
            slices = partition.Partitioner(self._num_partitions).mesh
            return Mesh(slices.devices[0], slices.axis_names[1:])
        return super().mesh

    def partition(self, fn: Callable, *arguments, **options):
        """As T5X's; inside, the network's own constraints have a meaning, as under our engine."""

        @functools.wraps(fn)
        def traced(*args):
            with jax.sharding.use_abstract_mesh(self.mesh.abstract_mesh):
                return fn(*args)

        return super().partition(traced, *arguments, **options)


# ------------------------------------------------------------------------------------- checkpoints
@dataclasses.dataclass
class SaveCheckpointConfig(t5x.utils.SaveCheckpointConfig):
    """T5X's record with the other fields of ``training.config.SaveCheckpointConfig``.

    With ``keep_best_metric``, ``<task>/<metric>`` of the zero-shot evaluation, T5X keeps the
    ``keep`` best checkpoints and those without score, which are the newest and the first; ours
    keeps the ``keep`` newest and the best.

    Raises:
        ValueError: A value that our record refuses too, or something that T5X cannot do.
    """

    save_dataset: bool = True
    keep_best_metric: str | None = None
    keep_best_mode: str = "max"
    keep_best: int = 1

    def __post_init__(self):
        super().__post_init__()
        shared = [field.name for field in dataclasses.fields(config.SaveCheckpointConfig)]
        config.SaveCheckpointConfig(**{name: getattr(self, name) for name in shared})
        if self.period is None:
            raise ValueError("SAVE_PERIOD is None: T5X saves only with a period. Give one.")
        if self.keep_best_metric is None:
            return
        task, slash, metric = self.keep_best_metric.partition("/")
        if not slash or task == "mean" or self.keep_best != 1:
            raise ValueError(
                f"KEEP_BEST_METRIC {self.keep_best_metric!r} with keep_best {self.keep_best}: T5X "
                "compares one task's metric, such as 'xnli.en/accuracy', and takes the number "
                "from KEEP_CHECKPOINTS. Means are for xlt_jax.train."
            )
        # T5X reads the metric from the event files: folder, then the tag of SeqIO's logger.
        self.checkpointer_cls = functools.partial(
            t5x.checkpoints.SaveBestCheckpointer,
            metric_name_to_monitor=f"inference_eval/{task}/eval/{metric}",
            metric_mode=self.keep_best_mode,
        )


@dataclasses.dataclass
class RestoreCheckpointConfig(t5x.utils.RestoreCheckpointConfig):
    """T5X's record with our defaults: a MODEL_DIR means its latest checkpoint, [] random weights.

    Parameters are restored as float32, whatever they were saved as.

    Raises:
        ValueError: There is no such checkpoint.
    """

    mode: str = "specific"
    dtype: str | None = "float32"

    def __post_init__(self):
        super().__post_init__()
        if self.mode != "all" and self.path:
            self.path, self.mode = str(restore.find(self.path, self.mode)), "specific"
        check = functools.partial(_check_parameters, strict=self.strict)
        self.state_transformation_fns = (*self.state_transformation_fns, check)


@dataclasses.dataclass
class CheckpointConfig(t5x.utils.CheckpointConfig):
    """T5X's record for training, where ``Initializer`` reads the initial checkpoint."""

    def __post_init__(self):
        # T5X would also restore the position in the data, that of another mixture.
        self.restore = t5x.utils.RestoreCheckpointConfig(
            path=[], state_transformation_fns=(_check_resumable,)
        )


class Initializer(t5x.utils.TrainStateInitializer):
    """Makes the state of a new run: random, or with the parameters of the initial checkpoint.

    These may be in any format that ``xlt_jax.convert`` reads; the optimizer begins anew, as ours.
    """

    def from_scratch(self, init_rng: Array) -> Any:
        """The state in its shards."""
        made = super().from_scratch(init_rng)
        initial = config.RestoreCheckpointConfig(**gin.get_bindings(_RESTORE))
        if not initial.path:
            return made
        opened = restore.open_weights(initial.path, initial.mode)
        params = restore.restore_params(
            opened,
            made.params,
            strict=initial.strict,
            fallback_to_scratch=initial.fallback_to_scratch,
        )
        number = jax.device_put(jnp.asarray(opened.step, made.step.dtype), made.step.sharding)
        if jax.process_index() == 0:
            print(f"Starting from {opened.path} ({opened.format}), step {opened.step:,}.")
        return made.replace_params(params).replace_step(number)


def _check_parameters(saved: Mapping, wanted: Mapping, *, strict: bool) -> Mapping:
    """``saved`` as it came; T5X calls it with both states as nested dictionaries.

    Raises:
        ValueError: A parameter is missing or unknown.
    """
    saved_names, wanted_names = (_names(tree["target"]) for tree in (saved, wanted))
    problems = [f"{name}: missing in the checkpoint" for name in wanted_names - saved_names]
    if strict:
        problems += [f"{name}: unknown to this run" for name in saved_names - wanted_names]
    if problems:
        raise ValueError(
            "The checkpoint does not fit:\n  "
            + "\n  ".join(sorted(problems)[:5])
            + "\nUse the model's gin file and vocabulary that it was made with."
        )
    return saved


def _check_resumable(saved: Mapping, wanted: Mapping, *, is_resuming: bool) -> Mapping:
    """``saved`` as it came.

    Raises:
        ValueError: It is a checkpoint of our training.
    """
    if not _names(wanted["state"]) <= _names(saved["state"]):
        raise ValueError(
            "MODEL_DIR has checkpoints without T5X's optimizer state: the run is one of "
            "xlt_jax.train, which resumes it. Or set INITIAL_CHECKPOINT_PATH to it, and another "
            "MODEL_DIR."
        )
    return saved


def _names(tree: Mapping) -> set[str]:
    return set(t5x.state_utils.flatten_state_dict(tree))


# ------------------------------------------------------------------------------------- counting
def first_step(model_dir: str, initial_checkpoint: str | list) -> int:
    """Steps before this run's first update, which T5X's counter includes.

    A resumed run has it in its record: the initial checkpoint may be gone.
    """
    known = _read_json(epath.Path(model_dir) / record.DATA_FILE)
    if known is not None and t5x.checkpoints.latest_step(model_dir) is not None:
        return known["first_step"]
    return _step_of(initial_checkpoint) if initial_checkpoint else 0


@functools.cache
def _step_of(checkpoint: str) -> int:
    """Opened once: schedule, optimizer and total ask for it one after the other."""
    return restore.open_weights(checkpoint).step


def total_steps(
    model_dir: str, initial_checkpoint: str | list, steps: int, relative_steps: int | None
) -> int:
    """Number of the last step, however often the run is resumed.

    Raises:
        ValueError: ``steps`` is not beyond the initial checkpoint.
    """
    first = first_step(model_dir, initial_checkpoint)
    if relative_steps is not None:
        return first + relative_steps
    if steps <= first:
        raise ValueError(
            f"TRAIN_STEPS is {steps:,}, but the initial checkpoint is at step {first:,}: "
            "TRAIN_STEPS counts its steps too. Set TRAIN_STEPS_RELATIVE."
        )
    return steps


def relative_steps(steps: int | None) -> None:
    """None: T5X would count them anew from wherever a run is resumed. ``total_steps`` has them."""
    return None


# ------------------------------------------------------------------------------------- records
def summarize_config(model_dir: str, summary_writer: Any | None, step: int) -> None:
    """Writes config.gin, and what the report needs to follow the chain of checkpoints.

    Training passes a ``summary_writer``, T5X's evaluation and inference None.
    """
    if jax.process_index() != 0:
        return
    folder = epath.Path(model_dir)
    folder.mkdir(parents=True, exist_ok=True)
    text = gin.config_str()
    files.write_text(folder / "config.gin", text)
    path = gin.get_bindings(_RESTORE)["path"]
    if summary_writer is None:
        opened = restore.open_weights(path)
        _write_json(folder / "evaluation.json", {"checkpoint": opened.path, "step": opened.step})
        return
    summary_writer.write_texts(step, {"config": gin.markdown(text)})
    first = first_step(model_dir, path)
    if step == first:
        dataset = gin.get_bindings("train/engine.DatasetConfig")
        tasks = _trained_tasks(dataset["mixture_or_task_name"], dataset["split"])
        start = path or None
        record.write(folder, tasks, initial_checkpoint=start, first_step=first, steps=first)


def _trained_tasks(mixture: str, split: str) -> Iterator[record.TrainedTask]:
    """As ``xlt_jax.train`` records them; T5X does not count the examples of each task."""
    for task in mixtures.get(mixture).tasks:
        benchmark, language = benchmarks.split_task(task)
        rows = prompted(benchmark, language, split) if benchmark.labelled else []
        hashes = [leaks.NONE, *map(leaks.hashes, rows)]
        yield record.TrainedTask(task, split, None, np.concatenate(hashes))


def _read_json(path: epath.Path) -> dict | None:
    return json.loads(path.read_text()) if path.exists() else None


def _write_json(path: epath.Path, record: Mapping) -> None:
    files.write_text(path, json.dumps(record, indent=1))


# ------------------------------------------------------------------------------------- evaluation
class Evaluator(seqio.Evaluator):
    """SeqIO's evaluator, whose results are in the files that ``xlt_jax.evaluate`` writes.

    Answers are generated, also where ours ranks choices. Retrieval by sentence vectors has no
    metric in SeqIO: such tasks are skipped with a line on the screen.
    """

    def __init__(self, mixture_or_task_name: str, *, eval_split: str, **options):
        tasks = seqio.get_subtasks(seqio.get_mixture_or_task(mixture_or_task_name))
        skipped = [
            task.name
            for task in tasks
            if benchmarks.split_task(task.name)[0].request is Request.EMBED
        ]
        if skipped and jax.process_index() == 0:
            print(f"T5X cannot score retrieval, skipped: {', '.join(skipped)}.", flush=True)
        results = functools.partial(
            _Results, split=eval_split, max_input_length=options["sequence_length"]["inputs"]
        )
        options.setdefault("logger_cls", (results, seqio.TensorBoardLogger))
        super().__init__(mixture_or_task_name, eval_split=eval_split, **options)

    def evaluate(self, *, predict_fn: Callable, **options):
        """As SeqIO's, with answers as ours reads them.

        They end at the benchmark's ``max_target_tokens``, and sentinels are no text.
        """
        tasks = {id(self.cached_model_datasets[task.name]): task for task in self.eval_tasks}

        def predict(dataset):
            task = tasks[id(dataset)]
            longest = benchmarks.split_task(task.name)[0].max_target_tokens
            vocabulary = task.output_features["targets"].vocabulary
            words = vocabulary.vocab_size - vocabulary.extra_ids
            return [
                (row, np.where(np.less(ids, words), ids, vocab.PAD_ID)[:longest])
                for row, ids in predict_fn(dataset)
            ]

        return super().evaluate(predict_fn=predict, **options)


class _Results(seqio.Logger):
    """Writes one task's metrics and predictions."""

    def __init__(self, output_dir: str, *, split: str, max_input_length: int):
        super().__init__(output_dir)
        self._split, self._max_input_length = split, max_input_length

    def __call__(
        self,
        task_name: str,
        step: int | None,
        metrics: Mapping,
        dataset: Any,
        inferences: Mapping[str, Sequence],
        targets: Sequence[str],
    ) -> None:
        table = tokens(task_name, self._split, _vocabulary(task_name))
        truncated = int((table.inputs.lengths > self._max_input_length).sum())
        answers = inferences["prediction"]
        result = zero_shot.task_result(table, answers, truncated, parsed=True)
        predictions.write(self.output_dir, step, {task_name: result})


def _vocabulary(task_name: str) -> Vocabulary | vocab.ByteVocabulary:
    """Ours of the one that the task is registered with."""
    registered = seqio.TaskRegistry.get(task_name).output_features["inputs"].vocabulary
    if isinstance(registered, seqio.ByteVocabulary):
        return vocab.byte_vocabulary(registered.extra_ids)
    return vocab.sentence_piece(registered.sentencepiece_model_file, registered.extra_ids)
