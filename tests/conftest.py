"""Eight virtual CPU devices, quick compilation, one shared cache, golden files."""

import os
import pathlib

os.environ["JAX_PLATFORMS"] = "cpu"
# Most of the tests' time is compilation, of programs that run once; those that are started as
# users start them are compiled as users have it (``user_environment``, tests/runs.py).
_FLAGS = {
    "xla_force_host_platform_device_count": "8",
    "xla_backend_optimization_level": "0",
    "xla_llvm_disable_expensive_passes": "true",
    "xla_cpu_use_fusion_emitters": "false",
}
_given = os.environ.get("XLA_FLAGS", "")
os.environ["XLA_FLAGS"] = " ".join(
    [_given, *(f"--{flag}={value}" for flag, value in _FLAGS.items() if flag not in _given)]
).strip()

import numpy as np  # noqa: E402
import pytest  # noqa: E402

GOLDEN = pathlib.Path(__file__).parent / "golden"


def pytest_addoption(parser):
    parser.addoption("--update-golden", action="store_true", help="rewrite tests/golden/")


def pytest_collection_modifyitems(items):
    """Whole programs first, then training: the longest files would keep one worker at the end."""
    places = (GOLDEN.parent, GOLDEN.parent / "training")
    items.sort(key=lambda item: [item.path.parent != place for place in places])


@pytest.fixture(scope="session")
def user_environment():
    """Environment of a program started as a user would: one device."""
    return {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}


@pytest.fixture
def golden(request):
    """``golden(path, text)``: text must equal tests/golden/path, or replaces it on request."""

    def check(path: str, text: str) -> None:
        file = GOLDEN / path
        if request.config.getoption("--update-golden"):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        assert file.exists(), f"{file} is missing: run pytest --update-golden and review it."
        assert text == file.read_text(encoding="utf-8"), (
            f"{file} differs: if that is meant, run pytest --update-golden and review the diff."
        )

    return check


@pytest.fixture(scope="session")
def stack_layers():
    """``stack_layers(params)``: the parameters of the scanned network, from the unscanned one's."""

    def stack(params):
        result = {name: tree for name, tree in params.items() if name not in ("encoder", "decoder")}
        for name in ("encoder", "decoder"):
            rest = {k: v for k, v in params[name].items() if not k.startswith("layers_")}
            layers = [params[name][f"layers_{n}"] for n in range(len(params[name]) - len(rest))]
            result[name] = {**rest, name: _stacked(layers)}
        return result

    return stack


def _stacked(layers):
    if isinstance(layers[0], dict):
        return {key: _stacked([layer[key] for layer in layers]) for key in layers[0]}
    return np.stack(layers, axis=1)
