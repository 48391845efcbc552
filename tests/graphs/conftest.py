"""Any graph: directed or not, with self-loops, parallel edges and nodes that no edge touches.

A property test asks for one with `@given(...)` and an argument `graph: EdgeList`.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from hour9.graphs.representations import EdgeList

settings.register_profile("hour9", derandomize=True, deadline=None, database=None, max_examples=60)
settings.load_profile("hour9")

MOST_NODES, MOST_EDGES, WIDEST = 6, 12, 3


@st.composite
def graphs(draw: st.DrawFn) -> EdgeList:
    n = draw(st.integers(0, MOST_NODES))
    e = draw(st.integers(0, MOST_EDGES)) if n else 0
    ends = arrays.arrays(np.int64, (2, e), elements=st.integers(0, max(n - 1, 0)))
    numbers = st.sampled_from([-1.0, 0.0, 0.1, 2.0, np.nan])  # parallel edges are often the same
    return EdgeList(
        draw(arrays.arrays(np.float64, (n, draw(st.integers(0, WIDEST))), elements=numbers)),
        draw(ends),
        draw(arrays.arrays(np.float64, (e, draw(st.integers(0, WIDEST))), elements=numbers)),
        draw(st.booleans()),
    )


st.register_type_strategy(EdgeList, graphs())


@pytest.fixture
def of_a_gpu(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The model as `device: cuda` leaves it, on a machine without a GPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    folder = shutil.copytree(model, tmp_path / "of_a_gpu")
    config = json.loads((folder / "config.json").read_text())
    config["settings"]["device"] = "cuda"
    (folder / "config.json").write_text(json.dumps(config))
    return folder
