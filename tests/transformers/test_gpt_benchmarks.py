"""The benchmarks of the GPT run, in their short form."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.parametrize(
    ("script", "said"), [("gpt_speed", "GPT writing, width 256"), ("shakespeare", "nats")]
)
def test_a_benchmark_runs(script, said):
    command = [sys.executable, str(BENCHMARKS / f"{script}.py"), "--short"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert said in done.stdout
