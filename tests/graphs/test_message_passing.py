"""The layers in NumPy against PyG, and the two symmetries that every graph layer has."""

import numpy as np
import pytest
import torch
from hypothesis import assume, example, given

from hour9.graphs.message_passing import (
    attention,
    gat,
    gatv2,
    gcn,
    maximum,
    mean,
    mpnn,
    total,
)
from hour9.graphs.representations import EdgeList

F, G, H, D = 3, 2, 4, 2
DRAWN = np.random.default_rng(0)
ROOT, SCORE, TO, OF = (DRAWN.normal(size=s) for s in ((F, G), (H, G), (H, G), (H, G)))
WEIGHT, OTHER_WEIGHT = DRAWN.normal(size=(2, F, H * G))
BIAS, WIDE_BIAS, NETWORK = (
    DRAWN.normal(size=G),
    DRAWN.normal(size=H * G),
    DRAWN.normal(size=(D, F * G)),
)

LAYERS = {
    "gcn": lambda x, edges, edge_x: gcn(x, edges, ROOT, BIAS),
    "gat": lambda x, edges, edge_x: gat(x, edges, WEIGHT, TO, OF, WIDE_BIAS),
    "gatv2": lambda x, edges, edge_x: gatv2(x, edges, WEIGHT, OTHER_WEIGHT, SCORE, WIDE_BIAS),
    **{
        f"mpnn-{aggregate.__name__}": lambda x, edges, edge_x, aggregate=aggregate: mpnn(
            x, edges, edge_x, lambda e: np.tanh(e @ NETWORK), ROOT, BIAS, aggregate
        )
        for aggregate in (total, mean, maximum)
    },
}


def dressed(graph: EdgeList) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features of the widths above for the nodes and edges of any graph."""
    n, (edges, _) = len(graph.x), graph.both_ways()
    drawn = np.random.default_rng(n)
    return drawn.normal(size=(n, F)), edges, drawn.normal(size=(edges.shape[1], D))


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_renaming_the_nodes_only_renames_the_output_and_leaves_its_sum(layer):
    @given(...)
    def holds(graph: EdgeList) -> None:
        x, edges, edge_x = dressed(graph)
        order = np.random.default_rng(edges.shape[1]).permutation(len(x))  # new i is old order[i]
        renamed = layer(x[order], order.argsort()[edges], edge_x)
        plain = layer(x, edges, edge_x)
        np.testing.assert_allclose(renamed, plain[order], atol=1e-12)  # equivariance
        np.testing.assert_allclose(renamed.sum(0), plain.sum(0), atol=1e-11)  # invariance

    holds()


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_the_order_of_the_edges_does_not_matter(layer):
    @given(...)
    def holds(graph: EdgeList) -> None:
        x, edges, edge_x = dressed(graph)
        order = np.random.default_rng(1).permutation(edges.shape[1])
        shuffled = layer(x, edges[:, order], edge_x[order])
        np.testing.assert_allclose(shuffled, layer(x, edges, edge_x), atol=1e-12)

    holds()


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_a_node_hears_along_its_incoming_edges_and_from_nowhere_else(layer):
    @given(...)
    def holds(graph: EdgeList) -> None:
        x, edges, edge_x = dressed(graph)
        assume(len(x) > 0)
        before, moved = layer(x, edges, edge_x), np.zeros(len(x), bool)
        for times in (1e3, -1e3):  # a maximum may not hear the one of them
            louder = x.copy()
            louder[0] *= times
            moved |= ~np.isclose(layer(louder, edges, edge_x), before).all(axis=1)
        assert set(np.flatnonzero(moved)) == {0, *edges[1, edges[0] == 0]}

    holds()


def test_the_aggregates_of_a_small_graph_are_those_by_hand():
    messages, target = np.array([[1.0], [5.0], [-2.0]]), np.array([0, 0, 2])  # node 1 hears nothing
    assert total(messages, target, 3).tolist() == [[6], [0], [-2]]
    assert mean(messages, target, 3).tolist() == [[3], [0], [-2]]
    assert maximum(messages, target, 3).tolist() == [[5], [0], [-2]]
    scored = np.array([[np.log(3), 1.0], [0.0, 5.0], [7.0, -2.0]])  # shares ¾ and ¼; alone: 1
    np.testing.assert_allclose(attention(scored, target, 3), [[2], [0], [-2]])


def test_attention_survives_scores_that_would_overflow():
    scored = np.array([[1e4, 1.0], [1e4, 3.0], [-1e4, 5.0]])
    np.testing.assert_allclose(attention(scored, np.array([0, 0, 1]), 2), [[2], [5]])


def test_attention_hears_nothing_along_edges_of_score_minus_infinity():
    scored = np.array([[0.0, 1.0], [-np.inf, 3.0], [-np.inf, 5.0]])  # node 1 hears nothing at all
    assert attention(scored, np.array([0, 0, 1]), 2).tolist() == [[1], [0]]


LOOPY = EdgeList(np.zeros((3, 0)), np.array([[0, 0, 0, 1], [0, 1, 1, 2]]), np.zeros((4, 0)))


@pytest.mark.parametrize("name", ["gcn", "gat", "gatv2", "mpnn"])
def test_the_layer_equals_pygs_on_any_graph(name):
    @given(...)
    @example(LOOPY)
    def holds(graph: EdgeList) -> None:
        assume(len(graph.x) > 0)
        x, edges, edge_x = dressed(graph)
        with torch.no_grad():
            expected = pyg_layer(name, torch.tensor(x), torch.tensor(edges), torch.tensor(edge_x))
        found = LAYERS.get(name, edge_network)(x, edges, edge_x)
        np.testing.assert_allclose(found, expected.numpy(), atol=1e-12)

    holds()


def edge_network(x, edges, edge_x):
    return mpnn(x, edges, edge_x, lambda e: np.maximum(e @ NETWORK, 0), ROOT, BIAS)


def pyg_layer(name: str, x: torch.Tensor, edges: torch.Tensor, edge_x: torch.Tensor):
    """PyG's own layer with the weights above."""
    from torch import nn
    from torch_geometric.nn import GATConv, GATv2Conv, GCNConv, NNConv

    def put(parameter: nn.Parameter, value: np.ndarray) -> None:
        parameter.data = torch.tensor(value).reshape(parameter.shape)

    if name == "gcn":
        layer = GCNConv(F, G)
        put(layer.lin.weight, ROOT.T)
        put(layer.bias, BIAS)
    elif name == "gat":
        layer = GATConv(F, G, heads=H)
        put(layer.lin.weight, WEIGHT.T)
        put(layer.att_dst, TO)
        put(layer.att_src, OF)
        put(layer.bias, WIDE_BIAS)
    elif name == "gatv2":
        layer = GATv2Conv(F, G, heads=H)
        put(layer.lin_r.bias, np.zeros(H * G))
        put(layer.lin_l.bias, np.zeros(H * G))
        put(layer.lin_r.weight, WEIGHT.T)
        put(layer.lin_l.weight, OTHER_WEIGHT.T)
        put(layer.att, SCORE)
        put(layer.bias, WIDE_BIAS)
    else:
        network = nn.Sequential(nn.Linear(D, F * G, bias=False), nn.ReLU())
        layer = NNConv(F, G, network)
        put(network[0].weight, NETWORK.T)
        put(layer.lin.weight, ROOT.T)
        put(layer.bias, BIAS)
        return layer(x, edges, edge_x)
    return layer(x, edges)
