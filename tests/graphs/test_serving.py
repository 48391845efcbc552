"""Over HTTP, what no graph model can answer is refused in words, and never with a 500."""

import json

import pytest
from starlette.testclient import TestClient
from tests.serving import answers_the_readme, ask, each, refuses, served

from hour9.engine.checkpoint import Checkpoint
from hour9.engine.run import Run
from hour9.engine.settings import Source
from hour9.graphs import links, molecules, nodes
from hour9.graphs.settings import Gae, Gcn, Gin
from hour9.task import without_test
from hour9.validate import deal_splits

SHORT = {"topic": "graphs", "parent": "x", "device": "cpu", "precision": "fp32", "epochs": 1}
TASKS = {
    "nodes": (nodes.TASK, Gcn(task="nodes", architecture="gcn", **SHORT), "digits.py", 200),
    "links": (links.TASK, Gae(task="links", architecture="gae", **SHORT), "digits.py", 200),
    "molecules": (
        molecules.TASK, Gin(task="molecules", architecture="gin", layers=1, hidden=4, **SHORT),
        "atlas.py", 52,
    ),
}  # fmt: skip
CARBON, DOUBLE = [1, 0, 0], [0, 1]


def graph(nodes: object, edges: object) -> dict[str, str]:
    return {"graph": json.dumps({"nodes": nodes, "edges": edges})}


BAD = {  # what is sent, and what the answer must say
    "nodes": [
        ({"node": 10**6}, "1000000"),
        ({"node": -1}, "-1"),
        ({"node": None}, "node"),
        ({"node": "first"}, "node"),
        ({"node": [1]}, "node"),
        ({"vertex": 1}, "node"),
    ],
    "links": [
        ({"one": 12, "other": 10**6}, "1000000"),
        ({"one": 12}, "other"),
        ({"one": 12, "other": None}, "other"),
        ({"one": "first", "other": 12}, "one"),
        ({"one": 5, "other": 5}, "a pair is two different nodes; got 5 twice"),
    ],
    "molecules": [
        ({"graph": "C-C=O"}, "row 0"),
        ({"graph": "[]"}, "row 0"),
        ({"graph": "{}"}, "row 0"),
        ({"graph": ""}, "row 0"),
        ({"graph": None}, "graph"),
        ({"graph": 7}, "graph"),
        (graph([], []), "row 0"),
        (graph([[1, 0]], []), "row 0: a node has the numbers carbon, nitrogen, oxygen"),
        (
            graph([CARBON, CARBON], [[0, 2, *DOUBLE]]),
            "row 0: an edge joins two of its 2 nodes",
        ),
        (graph([CARBON, CARBON], [[0, -1, *DOUBLE]]), "row 0"),
        (graph([CARBON, CARBON], [[0, 0.5, *DOUBLE]]), "row 0"),
        (graph([CARBON, CARBON], [[0, 1]]), "row 0"),
        (graph([[float("nan"), 0, 0]], []), "row 0: a number of the graph is not finite"),
        (graph([[1e39, 0, 0]], []), "row 0: a number of the graph is not finite, or above 1000000"),
        (graph([CARBON, CARBON], [[0, 1, -1e300, 0]]), "row 0: a number of the graph is not"),
        (graph([["carbon", 0, 0]], []), "row 0"),
        (graph([["1", "0", "0"]], []), "row 0 is no graph"),
        (graph([[CARBON]], []), "row 0 is no graph"),
        (graph([[10**400, 0, 0]], []), "row 0 is no graph"),
        ({"graph": "[" * 100_000}, "row 0 is no graph"),
        ({"graph": '{"nodes": [[1, 0, 0]], "edges": {}}'}, "row 0 is no graph"),
        (
            graph([CARBON, CARBON], [[1, 1, *DOUBLE]]),
            "row 0: an edge joins two different nodes; not so [1.0, 1.0]",
        ),
        (
            graph([CARBON, CARBON], [[0, 1, *DOUBLE], [1, 0, *DOUBLE]]),
            "row 0: an edge stands once, in one direction; not so [1.0, 0.0]",
        ),
        (graph({"first": CARBON}, []), "row 0"),
        ({"smiles": "CC"}, "graph"),
    ],
}


@pytest.fixture(scope="module")
def servers(tmp_path_factory) -> dict[str, TestClient]:
    """A hardly trained model of each task, as the registry packs it, behind MLflow's server."""
    made = []
    for name, (task, settings, root, size) in TASKS.items():
        tables = deal_splits(task.ingest(Source(root=f"src/hour9/graphs/{root}", size=size)))
        scratch = tmp_path_factory.mktemp(name)
        run = Run(settings, without_test(tables), scratch, scratch / "m", Checkpoint(scratch / "c"))
        task.train(run)
        made.append((task, run.folder, tables))
    return served("graphs", made, tmp_path_factory.mktemp)


@pytest.mark.parametrize(("task", "sent", "said"), each(BAD))
def test_a_bad_request_is_refused_in_words(servers, task, sent, said):
    refuses(servers[task], sent, said)


@pytest.mark.parametrize("task", TASKS)
def test_the_example_of_the_readme_is_answered(servers, task):
    answers_the_readme(servers[task], task)


@pytest.mark.parametrize("task", TASKS)
def test_no_request_has_no_answer_and_no_500(servers, task):
    status, words = ask(servers[task])
    assert status < 500, words


def test_a_molecule_without_bonds_has_an_answer(servers):
    status, words = ask(servers["molecules"], graph([CARBON], []))
    assert status == 200, words
