"""Stand-ins for the programs that the scripts call, made once, and a desk for each test."""

import pathlib
import shutil
import sys

import pytest
from desk import STAND_INS, TOOLS, WATCHED, Desk


@pytest.fixture(scope="session")
def programs(tmp_path_factory):
    """Folders of the stand-ins, and of the tools that are what they are."""
    stand_ins, tools = tmp_path_factory.mktemp("stand_ins"), tmp_path_factory.mktemp("tools")
    text = (pathlib.Path(__file__).parent / "stand_in.py").read_text()
    for name in (*STAND_INS, *WATCHED, "python"):
        (stand_ins / name).write_text(f"#!{sys.executable} -IS\n{text}")
        (stand_ins / name).chmod(0o755)
    for name in TOOLS:
        (tools / name).symlink_to(shutil.which(name))
    return stand_ins, tools


@pytest.fixture
def desk(tmp_path, programs):
    return Desk(tmp_path, *programs)
