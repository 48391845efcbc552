"""Every benchmark runs, in its short form, says what it measured and records nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks/results.json"


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("gpt_speed", ["GPT writing, width 256"]),
        ("graph_memory", [" ours "]),
        ("graphs_speed", [" ours "]),
        (
            "sentiment_speed",
            ["grouped by length", "our own encoder", "sentiment-int8", "sentiment-student"],
        ),
        ("shakespeare", ["nats"]),
        ("translation_quality", ["beam 5: BLEU"]),
        ("vision_quality", ["vision-vit"]),
    ],
)
def test_the_short_form_says_what_it_measured_and_records_nothing(script, said):
    before = RESULTS.read_bytes() if RESULTS.exists() else None
    command = [sys.executable, f"benchmarks/{script}.py", "--short"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(words in done.stdout for words in said), done.stdout
    assert (RESULTS.read_bytes() if RESULTS.exists() else None) == before
