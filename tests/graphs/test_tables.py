import pandas as pd
import pytest
import torch

from hour9.graphs.nodes import surroundings
from hour9.graphs.tables import Graph, UnknownNode, find

TABLES = {
    "nodes": pd.DataFrame({"node": [10, 20, 30]}),
    "edges": pd.DataFrame({"source": [10, 20], "target": [30, 30], "distance": [1.0, 1.0]}),
    "features": pd.DataFrame(
        {"node": [20, 10, 20], "feature": [0, 2, 1], "value": [1.0, 4.0, 3.0]}
    ),
}


def test_ids_become_positions():
    assert Graph.of(TABLES).edges.tolist() == [[0, 1], [2, 2]]


def test_features_are_shares_and_a_node_without_any_stays_at_zero():
    expected = [[0, 0, 1], [0.25, 0.75, 0], [0, 0, 0]]
    assert Graph.of(TABLES).features().matrix.dense().tolist() == expected


def test_a_graph_with_more_features_than_the_model_is_refused():
    with pytest.raises(ValueError, match="the model knows 2 features, the graph has 3"):
        Graph.of(TABLES).features(width=2)


def test_a_graph_with_fewer_features_than_the_model_is_widened():
    assert Graph.of(TABLES).features(width=7).shape == (3, 7)


def test_a_file_gives_the_graph_back(tmp_path):
    graph = Graph.of(TABLES)
    graph.save(tmp_path)
    again = Graph.load(tmp_path)
    assert all(torch.equal(vars(again)[name], tensor) for name, tensor in vars(graph).items())


def test_what_edges_carry_is_scaled_to_be_around_one():
    edges = TABLES["edges"].assign(distance=[1.0, 3.0], bonds=[4.0, 0.0])
    graph = Graph.of({**TABLES, "edges": edges})
    assert graph.edge_units().tolist() == [2.0, 2.0]
    assert surroundings(graph, "mpnn").edge_x.tolist() == [[0.5, 2.0], [1.5, 0.0]]
    units = torch.tensor([1.0, 4.0])  # of the graph that a model was trained on
    assert surroundings(graph, "mpnn", units=units).edge_x.tolist() == [[1.0, 1.0], [3.0, 0.0]]


def test_edges_that_carry_nothing_carry_a_one():
    edges = TABLES["edges"][["source", "target"]]
    assert Graph.of({**TABLES, "edges": edges}).edge_x.tolist() == [[1.0], [1.0]]


def test_an_edge_to_nowhere_is_refused():
    edges = pd.DataFrame({"source": [10], "target": [99], "distance": [1.0]})
    with pytest.raises(UnknownNode, match="99"):
        Graph.of({**TABLES, "edges": edges})


@pytest.mark.parametrize("wrong", [[11], ["10"], [None], [10.5]])
def test_what_is_no_node_is_refused_with_those_that_are(wrong):
    with pytest.raises(UnknownNode, match="the graph has 3, from 10 to 30"):
        find(Graph.of(TABLES).nodes, wrong)
