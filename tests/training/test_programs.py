import json

import pytest

from xlt_jax.registry import chips
from xlt_jax.training import hlo, programs, topology

GIB = 2**30
GATHER = hlo.Collective("all-gather", ("data",))
SUM = hlo.Collective("all-reduce", ("slice", "data"))
MEMORY = programs.Memory(1.0, 2.0, 4.0, 8.0, 16.0)


def target(name="v5e", devices=16, slices=1):
    return topology.Topology(f"{name}:4x4", slices, chips.named(name), (None,) * devices)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO "
            "temporaries (512.00G) exceeds available HBM (15.75G).",
            (512 * GIB, 15.75 * GIB),
        ),
        (
            "RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of memory in memory "
            "space hbm. Used 24.20G of 15.75G hbm. Exceeded hbm capacity by 8.45G.",
            (24.2 * GIB, 15.75 * GIB),
        ),
    ],
)
def test_the_compilers_words_for_too_little_memory(text, expected):
    assert programs.out_of_memory(RuntimeError(text)) == pytest.approx(expected)


def test_other_errors_are_none_of_memory():
    assert programs.out_of_memory(RuntimeError("INVALID_ARGUMENT: no")) is None
    needed, there = programs.out_of_memory(RuntimeError("RESOURCE_EXHAUSTED: something else"))
    assert needed != needed and there != there  # not known


def test_an_estimate_is_work_over_published_rates():
    work = hlo.Work(flops=197e12, hbm_bytes=819e9 / 2, sent_bytes={GATHER: 45e9, SUM: 3.125e9})
    found = programs.estimate(target(), work)
    assert found.compute_s == pytest.approx(1.0)
    assert found.hbm_s == pytest.approx(0.5)
    assert found.exchange_s == pytest.approx({"data": 0.5, "slice+data": 1.0})
    assert (found.least_s, found.most_s) == pytest.approx((1.0, 3.0))
    # Two devices of a chip of v3 share its rates.
    halves = programs.estimate(target("v3", devices=32), hlo.Work(123e12, 0.0, {}))
    assert halves.compute_s == pytest.approx(2.0)


def test_a_report_is_plain_json():
    report = programs.Report(
        mesh={"data": 4},
        hbm_bytes=32.0,
        needed_bytes=MEMORY.total,
        memory=MEMORY,
        compiled_flops=2.0,
        model_flops=1.0,
        sent_bytes={GATHER: 5.0},
        estimate=programs.Estimate(1.0, 2.0, {"data": 4.0}),
        compile_s=1.5,
    )
    record = json.loads(json.dumps(report.as_json()))
    assert record["fits"] and record["needed_bytes"] == 31.0
    assert record["memory"]["temporaries"] == 8.0
    assert record["sent_bytes"] == {"all-gather over data": 5.0}
    assert record["estimate"]["least_s"] == 4.0 and record["estimate"]["most_s"] == 7.0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("v9:4x4", "chip 'v9'"),
        ("v5e", "is no topology.*'v5e:4x4'"),
        ("v4:axb", "is no topology.*'v4:4x4x8'"),
        ("h100:8", "is no topology"),
    ],
)
def test_topologies_have_a_form(name, message):
    with pytest.raises(ValueError, match=message):
        topology.described(name)


def test_slices_are_counted_from_one():
    with pytest.raises(ValueError, match="slices is 0"):
        topology.described("v5e:4x4", 0)


def test_without_compiler(monkeypatch):
    monkeypatch.setattr(topology.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="make aot"):
        topology.described("v5e:4x4")


def test_chips_of_a_topology():
    two = target("v5e", devices=32, slices=2)
    assert (two.num_chips, two.devices_per_chip, two.title) == (32, 1, "2 x v5e:4x4")
    assert target("v3", devices=32).devices_per_chip == 2
