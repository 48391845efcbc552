import os
from pathlib import Path

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread
from safetensors.torch import load_file

from hour9.engine.checkpoint import Checkpoint
from hour9.engine.run import Run
from hour9.engine.settings import Settings, load_settings
from hour9.graphs import links
from hour9.graphs.links import TASK, logits, ranking
from hour9.graphs.pictures import draw_embeddings, draw_ranking
from hour9.graphs.settings import Gae
from hour9.graphs.tables import UnknownNode
from hour9.params import read_params
from hour9.task import Source, Tables, UnknownName, without_test
from hour9.validate import DataRejected, check

SOURCE = Source(root="src/hour9/graphs/digits.py", size=400)
SHARED = Path(os.environ.get("HOUR9_SHARED", "../shared")) / "data" / "planetoid"
SETTINGS = Gae(
    architecture="gae",
    task="links",
    topic="graphs",
    parent="data/links",
    device="cpu",
    precision="fp32",
    epochs=30,
    patience=30,
    learning_rate=0.02,
    decay=False,
)


@pytest.fixture(scope="module")
def tables() -> Tables:
    return TASK.ingest(SOURCE)


@pytest.fixture(scope="module")
def model(tables: Tables, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tables, tmp_path_factory.mktemp("links"))


def train(tables: Tables, folder: Path, settings: Settings = SETTINGS) -> Path:
    checkpoint = Checkpoint(folder / "checkpoint", 1e9)
    TASK.train(Run(settings, without_test(tables), folder, folder / "model", checkpoint))
    return folder / "model"


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def pairs(table: pd.DataFrame, *columns: str) -> set[tuple[int, int]]:
    return set(table[list(columns)].itertuples(index=False, name=None))


def test_a_source_that_it_cannot_read_is_refused_with_those_it_can():
    with pytest.raises(UnknownName, match="no source 'web'; it reads embedded, path, planetoid"):
        TASK.ingest(SOURCE.model_copy(update={"kind": "web"}))


def test_the_edges_held_out_are_real_and_are_not_in_the_graph(tables):
    from hour9.graphs.digits import read_digits

    real = pairs(read_digits(SOURCE)["edges"], "source", "target")
    left = pairs(tables["edges"], "source", "target")
    cases = tables["cases"]
    hidden = pairs(cases[(cases["split"] != "train") & (cases["target"] == 1)], "one", "other")
    assert hidden == real - left
    assert not pairs(cases[cases["target"] == 0], "one", "other") & real
    taught = cases[(cases["split"] == "train") & (cases["target"] == 1)]
    assert pairs(taught, "one", "other") <= left


def test_each_split_has_as_many_edges_as_other_pairs(tables):
    counts = tables["cases"].groupby(["split", "target"]).size().unstack()
    assert (counts[0] == counts[1]).all()
    assert counts.loc["test", 1] == counts.loc["train", 1]


def left(tables: Tables) -> nx.Graph:
    graph = nx.Graph()
    graph.add_nodes_from(tables["nodes"]["node"])
    graph.add_edges_from(pairs(tables["edges"], "source", "target"))
    return graph


def test_slices_and_descriptions_follow_the_edges_that_are_left(tables):
    cases, graph = tables["cases"], left(tables)
    asked = cases[["one", "other"]].to_numpy().tolist()
    shared = np.array([len(list(nx.common_neighbors(graph, *pair))) for pair in asked])
    assert ((cases["group.common"] == "common neighbours") == (shared > 0)).all()
    assert (shared == 1).any()
    degrees = [sorted(graph.degree[node] for node in pair) for pair in asked]
    expected = pd.DataFrame(degrees, columns=["fewer", "more"]).assign(shared=shared * 1.0)
    pd.testing.assert_frame_equal(TASK.describe(tables, TASK.requests(tables)), expected)


def test_the_threshold_of_the_baseline_does_not_know_the_test(tables):
    cases, scores = tables["cases"], TASK.baseline(tables)["score"]
    test = cases["split"] == "test"
    flipped = cases.assign(target=cases["target"].where(~test, 1 - cases["target"]))
    other = TASK.baseline({**tables, "cases": flipped})["score"]
    assert other.equals(scores.where(~test, 1 - scores))
    assert scores[test].mean() > 0.6


def test_the_tables_keep_their_contract(tables):
    check(TASK, tables)


@pytest.mark.parametrize(("split", "target"), [("test", 1), ("validation", 1), ("train", 0)])
def test_an_edge_that_gives_an_answer_away_breaks_the_contract(tables, split, target):
    cases, edges = tables["cases"], tables["edges"]
    pair = cases[(cases["split"] == split) & (cases["target"] == target)].iloc[[0]]
    given = pd.DataFrame({"source": pair["one"], "target": pair["other"]})
    again = pd.concat([edges, given.assign(distance=1.0)], ignore_index=True)
    with pytest.raises(DataRejected, match=r"cases\.case: .*not_be_in_set: 1 rows break it"):
        check(TASK, {**tables, "edges": again})


@pytest.mark.parametrize(("column", "value"), [("one", 10**6), ("other", -1), ("target", 2)])
def test_a_wrong_cell_breaks_the_contract(tables, column, value):
    cases = tables["cases"].copy()
    cases.loc[4, column] = value
    with pytest.raises(DataRejected, match=rf"cases\.(\w+\.)*{column}"):
        check(TASK, {**tables, "cases": cases})


def test_the_same_training_gives_the_same_bytes_whatever_the_test_pairs(tables, model, tmp_path):
    cases = tables["cases"].copy()
    cases.loc[cases["split"] == "test", "target"] = 0
    assert content(train({**tables, "cases": cases}, tmp_path)) == content(model)


def test_the_epoch_that_ranks_validation_best_stays_with_the_best_threshold(tables, tmp_path):
    settings = SETTINGS.model_copy(update={"epochs": 8})
    run = Run(settings, without_test(tables), tmp_path, tmp_path / "m", Checkpoint(tmp_path / "c"))
    TASK.train(run)
    rows = tables["cases"][tables["cases"]["split"] == "validation"]
    found, target = logits(tmp_path / "m", rows).numpy(), rows["target"].to_numpy()
    said = [point["validation"] for point in run.curve]
    assert max(said) == pytest.approx(ranking(found, target)["average precision"])
    assert min(said) < max(said)
    right = [((found > cut) == (target == 1)).mean() for cut in [0.0, *found]]
    assert right[0] == max(right)


def test_what_is_measured_is_measured_on_the_test_pairs(tables, model):
    test = tables["cases"][tables["cases"]["split"] == "test"]
    expected = ranking(logits(model, test).numpy(), test["target"].to_numpy())
    told = TASK.measure(model, tables)
    for name, value in expected.items():
        assert told[f"{name}/graph auto-encoder"] == pytest.approx(value)


def test_the_picture_has_each_embedding_with_the_class_of_its_node(
    tables, model, tmp_path, monkeypatch
):
    given = []
    monkeypatch.setattr(links, "draw_embeddings", lambda *args: given.extend(args) or Figure())
    TASK.draw(model, tables, tmp_path)
    saved, nodes = load_file(model / links.EMBEDDINGS), tables["nodes"]
    label = dict(zip(nodes["node"], nodes["label"], strict=True))
    assert (given[0] == saved["vectors"].numpy()).all()
    assert given[1].tolist() == [label[node] for node in saved["nodes"].tolist()]


def test_the_curves_rise_as_their_axes_say():
    target, scores = np.array([0, 0, 0, 1]), np.array([0.1, 0.2, 0.3, 0.9])
    figure = draw_ranking({"right": scores}, target)
    roc, precision = (axis.lines[0].get_xydata().tolist() for axis in figure.axes)
    assert [0, 1] in roc  # all edges found, and no other pair taken for one
    assert [1, 1] in precision
    assert [1, 0.25] in precision


def test_a_case_scores_one_where_the_answer_is_its_target(tables, model):
    cases, scores = tables["cases"], TASK.score(model, tables)
    answers = TASK.answer(model)(cases[["one", "other"]])
    assert ((answers["joined"] == (cases["target"] == 1)) == (scores["score"] == 1)).all()
    assert scores["confidence"].between(0.5, 1).all()
    assert ((answers["probability"] > 0.5) == answers["joined"]).all()


def test_a_pair_is_the_same_from_both_ends_and_an_unknown_node_is_refused(tables, model):
    ask, asked = TASK.answer(model), TASK.example(tables)
    swapped = asked.rename(columns={"one": "other", "other": "one"})
    assert ask(asked).equals(ask(swapped))
    with pytest.raises(UnknownNode, match=r"1 unknown nodes, e\.g\. \[5000\]"):
        ask(pd.DataFrame({"one": [5000], "other": [asked["other"][0]]}))


def test_the_pictures_are_the_same_bytes_for_the_same_model(tables, model, tmp_path):
    drawn = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        TASK.draw(model, tables, tmp_path / name)
        drawn.append(content(tmp_path / name))
    assert drawn[0] == drawn[1]
    assert len(drawn[0]) == 2
    assert all(imread(path).std() > 0 for path in (tmp_path / "first").iterdir())


def test_the_candidate_of_params_finds_more_than_adamic_and_adar(tmp_path):
    """Beyond doubt: two standard errors of the paired difference on the test pairs."""
    tables = TASK.ingest(Source(**read_params()["tasks"]["links"]["source"]))
    settings = load_settings("links-gcn").model_copy(update={"epochs": 150})
    folder = train(tables, tmp_path, settings)
    test = tables["cases"]["split"] == "test"
    gain = (TASK.score(folder, tables)["score"] - TASK.baseline(tables)["score"])[test]
    assert gain.mean() > 2 * gain.sem()
    told = TASK.measure(folder, tables)
    for name in ("ROC-AUC", "average precision"):
        ours = told.pop(f"{name}/graph auto-encoder")
        assert ours > told.pop(f"{name}/Adamic-Adar") > told.pop(f"{name}/common neighbours") > 0.5
    assert not told


@pytest.mark.skipif(not (SHARED / "Cora").exists(), reason=f"Cora is not in {SHARED}")
def test_cora_by_path_reaches_what_the_paper_reports(tmp_path):
    """ROC-AUC 91.0 and average precision 92.0 (Kipf & Welling 2016, table 1), less their noise."""
    tables = TASK.ingest(Source(kind="planetoid", root=str(SHARED), name="Cora"))
    folder = train(tables, tmp_path, load_settings("links-gcn"))
    test = tables["cases"][tables["cases"]["split"] == "test"]
    found = ranking(logits(folder, test).numpy(), test["target"].to_numpy())
    assert found["ROC-AUC"] > 0.90
    assert found["average precision"] > 0.91


@pytest.mark.parametrize("n", [2, 3, 50])
def test_nodes_that_are_all_alike_are_drawn_in_one_place(n):
    """t-SNE would divide by their spread, and end the process."""
    figure = draw_embeddings(np.ones((n, 5), np.float32), np.arange(n) % 2)
    assert np.ptp(figure.axes[0].collections[0].get_offsets(), axis=0).tolist() == [0, 0]
