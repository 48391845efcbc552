import os
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hour9.engine.checkpoint import Checkpoint, join, separate
from hour9.engine.randomness import random_state, seed_all, set_random_state

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
TREES = st.recursive(
    LEAVES, lambda child: st.lists(child) | st.dictionaries(st.text(), child), max_leaves=20
)


@given(TREES)
@settings(max_examples=50)
def test_what_is_saved_is_what_is_loaded(tree):
    tensors = {}
    assert join(separate(tree, tensors), tensors) == tree


def test_tensors_and_arrays_keep_kind_type_and_values(tmp_path):
    checkpoint = Checkpoint(tmp_path / "c")
    checkpoint.save({"t": torch.arange(6).view(2, 3), "a": [np.array([1.5, 2.5])], "n": 3})
    state = checkpoint.load()
    assert torch.equal(state["t"], torch.arange(6).view(2, 3))
    assert state["a"][0].dtype == np.float64
    assert state["a"][0].tolist() == [1.5, 2.5]
    assert state["n"] == 3


def test_nothing_saved_is_nothing_loaded(tmp_path):
    assert Checkpoint(tmp_path / "c").load() is None


def test_only_the_newest_state_is_kept(tmp_path):
    checkpoint = Checkpoint(tmp_path / "c")
    for number in range(3):
        checkpoint.save({"number": number})
    assert checkpoint.load() == {"number": 2}
    assert len(list((tmp_path / "c").glob("state-*"))) == 1


def test_a_crash_while_saving_leaves_the_old_state(tmp_path, monkeypatch):
    checkpoint = Checkpoint(tmp_path / "c")
    checkpoint.save({"number": 1})

    def crash(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("hour9.engine.checkpoint.os.replace", crash)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save({"number": 2})
    assert Checkpoint(tmp_path / "c").load() == {"number": 1}


def test_a_state_is_on_the_disk_before_the_pointer_names_it(tmp_path, monkeypatch):
    flushed, put = set(), os.replace

    def replace(pointer: Path, newest: Path) -> None:
        written = (pointer, *tmp_path.glob("state-*"), *tmp_path.glob("state-*/*"))
        assert {path.stat().st_ino for path in written} <= flushed
        put(pointer, newest)

    monkeypatch.setattr(os, "fsync", lambda file: flushed.add(os.fstat(file).st_ino))
    monkeypatch.setattr(os, "replace", replace)
    Checkpoint(tmp_path).save({"t": torch.arange(6), "n": 3})
    assert tmp_path.stat().st_ino in flushed
    assert Checkpoint(tmp_path).load()["n"] == 3


@pytest.mark.parametrize("name", ["newest", "state-*/state.safetensors", "state-*/state.json"])
@pytest.mark.parametrize("left", [0, 5])
def test_a_state_that_cannot_be_read_is_told_and_none(tmp_path, capsys, name, left):
    checkpoint = Checkpoint(tmp_path)
    checkpoint.save({"t": torch.arange(6), "n": 3})
    (file,) = tmp_path.glob(name)
    file.write_bytes(file.read_bytes()[:left])
    assert checkpoint.load() is None
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"the checkpoint in {tmp_path} cannot be read (")
    checkpoint.save({"n": 4})
    assert checkpoint.load() == {"n": 4}


def test_a_state_that_is_gone_is_told_and_none(tmp_path, capsys):
    checkpoint = Checkpoint(tmp_path)
    checkpoint.save({"n": 3})
    (folder,) = tmp_path.glob("state-*")
    shutil.rmtree(folder)
    assert checkpoint.load() is None
    assert "training starts over" in capsys.readouterr().err


def test_a_key_that_is_no_text_is_refused(tmp_path):
    with pytest.raises(TypeError, match="keys must be text"):
        Checkpoint(tmp_path / "c").save({1: 2})


def test_every_generator_goes_on_from_its_saved_state():
    def draw():
        return random.random(), np.random.rand(), torch.rand(1).item()

    seed_all(3)
    state = random_state()
    first = draw()
    set_random_state(state)
    assert draw() == first
