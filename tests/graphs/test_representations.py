from collections.abc import Callable
from dataclasses import replace

import networkx
import numpy as np
import pytest
import torch
from hypothesis import assume, example, given
from hypothesis import strategies as st
from scipy.sparse import coo_array

from hour9.graphs.conversions import (
    from_networkx,
    from_pyg,
    from_scipy,
    to_networkx,
    to_pyg,
    to_scipy,
)
from hour9.graphs.representations import AdjacencyList, BadGraph, Csr, EdgeList, Matrix


def graph_of(
    *edges: tuple[int, int], n: int = 4, d: int = 0, directed: bool = True, **more
) -> EdgeList:
    ends = np.array(edges, np.int64).reshape(-1, 2).T
    return EdgeList(np.zeros((n, 1)), ends, np.zeros((len(edges), d)), directed, **more)


EMPTY = graph_of(n=0)
EVERYTHING = graph_of((0, 0), (0, 1), (0, 1), (2, 1), n=4, directed=False)  # node 3 is alone


def same(found: EdgeList, expected: EdgeList) -> None:
    """The same nodes and the same edges with the same features, in whatever order."""
    one, other = found.ordered(), expected.ordered()
    assert one.directed == other.directed
    for name in ("x", "edges", "edge_x"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), strict=True)


def without_parallel_edges(graph: EdgeList) -> EdgeList:
    ordered = graph.ordered()
    _, first = np.unique(ordered.edges, axis=1, return_index=True)
    return replace(ordered, edges=ordered.edges[:, first], edge_x=ordered.edge_x[first])


def round_trip_of_every_kind(back_and_forth: Callable[[EdgeList], EdgeList]) -> None:
    """Whatever the graph, it comes back. The two by hand are tried before any drawn one."""

    @given(...)
    @example(EMPTY)
    @example(EVERYTHING)
    def holds(graph: EdgeList) -> None:
        same(back_and_forth(graph), graph)

    holds()


@pytest.mark.parametrize("form", [Csr, AdjacencyList])
def test_a_form_gives_any_graph_back(form):
    round_trip_of_every_kind(lambda graph: form.of(graph).edge_list())


def test_a_networkx_graph_gives_any_graph_back():
    round_trip_of_every_kind(lambda graph: from_networkx(to_networkx(graph)))


@pytest.fixture
def double_precision():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def test_a_pyg_data_of_double_precision_gives_any_graph_back(double_precision):
    round_trip_of_every_kind(lambda graph: from_pyg(to_pyg(graph), graph.directed))


@given(...)
def test_a_pyg_data_holds_float32_as_its_layers_expect(graph: EdgeList):
    def rounded(features: np.ndarray) -> np.ndarray:
        return features.astype(np.float32).astype(np.float64)

    expected = replace(graph, x=rounded(graph.x), edge_x=rounded(graph.edge_x))
    same(from_pyg(to_pyg(graph), graph.directed), expected)


def test_a_layer_of_pyg_takes_a_graph_from_here():
    from torch_geometric.nn import NNConv

    data = to_pyg(graph_of((0, 1), (2, 2), d=2, directed=False))
    layer = NNConv(1, 3, torch.nn.Linear(2, 3))
    assert layer(data.x, data.edge_index, data.edge_attr).shape == (4, 3)


@given(...)
@example(EVERYTHING)
def test_a_matrix_gives_the_graph_back_where_parallel_edges_carry_nothing(graph: EdgeList):
    bare = replace(graph, edge_x=np.zeros((graph.edges.shape[1], 0)))
    for fitting in (bare, without_parallel_edges(graph)):
        same(Matrix.of(fitting).edge_list(), fitting)


@given(...)
@example(EVERYTHING)
def test_a_scipy_matrix_gives_the_graph_back_with_at_most_one_number_an_edge(graph: EdgeList):
    for d in (0, 1):
        assume(graph.edge_x.shape[1] >= d)
        slim = replace(graph, edge_x=graph.edge_x[:, :d])
        matrix = to_scipy(slim)
        same(from_scipy(matrix, slim.x, slim.directed, weighted=d == 1), slim)


@given(...)
def test_scipy_networkx_and_pyg_count_the_edges_as_the_matrix_does(graph: EdgeList):
    bare = replace(graph, edge_x=np.zeros((graph.edges.shape[1], 0)))
    expected = Matrix.of(bare).count
    np.testing.assert_array_equal(to_scipy(bare).toarray(), expected)
    np.testing.assert_array_equal(Csr.of(bare).start[1:], expected.sum(axis=1).cumsum())
    if len(bare.x):
        np.testing.assert_array_equal(networkx.to_numpy_array(to_networkx(bare)), expected)
    dense = np.zeros_like(expected)
    np.add.at(dense, tuple(to_pyg(bare).edge_index.numpy()), 1)
    np.testing.assert_array_equal(dense, expected)


def test_an_undirected_edge_stands_at_both_ends_and_a_loop_once():
    expected = [[1, 2, 0, 0], [2, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]]  # by hand
    assert Matrix.of(EVERYTHING).count.tolist() == expected
    rows = Csr.of(EVERYTHING)
    assert [rows.neighbours(node).tolist() for node in range(4)] == [[0, 1, 1], [0, 0, 2], [1], []]


def test_a_networkx_graph_of_names_becomes_positions():
    path = networkx.Graph([("b", "a"), ("b", "c")])
    found = from_networkx(path)
    assert found.edges.tolist() == [[0, 0], [1, 2]]  # b is node 0
    assert not found.directed


def test_networkx_features_may_be_lone_numbers_and_other_attributes_are_not_read():
    found = networkx.Graph()
    found.add_nodes_from(["a", "b"], x=2)
    found.add_edge("a", "b", x=0.5, weight=7)
    graph = from_networkx(found)
    assert (graph.x.tolist(), graph.edge_x.tolist()) == ([[2], [2]], [[0.5]])


@pytest.mark.parametrize("x", [None, [1.0], [[1.0, 2.0]], "text"])
def test_networkx_features_that_differ_from_the_others_are_refused_by_name(x):
    found = to_networkx(EdgeList(np.zeros((2, 2)), np.array([[0], [1]]), np.zeros((1, 2))))
    found.add_node("odd", x=x)
    with pytest.raises(BadGraph, match=r"all nodes .* 1 do not have 2, e\.g\. \['odd'\]"):
        from_networkx(found)
    found.add_node("odd", x=[1, 2])
    found.add_edge(1, "odd", x=x)
    with pytest.raises(BadGraph, match=r"all edges .* 1 do not have 2, e\.g\. \[\(1, 'odd'\)\]"):
        from_networkx(found)


def test_a_pyg_data_may_have_gradients_shorter_numbers_and_no_edges():
    from torch_geometric.data import Data

    learnt = torch.ones(2, 1, requires_grad=True)
    ends = torch.tensor([[0], [1]], dtype=torch.int32)
    found = from_pyg(Data(x=learnt, edge_index=ends, edge_attr=torch.ones(1)), directed=True)
    same(found, EdgeList(np.ones((2, 1)), np.array([[0], [1]]), np.ones((1, 1))))
    bare = Data(x=learnt, edge_index=ends[:, :0], edge_attr=torch.ones(0))
    assert from_pyg(bare, directed=True).edge_x.shape == (0, 1)


def test_parallel_edges_with_features_do_not_fit_a_matrix():
    with pytest.raises(BadGraph, match=r"parallel edges, e\.g\. \[\[0, 1\]\]"):
        Matrix.of(graph_of((0, 1), (0, 1), (1, 2), d=2))


def test_several_features_do_not_fit_a_scipy_matrix():
    with pytest.raises(BadGraph, match="D = 2"):
        to_scipy(graph_of((0, 1), d=2))


X = np.zeros((2, 1))


def from_pyg_one_way() -> EdgeList:
    from torch_geometric.data import Data

    return from_pyg(Data(edge_index=torch.tensor([[1], [0]]), num_nodes=2), directed=False)


@pytest.mark.parametrize(
    "read",
    [
        Matrix(X, np.array([[0, 0], [1, 0]]), np.zeros((2, 2, 0)), directed=False).edge_list,
        Csr(X, np.array([0, 0, 1]), np.array([0]), np.zeros((1, 0)), directed=False).edge_list,
        AdjacencyList(X, [[], [(0, np.zeros(0))]], 0, directed=False).edge_list,
        lambda: from_scipy(coo_array(([0.0], ([1], [0])), (2, 2)), X, False, weighted=False),
        from_pyg_one_way,
    ],
    ids=["matrix", "csr", "adjacency-list", "scipy", "pyg"],
)
def test_an_edge_that_stands_one_way_only_is_not_undirected(read):
    with pytest.raises(BadGraph, match=r"1 do not, e\.g\. .* \[\(1, 0, \[\]\)\]"):
        read()


@given(graph=..., data=st.data())
def test_no_stored_edge_of_an_undirected_graph_can_be_lost_or_changed(
    graph: EdgeList, data: st.DataObject
):
    edges, edge_x = replace(graph, directed=False).both_ways()
    proper = np.flatnonzero(edges[0] != edges[1])
    assume(proper.size)
    one = data.draw(st.sampled_from(proper.tolist()))
    with pytest.raises(BadGraph, match="both ways"):
        EdgeList.from_both_ways(
            graph.x, np.delete(edges, one, 1), np.delete(edge_x, one, 0), directed=False
        )
    assume(edge_x.shape[1])
    edge_x[one, 0] = 7
    with pytest.raises(BadGraph, match="both ways"):
        EdgeList.from_both_ways(graph.x, edges, edge_x, directed=False)


def test_parallel_edges_with_the_same_sum_are_not_the_same():
    matrix = coo_array(([1.0, 2.0, 3.0], ([0, 0, 1], [1, 1, 0])), (2, 2))
    with pytest.raises(
        BadGraph, match=r"\[\(0, 1, \[1.0\]\), \(0, 1, \[2.0\]\), \(1, 0, \[3.0\]\)\]"
    ):
        from_scipy(matrix, X, directed=False)


def test_a_scipy_matrix_of_another_size_is_refused():
    matrix = to_scipy(graph_of((0, 1)))
    with pytest.raises(BadGraph, match=r"expected a matrix \(3, 3\), got \(4, 4\)"):
        from_scipy(matrix, np.zeros((3, 1)), directed=True)


def test_edges_to_no_node_are_refused_by_name():
    with pytest.raises(BadGraph, match=r"2 edges end at no node, e\.g\. \[\[0, 4\], \[-1, 0\]\]"):
        graph_of((0, 1), (0, 4), (-1, 0))
    with pytest.raises(BadGraph, match=r"e\.g\. \[\[0\.5, 1\.0\], \[nan, 1\.0\]\]; the 2 nodes"):
        EdgeList(X, np.array([[0.5, 0, np.nan], [1, 1, 1]]), np.zeros((3, 0)))


@pytest.mark.parametrize("name", ["x", "edges", "edge_x"])
def test_what_is_no_number_is_refused_by_name(name):
    with pytest.raises(BadGraph, match=rf"expected numbers in {name}, got <U1, e\.g\. \['0', "):
        replace(graph_of((0, 0), (0, 0), n=2, d=1), **{name: np.full((2, 2), "0")})


def test_numbers_of_other_types_are_kept_in_double_precision():
    short = EdgeList(np.ones((2, 1), np.float32), np.array([[0.0], [1.0]]), np.array([[True]]))
    same(short, EdgeList(np.ones((2, 1)), np.array([[0], [1]]), np.ones((1, 1))))


def test_arrays_that_do_not_fit_one_another_are_refused():
    with pytest.raises(BadGraph, match=r"edges \(2, 1\), edge_x \(2, 1\)"):
        EdgeList(np.zeros((2, 1)), np.array([[0], [1]]), np.zeros((2, 1)))


@given(...)
def test_the_forms_cost_what_the_table_in_docs_says(graph: EdgeList):
    n, d = len(graph.x), graph.edge_x.shape[1]
    e, s = graph.edges.shape[1], graph.both_ways()[0].shape[1]
    assert graph.edges.nbytes + graph.edge_x.nbytes == 16 * e + 8 * e * d
    rows = Csr.of(graph)
    cost = rows.start.nbytes + rows.target.nbytes + rows.edge_x.nbytes
    assert cost == 8 * (n + 1) + 8 * s + 8 * s * d
    matrix = Matrix.of(without_parallel_edges(graph))
    assert matrix.count.nbytes + matrix.edge_x.nbytes == 8 * n**2 + 8 * n**2 * d
