"""A graph to and from NetworkX, SciPy and PyG; each way there has its way back.

Shapes: N nodes, E edges, S edges as stored, F node features, D edge features.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from hour9.graphs.representations import MOST_EXAMPLES, NUMBERS, BadGraph, Csr, EdgeList, Floats

if TYPE_CHECKING:
    import networkx
    import scipy.sparse
    import torch
    from torch_geometric.data import Data


def to_networkx(graph: EdgeList) -> networkx.MultiGraph:
    """A multigraph (a MultiDiGraph if directed) with features under the attribute `x`.

    The graph's own attributes keep F and D, which no node or no edge could tell.
    """
    import networkx

    found = networkx.MultiDiGraph() if graph.directed else networkx.MultiGraph()
    found.graph |= {"node_width": graph.x.shape[1], "edge_width": graph.edge_x.shape[1]}
    found.add_nodes_from((node, {"x": x}) for node, x in enumerate(graph.x))
    features = ({"x": x} for x in graph.edge_x)
    found.add_edges_from(zip(*graph.edges.tolist(), features, strict=True))
    return found


def from_networkx(found: networkx.Graph) -> EdgeList:
    """Any kind of NetworkX graph; nodes by their order there.

    Features are what stands under `x`, a number or a row of them; where no node or no edge has
    any, F or D is 0. No other attribute is read, `weight` neither. Raises BadGraph, with the nodes
    or edges whose features are not as many as the others'.
    """
    place = {node: i for i, node in enumerate(found)}
    edges = [(place[u], place[v]) for u, v in found.edges()]
    edge_x = (((u, v), x) for u, v, x in found.edges(data="x"))
    return EdgeList(
        rows("nodes", found.nodes(data="x"), found.graph.get("node_width", 0)),
        np.array(edges, np.int64).reshape(-1, 2).T,
        rows("edges", edge_x, found.graph.get("edge_width", 0)),
        found.is_directed(),
    ).ordered()


def rows(what: str, found: Iterable[tuple[Any, Any]], width: int) -> Floats:  # (R, width)
    """The features of each name; of no names they are `width` wide."""
    named = [(name, np.atleast_1d([] if x is None else x)) for name, x in found]
    width = max((row.size for _, row in named), default=width)
    wrong = [name for name, row in named if row.shape != (width,) or row.dtype.kind not in NUMBERS]
    if wrong:
        raise BadGraph(
            f"all {what} have equally many numbers under 'x', or none has any; {len(wrong)} do not "
            f"have {width}, e.g. {wrong[:MOST_EXAMPLES]}"
        )
    return np.array([row for _, row in named], float).reshape(len(named), width)


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

    Raises BadGraph where an undirected edge is not there both ways, with equal numbers if weighted.
    """
    if matrix.shape != (len(x),) * 2:
        raise BadGraph(f"expected a matrix ({len(x)}, {len(x)}), got {matrix.shape}")
    entries: Any = matrix.tocoo()
    edges = np.stack([entries.row, entries.col])
    edge_x = entries.data[:, None] if weighted else np.zeros((edges.shape[1], 0))
    return EdgeList.from_both_ways(x, edges, edge_x, directed)


def to_pyg(graph: EdgeList) -> Data:
    """PyG's `Data` as its layers expect it. Imports PyG: 17 s of CPU.

    An undirected edge stands both ways, and numbers are in torch's default precision, float32
    unless `torch.set_default_dtype(torch.float64)` says otherwise: only then do all of them come
    back to the last digit.
    """
    import torch
    from torch_geometric.data import Data

    edges, edge_x = graph.both_ways()
    precision = torch.get_default_dtype()
    return Data(
        x=torch.tensor(graph.x, dtype=precision),
        edge_index=torch.tensor(edges),
        edge_attr=torch.tensor(edge_x, dtype=precision),
        num_nodes=len(graph.x),
    )


def from_pyg(data: Data, directed: bool) -> EdgeList:
    """`Data` does not know whether it is directed: you do.

    Read are `x`, `edge_index` and `edge_attr`, and nothing else: no `edge_weight`. Raises BadGraph
    where an undirected edge does not stand both ways, with equal features.
    """
    x = table(data.x, int(data.num_nodes or 0))
    edge_x = table(data.edge_attr, int(data.num_edges))
    none = data.edge_index is None
    edges = np.zeros((2, 0), np.int64) if none else data.edge_index.numpy(force=True)
    return EdgeList.from_both_ways(x, edges, edge_x, directed)


def table(features: torch.Tensor | None, count: int) -> Floats:  # (R,) or (R, ...) -> (R, width)
    """A row for each node or edge, with one number too."""
    if features is None:
        return np.zeros((count, 0))
    return features.double()[:, None].flatten(1).numpy(force=True)
