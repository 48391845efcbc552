"""PyG's GINConv and GINEConv are the oracles."""

import torch
from hypothesis import given
from tests.graphs.test_batches import D, F, joined, lists_of_graphs, one_graph
from torch import nn

from hour9.graphs.batches import Graphs
from hour9.graphs.gin import GIN, GraphIsomorphism

TRIANGLES = [(0, 1), (1, 2), (0, 2), (3, 4), (4, 5), (3, 5)]
HEXAGON = [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (0, 5)]


def network(edge_features: int = 0) -> GIN:
    torch.manual_seed(0)
    shape = {"hidden": 8, "layers": 4, "dropout": 0.0}
    return GIN(F, edge_features, 2, **shape).double().eval()


def walked(graphs: Graphs) -> torch.Tensor:
    row = torch.arange(len(graphs.x)).repeat_interleave(graphs.row.diff())
    return torch.stack([graphs.column.long(), row])


def taking_over(convolution: nn.Module, layer: GraphIsomorphism) -> nn.Module:
    """PyG draws new weights when it is given a network."""
    convolution.nn.load_state_dict(layer.network.state_dict())
    return convolution.double().eval()


@given(lists_of_graphs())
def test_without_edge_features_a_layer_equals_pygs(alone):
    from torch_geometric.nn import GINConv

    graphs, layer = joined(alone), GraphIsomorphism(F, 5).double().eval()
    theirs = taking_over(GINConv(GraphIsomorphism(F, 5).network), layer)
    torch.testing.assert_close(layer(graphs.x, graphs), theirs(graphs.x, walked(graphs)))


@given(lists_of_graphs())
def test_with_edge_features_a_layer_and_its_gradients_equal_pygs(alone):
    from torch_geometric.nn import GINEConv

    graphs, layer = joined(alone), GraphIsomorphism(F, 5, D).double().eval()
    theirs = GINEConv(GraphIsomorphism(F, 5).network, edge_dim=D)
    theirs.lin.load_state_dict(layer.edges.state_dict())
    theirs = taking_over(theirs, layer)
    ours, other = (graphs.x.clone().requires_grad_() for _ in range(2))
    found, expected = layer(ours, graphs), theirs(other, walked(graphs), graphs.edge_x)
    torch.testing.assert_close(found, expected)
    found.square().sum().backward()
    expected.square().sum().backward()
    torch.testing.assert_close(ours.grad, other.grad)
    torch.testing.assert_close(layer.edges.weight.grad, theirs.lin.weight.grad)


def renamed(graph: Graphs, order: torch.Tensor) -> Graphs:
    """The same graph with its nodes in another order."""
    from tests.graphs.test_batches import once

    edges, edge_x = once(graph)
    return Graphs.of(graph.x[order], graph.start.diff(), order.argsort()[edges], edge_x)


@given(lists_of_graphs())
def test_the_order_of_the_nodes_plays_no_part_and_nor_do_the_other_graphs(alone):
    model = network(D)
    together = model(joined(alone))
    for number, graph in enumerate(alone):
        order = torch.randperm(len(graph.x), generator=torch.Generator().manual_seed(number))
        torch.testing.assert_close(model(renamed(graph, order)), together[[number]])


def test_it_tells_apart_what_colour_refinement_does_and_nothing_else():
    """A hexagon and two triangles look the same from each node, a path and a star do not."""
    model = network()
    star, path = [(0, 1), (0, 2), (0, 3)], [(0, 1), (1, 2), (2, 3)]
    answers = {}
    for name, n, pairs in (
        ("hexagon", 6, HEXAGON),
        ("triangles", 6, TRIANGLES),
        ("star", 4, star),
        ("path", 4, path),
    ):
        graph = one_graph(n, pairs)
        graph.x.fill_(1.0)
        answers[name] = model(graph)
    torch.testing.assert_close(answers["hexagon"], answers["triangles"])
    assert (answers["star"] - answers["path"]).abs().max() > 1e-3
