"""A benchmark's training that is cut by its time ends where an uncut one does."""

import argparse
import math
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from hour9.engine.settings import Supervised
from limited import TimeIsUp, limited
from shakespeare import SIZES, Training, gpt

SETTINGS = Supervised(task="t", topic="transformers", parent="p", architecture="a", epochs=6)
TEXT = np.random.default_rng(0).integers(5, size=3000)


def train(state: Path, minutes: float) -> Training:
    run = limited(argparse.Namespace(state=state, minutes=minutes), SETTINGS, {}, state)
    training = Training(run, gpt(SIZES["short"], 5), SIZES["short"], steps=6)
    training.learn(TEXT)
    return training


def test_a_training_cut_after_every_step_ends_as_an_uncut_one(tmp_path):
    whole = train(tmp_path / "whole", math.inf)
    for _ in range(6):
        with pytest.raises(TimeIsUp, match="goes on"):
            train(tmp_path / "cut", 0.0)
    cut = train(tmp_path / "cut", 0.0)
    assert cut.done == whole.done == 6
    for ours, theirs in zip(cut.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_other_data_of_the_same_size_begin_a_training_of_their_own(tmp_path):
    asked = argparse.Namespace(state=tmp_path, minutes=1.0)
    text = tmp_path / "text"

    def folder(pixels: list[list[int]], letters: str) -> Path:
        text.write_text(letters)
        table = pd.DataFrame({"case": ["a", "b"], "pixels": pixels})
        return limited(asked, SETTINGS, {"images": table}, text).folder

    first = folder([[0, 1], [2, 3]], "to be")
    assert folder([[0, 1], [2, 3]], "to be") == first
    assert folder([[0, 1], [2, 4]], "to be") != first
    assert folder([[0, 1], [2, 3]], "to me") != first


def test_letters_read_together_are_earlier_ones_alone():
    """A changed letter changes nothing before it, and the embeddings after it for four places."""
    model = gpt(SIZES["short"], 5).eval()
    text = torch.from_numpy(TEXT[None, :30])
    other = text.clone()
    other[0, 12] = (text[0, 12] + 1) % 5
    with torch.inference_mode():
        embedded = (model.embed(text, None, 0) != model.embed(other, None, 0)).any(dim=2)[0]
        assert embedded.nonzero().ravel().tolist() == [12, 13, 14, 15, 16]
        torch.testing.assert_close(model(text)[:, :12], model(other)[:, :12])
