"""The benchmarks run, in their short form."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("script", "said"),
    [("vision_quality.py", "vision-vit"), ("translation_quality.py", "beam 5: BLEU")],
)
def test_a_quality_benchmark_runs(script, said):
    done = subprocess.run(
        [sys.executable, f"benchmarks/{script}", "--short"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert said in done.stdout
