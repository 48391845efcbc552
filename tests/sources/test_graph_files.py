"""A graph of one's own, by path: read from two tables, and stopped where it is bad."""

import numpy as np
import pandas as pd
import pytest

from hour9.graphs import links, nodes
from hour9.sources.graph_files import read_graph_files
from hour9.sources.tudataset import BadFile
from hour9.task import Source
from hour9.validate import DataRejected, check

N = 60


def tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two classes of nodes on a ring, each with a feature of its own; ten are of unknown class."""
    draw = np.random.default_rng(0)
    number = np.arange(N)
    target = (number % 2).astype(float)
    target[-10:] = np.nan
    known = pd.DataFrame(
        {
            "node": 100 + number,
            "target": target,
            "odd": number % 2,
            "even": 1 - number % 2,
            "noise": draw.random(N).round(3),
        }
    )
    ring = pd.DataFrame(
        {"source": 100 + number, "target": 100 + (number + 2) % N, "distance": draw.random(N)}
    )
    return known, ring


def write(folder, known: pd.DataFrame, joined: pd.DataFrame, kind: str = "csv") -> Source:
    for name, table in (("nodes", known), ("edges", joined)):
        if kind == "csv":
            table.to_csv(folder / f"{name}.csv", index=False)
        else:
            table.to_parquet(folder / f"{name}.parquet", index=False)
    return Source(kind="path", root=str(folder))


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("task", [nodes.TASK, links.TASK], ids=["nodes", "links"])
def test_a_graph_in_two_tables_keeps_the_contract(tmp_path, kind, task):
    check(task, task.ingest(write(tmp_path, *tables(), kind)))


def test_the_columns_names_may_be_capitals(tmp_path):
    known, joined = tables()
    write(tmp_path, known, joined)
    plain = read_graph_files(tmp_path, seed=0)
    write(
        tmp_path,
        known.rename(columns={"node": "Node", "target": "TARGET"}),
        joined.rename(columns=str.title),
    )
    for name, table in read_graph_files(tmp_path, seed=0).items():
        assert table.equals(plain[name])


def test_the_tables_say_what_the_files_do(tmp_path):
    known, joined = tables()
    write(tmp_path, known, joined)
    found = read_graph_files(tmp_path, seed=0)
    assert found["nodes"]["node"].tolist() == known["node"].tolist()
    wide = found["features"].pivot(index="node", columns="feature", values="value").fillna(0)
    np.testing.assert_array_equal(wide, known[["odd", "even", "noise"]])
    ends = np.sort(joined[["source", "target"]], axis=1)
    np.testing.assert_array_equal(found["edges"][["source", "target"]], ends)
    cases = found["cases"]
    assert cases["target"].tolist() == known["target"].dropna().tolist()
    assert cases["split"].value_counts().to_dict() == {"train": 30, "validation": 10, "test": 10}


def test_a_split_of_its_own_is_kept_and_no_distance_is_one(tmp_path):
    known, joined = tables()
    split = np.array(["train", "val", "test"])[np.arange(N) % 3]
    write(tmp_path, known.assign(split=split), joined.drop(columns="distance"))
    found = read_graph_files(tmp_path, seed=0)
    assert found["cases"]["split"].tolist()[:3] == ["train", "validation", "test"]
    assert set(found["edges"]["distance"]) == {1.0}


def test_a_node_without_a_split_has_no_case(tmp_path):
    known, joined = tables()
    split = np.where(known["node"] < 140, "train", "test").astype(object)
    split[known["node"] == 107] = None
    write(tmp_path, known.assign(split=split, target=1), joined)
    found = read_graph_files(tmp_path, seed=0)
    assert set(known["node"]) - set(found["cases"]["node"]) == {107}
    assert len(found["nodes"]) == 60


def test_a_split_that_the_file_lacks_is_carved_and_what_is_not_read_is_said(tmp_path, capsys):
    known, joined = tables()
    split = np.where(np.arange(N) % 3, "train", "val")
    write(tmp_path, known.assign(split=split), joined.assign(colour=1, weight=2))
    found = read_graph_files(tmp_path, seed=0)["cases"]["split"].value_counts()
    assert found["test"] == 17  # what was named for validation
    assert found["validation"] > 0
    assert "left out edges.colour, edges.weight (edges carry a distance)" in capsys.readouterr().err


def test_links_to_a_node_that_is_not_there_are_stopped_with_the_row(tmp_path):
    known, joined = tables()
    joined.loc[4, "target"] = 999
    with pytest.raises(DataRejected, match="target=999"):
        check(links.TASK, links.TASK.ingest(write(tmp_path, known, joined)))


@pytest.mark.parametrize(
    ("name", "column", "value", "said"),
    [
        ("nodes", "odd", float("nan"), r"features\.value"),
        ("nodes", "odd", float("inf"), r"features\.value"),
        ("nodes", "odd", -1.0, r"features\.value"),
        ("nodes", "target", 7.0, r"cases\.target"),
        ("nodes", "target", -1.0, r"cases\.target"),
        ("nodes", "node", -4, r"nodes\.node"),
        ("edges", "source", 999, r"edges\.source|edges\.target"),
        ("edges", "target", 104, "edges"),  # of an edge from 104: on itself
        ("edges", "distance", float("nan"), r"edges\.distance"),
    ],
)
def test_a_bad_graph_is_stopped_by_the_contract(tmp_path, name, column, value, said):
    both = dict(zip(("nodes", "edges"), tables(), strict=True))
    both["nodes"]["odd"] = both["nodes"]["odd"].astype(float)
    both[name].loc[4, column] = value
    both["nodes"]["split"] = np.where(np.arange(N) == 4, "test", "train")
    both["nodes"].loc[5:9, "split"] = "validation"
    with pytest.raises(DataRejected, match=said):
        check(nodes.TASK, nodes.TASK.ingest(write(tmp_path, both["nodes"], both["edges"])))


def test_edges_that_stand_twice_are_stopped_and_none_at_all_is_said(tmp_path):
    known, joined = tables()
    back = joined.rename(columns={"source": "target", "target": "source"})
    source = write(tmp_path, known, pd.concat([joined, back]))
    with pytest.raises(DataRejected, match="edges"):
        check(nodes.TASK, nodes.TASK.ingest(source))
    source = write(tmp_path, known, joined.head(0))
    with pytest.raises(DataRejected, match="edges"):
        check(nodes.TASK, nodes.TASK.ingest(source))


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("nodes", lambda t: t.drop(columns="target"), "nodes.csv lacks the columns target; it has"),
        ("nodes", lambda t: t.assign(node=100), "node 100 stands in several rows"),
        ("nodes", lambda t: t[["node", "target"]], "nodes has no features"),
        ("nodes", lambda t: t.assign(odd="red"), "column odd: 60 rows hold no numbers: "),
        ("nodes", lambda t: t.assign(target=0.5), "column target: 60 rows hold no whole numbers"),
        ("nodes", lambda t: t.assign(target=np.inf), "target: 60 rows hold no whole numbers"),
        ("nodes", lambda t: t.assign(node=np.inf), "node: 60 rows hold no whole numbers"),
        (
            "edges",
            lambda t: t.assign(target=1e20),
            "target: .* rows hold no whole numbers below 9e",
        ),
        ("nodes", lambda t: t.assign(split="later"), "a split is train, validation or test, not"),
        ("edges", lambda t: t.assign(source=4.5), "column source: 60 rows hold no whole numbers"),
        ("edges", lambda t: t.assign(source=None), "column source: 60 rows hold no whole numbers"),
    ],
)
def test_what_is_no_graph_is_refused_by_file_and_column(tmp_path, name, change, said):
    both = dict(zip(("nodes", "edges"), tables(), strict=True))
    both[name] = change(both[name])
    write(tmp_path, both["nodes"], both["edges"])
    with pytest.raises(BadFile, match=said):
        read_graph_files(tmp_path, seed=0)


def test_a_missing_or_broken_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"lacks nodes\.csv or nodes\.parquet"):
        read_graph_files(tmp_path, seed=0)
    (tmp_path / "nodes.parquet").write_text("node,target")
    with pytest.raises(BadFile, match=r"nodes\.parquet is no table"):
        read_graph_files(tmp_path, seed=0)
    (tmp_path / "nodes.parquet").unlink()
    (tmp_path / "nodes.csv").write_text("")
    with pytest.raises(BadFile, match=r"nodes\.csv is no table"):
        read_graph_files(tmp_path, seed=0)
