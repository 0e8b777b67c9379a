import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from xlt_jax.training import flops, hlo

WHOLE = PartitionSpec()
AXES = ("slice", "data", "model")


@pytest.fixture(scope="module")
def mesh():
    return Mesh(np.asarray(jax.devices()[:8]).reshape(1, 4, 2), AXES)


def work(mesh, function, *arrays, out=WHOLE):
    """Of a function of (array, specification) pairs."""
    described = [
        jax.ShapeDtypeStruct(shape, jnp.float32, sharding=NamedSharding(mesh, PartitionSpec(*spec)))
        for shape, spec in arrays
    ]
    jitted = jax.jit(function, out_shardings=NamedSharding(mesh, out))
    return hlo.work(jitted.lower(*described).compile().as_text(), mesh.shape)


def test_products_in_loops_count_as_often_as_they_run(mesh):
    def chain(x, y):
        return jax.lax.scan(lambda x, _: (jnp.tanh(x @ y), None), x, None, length=7)[0]

    found = work(mesh, chain, ((32, 16), ()), ((16, 16), ()))
    assert found.flops == 7 * 2 * 32 * 16 * 16
    assert not found.sent_bytes


def test_memory_is_read_in_every_run_of_a_loop_and_of_stacked_weights_a_slice(mesh):
    def repeated(x, y):
        return jax.lax.fori_loop(0, 128, lambda _, x: jnp.tanh(x @ y), x)

    def stacked(x, weights):
        return jax.lax.scan(lambda x, y: (jnp.tanh(x @ y), None), x, weights)[0]

    once = 4 * 512 * 512
    found = work(mesh, repeated, ((1, 512), ()), ((512, 512), ()))
    assert 128 * once < found.hbm_bytes < 1.1 * 128 * once
    found = work(mesh, stacked, ((1, 512), ()), ((16, 512, 512), ()))
    assert 16 * once < found.hbm_bytes < 3.3 * 16 * once  # a slice may be copied


def test_branches_of_a_conditional():
    """The one with most products counts; what it exchanges is added to what there was."""
    found = hlo.work(BRANCHES, {"data": 2, "model": 1})
    assert found.flops == 2 * 8 * 8 * 8
    assert found.sent_bytes == {hlo.Collective("collective-permute", ("data",)): 2 * 256}


def test_of_one_device_a_share(mesh):
    found = work(
        mesh,
        lambda x, y: x @ y,
        ((32, 16), ("data", None)),
        ((16, 64), (None, "model")),
        out=PartitionSpec("data", "model"),
    )
    assert found.flops == 2 * 8 * 16 * 32
    assert not found.sent_bytes


@pytest.mark.parametrize(
    ("shape", "spec", "kind", "axes", "sent"),
    [
        # 64 x 64 float32 = 16 KiB whole; a ring passes (n - 1) / n of it.
        ((64, 64), ("data", None), "all-gather", ("data",), 16384 * 3 / 4),
        ((64, 64), (None, "model"), "all-gather", ("model",), 16384 / 2),
        ((64, 64), (("data", "model"), None), "all-gather", ("data", "model"), 16384 * 7 / 8),
    ],
)
def test_gathers_name_their_axes(mesh, shape, spec, kind, axes, sent):
    found = work(mesh, lambda x: x + 1, (shape, spec))
    assert found.sent_bytes == {hlo.Collective(kind, axes): sent}


def test_sums_over_devices_pass_twice(mesh):
    found = work(mesh, lambda x: x.sum(axis=0), ((64, 256), ("data", None)))
    assert found.sent_bytes == {hlo.Collective("all-reduce", ("data",)): 2 * 1024 * 3 / 4}


def test_a_training_step_has_the_products_of_its_trace(make_run, make_batch):
    """Scanned layers, forward and backward, of an independent count: that of the trace."""
    run = make_run(scan=True)
    batch = run.partitioner.shard_batch(make_batch())
    traced = run.step.trace(run.described, batch, jax.random.key(0))
    compiled = traced.lower().compile().as_text()
    found = hlo.work(compiled, run.partitioner.mesh.shape)
    assert found.flops == pytest.approx(flops.matmul_flops(traced.jaxpr), rel=0.02)


# TPUs write products as convolutions; batch axes are spatial ones, spread by holes so that each
# output meets one kernel position. 4 products of 8 x 16 with 16 x 32.
TPU_PRODUCT = """
HloModule product, is_scheduled=true

ENTRY %main (a: bf16[4,8,16], b: bf16[4,16,32]) -> bf16[4,8,32] {
  %a = bf16[4,8,16]{2,1,0:T(8,128)(2,1)} parameter(0)
  %b = bf16[4,16,32]{2,1,0:T(8,128)(2,1)} parameter(1)
  ROOT %convolution.1 = bf16[4,8,32]{2,1,0} convolution(%a, %b), WINDOW, dim_labels=0bf_0io->0bf
}
"""
# Two steps in each run of the body: the counter grows by 2 up to 6.
UNROLLED = """
HloModule loop, is_scheduled=true

%body (p: (u32[], f32[8,8])) -> (u32[], f32[8,8]) {
  %p = (u32[], f32[8,8]{1,0}) parameter(0)
  %i = u32[]{:T(128)} get-tuple-element(%p), index=0
  %x = f32[8,8]{1,0} get-tuple-element(%p), index=1
  %two = u32[]{:T(128)} constant(2)
  %next = u32[]{:T(128)} add(%i, %two)
  %once = f32[8,8]{1,0} dot(%x, %x), lhs_contracting_dims={1}, rhs_contracting_dims={0}
  %twice = f32[8,8]{1,0} dot(%once, %x), lhs_contracting_dims={1}, rhs_contracting_dims={0}
  %moved = f32[8,8]{1,0} collective-permute(%twice), channel_id=1, source_target_pairs={{0,1},{1,0}}
  ROOT %out = (u32[], f32[8,8]{1,0}) tuple(%next, %moved)
}

%condition (q: (u32[], f32[8,8])) -> pred[] {
  %q = (u32[], f32[8,8]{1,0}) parameter(0)
  %j = u32[]{:T(128)} get-tuple-element(%q), index=0
  %end = u32[]{:T(128)} constant(6)
  ROOT %less = pred[]{:T(512)} compare(%j, %end), direction=LT
}

ENTRY %main (z: (u32[], f32[8,8])) -> (u32[], f32[8,8]) {
  %z = (u32[], f32[8,8]{1,0}) parameter(0)
  ROOT %while.1 = (u32[], f32[8,8]{1,0}) while(%z), condition=%condition, body=%body
}
"""
# A sum of which each device keeps a part, and a gather that a fusion goes on with.
FUSED = """
HloModule fused, is_scheduled=true

%all-reduce-scatter.1 (i: f32[64]) -> f32[16] {
  %i = f32[64]{0} parameter(0)
  %sum = f32[64]{0} all-reduce(%i), channel_id=1, replica_groups=[2,4]<=[4,2]T(1,0), to_apply=%add
  ROOT %part = f32[16]{0} slice(%sum), slice={[0:16]}
}

%started (s: f32[16]) -> (f32[16], f32[64]) {
  %s = f32[16]{0} parameter(0)
  %gather = f32[64]{0} all-gather(%s), channel_id=2, replica_groups={{0,2,4,6},{1,3,5,7}}, dimensions={0}
  ROOT %pair = (f32[16]{0}, f32[64]{0}) tuple(%s, %gather)
}

%async_collective_fusion.3 (t: f32[16]) -> f32[64] {
  %t = f32[16]{0} parameter(0)
  ROOT %again = f32[64]{0} all-gather(%t), channel_id=2, replica_groups={{0,2,4,6},{1,3,5,7}}, dimensions={0}
}

ENTRY %main (x: f32[64]) -> f32[64] {
  %x = f32[64]{0} parameter(0)
  %scattered = f32[16]{0} fusion(%x), kind=kCustom, calls=%all-reduce-scatter.1
  %async-collective-start.1 = (f32[16]{0}, f32[64]{0}) fusion(%scattered), kind=kCustom, calls=%started
  %between = f32[64]{0} fusion(%scattered), kind=kCustom, calls=%async_collective_fusion.3
  ROOT %async-collective-done.1 = f32[64]{0} fusion(%scattered), kind=kCustom, calls=%started
}
"""  # noqa: E501


# One branch has a product and an exchange equal to one outside.
BRANCHES = """
HloModule branches, is_scheduled=true

%idle (p: f32[8,8]) -> f32[8,8] {
  ROOT %p = f32[8,8]{1,0} parameter(0)
}

%busy (q: f32[8,8]) -> f32[8,8] {
  %q = f32[8,8]{1,0} parameter(0)
  %product = f32[8,8]{1,0} dot(%q, %q), lhs_contracting_dims={1}, rhs_contracting_dims={0}
  ROOT %turned = f32[8,8]{1,0} collective-permute(%product), channel_id=2, source_target_pairs={{0,1},{1,0}}
}

ENTRY %main (x: f32[8,8], c: pred[]) -> f32[8,8] {
  %x = f32[8,8]{1,0} parameter(0)
  %c = pred[] parameter(1)
  %moved = f32[8,8]{1,0} collective-permute(%x), channel_id=1, source_target_pairs={{0,1},{1,0}}
  ROOT %chosen = f32[8,8]{1,0} conditional(%c, %moved, %moved), true_computation=%idle, false_computation=%busy
}
"""  # noqa: E501


# Of two slices: a sum that hosts carry.
HOSTS = """
HloModule hosts, is_scheduled=true

ENTRY %main (x: f32[64]) -> token[] {
  %x = f32[64]{0} parameter(0)
  %after = token[] after-all()
  %send.1 = (f32[64]{0}, u32[], token[]) send(%x, %after), channel_id=7, is_host_transfer=true, frontend_attributes={_xla_megascale_transfer_type="ALL_REDUCE"}
  ROOT %send-done.1 = token[] send-done(%send.1), channel_id=7, is_host_transfer=true
}
"""  # noqa: E501


def test_hosts_carry_between_slices():
    found = hlo.work(HOSTS, {"slice": 4, "data": 2})
    assert found.sent_bytes == {hlo.Collective("all-reduce", ("slice",)): 2 * 256 * 3 / 4}


@pytest.mark.parametrize(
    "window",
    ["window={size=4 stride=3 lhs_dilate=4}", "window={size=4 pad=3_3 rhs_reversal=1}"],
    ids=["holes", "padding"],
)
def test_a_batched_product_of_a_tpu(window):
    text = TPU_PRODUCT.replace("WINDOW", window)
    found = hlo.work(text, {"data": 1}).flops
    assert found == (2 * 4 * 8 * 16 * 32 if "dilate" in window else 2 * 8 * 16 * 32 * 10)


def test_an_unrolled_loop_runs_half_as_often():
    found = hlo.work(UNROLLED, {"data": 2, "model": 1})
    assert found.flops == 3 * 2 * (2 * 8 * 8 * 8)
    assert found.sent_bytes == {hlo.Collective("collective-permute", ("data",)): 3 * 256}


def test_tpu_fusions_scatter_and_repeat_what_was_started():
    found = hlo.work(FUSED, dict(zip(AXES, (1, 4, 2))))
    assert found.sent_bytes == {
        hlo.Collective("reduce-scatter", ("data",)): 256 * 3 / 4,
        hlo.Collective("all-gather", ("data",)): 64 * 3,
    }
