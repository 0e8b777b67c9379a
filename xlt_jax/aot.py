"""``python -m xlt_jax.aot``: compiles a run's steps for a TPU topology, on a machine without TPU.

It says whether the run fits, what it needs and exchanges, and how long a step takes at best. The
run is that of ``xlt_jax.train`` with the same gin files and bindings; no data, vocabulary or
checkpoint is read.
"""

import dataclasses
import functools
import json as json_format
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import optax
from etils import epath
from rich.console import Console
from rich.table import Table

from xlt_jax import configuration, files
from xlt_jax.arrays import Batch
from xlt_jax.data import augmentation, features
from xlt_jax.decoding import search
from xlt_jax.evaluation import zero_shot
from xlt_jax.models import mt5
from xlt_jax.training import checkpoint, fit, programs, state, step
from xlt_jax.training import topology as topologies
from xlt_jax.training.config import DatasetConfig
from xlt_jax.training.model import (
    EncoderDecoderModel,
    Trainer,
    check_whole_batches,
    make_train_step,
)
from xlt_jax.training.partition import Partitioner
from xlt_jax.training.programs import Report
from xlt_jax.training.topology import Topology

STEPS = ("train", "eval", "decode")
FLAGS = {
    "topology": "chips of a slice, such as v5e:16x16 or v4:4x4x8; several joined by commas",
    "slices": "number of slices, joined by the data-centre network (default: 1)",
    "steps": f"of {','.join(STEPS)} (default: all)",
    "json": "file for the same figures as JSON; - prints them instead of tables",
}
# Nothing is read from outside; a checkpoint's folder or a vocabulary need not exist here.
BINDINGS = (
    "MODEL_DIR = ''",
    "TEACHER_PATH = None",
    "engine.EncoderDecoderModel.vocabulary = None",
)


def train(
    *,
    model: EncoderDecoderModel,
    train_dataset_cfg: DatasetConfig,
    partitioner: Partitioner,
    trainer_cls: Callable[[], Trainer],
    topology: str | None = None,
    slices: str = "1",
    steps: str = ",".join(STEPS),
    json: str | None = None,
    **_: Any,
) -> None:
    """Compiles and reports; the other arguments of ``xlt_jax.train.train`` change nothing.

    Raises:
        ValueError: Unknown topology or step, or a batch that the topology cannot split.
    """
    if topology is None:
        raise ValueError(f"--topology is not given: {FLAGS['topology']}.")
    wanted = steps.split(",")
    if unknown := sorted(set(wanted) - set(STEPS)):
        raise ValueError(f"--steps has {', '.join(unknown)}; known: {', '.join(STEPS)}.")
    if not slices.isdecimal():
        raise ValueError(f"--slices is {slices!r}; give a number from 1.")
    if json and json != "-":  # now rather than after hours of compilation
        checkpoint.writable_folder(epath.Path(json).absolute().parent)
    described = [topologies.described(name, int(slices)) for name in topology.split(",")]
    # Programs for devices that are not here can be stored, but not read again.
    jax.config.update("jax_enable_compilation_cache", False)
    run = Run(model, train_dataset_cfg, trainer_cls())
    if run.trainer.teacher and "train" in wanted:
        wanted = ["teacher", *wanted]
    screen = Console(stderr=json == "-", highlight=False)
    programs_made, refused = [], {}
    for target in described:
        try:
            programs_made += compiled(run, wanted, partitioner, target, screen, json == "-")
        except ValueError as error:  # the others are still worth knowing
            if len(described) == 1:
                raise
            screen.print(f"{target.title}: {error}")
            refused[target] = error
    if not programs_made:
        raise next(iter(refused.values()))
    if len(described) > 1 and json != "-":
        overview(screen, programs_made)
    if json:
        records = [as_json(*made) for made in programs_made]
        records += [as_json(target) | {"error": str(refused[target])} for target in refused]
        text = json_format.dumps(records, indent=1)
        if json == "-":
            print(text)
        else:
            files.write_text(json, text + "\n")


def compiled(
    run: "Run",
    wanted: Sequence[str],
    given: Partitioner,
    target: Topology,
    screen: Console,
    quiet: bool,
) -> list[tuple[Topology, str, Partitioner, Report]]:
    """The wanted programs for the first partitioning that fits, or for the last one tried."""
    for choice in run.choices(given, target):
        screen.print(f"{target.title}: {choice.reason}.")
        made = {}
        for name in wanted:
            screen.print(f"  compiling the {name} step ...")
            made[name] = run.compile(name, choice.partitioner, target)
            if not quiet:
                show(screen, target, name, made[name])
            if not made[name].fits:
                break
        if all(report.fits for report in made.values()):
            break
    else:
        screen.print(fit.advice(run.needs(), choice.partitioner, programs.capacity(target)))
    return [(target, name, choice.partitioner, report) for name, report in made.items()]


@dataclasses.dataclass(frozen=True)
class Run:
    """What is compiled."""

    model: EncoderDecoderModel
    dataset: DatasetConfig
    trainer: Trainer

    def choices(self, given: Partitioner, target: Topology) -> Iterator[fit.Choice]:
        """The run's partitioning of the topology, or those to try if the run leaves it open."""
        if given.num_partitions is None:
            yield from fit.choices(given, target.devices, self.needs(), programs.capacity(target))
        else:
            yield fit.Choice(given.on(target.devices), "as the run says", is_ours=False)

    def needs(self) -> fit.Needs:
        """For estimates before anything is compiled."""
        return fit.needs(
            self.model.module,
            rows=self.dataset.batch_size,
            lengths=self.dataset.task_feature_lengths,
            num_microbatches=self.trainer.num_microbatches or 1,
        )

    def compile(self, name: str, partitioner: Partitioner, target: Topology) -> Report:
        """One of ``STEPS``, or the "teacher" of a run that has one."""
        return getattr(self, f"_{name}")(partitioner, target)

    def _teacher(self, partitioner: Partitioner, target: Topology) -> Report:
        teacher = self.trainer.teacher(partitioner=partitioner)
        arguments = teacher.params, self._batch(partitioner)
        return programs.compile_step(
            target,
            partitioner.mesh,
            teacher.program,
            arguments,
            parameters=teacher.params,
            others=self._state(partitioner),
            plain=lambda: teacher.program.trace(*arguments),
        )

    def _train(self, partitioner: Partitioner, target: Topology) -> Report:
        microbatches = self.trainer.num_microbatches or 1
        check_whole_batches(self.model.objective, microbatches, self.dataset.pack)
        described, batch, others = self._state(partitioner), self._batch(partitioner), ()
        if self.trainer.teacher:
            teacher = self.trainer.teacher(partitioner=partitioner)
            batch |= teacher.program.eval_shape(teacher.params, batch)
            others = teacher.params
        arguments = [described, batch, _described_key(partitioner)]
        if self.trainer.spike_factor:
            norms = step.no_norms()
            replicated = partitioner.replicated
            arguments.append(jax.ShapeDtypeStruct(norms.shape, norms.dtype, sharding=replicated))

        def made(module: Any) -> Any:
            return make_train_step(
                self.model, self.trainer, module, self._optimizer, partitioner, described
            )

        return programs.compile_step(
            target,
            partitioner.mesh,
            made(self.model.module),
            arguments,
            parameters=described.params,
            optimizer=described.opt_state,
            others=others,
            plain=lambda: made(mt5.plain(self.model.module)).trace(*arguments),
        )

    def _eval(self, partitioner: Partitioner, target: Topology) -> Report:
        params = self._params(partitioner)
        function = step.make_eval_step(
            step.make_forward(self.model.module), self.model.objective, partitioner
        )
        arguments = params, self._batch(partitioner)
        return programs.compile_step(
            target,
            partitioner.mesh,
            function,
            arguments,
            parameters=params,
            others=self._beside(partitioner),
            plain=lambda: function.trace(*arguments),
        )

    def _decode(self, partitioner: Partitioner, target: Topology) -> Report:
        params, lengths = self._params(partitioner), self.dataset.task_feature_lengths
        rows = -(-zero_shot.ACCELERATOR_TOKENS // lengths["inputs"])
        rows = -(-rows // partitioner.rows_multiple) * partitioner.rows_multiple
        tokens = jax.ShapeDtypeStruct(
            (rows, lengths["inputs"]), "int32", sharding=partitioner.batch_sharding
        )

        def decode(params: Any, tokens: jax.Array) -> jax.Array:
            with partitioner.context():
                return search.greedy(
                    self.model.module, params, tokens, max_decode_len=lengths["targets"]
                )

        return programs.compile_step(
            target,
            partitioner.mesh,
            jax.jit(decode),
            (params, tokens),
            parameters=params,
            others=self._beside(partitioner),
        )

    @functools.cached_property
    def _optimizer(self) -> optax.GradientTransformation:
        return self.model.optimizer_def(self.trainer.learning_rate_fn)

    def _state(self, partitioner: Partitioner) -> state.TrainState:
        return state.describe(self.model.module, self._optimizer, partitioner)

    def _params(self, partitioner: Partitioner) -> Any:
        return self._state(partitioner).params

    def _beside(self, partitioner: Partitioner) -> tuple:
        """What training keeps on the devices while it evaluates."""
        teacher = self.trainer.teacher
        kept = teacher(partitioner=partitioner).params if teacher else ()
        return self._state(partitioner).opt_state, kept

    def _batch(self, partitioner: Partitioner) -> Batch:
        partitioner.check_batch_size(self.dataset.batch_size, self.trainer.num_microbatches or 1)
        arrays = features.to_arrays(
            [[]] * self.dataset.batch_size,
            self.dataset.task_feature_lengths,
            augmentation.extra_features(self.model.augmentations),
            packed=self.dataset.pack,
        )
        sharding = partitioner.batch_sharding
        return {
            name: jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=sharding)
            for name, array in arrays.items()
        }


def _described_key(partitioner: Partitioner) -> jax.ShapeDtypeStruct:
    key = jax.eval_shape(lambda: jax.random.key(0))
    return jax.ShapeDtypeStruct(key.shape, key.dtype, sharding=partitioner.replicated)


# ------------------------------------------------------------------------------------- showing
def show(screen: Console, target: Topology, name: str, report: Report) -> None:
    """The figures of one program as a table."""
    title = f"{name} step on {target.title} ({partition_words(report.mesh)})"
    table = Table(title=title, title_justify="left")
    table.add_column("of one device")
    table.add_column("", justify="right")
    for row in rows(report):
        table.add_row(*row)
    screen.print(table)


def overview(screen: Console, records: Iterable[tuple[Topology, str, Partitioner, Report]]) -> None:
    """A line for each program, to compare topologies."""
    table = Table(title="of one device", title_justify="left")
    for column in ("topology", "step", "mesh"):
        table.add_column(column)
    for column in ("needs", "of", "sends", "at best"):
        table.add_column(column, justify="right")
    for target, name, partitioner, report in records:
        figures = ["does not fit", ""]
        if report.fits:
            sent = sum(report.sent_bytes.values())
            figures = [gib(sent), seconds(report.estimate.least_s)]
        figures = [gib(report.needed_bytes), gib(report.hbm_bytes), *figures]
        split = partition_words(report.mesh)
        split += ", fully sharded" if partitioner.fully_sharded else ""
        table.add_row(target.title, name, split, *figures)
    screen.print(table)


def partition_words(mesh: Mapping[str, int]) -> str:
    """``data 4 x model 2``."""
    return " x ".join(f"{axis} {size}" for axis, size in mesh.items() if size > 1) or "one device"


def rows(report: Report) -> Iterable[tuple[str, str]]:
    """Names and figures."""
    of = f"of {gib(report.hbm_bytes)}"
    if not report.fits:
        yield "does not fit: needs", f"{gib(report.needed_bytes)} {of}"
        yield "compile", configuration.duration(report.compile_s)
        return
    yield "memory", f"{gib(report.needed_bytes)} {of}"
    for kind, size in dataclasses.asdict(report.memory).items():
        if size:
            yield f"  {kind}", gib(size)
    yield "compiled FLOPs", f"{report.compiled_flops:.3g}"
    if report.model_flops:
        yield "model FLOPs", f"{report.model_flops:.3g}"
        yield "compiled / model", f"{report.compiled_flops / report.model_flops:.2f}"
    for collective, size in sorted(report.sent_bytes.items(), key=lambda item: -item[1]):
        if size >= 2**20:
            yield f"{collective.kind} over {', '.join(collective.axes)}", gib(size)
    estimate = report.estimate
    yield "estimate: products", seconds(estimate.compute_s)
    yield "estimate: memory", seconds(estimate.hbm_s)
    for axes, duration in estimate.exchange_s.items():
        if duration >= 1e-4:
            yield f"estimate: exchange over {axes.replace('+', ', ')}", seconds(duration)
    yield "estimate: step", f"{seconds(estimate.least_s)} to {seconds(estimate.most_s)}"
    yield "compile", configuration.duration(report.compile_s)


def gib(size: float) -> str:
    """Bytes as GiB or MiB."""
    return f"{size / 2**30:,.2f} GiB" if size >= 2**27 else f"{size / 2**20:,.1f} MiB"


def seconds(duration: float) -> str:
    """Seconds or milliseconds."""
    return f"{duration:.2f} s" if duration >= 1 else f"{1000 * duration:.1f} ms"


def as_json(
    target: Topology,
    name: str | None = None,
    partitioner: Partitioner | None = None,
    report: Report | None = None,
) -> dict[str, Any]:
    """One program's figures as plain values, or those of the topology alone."""
    record = {
        "topology": target.name,
        "slices": target.slices,
        "chips": target.num_chips,
        "devices": len(target.devices),
    }
    if report is None:
        return record
    return record | {
        "step": name,
        "fully_sharded": partitioner.fully_sharded,
        "sequence_parallel": partitioner.sequence_parallel,
        **report.as_json(),
    }


if __name__ == "__main__":
    configuration.run_program("xlt_jax.aot", __doc__, train, FLAGS, BINDINGS)
