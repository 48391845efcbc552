"""A graph to and from NetworkX, SciPy and PyG; each way there has its way back.

Shapes: N nodes, E edges, S edges as stored, F node features, D edge features.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hour9.graphs.representations import BadGraph, Csr, EdgeList, Floats

if TYPE_CHECKING:
    import networkx
    import scipy.sparse
    from torch_geometric.data import Data


def to_networkx(graph: EdgeList) -> networkx.MultiGraph:
    """A multigraph (a MultiDiGraph if directed) with features under the attribute `x`."""
    import networkx

    found = networkx.MultiDiGraph() if graph.directed else networkx.MultiGraph()
    found.graph["edge_width"] = graph.edge_x.shape[1]
    found.add_nodes_from((node, {"x": x}) for node, x in enumerate(graph.x))
    features = ({"x": x} for x in graph.edge_x)
    found.add_edges_from(zip(*graph.edges.tolist(), features, strict=True))
    return found


def from_networkx(found: networkx.Graph) -> EdgeList:
    """Any kind of NetworkX graph; nodes by their order there, missing features have no columns."""
    place = {node: i for i, node in enumerate(found)}
    edges = [(place[u], place[v]) for u, v in found.edges()]
    rows = [np.asarray(x if x is not None else [], float) for _, _, x in found.edges(data="x")]
    width = found.graph.get("edge_width", len(rows[0]) if rows else 0)
    x = [np.asarray(x if x is not None else [], float) for _, x in found.nodes(data="x")]
    return EdgeList(
        np.stack(x) if x else np.zeros((0, 0)),
        np.array(edges, np.int64).reshape(-1, 2).T,
        np.array(rows, float).reshape(len(edges), width),
        found.is_directed(),
    ).ordered()


def to_scipy(graph: EdgeList) -> scipy.sparse.csr_array:  # (N, N)
    """A sparse matrix: parallel edges stay apart, a weight of 0 stays an edge.

    An entry is the edge's one feature, or 1 where there is none. Raises BadGraph for more.
    """
    from scipy.sparse import csr_array

    if (d := graph.edge_x.shape[1]) > 1:
        raise BadGraph(f"a matrix of SciPy holds one number an edge, got D = {d}")
    rows = Csr.of(graph)
    weight = rows.edge_x[:, 0] if d else np.ones(len(rows.target))
    return csr_array((weight, rows.target, rows.start), shape=(len(graph.x),) * 2)


def from_scipy(
    matrix: scipy.sparse.sparray, x: Floats, directed: bool, weighted: bool = True
) -> EdgeList:
    """Entry (i, j) is an edge from i to j; `weighted` makes its number the edge's feature.

    Raises BadGraph where the matrix of an undirected graph is not symmetric.
    """
    if matrix.shape != (len(x),) * 2:
        raise BadGraph(f"expected a matrix ({len(x)}, {len(x)}), got {matrix.shape}")
    entries: Any = matrix.tocoo()
    if not directed and (entries.tocsr() != entries.T.tocsr()).nnz:
        raise BadGraph("the matrix of an undirected graph is symmetric, this one is not")
    edges = np.stack([entries.row, entries.col]).astype(np.int64)
    edge_x = entries.data.astype(float)[:, None] if weighted else np.zeros((edges.shape[1], 0))
    return EdgeList.from_both_ways(x, edges, edge_x, directed)


def to_pyg(graph: EdgeList) -> Data:
    """PyG's `Data`, an undirected edge both ways as its layers expect. Imports PyG: 17 s of CPU."""
    import torch
    from torch_geometric.data import Data

    edges, edge_x = graph.both_ways()
    return Data(
        x=torch.tensor(graph.x),
        edge_index=torch.tensor(edges),
        edge_attr=torch.tensor(edge_x),
        num_nodes=len(graph.x),
    )


def from_pyg(data: Data, directed: bool) -> EdgeList:
    """`Data` does not know whether it is directed: you do."""
    n, e = int(data.num_nodes or 0), int(data.num_edges)
    x = np.zeros((n, 0)) if data.x is None else data.x.double().numpy()
    edge_x = np.zeros((e, 0)) if data.edge_attr is None else data.edge_attr.double().numpy()
    edges = np.zeros((2, 0), np.int64) if data.edge_index is None else data.edge_index.numpy()
    return EdgeList.from_both_ways(x, edges, edge_x.reshape(e, -1) if e else edge_x, directed)
