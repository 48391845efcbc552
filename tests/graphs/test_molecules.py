import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import hour9
from hour9.engine.checkpoint import Checkpoint
from hour9.engine.run import Run
from hour9.engine.settings import Settings
from hour9.graphs import blind, molecule_pictures
from hour9.graphs.blind import counts
from hour9.graphs.molecule_tables import to_graphs
from hour9.graphs.molecules import TASK, distance, estimates, load, metric, targets_of
from hour9.graphs.settings import Gin, SetToSet
from hour9.registry.examination import compared
from hour9.registry.packages import Package
from hour9.sources.splits import SourceRefused
from hour9.task import Source, Tables, UnknownName, only, without_test
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


def with_bonds_swapped(tables: Tables) -> Tables:
    """Each long bond a short one, and the other way round."""
    swapped = tables["edges"].rename(columns={"long": "short", "short": "long"})
    return {**tables, "edges": swapped[tables["edges"].columns]}


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


@pytest.mark.parametrize("name", ["", "ESOL", "other.csv"])
def test_a_set_that_is_not_there_is_refused_with_what_is(tmp_path, name):
    (tmp_path / "other.csv").write_text("smiles,target\nCCO,1.0\n")
    with pytest.raises(FileNotFoundError, match=f"no set '{name}': .* but other.csv; set source"):
        TASK.ingest(Source(kind="path", root=str(tmp_path), name=name))


def test_who_learned_from_smiles_is_asked_in_smiles_too(tmp_path):
    chains = ["C" * size + end for size in range(1, 25) for end in ("", "O", "=O", "C#N")]
    rows = [f"{text},{len(text) / 7}" for text in chains]
    (tmp_path / "chains.csv").write_text("\n".join(["smiles,target", *rows]))
    source = Source(kind="path", root=str(tmp_path), name="chains")
    tables = deal_splits(TASK.ingest(source))
    folder = train(tables, tmp_path / "model", SETTINGS["gin"])
    written, as_numbers = TASK.answer(folder), TASK.requests(tables)
    asked = pd.DataFrame({"graph": [f" {chains[int(case)]} " for case in tables["cases"]["case"]]})
    assert written(asked).equals(written(as_numbers))
    for text, message in (
        ("C((", "row 0 is no molecule in SMILES: RDKit reads no molecule there"),
        ("", "row 0 is no molecule in SMILES"),
        ("CCS", "no molecule of the training data had element S"),
        ("{", "row 0 is no graph"),
    ):
        with pytest.raises(ValueError, match=message):
            written(pd.DataFrame({"graph": [text]}))


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


def test_slices_follow_the_size(tables):
    parts = pd.concat([tables["nodes"]["case"], tables["edges"]["case"]]).value_counts()
    sizes = parts[tables["cases"]["case"]].groupby(tables["cases"]["group.size"].to_numpy())
    assert sizes.max()["small"] < sizes.min()["large"]


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
        ("edges", "long", float("inf")),
        ("nodes", "carbon", float("nan")),
        ("nodes", "carbon", float("inf")),
        ("nodes", "node", -1),
        ("nodes", "case", "1000"),
        ("cases", "target", None),
        ("cases", "target", 1e7),
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


def test_targets_that_are_all_the_same_break_the_contract():
    tables = deal_splits(TASK.ingest(SOURCE))
    with pytest.raises(DataRejected, match=r"cases\.target: .*unique_value_count.*found 1"):
        check(TASK, {**tables, "cases": tables["cases"].assign(target=0.0)})


def test_a_graph_without_nodes_breaks_the_contract():
    tables = deal_splits(TASK.ingest(SOURCE))
    nodes = tables["nodes"][tables["nodes"]["case"] != "1"].reset_index(drop=True)
    with pytest.raises(DataRejected, match=r"cases\.case.*case='1'"):
        check(TASK, {**tables, "nodes": nodes})


def test_a_node_that_stands_twice_breaks_the_contract():
    tables = deal_splits(TASK.ingest(SOURCE))
    again = pd.concat([tables["nodes"], tables["nodes"].iloc[[-1]]], ignore_index=True)
    with pytest.raises(DataRejected, match=r"nodes\.case\.node"):
        check(TASK, {**tables, "nodes": again})


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


def test_what_it_is_taught_it_learns_in_the_targets_unit(tables, settings, tmp_path):
    """At least a third of the way from one answer for all to none wrong."""
    cases = tables["cases"]
    taught = cases.index % 2 == 0
    halves = {**tables, "cases": cases.assign(split=np.where(taught, "train", "validation"))}
    eager = {"epochs": 60, "patience": 60, "learning_rate": 0.01, "hidden": 16}
    folder = train(halves, tmp_path, settings.model_copy(update=eager))
    score, target = TASK.score(folder, halves)["score"][taught].mean(), cases["target"][taught]
    if metric(tables) == "accuracy":
        most = target.value_counts(normalize=True).max()
        assert score > most + (1 - most) / 3
    else:
        assert -score < (target - target.median()).abs().mean() * 2 / 3


def test_the_epoch_that_validates_best_stays(tables, settings, tmp_path):
    some = settings.model_copy(update={"epochs": 8, "learning_rate": 0.02})
    run = Run(some, without_test(tables), tmp_path, tmp_path / "m", Checkpoint(tmp_path / "c"))
    TASK.train(run)
    model, config = load(run.folder)
    rows = tables["cases"]["split"] == "validation"
    kept = only(tables, rows)
    found = distance(model(to_graphs(kept, config)), targets_of(kept["cases"], config))
    said = [point["validation"] for point in run.curve]
    assert max(said) == pytest.approx(-found.item(), rel=1e-4)


def test_it_hears_what_bonds_carry(tables, model):
    one, other = (estimates(model, t) for t in (tables, with_bonds_swapped(tables)))
    bonded = tables["cases"]["case"].isin(tables["edges"]["case"]).to_numpy()
    assert (np.abs(one - other).max(axis=1) > 1e-6)[bonded].mean() > 0.9
    np.testing.assert_allclose(one[~bonded], other[~bonded], rtol=1e-5)


def test_the_order_of_the_rows_plays_no_part(tables, model):
    shuffled = {
        name: table if name == "cases" else table.sample(frac=1, random_state=0)
        for name, table in tables.items()
    }
    np.testing.assert_allclose(estimates(model, shuffled), estimates(model, tables), rtol=1e-4)
    one, other = (TASK.describe(tables, TASK.requests(t)) for t in (tables, shuffled))
    pd.testing.assert_frame_equal(one, other)
    nodes = [json.loads(g)["nodes"] for g in TASK.requests(shuffled)["graph"]]
    assert nodes == [json.loads(g)["nodes"] for g in TASK.requests(tables)["graph"]]


def test_a_description_has_the_sizes_and_the_means(tables):
    last = TASK.describe(tables, TASK.example(tables)).iloc[-1]
    case = tables["cases"]["case"].iloc[-1]
    nodes, edges = (t[t["case"] == case] for t in (tables["nodes"], tables["edges"]))
    assert (last["nodes"], last["edges"]) == (len(nodes), len(edges))
    assert last["nodes carbon"] == pytest.approx(nodes["carbon"].mean())
    assert last["edges long"] == pytest.approx(edges["long"].mean())


def test_a_graph_is_the_same_whatever_its_nodes_are_called_and_another_with_other_bonds(tables):
    nodes, edges, plain = tables["nodes"], tables["edges"], TASK.fingerprint(tables)
    last = nodes.groupby("case")["node"].max()
    backwards = {
        **tables,
        "nodes": nodes.assign(node=nodes["case"].map(last) - nodes["node"]),
        "edges": edges.assign(
            source=edges["case"].map(last) - edges["target"],
            target=edges["case"].map(last) - edges["source"],
        ),
    }
    assert TASK.fingerprint(backwards).equals(plain)
    first = ~edges.duplicated("case")  # one bond of each graph becomes one of the other kind
    other = edges.assign(**{kind: (edges[kind] - first).abs() for kind in ("long", "short")})
    changed = TASK.fingerprint({**tables, "edges": other})["fingerprint"]
    bonded = tables["cases"]["case"].isin(edges["case"])
    assert ((changed != plain["fingerprint"]) == bonded).all()


def test_a_perturbed_molecule_lacks_a_twentieth_of_the_bonds_and_nothing_else(tables):
    worse = TASK.perturb(tables, 0)
    assert len(worse["edges"]) == round(0.95 * len(tables["edges"]))
    assert all(worse[name] is tables[name] for name in tables if name != "edges")


def test_the_targets_of_test_graphs_change_nothing(tables, settings, model, tmp_path):
    cases = tables["cases"].copy()
    cases.loc[cases["split"] == "test", "target"] = cases["target"].iloc[0]
    assert content(train({**tables, "cases": cases}, tmp_path, settings)) == content(model)


def test_a_model_that_a_gpu_trained_answers_without_one(tables, model, of_a_gpu):
    assert TASK.score(of_a_gpu, tables).equals(TASK.score(model, tables))


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


def test_the_baseline_is_chosen_on_validation_alone(tables, monkeypatch):
    cases, found = tables["cases"], TASK.baseline(tables)["score"]
    test = cases["split"] == "test"
    hidden = cases.assign(target=cases["target"].where(~test, cases["target"].iloc[0]))
    assert TASK.baseline({**tables, "cases": hidden})["score"][~test].equals(found[~test])
    if metric(tables) == "-|error|":
        assert (found <= 0).all()
        return
    rows, each = cases["split"] == "validation", []
    for penalty in blind.PENALTIES:
        monkeypatch.setattr(blind, "PENALTIES", [penalty])
        each.append(TASK.baseline(tables)["score"][rows].mean())
    assert found[rows].mean() == max(each) > min(each)


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


def test_the_worst_answers_are_drawn_first_with_what_was_said_and_what_is(
    tables, tmp_path, monkeypatch
):
    drawn, cases = [], tables["cases"]
    monkeypatch.setattr(
        molecule_pictures, "draw_graph", lambda axis, _, case: drawn.append((case, axis))
    )
    test = cases.index[cases["split"] == "test"][:3]
    if metric(tables) == "accuracy":
        found = pd.DataFrame({"label": cases["target"], "confidence": 0.9})
        other = {"class 0": "class 1", "class 1": "class 0"}
        found.loc[test, "label"] = cases["target"][test].map(other)
        found.loc[test, "confidence"] = [0.6, 0.8, 0.7]
        said = [f"{found['label'][i]} said, {cases['target'][i]} is" for i in test]
    else:
        found = pd.DataFrame({"value": cases["target"]})
        found.loc[test, "value"] += [1, -3, 2]
        said = [f"{found['value'][i]:.2f} said, {cases['target'][i]:.2f} is" for i in test]
    molecule_pictures.draw_wrong(tables, found, tmp_path / "wrong.png")
    worst = [(case, axis.get_title()) for case, axis in drawn[:3]]
    assert worst == [(cases["case"][test[i]], said[i]) for i in (1, 2, 0)]


def test_two_versions_are_compared_on_the_test_graphs_alone(tables, model):
    code = Path(hour9.__file__).parents[1]
    version = Package("molecules", "graphs", model, model, code, model, {})
    found = compared(version, version, tables)
    assert set(found["case"]) == set(tables["cases"].query("split == 'test'")["case"])
    assert (found["score"] == found["champion"]).all()


def test_the_same_model_draws_the_same_bytes(tables, model, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        TASK.draw(model, tables, tmp_path / name)
    assert content(tmp_path / "one") == content(tmp_path / "two")
    assert "what_it_gets_most_wrong.png" in content(tmp_path / "one")
