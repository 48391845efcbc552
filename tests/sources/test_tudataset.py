"""PyG's own reader is the oracle."""

import os
from pathlib import Path

import numpy as np
import pytest

from hour9.sources.tudataset import BadFile, read_tudataset

SHARED = Path(os.environ.get("HOUR9_SHARED", "../shared")) / "data" / "tudataset"
FILES = {  # a path of three nodes, and an edge
    "A": "1, 2\n2, 1\n2, 3\n3, 2\n4, 5\n5, 4\n",
    "graph_indicator": "1\n1\n1\n2\n2\n",
    "graph_labels": "1\n-1\n",
    "node_labels": "0\n2\n0\n2\n2\n",
    "node_attributes": "0.5, 1\n1.5, 2\n2.5, 3\n3.5, 4\n4.5, 5\n",
    "edge_labels": "7\n7\n8\n8\n7\n7\n",
}


def write(folder: Path, **changed: str | None) -> Path:
    """The set TOY, but for the files changed; None leaves one out."""
    raw = folder / "TOY" / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    for part, text in (FILES | changed).items():
        if text is not None:
            (raw / f"TOY_{part}.txt").write_text(text)
    return folder


def test_every_edge_stands_once_and_every_label_has_a_column(tmp_path):
    tables = read_tudataset(write(tmp_path), "TOY")
    assert tables["edges"].to_dict("list") == {
        "case": ["0", "0", "1"],
        "source": [0, 1, 0],
        "target": [1, 2, 1],
        "label.0.7": [1.0, 0.0, 1.0],
        "label.0.8": [0.0, 1.0, 0.0],
    }
    assert tables["nodes"].to_dict("list") == {
        "case": ["0", "0", "0", "1", "1"],
        "node": [0, 1, 2, 0, 1],
        "label.0.0": [1.0, 0.0, 1.0, 0.0, 0.0],
        "label.0.2": [0.0, 1.0, 0.0, 1.0, 1.0],
        "attribute.0": [0.5, 1.5, 2.5, 3.5, 4.5],
        "attribute.1": [1.0, 2.0, 3.0, 4.0, 5.0],
    }
    assert tables["cases"]["target"].tolist() == ["class 1", "class -1"]


@pytest.mark.parametrize("name", ["MUTAG", "PROTEINS"])
@pytest.mark.filterwarnings("ignore:.*torch.jit.script")
def test_a_real_set_equals_pygs(name):
    if not (SHARED / name).exists():
        pytest.skip(f"{name} is not in {SHARED}")
    from torch_geometric.io import read_tu_data

    ours, (theirs, slices, _) = (
        read_tudataset(SHARED, name),
        read_tu_data(str(SHARED / name / "raw"), name),
    )
    nodes, edges, cases = ours["nodes"], ours["edges"], ours["cases"]
    first = slices["x"].numpy()[:-1]
    attributes = [c for c in nodes if c.startswith("attribute")]
    labels = [c for c in nodes if c.startswith("label")]
    np.testing.assert_allclose(nodes[[*attributes, *labels]], theirs.x.numpy(), rtol=1e-6)
    assert nodes.groupby("case", sort=False).size().tolist() == slices["x"].diff().tolist()
    ends = edges[["source", "target"]].to_numpy() + first[edges["case"].astype(int)][:, None]
    walked = theirs.edge_index.numpy() + first.repeat(slices["edge_index"].diff().numpy())
    assert {tuple(pair) for pair in ends.tolist()} == {tuple(sorted(e)) for e in walked.T.tolist()}
    label = cases["target"].str.removeprefix("class ").astype(int)
    np.testing.assert_array_equal(label.rank(method="dense") - 1, theirs.y.numpy())


@pytest.mark.skipif(not (SHARED / "MUTAG").exists(), reason=f"MUTAG is not in {SHARED}")
def test_mutag_has_its_published_size():
    tables = read_tudataset(SHARED, "MUTAG")
    assert tables["cases"]["target"].value_counts().to_dict() == {"class 1": 125, "class -1": 63}
    assert (len(tables["nodes"]), len(tables["edges"])) == (3371, 3721)


def test_nodes_that_carry_nothing_all_look_the_same(tmp_path):
    bare = write(tmp_path, node_labels=None, node_attributes=None, edge_labels=None)
    nodes = read_tudataset(bare, "TOY")["nodes"]
    assert nodes.drop(columns=["case", "node"]).to_dict("list") == {"constant": [1.0] * 5}


def test_all_missing_files_are_named_at_once(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"TOY_A\.txt.*TOY_graph_labels\.txt"):
        read_tudataset(write(tmp_path, A=None, graph_labels=None), "TOY")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"A": "1, 2\n2, 9\n"}, r"TOY_A\.txt: no such node, line 2: 9; there are 1 to 5"),
        ({"A": "1, 2\n0, 2\n"}, r"no such node, line 2: 0"),
        ({"A": "1, 2\n3, 4\n"}, r"line 2: an edge joins nodes of two graphs"),
        ({"A": "1\n2\n"}, r"expected two nodes a line, got 1"),
        ({"A": "1, 2\n2, x\n"}, r"TOY_A\.txt: could not convert string"),
        ({"A": "1, 2\n2, 3.5\n"}, r"TOY_A\.txt, line 2: expected whole numbers, got 3\.5"),
        ({"A": ""}, r"TOY_A\.txt is empty"),
        ({"graph_indicator": "1\n1\n3\n2\n2\n"}, r"no such graph, line 3: 3; there are 1 to 2"),
        ({"graph_indicator": "1\n2\n1\n2\n2\n"}, r"line 3: a graph's nodes stand together"),
        ({"node_labels": "0\n2\n"}, r"TOY_node_labels\.txt: expected 5 lines, one a node, got 2"),
        ({"edge_labels": "7\n"}, r"has 6 edges, but 1 edges have features"),
    ],
)
@pytest.mark.filterwarnings("ignore:loadtxt")
def test_a_broken_file_is_refused_in_words(tmp_path, changed, message):
    with pytest.raises(BadFile, match=message):
        read_tudataset(write(tmp_path, **changed), "TOY")


def test_a_set_may_lie_without_a_folder_raw_and_its_whole_numbers_have_a_point(tmp_path):
    plain = write(tmp_path / "plain")
    other = write(tmp_path / "other", graph_labels="\ufeff1.0\n-1.0\n")
    for path in (other / "TOY/raw").iterdir():
        path.rename(other / "TOY" / path.name)
    (other / "TOY/raw").rmdir()
    for name, table in read_tudataset(plain, "TOY").items():
        assert table.equals(read_tudataset(other, "TOY")[name])


def test_a_self_loop_comes_through_for_the_contract_to_stop(tmp_path):
    edges = read_tudataset(write(tmp_path, A="1, 1\n2, 3\n", edge_labels="7\n7\n"), "TOY")["edges"]
    assert edges[["source", "target"]].to_numpy().tolist() == [[0, 0], [1, 2]]
