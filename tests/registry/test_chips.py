import pytest

from xlt_jax.registry import chips


@pytest.mark.parametrize(
    ("device_kind", "name"),
    [
        ("TPU v5 lite", "v5e"),
        ("TPU v5", "v5p"),
        ("TPU v5p", "v5p"),
        ("TPU v6 lite", "v6e"),
        ("NVIDIA H100 80GB HBM3", "h100"),
    ],
)
def test_chip_of_a_device(device_kind, name):
    assert chips.of_device_kind(device_kind) == chips.named(name)


def test_unknown_chips():
    assert chips.of_device_kind("cpu") is None
    with pytest.raises(ValueError, match="'v9'; known: v2, v3"):
        chips.named("v9")


def test_peak_of_a_pod():
    """Google's page on v5e gives 50.63 PFLOP/s for a pod of 256 chips."""
    assert 256 * chips.named("v5e").flops_per_s == pytest.approx(50.63e15, rel=0.01)
