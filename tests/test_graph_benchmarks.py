"""The graph benchmarks run, in their short form, and record nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "benchmarks"


@pytest.mark.parametrize("name", ["graphs_speed", "graph_memory"])
def test_the_short_form_measures_and_records_nothing(name):
    results = FOLDER / "results.json"
    before = results.read_bytes() if results.exists() else b""
    command = [sys.executable, f"{name}.py", "--short"]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert " ours " in done.stdout
    assert (results.read_bytes() if results.exists() else b"") == before
