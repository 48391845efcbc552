"""The benchmark of the sentiment classifiers runs, in its short form, and records nothing."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks/results.json"


def test_the_short_form_tells_every_pair(tmp_path):
    before = RESULTS.read_bytes() if RESULTS.exists() else None
    command = [sys.executable, "benchmarks/sentiment_speed.py", "--short", "--sentences", "32"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for words in ("grouped by length", "our own encoder", "sentiment-int8", "sentiment-student"):
        assert words in done.stdout
    assert (RESULTS.read_bytes() if RESULTS.exists() else None) == before
