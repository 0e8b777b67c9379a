import dataclasses

import jax
import pytest

from xlt_jax.models import mt5
from xlt_jax.training import fit
from xlt_jax.training.partition import Partitioner

GIB = 2**30
LENGTHS = {"inputs": 512, "targets": 128}
SIZES = {
    "small": dict(emb_dim=512, num_heads=6, mlp_dim=1024, num_encoder_layers=8),
    "xxl": dict(emb_dim=4096, num_heads=64, mlp_dim=10240, num_encoder_layers=24),
}


def needs(size, rows=64, lengths=LENGTHS, **options):
    sizes = SIZES[size] | {"num_decoder_layers": SIZES[size]["num_encoder_layers"]}
    config = mt5.T5Config(
        vocab_size=250112,
        dtype="bfloat16",
        mlp_activations=("gelu", "linear"),
        scan_layers=True,
        **sizes,
        **options,
    )
    return fit.needs(mt5.Transformer(config), rows=rows, lengths=lengths)


@pytest.fixture(scope="module")
def xxl():
    return needs("xxl", remat_policy="full", logits_chunks=16)


def options(choice):
    partitioner = choice.partitioner
    return (
        partitioner.num_partitions,
        partitioner.fully_sharded,
        partitioner.sequence_parallel,
    )


def test_parameters_are_counted(xxl):
    assert xxl.parameters == pytest.approx(12.9e9, rel=0.01)  # Xue et al. 2021


def test_what_fits_everywhere_is_data_parallel():
    first, *_ = fit.choices(Partitioner(None), jax.devices()[:8], needs("small", 1024), 500 * GIB)
    assert options(first) == (1, False, False)
    assert "estimated" in first.reason and "of 500.0 GiB" in first.reason


def test_a_large_model_is_split_and_the_reason_says_why(xxl):
    first, *_ = fit.choices(Partitioner(None), jax.devices()[:8], xxl, 90 * GIB)
    model, fully_sharded, sequence_parallel = options(first)
    assert fully_sharded or model > 1
    assert sequence_parallel == (model > 1)
    assert "data parallel alone: 1" in first.reason  # 12.9e9 values of 12 bytes


def test_least_exchanged_first(xxl):
    found = list(fit.choices(Partitioner(None), jax.devices()[:8], xxl, 500 * GIB))
    sent = []
    for choice in found:
        data, model = 8 // choice.partitioner.num_partitions, choice.partitioner.num_partitions
        sizes = dict(data=data, model=model, fully_sharded=choice.partitioner.fully_sharded)
        sent.append(fit.exchanged(xxl, rows=64 / data, **sizes))
    assert len(found) > 4 and sent == sorted(sent)


def test_sizes_that_do_not_divide_are_left_out():
    """6 heads: no 4 or 8 model partitions; 4 rows: no 8 rows at a time."""
    found = fit.choices(Partitioner(None), jax.devices()[:8], needs("small", rows=4), 1000 * GIB)
    assert {choice.partitioner.num_partitions for choice in found} == {2}


def test_what_the_run_fixes_stays(xxl):
    given = Partitioner(None, fully_sharded=True)
    found = list(fit.choices(given, jax.devices()[:8], xxl, 1000 * GIB))
    for choice in found:
        assert choice.partitioner.fully_sharded or choice.partitioner.num_partitions == 8


def test_nothing_fits(xxl):
    plain = dataclasses.replace(xxl, remat="none", logits_chunks=1)
    with pytest.raises(ValueError, match=r"8 devices .*remat_policy = 'full'.*BATCH_SIZE \(now 64"):
        list(fit.choices(Partitioner(None), jax.devices()[:8], plain, 8 * GIB))


def test_what_may_not_fit_is_left_to_the_compiler(xxl):
    least = min(
        fit.memory(xxl, rows=64 / data, data=data, model=8 // data, fully_sharded=fully_sharded)
        for data, fully_sharded in ((1, False), (2, True), (4, True), (8, True))
    )
    (only,) = fit.choices(Partitioner(None), jax.devices()[:8], xxl, least)
    assert "the least of all" in only.reason
    with pytest.raises(ValueError, match="No partitioning"):
        list(fit.choices(Partitioner(None), jax.devices()[:8], xxl, least / fit.TRIED * 0.99))


def test_rows_that_cannot_be_split():
    few = needs("small", rows=3)
    with pytest.raises(ValueError, match=r"3 rows in 1 microbatch.* 8 devices"):
        list(fit.choices(Partitioner(None), jax.devices()[:8], few, 1000 * GIB))


def test_advice_names_bindings(xxl):
    given = Partitioner(1, devices=jax.devices()[:8])
    text = fit.advice(xxl, given, 90 * GIB)
    assert text.startswith("Try BATCH_SIZE = 64, NUM_PARTITIONS = ")
    big = dataclasses.replace(xxl, rows=4096)
    assert fit.advice(big, given, 60 * GIB).startswith(("Try BATCH_SIZE = ", "Set", "Lower"))


def test_of_this_machine():
    """A CPU does not say how much memory there is."""
    small = needs("small")
    given = Partitioner(2)
    assert fit.here(given, lambda: small).partitioner is given
    choice = fit.here(Partitioner(None), lambda: small)
    assert options(choice) == (1, False, False) and "not known" in choice.reason


def test_devices_that_say_what_they_have(monkeypatch, xxl):
    monkeypatch.setattr(fit, "device_memory", lambda: 90 * GIB)
    choice = fit.here(Partitioner(None), lambda: xxl)
    assert choice.partitioner.devices == jax.devices() and "of 90.0 GiB" in choice.reason
    module = mt5.Transformer(mt5.T5Config(vocab_size=64))
    assert fit.for_reading(Partitioner(None), module).partitioner.num_partitions == 1
    least = 4 * fit.num_parameters(module) / fit.USABLE * 2
    for share, partitions in ((1.0, 1), (0.9, 2), (0.3, 4), (0.01, 8)):
        monkeypatch.setattr(fit, "device_memory", lambda share=share: share * least)
        choice = fit.for_reading(Partitioner(None), module)
        assert choice.partitioner.num_partitions == partitions


def test_a_partitioner_that_is_yet_to_be_chosen_has_no_mesh():
    with pytest.raises(ValueError, match="NUM_PARTITIONS is None"):
        _ = Partitioner(None, devices=jax.devices()).mesh
