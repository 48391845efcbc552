import os
from pathlib import Path

import numpy as np
import pytest

from hour9.sources.moleculenet import deal, read_arrays, read_molecules
from hour9.sources.tudataset import BadFile

ESOL = Path(os.environ.get("HOUR9_SHARED", "../shared")) / "data/moleculenet/graphs_npz/esol.npz"


def arrays() -> dict[str, np.ndarray]:
    """Ethanol C-C-O, methane, ethanol again."""
    ethanol = [
        [6, 0, 1, 5, 3, 0, 4, 0, 0],
        [6, 0, 2, 5, 2, 0, 4, 0, 0],
        [8, 0, 1, 5, 1, 0, 4, 0, 0],
    ]
    methane = [[6, 0, 0, 5, 4, 0, 4, 0, 0]]
    walked = [[0, 1, 1, 2], [1, 0, 2, 1]]
    return {
        "x": np.array(ethanol + methane + ethanol, dtype=np.uint8),
        "edge_index": np.array(walked * 1, dtype=np.int16).repeat(1, axis=1)[:, [0, 1, 2, 3] * 2],
        "edge_attr": np.tile(np.array([1, 0, 0], dtype=np.uint8), (8, 1)),
        "node_ptr": np.array([0, 3, 4, 7]),
        "edge_ptr": np.array([0, 4, 4, 8]),
        "y": np.array([1.1, -0.9, 1.2], dtype=np.float32),
        "group": np.array([0, 1, 0]),
    }


def with_cell(name: str, place: int | tuple[int, int], value: float) -> dict[str, np.ndarray]:
    """One array with one number overwritten."""
    array = arrays()[name].astype(float)
    array[place] = value
    return {name: array}


def test_what_varies_has_columns_and_a_bond_stands_once(tmp_path):
    np.savez(tmp_path / "toy.npz", **arrays())
    tables = read_molecules(read_arrays(tmp_path / "toy.npz"), seed=0)
    assert tables["edges"][["case", "source", "target"]].to_numpy().tolist() == [
        ["0", 0, 1],
        ["0", 1, 2],
        ["2", 0, 1],
        ["2", 1, 2],
    ]
    nodes = tables["nodes"]
    assert nodes["node"].tolist() == [0, 1, 2, 0, 0, 1, 2]
    assert nodes["element.O"].tolist() == [0, 0, 1, 0, 0, 0, 1]
    assert nodes["hydrogens.4"].tolist() == [0, 0, 0, 1, 0, 0, 0]
    assert not [name for name in nodes if name.startswith(("charge", "aromatic"))]
    assert tables["cases"]["target"].tolist() == [1.1, -0.9, 1.2]


def test_a_bond_has_its_own_columns():
    double = arrays()
    double["edge_attr"][[2, 3], 0] = 2  # C-O of the first ethanol, either way
    edges = read_molecules(double, seed=0)["edges"]
    assert edges["order.double"].tolist() == [0, 1, 0, 0]
    assert edges["order.single"].tolist() == [1, 0, 1, 1]


def test_the_same_molecule_is_in_one_split_and_the_shares_are_eight_one_one():
    split = deal(np.arange(200) % 100, seed=0)
    assert (split[:100] == split[100:]).all()
    counts = dict(zip(*np.unique(split, return_counts=True), strict=True))
    assert counts == {"train": 160, "validation": 20, "test": 20}
    assert (deal(np.arange(200) % 100, seed=1) != split).any()


@pytest.mark.skipif(not ESOL.exists(), reason=f"there is no {ESOL}")
def test_esol_has_its_published_size_and_a_molecule_is_in_one_split_only():
    cases = read_molecules(read_arrays(ESOL), seed=3)["cases"]
    assert len(cases) == 1128
    group = np.load(ESOL, allow_pickle=False)["group"]
    assert (cases.groupby(group)["split"].nunique() == 1).all()
    shares = cases["split"].value_counts(normalize=True)
    assert shares["train"] == pytest.approx(0.8, abs=0.01)
    assert shares["test"] == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"y": None, "group": None}, "lacks the arrays group, y"),
        ({"group": np.array([0, 1])}, r"group is \(2,\) where \(3,\) was expected"),
        ({"x": np.zeros((7, 4))}, r"x is \(7, 4\) where \(7, 9\) was expected"),
        ({"y": np.array([1.0, None, 2.0])}, "no file of arrays"),  # would be unpickled
        ({"y": np.ones((3, 1))}, "y has 2 dimensions where 1 were expected"),
        ({"y": np.array(3.0)}, "y has 0 dimensions where 1 were expected"),
        ({"group": np.array(["a", "b", "a"])}, "group holds <U1 where numbers were expected"),
        (with_cell("x", (5, 0), np.nan), r"whole numbers were expected, but x\[5, 0\] is nan"),
        (with_cell("x", (2, 3), np.inf), r"x\[2, 3\] is inf"),
        (with_cell("edge_attr", (1, 0), 1.5), r"edge_attr\[1, 0\] is 1\.5"),
        (with_cell("node_ptr", 1, 2.5), r"node_ptr\[1\] is 2\.5"),
        ({"node_ptr": np.array([])}, r"node_ptr begins with \[\] where \[0\] was expected"),
        (with_cell("node_ptr", 0, 5), r"node_ptr begins with \[5\] where \[0\] was expected"),
        (with_cell("edge_ptr", 1, 5), r"edge_ptr falls to 4 at \[2\]"),
        (with_cell("edge_index", (0, 0), 1), "both ways; without a way back: .* of molecule 0"),
        (  # as if each edge stood once, source > target
            {"edge_index": np.tile([[1, 1, 2, 2], [0, 0, 1, 1]], 2)},
            "without a way back: 1 → 0 of molecule 0, .* and 5 more",
        ),
    ],
)
def test_a_broken_file_is_refused_in_words(tmp_path, changed, message):
    found = {name: a for name, a in (arrays() | changed).items() if a is not None}
    np.savez(tmp_path / "toy.npz", **found)
    with pytest.raises(BadFile, match=message):
        read_arrays(tmp_path / "toy.npz")


def test_whole_numbers_may_be_written_as_floating_point(tmp_path):
    np.savez(tmp_path / "whole.npz", **arrays())
    np.savez(tmp_path / "float.npz", **{name: a.astype(float) for name, a in arrays().items()})
    whole, found = (
        read_molecules(read_arrays(tmp_path / f"{name}.npz"), seed=0) for name in ("whole", "float")
    )
    assert found["nodes"].equals(whole["nodes"])
    assert found["edges"].equals(whole["edges"])


@pytest.mark.parametrize("labels", [[1, 0, 1], ["1", "0", "1"], [True, False, True]])
def test_whole_numbers_and_text_to_find_are_classes(tmp_path, labels):
    np.savez(tmp_path / "toy.npz", **arrays() | {"y": np.array(labels)})
    found = read_molecules(read_arrays(tmp_path / "toy.npz"), seed=0)["cases"]["target"]
    assert found.tolist() == [f"class {label}" for label in labels]


def test_an_array_alone_is_no_file_of_arrays(tmp_path):
    np.save(tmp_path / "toy.npy", arrays()["y"])
    (tmp_path / "toy.npy").rename(tmp_path / "toy.npz")
    with pytest.raises(BadFile, match="no file of arrays"):
        read_arrays(tmp_path / "toy.npz")


def test_a_text_file_is_no_file_of_arrays(tmp_path):
    (tmp_path / "toy.npz").write_text("C,CC,CCC")
    with pytest.raises(BadFile, match="no file of arrays"):
        read_arrays(tmp_path / "toy.npz")
    with pytest.raises(FileNotFoundError, match=r"there is no .*none\.npz"):
        read_arrays(tmp_path / "none.npz")
