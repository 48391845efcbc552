"""Every benchmark runs, in its short form, says what it measured and records nothing."""

from pathlib import Path

import pytest
from tests.scripts import Done, run_scripts

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks/results.json"
SAYS = {
    "bound_errors": ["divergence, 200 points", "seeds, 5 of them"],
    "gpt_speed": ["GPT writing, width 256"],
    "graph_memory": [" ours "],
    "graphs_speed": [" ours "],
    "sentiment_speed": [
        *("grouped by length", "our own encoder", "sentiment-int8", "sentiment-student"),
    ],
    "shakespeare": ["nats"],
    "translation_quality": ["beam 5: BLEU"],
    "vision_quality": ["vision-vit"],
}


@pytest.fixture(scope="module")
def results() -> bytes:
    """What was recorded before."""
    return RESULTS.read_bytes() if RESULTS.exists() else b""


@pytest.fixture(scope="module")
def done(results: bytes) -> dict[str, Done]:
    """What became of each."""
    return run_scripts(ROOT / "benchmarks", [[name, "--short"] for name in SAYS], cwd=ROOT)


@pytest.mark.parametrize("name", SAYS)
def test_the_short_form_says_what_it_measured(name, done):
    assert not done[name].failed, done[name].errors
    assert all(words in done[name].said for words in SAYS[name]), done[name].said


def test_the_short_forms_record_nothing(results, done):
    assert (RESULTS.read_bytes() if RESULTS.exists() else b"") == results
