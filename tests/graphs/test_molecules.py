import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hour9.engine.checkpoint import Checkpoint
from hour9.engine.run import Run
from hour9.engine.settings import Settings
from hour9.graphs.blind import counts
from hour9.graphs.molecules import TASK, metric
from hour9.graphs.settings import Gin, SetToSet
from hour9.sources.splits import SourceRefused
from hour9.task import Source, Tables, UnknownName, without_test
from hour9.validate import DataRejected, check, deal_splits

SOURCE = Source(root="src/hour9/graphs/atlas.py", size=52)  # up to five nodes
SHARED = {
    "task": "molecules",
    "topic": "graphs",
    "parent": "data/molecules",
    "device": "cpu",
    "precision": "fp32",
    "epochs": 3,
    "hidden": 8,
}
SETTINGS = {
    "gin": Gin(architecture="gin", layers=2, dropout=0.0, **SHARED),
    "mpnn": SetToSet(architecture="mpnn-set2set", units=2, rounds=2, turns=2, **SHARED),
}


@pytest.fixture(scope="module", params=["numbers", "classes"])
def tables(request: pytest.FixtureRequest) -> Tables:
    """The smaller graphs of the atlas, with the number to estimate or whether it is a large one."""
    found = deal_splits(TASK.ingest(SOURCE))
    if request.param == "classes":
        large = found["cases"]["target"] > found["cases"]["target"].median()
        named = large.map({True: "class 1", False: "class 0"})
        found["cases"] = found["cases"].assign(target=named)
    return found


@pytest.fixture(scope="module", params=SETTINGS)
def settings(request: pytest.FixtureRequest) -> Settings:
    return SETTINGS[request.param]


@pytest.fixture(scope="module")
def model(tables: Tables, settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tables, tmp_path_factory.mktemp("molecules"), settings)


def train(tables: Tables, folder: Path, settings: Settings) -> Path:
    checkpoint = Checkpoint(folder / "checkpoint")
    TASK.train(Run(settings, without_test(tables), folder, folder / "model", checkpoint))
    return folder / "model"


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_source_that_it_cannot_read_is_refused_with_those_it_can():
    with pytest.raises(UnknownName, match="no source 'planetoid'; it reads embedded, path"):
        TASK.ingest(SOURCE.model_copy(update={"kind": "planetoid"}))


def test_a_set_in_files_may_be_dealt_in_folds(tmp_path):
    rows = [f"{'C' * size}{'O' * kind},{kind}" for size in range(1, 13) for kind in (0, 1)]
    (tmp_path / "chains.csv").write_text("\n".join(["smiles,target", *rows]))
    source = Source(kind="path", root=str(tmp_path), name="chains", fold=3)
    cases = deal_splits(TASK.ingest(source))["cases"]
    assert cases["split"].value_counts()["test"] in (2, 3)  # of 24
    assert cases.loc[cases["split"] == "test", "target"].nunique() == 2


def test_the_atlas_has_numbers_and_so_no_folds():
    with pytest.raises(SourceRefused, match="these targets are numbers; set fold to -1"):
        TASK.ingest(SOURCE.model_copy(update={"fold": 3}))


def test_a_molecule_that_stands_twice_is_in_one_split_in_folds_too(tmp_path):
    rows = [f"{'C' * size},{size % 2}" for size in range(1, 41) for _ in range(2)]
    (tmp_path / "chains.csv").write_text("\n".join(["smiles,target", *rows]))
    source = Source(kind="path", root=str(tmp_path), name="chains", fold=0)
    cases = TASK.ingest(source)["cases"]
    first, second = cases["split"].to_numpy().reshape(-1, 2).T
    assert (first == second).all()
    assert set(cases["split"]) == {"train", "validation", "test"}


def test_the_tables_keep_their_contract(tables):
    check(TASK, tables)


def dirty(tables: Tables, name: str, column: str, value: object) -> Tables:
    """The tables with one cell of the fifth row overwritten."""
    table = tables[name].copy()
    table[column] = table[column].astype(object)
    table.loc[4, column] = value
    return {**tables, name: table.infer_objects()}


@pytest.mark.parametrize(
    ("name", "column", "value"),
    [
        ("edges", "target", 6),  # a node that the graph has not
        ("edges", "source", -1),
        ("edges", "case", "1"),  # a graph of one node
        ("edges", "long", float("nan")),
        ("nodes", "carbon", float("nan")),
        ("nodes", "carbon", float("inf")),
        ("nodes", "node", -1),
        ("nodes", "case", "1000"),
        ("cases", "target", None),
        ("cases", "group.size", "huge"),
    ],
)
def test_a_wrong_cell_breaks_the_contract(name, column, value):
    tables = deal_splits(TASK.ingest(SOURCE))
    with pytest.raises(DataRejected, match=rf"{name}\.(\w+\.)*{column}"):
        check(TASK, dirty(tables, name, column, value))


def test_a_class_that_no_training_graph_has_breaks_the_contract():
    tables = deal_splits(TASK.ingest(SOURCE))
    cases = tables["cases"].assign(target="class 0")
    cases.loc[cases["case"].astype(int) % 2 == 1, "target"] = "class 1"
    cases.loc[cases.index[cases["split"] == "test"][0], "target"] = "class 3"
    with pytest.raises(DataRejected, match=r"cases\.target.*class 3"):
        check(TASK, {**tables, "cases": cases})


def test_a_graph_without_nodes_breaks_the_contract():
    tables = deal_splits(TASK.ingest(SOURCE))
    nodes = tables["nodes"][tables["nodes"]["case"] != "1"].reset_index(drop=True)
    with pytest.raises(DataRejected, match=r"cases\.case.*case='1'"):
        check(TASK, {**tables, "nodes": nodes})


def test_an_edge_that_stands_twice_or_backwards_or_on_itself_breaks_the_contract():
    tables = deal_splits(TASK.ingest(SOURCE))
    edges = tables["edges"]
    last = edges.iloc[[-1]]
    for wrong in (
        last,
        last.rename(columns={"source": "target", "target": "source"}),
        last.assign(target=last["source"]),
    ):
        again = pd.concat([edges, wrong], ignore_index=True)
        with pytest.raises(DataRejected, match="edges"):
            check(TASK, {**tables, "edges": again})


def test_the_same_training_gives_the_same_bytes(tables, settings, model, tmp_path):
    assert content(train(tables, tmp_path, settings)) == content(model)


def test_the_targets_of_test_graphs_change_nothing(tables, settings, model, tmp_path):
    cases = tables["cases"].copy()
    cases.loc[cases["split"] == "test", "target"] = cases["target"].iloc[0]
    assert content(train({**tables, "cases": cases}, tmp_path, settings)) == content(model)


def test_a_score_is_right_or_wrong_or_minus_the_error_of_the_answer(tables, model):
    """And the example's answers are those of its cases: what is asked alone is scored together."""
    scores, answers = TASK.score(model, tables), TASK.answer(model)(TASK.example(tables))
    target, last = tables["cases"]["target"].tail(3), scores.tail(3).reset_index(drop=True)
    if metric(tables) == "accuracy":
        right = answers["label"].to_numpy() == target.to_numpy()
        assert last["score"].tolist() == right.astype(float).tolist()
        np.testing.assert_allclose(answers["confidence"], last["confidence"], rtol=1e-5)
    else:
        assert metric(tables) == "-|error|"
        np.testing.assert_allclose(
            -(answers["value"] - target.to_numpy()).abs(), last["score"], atol=1e-5
        )


def test_the_baseline_counts_and_is_blind_to_how_nodes_are_joined(tables):
    edges = tables["edges"]
    moved = edges.assign(source=0, target=1)
    np.testing.assert_array_equal(counts({**tables, "edges": moved}), counts(tables))
    third = counts(tables)[2]  # two atoms and a bond
    assert third.sum() == 2 + 2 + 1 + 1
    assert len(TASK.baseline(tables)) == len(tables["cases"])


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        ("C-C-O", "row 0 is no graph"),
        ('{"nodes": [[1, 0, 0]]}', "row 0 is no graph"),
        ('{"nodes": [], "edges": []}', "row 0: a node has the numbers carbon, nitrogen, oxygen"),
        ('{"nodes": [[1, 0]], "edges": []}', "row 0: a node has the numbers"),
        ('{"nodes": [[1, 0, 0]], "edges": [[0, 1]]}', "an edge source, target, long, short"),
    ],
)
def test_a_request_that_is_no_graph_is_refused_with_what_one_is(model, graph, message):
    with pytest.raises(ValueError, match=message):
        TASK.answer(model)(pd.DataFrame({"graph": [graph]}))


def test_a_request_whose_edge_ends_nowhere_is_refused(model):
    graph = {"nodes": [[1, 0, 0]], "edges": [[0, 5, 1, 0]]}
    with pytest.raises(
        ValueError, match=r"row 0: an edge joins two of its 1 nodes; not so \[0\.0, 5\.0\]"
    ):
        TASK.answer(model)(pd.DataFrame({"graph": [json.dumps(graph)]}))


def test_the_same_model_draws_the_same_bytes(tables, model, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        TASK.draw(model, tables, tmp_path / name)
    assert content(tmp_path / "one") == content(tmp_path / "two")
    assert "what_it_gets_most_wrong.png" in content(tmp_path / "one")
