"""Imports point downward, and heavy packages stay where they belong ."""

import ast
import pathlib
import subprocess
import sys

import pytest

PACKAGE = pathlib.Path(__file__).parent.parent / "xlt_jax"
LAYERS = [
    {"arrays", "files", "registry"},
    {"models", "objectives", "metrics"},
    {"data", "decoding", "training", "convert"},
    {"evaluation"},
    {"recipes", "report"},
    {"configuration"},
    {"run_log"},
    {"engine", "t5x_adapter", "train", "evaluate", "score", "aot"},
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
ALLOWED = {("engine", "t5x_adapter")}


def package_imports():
    """(file, its part of the package, imported module) for every import statement."""
    for path in sorted(PACKAGE.rglob("*.py")):
        relative = path.relative_to(PACKAGE)
        part = relative.parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from ((relative, part, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module == "xlt_jax":
                yield from ((relative, part, f"xlt_jax.{alias.name}") for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield relative, part, node.module


def test_imports_point_downward():
    wrong = []
    for path, part, module in package_imports():
        if not module.startswith("xlt_jax.") or part == "__init__":
            continue
        other = module.split(".")[1]
        if other != part and RANK[other] >= RANK[part] and (part, other) not in ALLOWED:
            wrong.append(f"{path} imports {other}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        ("t5x", {"engine.py", "t5x_adapter.py"}),
        ("gin", {"configuration.py", "t5x_adapter.py"}),
        ("matplotlib", {"report/plots.py"}),
        ("seqio", {"data/builder.py", "data/vocab.py", "t5x_adapter.py"}),
        ("tensorflow", {"data/builder.py"}),
        ("tensorflow_datasets", {"data/sources.py"}),
        ("tasks", set()),
    ],
)
def test_heavy_packages_stay_where_they_belong(module, allowed):
    found = {path.as_posix() for path, _, name in package_imports() if name.split(".")[0] == module}
    assert found <= allowed


@pytest.mark.parametrize(
    ("imported", "absent"),
    [
        ("xlt_jax.recipes.stage, xlt_jax.report.page, xlt_jax.registry.languages", "jax"),
        ("xlt_jax.train, xlt_jax.evaluate, tasks", "tensorflow"),
        ("xlt_jax.train, xlt_jax.evaluate, tasks", "seqio"),
        ("tasks", "numpy"),
        ("xlt_jax.data.__main__, tasks", "numpy"),
    ],
)
def test_start_up_stays_light(imported, absent):
    code = f"import sys, {imported}; sys.exit({absent!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_registering_benchmarks_takes_few_calls():
    """Nothing large is computed while ``tasks`` is imported: tables of Unicode, CLDR's names."""
    code = """
import importlib, sys
calls = 0
def count(frame, event, argument):
    global calls
    calls += event in ("call", "c_call")
sys.setprofile(count)
importlib.import_module("tasks")
sys.setprofile(None)
print(calls)
"""
    output = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout
    assert int(output) < 1_000_000  # a table of all of Unicode alone takes 3 million


def test_no_python_file_in_gin_folder():
    """gin/ must not shadow the package gin."""
    assert not list((PACKAGE.parent / "gin").rglob("*.py"))
