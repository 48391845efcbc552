from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, example, given

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
    def with_columns(graph: EdgeList) -> EdgeList:  # no node is left to tell how wide x was
        return graph if len(graph.x) else replace(graph, x=np.zeros((0, 0)))

    @given(...)
    @example(EMPTY)
    @example(EVERYTHING)
    def holds(graph: EdgeList) -> None:
        same(from_networkx(to_networkx(graph)), with_columns(graph))

    holds()


def test_a_pyg_data_gives_any_graph_back():
    round_trip_of_every_kind(lambda graph: from_pyg(to_pyg(graph), graph.directed))


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
    import networkx

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
    import networkx

    path = networkx.Graph([("b", "a"), ("b", "c")])
    found = from_networkx(path)
    assert found.edges.tolist() == [[0, 0], [1, 2]]  # b is node 0
    assert not found.directed


def test_parallel_edges_with_features_do_not_fit_a_matrix():
    with pytest.raises(BadGraph, match=r"parallel edges, e\.g\. \[\[0, 1\]\]"):
        Matrix.of(graph_of((0, 1), (0, 1), (1, 2), d=2))


def test_several_features_do_not_fit_a_scipy_matrix():
    with pytest.raises(BadGraph, match="D = 2"):
        to_scipy(graph_of((0, 1), d=2))


def test_a_matrix_that_is_not_symmetric_is_no_undirected_graph():
    matrix = to_scipy(graph_of((0, 1)))
    with pytest.raises(BadGraph, match="symmetric"):
        from_scipy(matrix, np.zeros((4, 1)), directed=False)
    with pytest.raises(BadGraph, match=r"expected a matrix \(3, 3\), got \(4, 4\)"):
        from_scipy(matrix, np.zeros((3, 1)), directed=True)


def test_edges_to_no_node_are_refused_by_name():
    with pytest.raises(BadGraph, match=r"2 edges end at no node, e\.g\. \[\[0, 4\], \[-1, 0\]\]"):
        graph_of((0, 1), (0, 4), (-1, 0))


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
