from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure

from hour9.engine.checkpoint import Checkpoint
from hour9.engine.fit import Batch
from hour9.engine.run import Run
from hour9.engine.settings import Settings, load_settings
from hour9.graphs import lesson, nodes, pictures
from hour9.graphs.gcn import normalised_adjacency, smoothed
from hour9.graphs.lesson import Lesson, disagreement
from hour9.graphs.nodes import TASK, Everyone, alike, build, labelled, mark, surroundings
from hour9.graphs.pictures import draw_embeddings
from hour9.graphs.settings import Gat, Gcn, Mpnn
from hour9.graphs.tables import Graph, UnknownNode
from hour9.params import read_params
from hour9.task import Source, Tables, UnknownName, without_test
from hour9.validate import DataRejected, check

SOURCE = Source(root="src/hour9/graphs/digits.py", size=500)
SHARED = {
    "task": "nodes",
    "topic": "graphs",
    "parent": "data/nodes",
    "device": "cpu",
    "precision": "fp32",
    "epochs": 60,
    "patience": 60,
    "learning_rate": 0.05,
    "decay": False,
}
SETTINGS = {
    "gcn": Gcn(architecture="gcn", **SHARED),
    "gat": Gat(architecture="gat", heads=2, **SHARED),
    "mpnn": Mpnn(architecture="mpnn", **SHARED),
    "sampled": Gcn(architecture="gcn", neighbours=[3, 2], **SHARED | {"batch_size": 150}),
}


@pytest.fixture(scope="module")
def tables() -> Tables:
    return TASK.ingest(SOURCE)


@pytest.fixture(scope="module", params=SETTINGS)
def settings(request: pytest.FixtureRequest) -> Settings:
    """One after the other, what each architecture may vary."""
    return SETTINGS[request.param]


@pytest.fixture(scope="module")
def model(tables: Tables, settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tables, tmp_path_factory.mktemp("nodes"), settings)


def train(tables: Tables, folder: Path, settings: Settings, seconds: float = 1e9, **more) -> Path:
    checkpoint = Checkpoint(folder / "checkpoint", seconds)
    TASK.train(Run(settings, without_test(tables), folder, folder / "model", checkpoint, **more))
    return folder / "model"


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_source_that_it_cannot_read_is_refused_with_those_it_can():
    with pytest.raises(UnknownName, match="no source 'web'; it reads embedded, path, planetoid"):
        TASK.ingest(SOURCE.model_copy(update={"kind": "web"}))


def test_degrees_count_both_ends_of_an_edge(tables):
    edges = tables["edges"]
    node, degree = tables["nodes"].loc[7, ["node", "degree"]]
    assert degree == (edges["source"] == node).sum() + (edges["target"] == node).sum()


def test_slices_follow_the_degree(tables):
    cases = tables["cases"].merge(tables["nodes"], on="node")
    ranges = cases.groupby("group.degree")["degree"].agg(["min", "max"])
    assert ranges.loc["low", "max"] < ranges.loc["middle", "min"]
    assert ranges.loc["middle", "max"] < ranges.loc["high", "min"]


def test_slices_follow_the_classes_of_the_neighbours_that_training_may_know():
    """A path 0 - 1 - 2 - 3 - 4 and an edge 2 - 5; node 5 is a test node, so nobody counts it."""
    edges = pd.DataFrame({"source": [0, 1, 2, 3, 2], "target": [1, 2, 3, 4, 5]})
    cases = pd.DataFrame(
        {
            "node": [0, 1, 2, 3, 4, 5],
            "split": ["train", "train", "train", "validation", "validation", "test"],
            "target": [7, 7, 8, 7, 8, 7],
        }
    )
    some, everyone = "some unlike", "all alike"
    assert alike(edges, cases).tolist() == [everyone, *[some] * 5]
    cases["split"] = ["train", *["test"] * 5]
    assert alike(edges, cases).tolist() == ["unknown", everyone, *["unknown"] * 4]


def test_the_graph_keeps_its_contract(tables):
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
        ("edges", "target", 10**6),  # a node that is not there
        ("edges", "source", -1),
        ("edges", "distance", float("nan")),
        ("edges", "distance", -0.5),
        ("edges", "distance", 1e7),
        ("features", "node", 10**6),
        ("features", "value", float("nan")),
        ("features", "value", float("inf")),
        ("features", "value", 1e7),  # a broken unit
        ("features", "value", 0.0),  # a zero stands for itself by its absence
        ("features", "feature", -1),
        ("features", "feature", 2 * 10**9),  # would be a matrix of as many columns
        ("cases", "node", 10**6),
        ("cases", "target", 100),
        ("cases", "target", None),
        ("cases", "group.degree", "many"),
        ("cases", "group.neighbours", "friendly"),
    ],
)
def test_a_wrong_cell_breaks_the_contract(tables, name, column, value):
    with pytest.raises(DataRejected, match=rf"{name}\.(\w+\.)*{column}"):
        check(TASK, dirty(tables, name, column, value))


def test_an_edge_that_stands_twice_or_backwards_or_on_itself_breaks_the_contract(tables):
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


@pytest.mark.parametrize("name", ["nodes", "features", "cases"])
def test_a_row_that_stands_twice_breaks_the_contract(tables, name):
    again = pd.concat([tables[name], tables[name].iloc[[-1]]], ignore_index=True)
    with pytest.raises(DataRejected, match=rf"{name}\.\w*node"):
        check(TASK, {**tables, name: again})


@pytest.mark.parametrize("name", ["nodes", "features", "edges", "cases"])
def test_an_empty_table_breaks_the_contract(tables, name):
    with pytest.raises(DataRejected, match=name):
        check(TASK, {**tables, name: tables[name].iloc[:0]})


def test_a_class_that_nobody_teaches_breaks_the_contract(tables):
    cases = tables["cases"].copy()
    taught_nine = (cases["split"] == "train") & (cases["target"] == 9)
    with pytest.raises(DataRejected, match=r"cases\.target: .*in_set: \d+ rows break it: row"):
        check(TASK, {**tables, "cases": cases[~taught_nine].reset_index(drop=True)})


def test_labels_between_whole_numbers_break_the_contract(tables):
    cases = tables["cases"].assign(target=tables["cases"]["target"] + 0.5)
    with pytest.raises(DataRejected, match=r"cases\.target: .*in_set: 500 rows break it"):
        check(TASK, {**tables, "cases": cases})


def test_one_class_alone_breaks_the_contract(tables):
    with pytest.raises(DataRejected, match=r"cases\.target: .*unique_value_count.*: found 1"):
        check(TASK, {**tables, "cases": tables["cases"].assign(target=3)})


def test_a_hundred_classes_may_be_told_apart(tables):
    check(TASK, {**tables, "cases": tables["cases"].assign(target=tables["cases"]["target"] + 90)})


@pytest.fixture(scope="module")
def digits() -> tuple[Tables, pd.Series]:
    """The embedded graph as params.yaml asks for it, and what needs no edges on it."""
    tables = TASK.ingest(Source(**read_params()["tasks"]["nodes"]["source"]))
    return tables, TASK.baseline(tables)["score"]


@pytest.mark.parametrize("candidate", ["nodes-gcn", "nodes-gat", "nodes-mpnn"])
def test_the_candidate_of_params_finds_more_than_one_that_is_blind_to_edges(
    digits, tmp_path, candidate
):
    """Beyond doubt: two standard errors of the paired difference on the test nodes."""
    tables, blind = digits
    settings = load_settings(candidate)
    folder = train(tables, tmp_path, settings.model_copy(update={"epochs": 120}))
    test = tables["cases"]["split"] == "test"
    gain = (TASK.score(folder, tables)["score"] - blind)[test]
    assert gain.mean() > 2 * gain.sem()


def test_the_same_training_gives_the_same_bytes(tables, settings, model, tmp_path):
    assert content(train(tables, tmp_path, settings)) == content(model)


def test_a_killed_training_goes_on_to_the_same_bytes(tables, settings, model, tmp_path):
    class Killed(Exception):  # noqa: N818
        pass

    def publish(points):
        if len(points) == 30:
            raise Killed

    with pytest.raises(Killed):
        train(tables, tmp_path, settings, seconds=0, publish=publish)
    assert not (tmp_path / "model").exists()
    assert content(train(tables, tmp_path, settings)) == content(model)


@pytest.mark.parametrize(
    ("views", "expected"),
    [  # squared, halved temperature: 0.8 and 0.2 become 0.64 / 0.68 = 16/17 and 1/17
        ([[0.8, 0.2], [0.8, 0.2]], 2 * (16 / 17 - 0.8) ** 2),  # alike, but not yet sure
        ([[0.9, 0.1], [0.1, 0.9]], 2 * 0.4**2),  # their mean is as unsure as can be
        ([[1.0, 0.0], [1.0, 0.0]], 0.0),
    ],
    ids=["unsure", "opposed", "sure-and-alike"],
)
def test_answers_disagree_by_their_distance_from_their_mean_made_surer(views, expected):
    logits = [torch.tensor([view]).log().clamp(-50) for view in views]
    torch.testing.assert_close(disagreement(logits), torch.tensor(expected))


def lesson_on(asked: int, architecture: str = "gcn", **settings: float) -> tuple[Lesson, Batch]:
    """Nodes 0 - 1 and 2 - 3, each with a feature of its own; one alone has a label."""
    node = [0, 1, 2, 3]
    case = {"case": [str(asked)], "node": [asked], "split": ["train"], "target": [1]}
    tables = {
        "nodes": pd.DataFrame({"node": node}),
        "features": pd.DataFrame({"node": node, "feature": node, "value": 1.0}),
        "edges": pd.DataFrame({"source": [0, 2], "target": [1, 3], "distance": 1.0}),
        "cases": pd.DataFrame(case),
    }
    chosen = SETTINGS[architecture].model_copy(update={"feature_dropout": 0.0, **settings})
    torch.manual_seed(0)
    shape = {"features": 4, "edge_features": 1, "classes": 2}
    graph, model = Graph.of(tables), build({"settings": chosen.model_dump(), **shape})
    around, known = surroundings(graph, architecture), labelled(graph, tables["cases"], "train")
    return Lesson(chosen, around, model, known), known


@pytest.mark.parametrize("architecture", ["gcn", "gat", "mpnn"])
@pytest.mark.parametrize("consistency", [0.0, 1.0])
def test_only_consistency_learns_from_what_no_labelled_node_hears(architecture, consistency):
    lesson, known = lesson_on(0, architecture, consistency=consistency, l2=0.0)
    lesson.loss(lesson.model, known).backward()
    learnt = lesson.model.first.weight.grad.abs().sum(dim=1) > 0  # of each feature's weights
    assert learnt.tolist() == [True, True, consistency > 0, consistency > 0]


@pytest.mark.parametrize("consistency", [0.0, 1e-9])
def test_a_label_is_told_of_its_own_node(consistency):
    lesson, known = lesson_on(3, consistency=consistency, l2=0.0)
    answers = lesson.model.eval()(lesson.around.field(np.arange(4), [0, 0]))
    expected = F.cross_entropy(answers[[3]], known["target"])
    torch.testing.assert_close(lesson.loss(lesson.model, known), expected)


def test_l2_is_a_penalty_on_half_the_squares_of_the_first_weights():
    (plain, known), (penalised, _) = lesson_on(0, l2=0.0), lesson_on(0, l2=1.0)
    more = penalised.loss(penalised.model.eval(), known) - plain.loss(plain.model.eval(), known)
    torch.testing.assert_close(more, plain.model.first.weight.square().sum() / 2)


def test_an_epoch_is_marked_by_its_accuracy_less_a_tenth_of_its_surprise():
    shares = torch.tensor([[0.8, 0.2], [0.6, 0.4], [0.5, 0.5]])
    known = {"position": torch.tensor([0, 1]), "target": torch.tensor([0, 1])}
    expected = 0.5 + 0.1 * (np.log(0.8) + np.log(0.4)) / 2
    assert mark(shares, known) == pytest.approx(expected)


def test_answers_are_smoothed_as_the_settings_ask(tables):
    graph = Graph.of(tables)
    around = surroundings(graph, "gcn")
    shape = {"features": around.features.width, "classes": 10}
    torch.manual_seed(0)
    model = build({"settings": SETTINGS["gcn"].model_dump(), **shape}).eval()
    plain, smooth = (
        Everyone(SETTINGS["gcn"].model_copy(update={"smoothing": s}), around, graph).shares(model)
        for s in (0.0, 0.8)
    )
    adjacency = normalised_adjacency(graph.edges, len(graph.nodes))
    torch.testing.assert_close(smooth, smoothed(plain, adjacency, 0.8))
    assert (smooth - plain).abs().max() > 1e-4


def test_a_large_graph_is_answered_for_in_parts_as_at_once(tables, model, monkeypatch):
    whole = TASK.score(model, tables)
    monkeypatch.setattr(nodes, "LARGE", 100)
    parts = TASK.score(model, tables)
    np.testing.assert_allclose(parts["confidence"], whole["confidence"], rtol=1e-5)
    assert parts["score"].equals(whole["score"])


def test_only_the_mpnn_hears_how_long_edges_are_in_the_units_of_its_training(
    tables, settings, model
):
    longer = tables["edges"].assign(distance=3 * tables["edges"]["distance"])
    before, after = (
        TASK.score(model, {**tables, "edges": edges})["confidence"]
        for edges in (tables["edges"], longer)
    )
    moved = (before - after).abs().max() > 1e-4
    assert moved == (settings.architecture == "mpnn")


def test_the_baseline_learns_from_train_alone_and_is_chosen_without_test(tables):
    cases, scores = tables["cases"], TASK.baseline(tables)["score"]
    means = scores.groupby(cases["split"]).mean()
    assert means["train"] > means["validation"] > 0.5  # of ten classes
    assert means["test"] > 0.5
    test = cases["split"] == "test"
    hidden = cases.assign(target=cases["target"].where(~test, 0))
    assert TASK.baseline({**tables, "cases": hidden})["score"][~test].equals(scores[~test])


def test_consistency_makes_one_step_of_all_labelled_nodes(tables, tmp_path):
    settings = SETTINGS["gcn"].model_copy(update={"consistency": 1.0, "batch_size": 1000})
    few = settings.model_copy(update={"batch_size": 10})
    weights = [
        (train(tables, tmp_path / str(s.batch_size), s) / "model.safetensors").read_bytes()
        for s in (settings, few)
    ]
    assert weights[0] == weights[1]


def test_consistency_in_a_large_graph_is_refused(tables, tmp_path, monkeypatch):
    monkeypatch.setattr(lesson, "LARGE", 100)
    with pytest.raises(ValueError, match=r"fewer than 100; the graph has 500: set it to 0"):
        train(tables, tmp_path, SETTINGS["gcn"].model_copy(update={"consistency": 1.0}))


def test_the_labels_of_test_nodes_change_nothing(tables, settings, model, tmp_path):
    cases = tables["cases"].copy()
    cases.loc[cases["split"] == "test", "target"] = 0
    assert content(train({**tables, "cases": cases}, tmp_path, settings)) == content(model)


def test_a_model_that_a_gpu_trained_answers_without_one(tables, model, of_a_gpu):
    assert TASK.score(of_a_gpu, tables).equals(TASK.score(model, tables))


def test_a_case_scores_one_where_the_answer_is_its_label(tables, model):
    cases, scores = tables["cases"], TASK.score(model, tables)
    answers = TASK.answer(model)(cases[["node"]])
    assert scores["case"].tolist() == cases["case"].tolist()
    assert ((answers["label"] == cases["target"]) == (scores["score"] == 1)).all()
    assert (scores["confidence"] == answers["confidence"]).all()
    assert scores["confidence"].between(0.1, 1).all()  # the likeliest of ten


def test_a_node_that_no_edge_touches_is_answered_for(tables, model):
    edges, lonely = tables["edges"], int(tables["nodes"].loc[3, "node"])
    apart = (edges["source"] == lonely) | (edges["target"] == lonely)
    scores = TASK.score(model, {**tables, "edges": edges[~apart].reset_index(drop=True)})
    assert scores["confidence"].between(0.1, 1).all()


def test_an_unknown_node_is_refused(model):
    with pytest.raises(UnknownNode, match=r"1 unknown nodes, e\.g\. \[5000\]"):
        TASK.answer(model)(pd.DataFrame({"node": [5000]}))


def test_the_example_can_be_answered(tables, model):
    assert list(TASK.answer(model)(TASK.example(tables)).columns) == ["label", "confidence"]


def test_nodes_with_the_same_features_are_the_same_whatever_their_edges(tables):
    features = tables["features"]
    first, second = tables["nodes"]["node"][:2]
    copied = features[features["node"] == first].assign(node=second)
    twins = pd.concat([features[features["node"] != second], copied])
    prints = TASK.fingerprint({**tables, "features": twins.sample(frac=1, random_state=0)})
    by_case = prints.set_index("case")["fingerprint"]
    assert by_case.nunique() == len(tables["cases"]) - 1
    of = tables["cases"].set_index("node")["case"]
    assert by_case[of[first]] == by_case[of[second]]


def test_its_picture_has_the_answers_beside_the_labels_and_says_how_many_are_wrong(
    tables, model, tmp_path, monkeypatch
):
    given = []
    monkeypatch.setattr(nodes, "draw_embeddings", lambda *args: given.extend(args) or Figure())
    TASK.draw(model, tables, tmp_path)
    cases = tables["cases"][tables["cases"]["split"] == "test"]
    _, labels, answered, title = given
    assert labels.tolist() == cases["target"].tolist()
    assert answered.tolist() == TASK.answer(model)(cases[["node"]])["label"].tolist()
    assert title.endswith(f"{(labels != answered).sum()} of {len(cases)}")
    assert len(list(tmp_path.glob("*.png"))) == 1


def test_a_single_node_is_drawn_too():
    figure = draw_embeddings(np.ones((1, 5), np.float32), np.array([3]))
    assert len(figure.axes[0].collections[0].get_offsets()) == 1


def test_of_many_nodes_those_that_are_shown_keep_their_classes(monkeypatch):
    monkeypatch.setattr(pictures, "SHOWN", 12)
    draw = np.random.default_rng(1)
    labels = draw.integers(0, 2, 60)
    vectors = np.stack([100.0 * labels, draw.random(60)], axis=1).astype(np.float32)
    *classes, _ = draw_embeddings(vectors, labels).axes[0].collections
    one, other = (np.asarray(points.get_offsets()) for points in classes)
    assert len(one) + len(other) == 12
    apart = np.linalg.norm(one.mean(axis=0) - other.mean(axis=0))
    assert apart > 2 * max(np.ptp(one, axis=0).max(), np.ptp(other, axis=0).max()) / 2


def test_a_ring_has_the_colour_of_the_wrong_answer():
    labels, answered = np.array([0, 0, 1, 1, 2]), np.array([0, 2, 1, 1, 2])
    figure = draw_embeddings(np.eye(5, dtype=np.float32), labels, answered)
    *classes, rings = figure.axes[0].collections
    assert len(rings.get_offsets()) == 1
    np.testing.assert_array_equal(rings.get_facecolor(), classes[0].get_facecolor())
    np.testing.assert_array_equal(rings.get_edgecolor(), classes[2].get_facecolor())


def test_a_perturbed_graph_lacks_a_fifth_of_its_edges_and_nothing_else(tables):
    worse = TASK.perturb(tables, 0)
    assert len(worse["edges"]) == round(0.8 * len(tables["edges"]))
    assert len(worse["edges"].merge(tables["edges"])) == len(worse["edges"])
    assert all(worse[name] is tables[name] for name in tables if name != "edges")
