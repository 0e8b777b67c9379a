"""What a compiled program does, read from its text: matrix products and what devices exchange.

XLA's own cost analysis counts the body of a loop once, however often it runs; here loops count as
often as they run.
"""

import functools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

_COMPUTATION = re.compile(r"(?:ENTRY )?%?([\w.\-]+) .*\{$")
_INSTRUCTION = re.compile(r"\s+(?:ROOT )?%?([\w.\-]+) = (\(.*?\)|\S+) ([\w\-]+)\((.*)$")
_ARRAY = re.compile(r"([a-z]+\d*)\[([\d,]*)\]")
_CALLS = {"fusion", "call", "async-start", "custom-call"}
# Between slices hosts carry it.
_BETWEEN_SLICES = re.compile(r'_xla_megascale_transfer_type="(\w+)"')
_NOT_MOVED = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "while", "iota"}
# Of their first operand they read what they give.
_PARTS = {"dynamic-slice", "slice", "gather"}
_COLLECTIVES = {
    "all-gather",
    "all-reduce",
    "reduce-scatter",
    "all-to-all",
    "collective-permute",
    "collective-broadcast",
    "ragged-all-to-all",
}


@dataclass(frozen=True)
class Collective:
    """One kind of exchange between devices.

    Attributes:
        kind: Such as "all-gather".
        axes: Mesh axes along which devices exchange.
    """

    kind: str
    axes: tuple[str, ...]


@dataclass(frozen=True)
class Work:
    """Of one device, in one run of a program.

    Attributes:
        flops: Of matrix products, an addition and a multiplication counted as two.
        sent_bytes: Of every collective the bytes that a device sends, by a ring: (n - 1) / n of the
            whole array for a gather or scatter among n, twice that for an all-reduce.
        hbm_bytes: Read and written in the chip's memory, if every instruction reads its operands
            there (of one that is sliced or gathered from, the part) and writes its result.
    """

    flops: float
    hbm_bytes: float
    sent_bytes: Mapping[Collective, float]


def work(text: str, mesh_shape: Mapping[str, int]) -> Work:
    """The work of a program.

    Args:
        text: ``compiled.as_text()``, of a program partitioned over the whole mesh.
        mesh_shape: Size by axis, in the mesh's order.
    """
    reader = _Reader(_computations(text), mesh_shape)
    flops, hbm_bytes, exchanged = reader.of(reader.entry)
    sent: dict[Collective, float] = {}
    for (kind, axes, size), times in exchanged.items():
        key = Collective(kind, axes)
        sent[key] = sent.get(key, 0.0) + size * times
    return Work(flops, hbm_bytes, sent)


@dataclass(frozen=True)
class _Instruction:
    name: str
    type: str
    op: str
    rest: str  # operands and attributes

    @functools.cached_property
    def operands(self) -> list[str]:
        return re.findall(r"%([\w.\-]+)", self.rest.partition("), ")[0])

    def called(self, attribute: str) -> str | None:
        found = re.search(rf"\b{attribute}=%?([\w.\-]+)", self.rest)
        return found[1] if found else None


def _computations(text: str) -> dict[str, list[_Instruction]]:
    computations: dict[str, list[_Instruction]] = {}
    current: list[_Instruction] = []
    for line in text.splitlines():
        if line and not line[0].isspace():
            if found := _COMPUTATION.match(line):
                current = computations.setdefault(found[1], [])
                if line.startswith("ENTRY"):
                    computations[""] = current
        elif found := _INSTRUCTION.match(line):
            current.append(_Instruction(*found.groups()))
    return computations


class _Reader:
    """Adds up computations, each of which is read once."""

    def __init__(self, computations: Mapping[str, list[_Instruction]], mesh_shape):
        self._computations, self._mesh_shape = computations, dict(mesh_shape)
        self._known: dict[str, tuple[float, float, dict]] = {}
        self.entry = ""

    def of(self, name: str) -> tuple[float, float, dict]:
        """FLOPs, bytes of HBM, and (kind, axes, bytes) -> times."""
        if name not in self._known:
            self._known[name] = self._sum(self._computations[name])
        return self._known[name]

    def _sum(self, instructions: Sequence[_Instruction]) -> tuple[float, float, dict]:
        flops, hbm_bytes, exchanged = 0.0, 0.0, {}
        types = {instruction.name: instruction.type for instruction in instructions}
        for instruction in instructions:
            kind = instruction.op.removesuffix("-start")
            hbm_bytes += self._moved(instruction, types)
            if instruction.op == "while":
                times = self._trips(instruction)
                more, moved, inner = self.of(instruction.called("body"))
                flops += times * more
                hbm_bytes += times * moved
                for key, count in inner.items():
                    exchanged[key] = exchanged.get(key, 0) + times * count
            elif instruction.op == "conditional":
                branches = re.search(r"branch_computations=\{([^}]*)\}", instruction.rest)
                names = (
                    re.findall(r"[\w.\-]+", branches[1].replace("%", ""))
                    if branches
                    else [instruction.called(f"{way}_computation") for way in ("true", "false")]
                )
                more, moved, inner = max(
                    map(self.of, names), key=lambda found: (found[0], _total(found[2]), found[1])
                )
                flops += more
                hbm_bytes += moved
                for key, count in inner.items():
                    exchanged[key] = exchanged.get(key, 0) + count
            elif kind in _COLLECTIVES:
                key = self._collective(kind, instruction, types)
                exchanged[key] = exchanged.get(key, 0) + 1
            elif instruction.op == "send" and (found := _BETWEEN_SLICES.search(instruction.rest)):
                size = _bytes(types.get(instruction.operands[0], ""))
                kind = found[1].lower().replace("_", "-")
                key = kind, ("slice",), _sent_bytes(kind, size, self._mesh_shape["slice"])
                exchanged[key] = exchanged.get(key, 0) + 1
            elif instruction.op in ("dot", "convolution"):
                flops += _product(instruction, types)
            elif instruction.op in _CALLS:
                called = instruction.called("calls") or instruction.called("to_apply")
                # What is inside a fusion never reaches the chip's memory.
                more, _, inner = self.of(called) if called else (0.0, 0.0, {})
                flops += more
                if _goes_on(instruction.name, called):
                    continue
                for (kind, axes, size), count in inner.items():
                    if kind == "all-reduce" and "reduce-scatter" in called:
                        kind, size = "reduce-scatter", size / 2  # TPUs reduce, then slice
                    key = kind, axes, size
                    exchanged[key] = exchanged.get(key, 0) + count
        return flops, hbm_bytes, exchanged

    def _moved(self, instruction: _Instruction, types: Mapping[str, str]) -> float:
        op, made = instruction.op, instruction.type
        if op in _NOT_MOVED or op.endswith("-done"):
            return 0.0
        if op.endswith("-start"):  # its type has the operand too
            return _hbm_bytes(made)
        read = [types.get(name, "") for name in instruction.operands]
        if op == "fusion" and (called := instruction.called("calls")):
            inside = self._named(called)
            parameters = {
                int(found.rest.partition(")")[0]): name
                for name, found in inside.items()
                if found.op == "parameter"
            }
            total = sum(
                min(_hbm_bytes(outer), _read_bytes(parameters[number], inside))
                for number, outer in enumerate(read)
            )
            *_, root = inside.values()
            if root.op == "dynamic-update-slice":  # in place: only the slice is written
                return total + min(_hbm_bytes(made), _bytes(inside[root.operands[1]].type))
            return total + _hbm_bytes(made)
        if op == "dynamic-update-slice":
            return 2 * _hbm_bytes(read[1])
        if op in _PARTS:
            return 2 * _hbm_bytes(made)
        return sum(map(_hbm_bytes, read)) + _hbm_bytes(made)

    def _trips(self, loop: _Instruction) -> int:
        """How often a loop runs: from 0 up to the constant of its condition."""
        if found := re.search(r'"known_trip_count":\{"n":"(\d+)"', loop.rest):
            return int(found[1])
        condition = self._named(loop.called("condition"))
        limits = [value for value in map(_constant, condition.values()) if value is not None]
        counters = [
            instruction.called("index")
            for instruction in condition.values()
            if instruction.op == "get-tuple-element" and _is_integer(instruction)
        ]
        if not limits:
            return 1
        step = self._step(loop.called("body"), int(counters[0])) if len(counters) == 1 else 1
        return -(-max(limits) // step)

    def _step(self, body: str, index: int) -> int:
        """What an iteration adds to the counter: 2 where the compiler unrolled a loop by two."""
        named = self._named(body)
        *_, root = named.values()
        after = named.get(root.operands[index]) if root.op == "tuple" else None
        if after is None or after.op != "add":
            return 1
        added = [_constant(named[name]) for name in after.operands if name in named]
        return max((value for value in added if value is not None), default=1)

    def _named(self, computation: str) -> dict[str, _Instruction]:
        return {found.name: found for found in self._computations[computation]}

    def _collective(self, kind: str, instruction: _Instruction, types: Mapping[str, str]) -> tuple:
        members, axes = self._group(instruction.rest)
        inputs = sum(_bytes(types.get(name, "")) for name in instruction.operands)
        return kind, axes, _sent_bytes(kind, inputs, members)

    def _group(self, attributes: str) -> tuple[int, tuple[str, ...]]:
        """Number of devices that exchange with each other, and the mesh axes they differ in."""
        shape = tuple(self._mesh_shape.values())
        if pairs := re.search(r"source_target_pairs=\{(.*?)\}\}", attributes):
            numbers = [int(number) for number in re.findall(r"\d+", pairs[1])]
            groups = np.asarray(numbers).reshape(-1, 2)
        else:
            groups = _groups(attributes, math.prod(shape))
        coordinates = np.stack(np.unravel_index(groups, shape), axis=-1)  # group, member, axis
        differ = (coordinates != coordinates[:, :1]).any(axis=(0, 1))
        axes = tuple(name for name, differs in zip(self._mesh_shape, differ) if differs)
        return groups.shape[1], axes


def _hbm_bytes(type_text: str) -> int:
    """Of the arrays that are not in the core's own memory."""
    arrays = re.findall(r"\w+\[[\d,]*\](?:\{[^}]*\})?", type_text)
    return sum(_bytes(array) for array in arrays if "S(" not in array)


def _read_bytes(name: str, inside: Mapping[str, _Instruction]) -> int:
    """What a fusion reads of its parameter ``name``."""
    total = 0
    for used in inside.values():
        if name not in used.operands:
            continue
        if used.op == "bitcast":
            total += _read_bytes(used.name, inside)
        elif used.op in _PARTS and used.operands[0] == name:
            total += _bytes(used.type)
        elif used.op != "dynamic-update-slice" or used.operands[0] != name:
            return _bytes(inside[name].type)
    return total


def _total(exchanged: Mapping[tuple, float]) -> float:
    return sum(size * times for (_, _, size), times in exchanged.items())


def _sent_bytes(kind: str, size: float, members: int) -> float:
    """What one of ``members`` sends, of its input's size."""
    share = (members - 1) / members
    return {
        "all-gather": size * (members - 1),
        "all-reduce": 2 * size * share,
        "collective-permute": size,
    }.get(kind, size * share)


def _is_integer(instruction: _Instruction) -> bool:
    return re.match(r"[su]\d+\[\]", instruction.type) is not None


def _constant(instruction: _Instruction) -> int | None:
    """The value of an integer constant."""
    if instruction.op != "constant" or not _is_integer(instruction):
        return None
    return int(re.match(r"-?\d+", instruction.rest)[0])


def _goes_on(name: str, called: str | None) -> bool:
    """Whether an instruction only continues or ends a collective that another one started.

    TPUs hide an asynchronous collective in the fusions that compute meanwhile: each repeats it.
    """
    return name.startswith("async-collective-done") or "async_collective_fusion" in (called or "")


def _groups(attributes: str, devices: int) -> np.ndarray:
    """Rows of devices that exchange with each other."""
    if listed := re.search(r"replica_groups=\{(\{.*?\})\}", attributes):
        rows = re.findall(r"\{([\d,]+)\}", listed[1])
        return np.asarray([[int(number) for number in row.split(",")] for row in rows])
    iota = re.search(r"replica_groups=\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?", attributes)
    if iota:
        shape, dims, order = (
            [int(number) for number in part.split(",")] if part else None for part in iota.groups()
        )
        numbers = np.arange(math.prod(dims)).reshape(dims)
        return (numbers.transpose(order) if order else numbers).reshape(shape)
    # Such as mesh['axis_0'=32,'axis_1'=8] {'axis_0'}: devices in order, split by its axes; or, with
    # device_ids=([8,32]T(1,0)), in the order of a transposed grid.
    named = re.search(r"replica_groups=mesh\[(.*?)\]([^{]*)\{(.*?)\}", attributes)
    if named:
        sizes = {name: int(size) for name, size in re.findall(r"'(\w+)'=(\d+)", named[1])}
        along = [list(sizes).index(name) for name in re.findall(r"'(\w+)'", named[3])]
        numbers = np.arange(math.prod(sizes.values()))
        if turned := re.search(r"device_ids=\(\[([\d,]+)\](?:T\(([\d,]+)\))?\)", named[2]):
            grid, order = (
                list(map(int, part.split(","))) if part else None for part in turned.groups()
            )
            numbers = numbers.reshape(grid)
            numbers = numbers.transpose(order) if order else numbers
        numbers = numbers.reshape(list(sizes.values()))
        others = [axis for axis in range(len(sizes)) if axis not in along]
        members = math.prod(numbers.shape[axis] for axis in along)
        return numbers.transpose(others + along).reshape(-1, members)
    return np.arange(devices)[None]  # no groups: all


def _bytes(type_text: str) -> int:
    return sum(
        math.prod(int(size) for size in dims.split(",") if size) * _width(dtype)
        for dtype, dims in _ARRAY.findall(type_text)
    )


def _width(dtype: str) -> int:
    bits = re.search(r"\d+", dtype)
    return max(1, int(bits[0]) // 8) if bits else 1


def _shape(type_text: str) -> list[int]:
    return [int(size) for size in _ARRAY.search(type_text)[2].split(",") if size]


def _product(instruction: _Instruction, types: Mapping[str, str]) -> float:
    left, right = (_shape(types[name]) for name in instruction.operands[:2])
    outputs = math.prod(_shape(instruction.type))
    if instruction.op == "dot":
        contracted = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", instruction.rest)[1]
        return 2.0 * outputs * math.prod(left[int(axis)] for axis in contracted.split(",") if axis)
    return 2.0 * _convolution(instruction, left, right)


def _convolution(instruction: _Instruction, left: list[int], right: list[int]) -> float:
    """Multiplications with values that are there: neither padding nor the holes of a dilation.

    TPUs write every product as a convolution, batch axes as spatial ones with such holes.
    """
    labels = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", instruction.rest)
    input_labels, kernel_labels, output_labels = labels.groups()
    output = _shape(instruction.type)
    count = float(output[output_labels.index("b")] * output[output_labels.index("f")])
    count *= right[kernel_labels.index("i")]
    window = re.search(r"window=\{([^}]*)\}", instruction.rest)
    options = dict(part.split("=") for part in window[1].split()) if window else {}

    def option(name: str, axis: int, default: str) -> int:
        value = options[name].split("x")[axis] if name in options else default
        return int(value.partition("_")[0])  # of a padding the lower one

    for axis in range(len(output_labels) - 2):
        size = left[input_labels.index(str(axis))]
        kernel = np.arange(right[kernel_labels.index(str(axis))])
        position = np.arange(output[output_labels.index(str(axis))])
        stride, low = option("stride", axis, "1"), option("pad", axis, "0")
        holes, spread = option("lhs_dilate", axis, "1"), option("rhs_dilate", axis, "1")
        at = position[:, None] * stride - low + kernel[None] * spread
        count *= ((at >= 0) & (at % holes == 0) & (at < size * holes)).sum()
    groups = re.search(r"batch_group_count=(\d+)", instruction.rest)
    return count / int(groups[1]) if groups else count
