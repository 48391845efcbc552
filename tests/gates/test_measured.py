"""The scripts that measure the gates, in their short forms, and the page that they fill."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from hour9.gates import GATES
from hour9.params import read_params

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("script", ["gate_errors", "judge_speed"])
def test_the_short_form_runs_over_every_gate(script):
    command = [sys.executable, f"benchmarks/{script}.py", "--short"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(gate in done.stdout for gate in GATES)


def test_the_page_has_each_gate_with_the_thresholds_of_today():
    page = (ROOT / "docs/gates.md").read_text()
    rows = re.findall(r"^\| (\w+) \| (\w+) \| ([\d.]+) \|", page, flags=re.M)
    tasks = read_params(ROOT / "params.yaml")["tasks"]
    assert {gate for gate, *_ in rows} == {*GATES}
    for gate, task, limit in rows:
        assert tasks[task]["thresholds"][gate] == float(limit), "python benchmarks/gate_errors.py"
