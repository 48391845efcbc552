"""One layer, three ways: sparse products, PyG's messages, PyG's own layer, with the same weights.

Everything in double precision, on any undirected graph without parallel edges; directed ones and
parallel edges where the way can hold them.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from torch import Tensor, nn

from hour9.graphs.edge_weights import incoming
from hour9.graphs.gat import GraphAttention, GraphAttentionV2
from hour9.graphs.gcn import GraphConvolution, normalised_adjacency
from hour9.graphs.mpnn import EdgeConvolution
from hour9.graphs.representations import EdgeList

F, G, H, D, U = 3, 2, 4, 2, 5

Way = Callable[[Tensor, Tensor, Tensor], Tensor]


class Ways(NamedTuple):
    """Three functions of node features, edges both ways and edge features, and our weights."""

    fast: Way
    messages: Way
    theirs: Way
    ours: nn.Module


def convolution() -> Ways:
    from torch_geometric.nn import GCNConv

    from hour9.graphs.pyg import ConvolutionByMessages

    def fast(x: Tensor, edges: Tensor, _: Tensor) -> Tensor:
        once = edges[:, edges[0] < edges[1]]
        return ours(x, normalised_adjacency(once, len(x), x.dtype))

    ours = drawn(GraphConvolution(F, G))
    theirs = put(GCNConv(F, G), {"lin.weight": ours.weight.T, "bias": ours.bias})
    messages = ConvolutionByMessages(ours)
    return Ways(fast, lambda x, e, _: messages(x, e), lambda x, e, _: theirs(x, e), ours)


def attention() -> Ways:
    from torch_geometric.nn import GATConv

    from hour9.graphs.pyg import AttentionByMessages

    ours = drawn(GraphAttention(F, G, H))
    theirs = put(
        GATConv(F, G, heads=H),
        {
            "lin.weight": ours.weight.T,
            "att_dst": ours.score_to,
            "att_src": ours.score_of,
            "bias": ours.bias,
        },
    )
    messages = AttentionByMessages(ours)
    return Ways(
        lambda x, e, _: ours(x, incoming(looped(e, len(x)), len(x))),
        lambda x, e, _: messages(x, e),
        lambda x, e, _: theirs(x, e),
        ours,
    )


def attention_v2() -> Ways:
    from torch_geometric.nn import GATv2Conv

    from hour9.graphs.pyg import AttentionV2ByMessages

    ours = drawn(GraphAttentionV2(F, G, H))
    theirs = put(
        GATv2Conv(F, G, heads=H),
        {
            "lin_r.weight": ours.to_weight.T,
            "lin_l.weight": ours.of_weight.T,
            "att": ours.score,
            "bias": ours.bias,
        },
    )
    messages = AttentionV2ByMessages(ours)
    return Ways(
        lambda x, e, _: ours(x, incoming(looped(e, len(x)), len(x))),
        lambda x, e, _: messages(x, e),
        lambda x, e, _: theirs(x, e),
        ours,
    )


def edge_convolution(mean: bool = False) -> Ways:
    from torch_geometric.nn import NNConv

    from hour9.graphs.pyg import EdgeConvolutionByMessages

    ours = drawn(EdgeConvolution(F, G, D, U, mean))
    network = nn.Sequential(nn.Linear(D, U), nn.ReLU(), nn.Linear(U, F * G))
    theirs = put(
        NNConv(F, G, network, aggr="mean" if mean else "add"),
        {
            "nn.0.weight": ours.units.weight,
            "nn.0.bias": ours.units.bias,
            "nn.2.weight": ours.matrices[:-1].flatten(1).T,
            "nn.2.bias": ours.matrices[-1],
            "lin.weight": ours.root.T,
            "bias": ours.bias,
        },
    )
    return Ways(
        lambda x, e, edge_x: ours(x, incoming(e, len(x)), edge_x),
        EdgeConvolutionByMessages(ours),
        theirs,
        ours,
    )


def mean_edge_convolution() -> Ways:
    return edge_convolution(mean=True)


LAYERS = [convolution, attention, attention_v2, edge_convolution, mean_edge_convolution]


def drawn(layer: nn.Module) -> nn.Module:
    """In double precision, with a bias that is not 0: that would prove nothing."""
    nn.init.normal_(layer.bias, generator=torch.Generator().manual_seed(0))
    return layer.double()


def put(layer: nn.Module, weights: dict[str, Tensor]) -> nn.Module:
    """A layer of PyG with our weights; those that we do not have are biases, of 0."""
    layer = layer.double()
    zeros = {name: torch.zeros_like(old) for name, old in layer.state_dict().items()}
    assert weights.keys() <= zeros.keys(), zeros.keys()
    known = {name: weight.reshape(zeros[name].shape) for name, weight in weights.items()}
    layer.load_state_dict(zeros | known)
    return layer


def looped(edges: Tensor, n: int) -> Tensor:
    return torch.cat([edges, torch.arange(n).expand(2, -1)], dim=1)


def tensors(graph: EdgeList, parallel: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """The graph's edges with features of the widths above; no self-loops: layers add their own."""
    edges, _ = graph.both_ways()
    if not parallel:
        edges = np.unique(edges, axis=1)
        edges = edges[:, edges[0] != edges[1]]
    draw = torch.Generator().manual_seed(len(graph.x))
    shapes = (len(graph.x), F), (edges.shape[1], D)
    x, edge_x = (torch.randn(shape, dtype=torch.float64, generator=draw) for shape in shapes)
    return x, torch.tensor(edges), edge_x


def gradient(way: Way, x: Tensor, *rest: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    way(x, *rest).square().sum().backward()
    assert x.grad is not None
    return x.grad


@pytest.mark.parametrize("layer", LAYERS)
def test_the_three_ways_give_the_same_output_and_the_same_gradients(layer):
    ways = layer()
    undirected_only = layer is convolution

    @given(...)
    def holds(graph: EdgeList) -> None:
        assume(len(graph.x) > 0 and not (undirected_only and graph.directed))
        inputs = tensors(graph)
        expected, slope = ways.theirs(*inputs), gradient(ways.theirs, *inputs)
        slopes = []
        for way in (ways.fast, ways.messages):
            torch.testing.assert_close(way(*inputs), expected)
            ways.ours.zero_grad()
            torch.testing.assert_close(gradient(way, *inputs), slope)
            slopes.append({name: p.grad for name, p in ways.ours.named_parameters()})
        torch.testing.assert_close(*slopes)

    holds()


@pytest.mark.parametrize("layer", LAYERS)
def test_messages_take_parallel_edges_and_loops_too(layer):
    ways = layer()

    @given(...)
    def holds(graph: EdgeList) -> None:
        assume(len(graph.x) > 0)
        inputs = tensors(graph, parallel=True)
        torch.testing.assert_close(ways.messages(*inputs), ways.theirs(*inputs))

    holds()


@pytest.mark.parametrize("layer", LAYERS)
def test_renaming_the_nodes_only_renames_the_output_and_leaves_its_sum(layer):
    ways = layer()

    @given(...)
    def holds(graph: EdgeList) -> None:
        assume(len(graph.x) > 0 and not (layer is convolution and graph.directed))
        x, edges, edge_x = tensors(graph)
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(1))
        plain, renamed = ways.fast(x, edges, edge_x), order.argsort()[edges]
        found = ways.fast(x[order], renamed, edge_x)
        torch.testing.assert_close(found, plain[order])  # equivariance
        torch.testing.assert_close(found.sum(0), plain.sum(0))  # invariance

    holds()


@pytest.mark.parametrize("aggregate", ["mean", "max"])
def test_the_mean_and_the_maximum_of_edge_messages_equal_pygs(aggregate):
    from torch_geometric.nn.resolver import aggregation_resolver

    from hour9.graphs.pyg import EdgeConvolutionByMessages

    ways = edge_convolution()
    ways.theirs.aggr_module = aggregation_resolver(aggregate)
    ours = EdgeConvolutionByMessages(ways.ours, aggregate)
    edges = torch.tensor([[1, 2, 0, 3], [0, 0, 1, 1]])  # nodes 2 and 3 hear nothing
    x, edge_x = torch.randn(4, F).double(), torch.randn(4, D).double()
    torch.testing.assert_close(ours(x, edges, edge_x), ways.theirs(x, edges, edge_x))


@pytest.mark.parametrize("layer", [attention, attention_v2])
def test_in_training_a_share_of_the_attention_is_dropped_and_the_rest_enlarged(layer):
    """A node that hears only itself has a share of 1: half of them become 0, the others 2."""
    torch.manual_seed(0)
    ways, x = layer(), torch.randn(50, F, dtype=torch.float64)
    alone = x, torch.zeros(2, 0, dtype=torch.long), torch.zeros(0, D)
    bias = ways.ours.bias.unflatten(0, (H, G))
    heard = ways.messages(*alone).unflatten(1, (H, G)) - bias  # (N, H, G)
    ways.ours.dropout = 0.5
    for way in (ways.fast, ways.messages):
        times = (way(*alone).unflatten(1, (H, G)) - bias) / heard
        kept = times[..., 0] > 1  # (N, H)
        torch.testing.assert_close(times, 2.0 * kept[..., None].expand_as(times).double())
        assert 60 < kept.sum() < 140  # of 200, six standard deviations of 7 from the mean
    ways.ours.eval()
    for way in (ways.fast, ways.messages):
        torch.testing.assert_close(way(*alone).unflatten(1, (H, G)) - bias, heard)
