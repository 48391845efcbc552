"""A block on the diagonal must be what the graph is alone, wherever it was moved to."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from hour9.graphs.batches import Graphs, batches

F, D = 3, 2


def edges_of(n: int, present: list[bool]) -> list[tuple[int, int]]:
    pairs = [(i, j) for j in range(n) for i in range(j)]
    return [pair for pair, here in zip(pairs, present, strict=False) if here]


@st.composite
def lists_of_graphs(draw: st.DrawFn) -> list[Graphs]:
    sizes = draw(st.lists(st.integers(1, 5), min_size=1, max_size=5))
    return [
        one_graph(n, edges_of(n, draw(st.lists(st.booleans(), min_size=10, max_size=10))), seed)
        for seed, n in enumerate(sizes)
    ]


def one_graph(n: int, pairs: list[tuple[int, int]], seed: int = 0) -> Graphs:
    chance = torch.Generator().manual_seed(seed)
    edges = torch.tensor(pairs, dtype=torch.long).reshape(-1, 2).T
    x, edge_x = (
        torch.randn(count, width, dtype=torch.float64, generator=chance)
        for count, width in ((n, F), (len(pairs), D))
    )
    return Graphs.of(x, torch.tensor([n]), edges, edge_x)


def joined(alone: list[Graphs]) -> Graphs:
    """All graphs as one, by their edges."""
    sizes = torch.tensor([len(graph.x) for graph in alone])
    first = sizes.cumsum(0) - sizes
    found = [once(graph) for graph in alone]
    return Graphs.of(
        torch.cat([graph.x for graph in alone]),
        sizes,
        torch.cat([edges + n for (edges, _), n in zip(found, first, strict=True)], dim=1),
        torch.cat([edge_x for _, edge_x in found]),
    )


def once(graph: Graphs) -> tuple[Tensor, Tensor]:
    """(2, E), (E, D): each edge from its lower end."""
    row = torch.arange(len(graph.x)).repeat_interleave(graph.row.diff())
    lower = graph.column < row
    return torch.stack([graph.column[lower].long(), row[lower]]), graph.edge_x[lower]


@given(lists_of_graphs(), st.randoms(use_true_random=False))
def test_a_graph_taken_from_many_is_the_graph_alone(alone, random):
    order = random.sample(range(len(alone)), len(alone))
    taken = joined(alone).take(torch.tensor(order))
    for place, number in enumerate(order):
        torch.testing.assert_close(
            taken.between(place, place + 1).tensors(), alone[number].tensors()
        )


@given(lists_of_graphs())
def test_the_matrices_are_what_they_say_and_so_are_their_transposes(alone):
    graphs = joined(alone)
    n, s = len(graphs.x), len(graphs.column)
    row = torch.arange(n).repeat_interleave(graphs.row.diff())
    adjacency, sources, targets = torch.zeros(n, n), torch.zeros(s, n), torch.zeros(n, s)
    adjacency[row, graphs.column.long()] = 1
    sources[torch.arange(s), graphs.column.long()] = 1
    targets[row, torch.arange(s)] = 1
    members = torch.zeros(len(graphs), n)
    for graph, (first, last) in enumerate(zip(graphs.start, graphs.start[1:], strict=False)):
        members[graph, first:last] = 1
    for name, dense in (
        ("adjacency", adjacency),
        ("sources", sources),
        ("targets", targets),
        ("members", members),
    ):
        sparse = getattr(graphs, name)
        torch.testing.assert_close(sparse.matrix.dense(), dense.double())
        torch.testing.assert_close(sparse.transpose.dense(), dense.double().T)


@given(lists_of_graphs())
def test_walking_an_edge_back_twice_is_walking_it(alone):
    graphs = joined(alone)
    row = torch.arange(len(graphs.x)).repeat_interleave(graphs.row.diff())
    assert (graphs.back[graphs.back] == torch.arange(len(graphs.back))).all()
    assert (row[graphs.back] == graphs.column).all()
    assert (graphs.edge_x[graphs.back] == graphs.edge_x).all()


def test_an_epoch_has_every_graph_once_in_its_own_order_with_its_target():
    alone = [one_graph(n, []) for n in range(1, 11)]
    of_epoch = batches(joined(alone), torch.arange(1, 11), size=4, seed=0)
    seen = []
    for epoch in (0, 1, 0):
        found = of_epoch(epoch)
        for batch in found:
            assert (batch["start"].diff() == batch["target"]).all()  # its target is its size
        seen.append(torch.cat([batch["target"] for batch in found]).tolist())
        assert [len(batch["target"]) for batch in found] == [3, 3, 4]
    assert sorted(seen[0]) == sorted(seen[1]) == list(range(1, 11))
    assert seen[0] == seen[2] != seen[1]
