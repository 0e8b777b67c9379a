"""Which partitioning fits a run into memory and exchanges least: estimates before compilation.

The compiler has the last word; these formulas only put the candidates into an order, so that the
first or second one compiles. Their factors are set by what the TPU compiler said of mT5-small to
XXL. Bytes are of one device.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax

from xlt_jax.registry import chips
from xlt_jax.training import state
from xlt_jax.training.partition import Partitioner

GIB = 2**30
# Of the memory there is; the rest is for what the formulas leave out.
USABLE = 0.85
# The compiler is asked about the least partitioning up to this share, although it may not fit.
TRIED = 1.25


@dataclass(frozen=True)
class Needs:
    """Sizes that memory depends on.

    Attributes:
        parameters: Number of values.
        table: Those of the token table, or of the output layer.
        width: D.
        joined: Heads times their width.
        hidden: F, times the number of gates.
        heads: H.
        layers: Of encoder and decoder.
        lengths: L and T.
        rows: Of a batch.
        microbatches: Parts of a batch computed one after the other.
        activation_bytes: Of one value.
        remat: "none", "minimal" or "full".
        logits_chunks: Parts in which logits are made.
        divisors: Sizes that the model axis must divide.
    """

    parameters: int
    table: int
    width: int
    joined: int
    hidden: int
    heads: int
    layers: tuple[int, int]
    lengths: tuple[int, int]
    rows: int
    microbatches: int
    activation_bytes: int
    remat: str
    logits_chunks: int
    divisors: tuple[int, ...]


@dataclass(frozen=True)
class Choice:
    """A partitioning, why it is taken, and whether it was chosen here."""

    partitioner: Partitioner
    reason: str
    is_ours: bool = True


def needs(
    module: Any, *, rows: int, lengths: Mapping[str, int], num_microbatches: int = 1
) -> Needs:
    """The sizes of a network (``mt5.Transformer``) and of the batches that it is trained on."""
    config = module.config
    return Needs(
        parameters=num_parameters(module),
        table=config.vocab_size * config.emb_dim,
        width=config.emb_dim,
        joined=config.num_heads * config.head_dim,
        hidden=config.mlp_dim * len(config.mlp_activations),
        heads=config.num_heads,
        layers=(config.num_encoder_layers, config.num_decoder_layers),
        lengths=(lengths["inputs"], lengths["targets"]),
        rows=rows,
        microbatches=num_microbatches,
        activation_bytes=config.dtype.itemsize,
        remat=config.remat_policy,
        logits_chunks=config.logits_chunks,
        divisors=(config.vocab_size, config.num_heads, config.mlp_dim, *lengths.values()),
    )


def num_parameters(module: Any) -> int:
    """Of a network that is not made."""
    ids = jax.ShapeDtypeStruct((1, 1), "int32")
    shapes = jax.eval_shape(
        lambda ids: module.init(jax.random.key(0), ids, ids, ids, enable_dropout=False), ids
    )
    return state.num_parameters(shapes["params"])


def memory(needs: Needs, *, rows: float, data: int, model: int, fully_sharded: bool) -> float:
    """Estimated bytes of a training step.

    Args:
        needs: The run's sizes.
        rows: Of a microbatch, of one device.
        data: Size of the data axis.
        model: Size of the model axis, along which activations are split too.
        fully_sharded: See ``partition.standard_rules``.
    """
    parts = model * (data if fully_sharded else 1)
    # Float32 parameters, gradients and updates; Adafactor's moments are small.
    state = 12 * needs.parameters / parts
    # The token table for both look-ups, the output layer, and its gradient while it adds up.
    state += 12 * needs.table / model if fully_sharded else 4 * needs.table / model
    length, targets = needs.lengths
    longest = max(length, targets)
    tokens = rows * (needs.layers[0] * length + needs.layers[1] * targets)
    value = needs.activation_bytes
    stash = tokens * needs.width * value / model
    in_layer = value * (10 * needs.width + (8 * needs.joined + 3 * needs.hidden) / model)
    scores = 3 * value * needs.heads * longest / model + 8 * needs.heads * longest / model
    one_layer = rows * longest * (in_layer + scores)
    if needs.remat == "none":
        kept = value * (8 * needs.width + (10 * needs.joined + 4 * needs.hidden) / model)
        stash += tokens * (kept + 4 * value * needs.heads * longest / model)
    elif needs.remat == "minimal":
        stash += tokens * value * (2 * needs.width + (4 * needs.joined + needs.hidden) / model)
    vocabulary = needs.table / needs.width
    logits = 12 * rows * targets * vocabulary / model / needs.logits_chunks
    return state + stash + max(one_layer, logits)


def exchanged(needs: Needs, *, rows: float, data: int, model: int, fully_sharded: bool) -> float:
    """Estimated bytes that a device sends in a training step; arguments are those of ``memory``.

    Those over the model axis count twice: the computation waits for them, while gradients and
    weights are exchanged beside it.
    """
    share = (data - 1) / data
    # Gradients added up; or weights gathered forward and backward and gradients scattered.
    over_data = (4 if fully_sharded else 8) * needs.parameters / model * share
    if fully_sharded:
        over_data += 2 * 2 * needs.parameters / model * share * needs.microbatches
    if fully_sharded and model == 1:
        # Without a model axis the TPU compiler turns most of the layers' gathers and scatters into
        # sums over all devices: 22 bytes a value, found with large and XL.
        over_data += 14 * max(0, needs.parameters - 2 * needs.table) * share
    tokens = rows * needs.microbatches * sum(n * m for n, m in zip(needs.layers, needs.lengths))
    passes = 12 if needs.remat == "full" else 8
    over_model = passes * tokens * needs.width * needs.activation_bytes * (model - 1) / model
    return over_data + 2 * over_model


def choices(
    given: Partitioner,
    devices: Sequence[jax.Device],
    needs: Needs,
    capacity: float,
    *,
    tried: float = TRIED,
) -> Iterator[Choice]:
    """Partitionings estimated to fit, those that exchange least first.

    If none is, the one that needs least, unless that is hopeless.

    Args:
        given: With ``num_partitions`` None; what it fixes otherwise is kept.
        devices: To be partitioned.
        needs: The run's sizes.
        capacity: Bytes that a program may use on one device.
        tried: Share of the capacity from which an estimate is hopeless.

    Raises:
        ValueError: Nothing fits, or the sizes allow no partitioning.
    """
    candidates = sorted(_candidates(given, devices, needs), key=lambda candidate: candidate[1])
    plain = next((size for mesh, _, size in candidates if mesh["num_partitions"] == 1), None)
    fitting = [candidate for candidate in candidates if candidate[2] <= USABLE * capacity]
    if not candidates:
        raise ValueError(
            f"{needs.rows} rows in {needs.microbatches} microbatch(es) cannot be split over "
            f"{len(devices)} devices: give a BATCH_SIZE that is a multiple of both numbers."
        )
    if not fitting:
        smallest = min(candidates, key=lambda candidate: candidate[2])
        if smallest[2] > tried * capacity:
            raise ValueError(
                f"No partitioning of {len(devices)} devices is estimated to fit: the least is "
                f"{smallest[2] / GIB:.1f} GiB a device of {capacity / GIB:.1f}. "
                f"{_smaller(needs)}, or take more devices."
            )
        fitting = [smallest]
    for options, _, size in fitting:
        words = f"{options['num_partitions']} model partition(s)"
        words += ", parameters sharded over data" if options["fully_sharded"] else ""
        why = f"estimated {size / GIB:.1f} of {capacity / GIB:.1f} GiB a device"
        if plain is not None and plain > USABLE * capacity:
            why += f"; data parallel alone: {plain / GIB:.1f}"
        why += ", least exchanged" if size <= USABLE * capacity else ", the least of all"
        yield Choice(given.on(devices, **options), f"{words} ({why})")


def here(given: Partitioner, needs: Callable[[], Needs]) -> Choice:
    """The partitioning of this machine's devices, if the run leaves it open.

    Args:
        given: The run's.
        needs: Gives the run's sizes, which take a trace of the network: only called for a choice.

    Raises:
        ValueError: See ``choices``.
    """
    if given.num_partitions is not None:
        return Choice(given, "as the run says", is_ours=False)
    capacity = device_memory()
    if capacity is None:
        device = given.devices[0].device_kind
        return Choice(
            given.on(given.devices, num_partitions=1),
            f"data parallel, as the memory of a {device} is not known",
        )
    return next(choices(given, given.devices, needs(), capacity))


def for_reading(given: Partitioner, module: Any) -> Choice:
    """As ``here``, of a program that trains nothing: the fewest partitions."""
    if given.num_partitions is not None:
        return Choice(given, "as the run says", is_ours=False)
    devices, capacity, parameters = given.devices, device_memory(), num_parameters(module)
    partitions = [n for n in range(1, len(devices) + 1) if len(devices) % n == 0]
    for number in partitions:
        if capacity is None or 4 * parameters / number <= USABLE / 2 * capacity:
            break
    each = 4 * parameters / number / GIB
    words = f"{number} model partition(s), with {each:.1f} GiB of parameters on a device"
    return Choice(given.on(devices, num_partitions=number), words)


def device_memory() -> float | None:
    """Bytes that a program may use on one of this machine's devices; None where nobody says."""
    device = jax.local_devices()[0]
    stats = device.memory_stats() or {}
    chip = chips.of_device_kind(device.device_kind)
    return stats.get("bytes_limit") or (chip.hbm_bytes / chip.devices if chip else None)


def advice(needs: Needs, partitioner: Partitioner, capacity: float) -> str:
    """What to change when a step does not fit: the first partitioning or batch estimated to."""
    free = Partitioner(None)
    for rows in filter(None, (needs.rows // part for part in (1, 2, 4, 8))):
        smaller = replace(needs, rows=rows)
        try:
            found = list(choices(free, partitioner.devices, smaller, capacity, tried=USABLE))
        except ValueError:
            continue
        now = (partitioner.num_partitions, partitioner.fully_sharded)
        for choice in found:
            other = choice.partitioner
            if rows == needs.rows and (other.num_partitions, other.fully_sharded) == now:
                continue
            return (
                f"Try BATCH_SIZE = {rows}, NUM_PARTITIONS = {other.num_partitions}, "
                f"FULLY_SHARDED = {other.fully_sharded}, "
                f"SEQUENCE_PARALLEL = {other.sequence_parallel}: {choice.reason}."
            )
    return f"{_smaller(needs)}, or take more devices."


def _smaller(needs: Needs) -> str:
    changes = []
    if needs.remat != "full":
        changes.append("set mt5.T5Config.remat_policy = 'full'")
    if needs.logits_chunks < 8:
        changes.append("set mt5.T5Config.logits_chunks = 16")
    changes.append(f"lower BATCH_SIZE (now {needs.rows}) or raise NUM_MICROBATCHES")
    text = ", ".join(changes)
    return text[0].upper() + text[1:]


def _candidates(
    given: Partitioner, devices: Sequence[jax.Device], needs: Needs
) -> Iterator[tuple[dict[str, Any], float, float]]:
    """(options, bytes exchanged, bytes needed) of all partitionings that the sizes allow."""
    slices = given.on(devices, num_partitions=1).mesh.shape["slice"]
    count = len(devices) // slices
    for model in (n for n in range(1, count + 1) if count % n == 0):
        data = count // model
        rows = needs.rows / (slices * data * needs.microbatches)
        if rows % 1 or any(size % model for size in needs.divisors):
            continue
        for fully_sharded in (False, True) if data > 1 else (False,):
            if given.fully_sharded and not fully_sharded and data > 1:
                continue
            sizes = dict(rows=rows, data=data, model=model, fully_sharded=fully_sharded)
            options = {
                "num_partitions": model,
                "fully_sharded": fully_sharded,
                "sequence_parallel": model > 1,
            }
            yield options, exchanged(needs, **sizes), memory(needs, **sizes)
