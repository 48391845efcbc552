"""A graph in four forms, and what each is good for (docs/graph-representations.md).

The edge list is the form that all others are made from and lead back to. Parallel edges and
self-loops are allowed. An undirected edge stands once in the edge list, source ≤ target; in the
other forms it stands at both of its ends, a self-loop still once.

Shapes: N nodes, E edges, S edges as stored (E, or almost 2 E), F node features, D edge features.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

NUMBERS = "biuf"
"""The kinds of NumPy's types that are real numbers."""

MOST_EXAMPLES = 5


class BadGraph(ValueError):  # noqa: N818 - reads as a sentence where it is raised
    """Arrays that are no graph, or a graph that a form cannot hold."""


@dataclass(frozen=True)
class EdgeList:
    """Coordinates (COO): one column for each edge. Raises BadGraph, with the edges at fault.

    Numbers of any type are taken, and kept as float64 and int64.
    """

    x: Floats  # (N, F), F may be 0
    edges: Ints  # (2, E), row 0 the sources, row 1 the targets
    edge_x: Floats  # (E, D), D may be 0
    directed: bool = True

    def __post_init__(self) -> None:
        for name in ("x", "edges", "edge_x"):
            if (array := getattr(self, name)).dtype.kind not in NUMBERS:
                found = array.flat[:MOST_EXAMPLES].tolist()
                raise BadGraph(f"expected numbers in {name}, got {array.dtype}, e.g. {found}")
        shapes = f"x {self.x.shape}, edges {self.edges.shape}, edge_x {self.edge_x.shape}"
        if self.x.ndim != 2 or self.edge_x.ndim != 2 or self.edges.shape != (2, len(self.edge_x)):
            raise BadGraph(f"expected x (N, F), edges (2, E) and edge_x (E, D), got {shapes}")
        outside = ~np.isin(self.edges, np.arange(len(self.x))).all(axis=0)
        if outside.any():
            found = self.edges[:, outside].T[:MOST_EXAMPLES].tolist()
            raise BadGraph(
                f"{outside.sum()} edges end at no node, e.g. {found}; the {len(self.x)} nodes are "
                f"the whole numbers from 0"
            )
        for name, kind in (("x", np.float64), ("edges", np.int64), ("edge_x", np.float64)):
            object.__setattr__(self, name, getattr(self, name).astype(kind, copy=False))

    def ordered(self) -> EdgeList:
        """The same graph in the one order that all lists of its edges share."""
        edges = self.edges if self.directed else np.sort(self.edges, axis=0)
        order = np.lexsort((*self.edge_x.T[::-1], edges[1], edges[0]))
        return replace(self, edges=edges[:, order], edge_x=self.edge_x[order])

    def both_ways(self) -> tuple[Ints, Floats]:  # (2, S), (S, D)
        """The edges as they can be walked: an undirected one from both ends, a loop once."""
        if self.directed:
            return self.edges, self.edge_x
        proper = self.edges[0] != self.edges[1]
        return (
            np.concatenate([self.edges, self.edges[::-1, proper]], axis=1),
            np.concatenate([self.edge_x, self.edge_x[proper]]),
        )

    @classmethod
    def from_both_ways(cls, x: Floats, edges: Ints, edge_x: Floats, directed: bool) -> EdgeList:
        """The inverse of `both_ways`, in order.

        Raises BadGraph where an undirected edge does not stand the other way, with equal features.
        """
        stored = cls(x, edges, edge_x, directed)
        if directed:
            return stored.ordered()
        if (lone := stored.without_reverse()).any():
            ends, features = stored.edges[:, lone], stored.edge_x[lone]
            found = list(zip(*ends.tolist(), features.tolist(), strict=True))[:MOST_EXAMPLES]
            raise BadGraph(
                f"an undirected edge stands both ways, with equal features; {lone.sum()} do not, "
                f"e.g. (source, target, features) {found}: add what is missing, or say "
                f"directed=True"
            )
        once = stored.edges[0] <= stored.edges[1]
        return replace(stored, edges=stored.edges[:, once], edge_x=stored.edge_x[once]).ordered()

    def without_reverse(self) -> NDArray[np.bool_]:  # (E,)
        """Which edges stand more often than their reverse with equal features; NaN equals NaN."""
        value = np.unique(self.edge_x, return_inverse=True)[1].reshape(self.edge_x.shape)
        there, back = (np.column_stack([*ends, value]) for ends in (self.edges, self.edges[::-1]))
        both = np.concatenate([there, back])  # (2 E, 2 + D)
        kind = np.unique(both, axis=0, return_inverse=True)[1]  # (2 E,)
        surplus = np.bincount(kind, np.repeat([1, -1], len(there)))
        return surplus[kind[: len(there)]] > 0


@dataclass(frozen=True)
class Matrix:
    """Adjacency matrix: row i, column j tell of the edges from i to j."""

    x: Floats  # (N, F)
    count: Ints  # (N, N), how many edges; symmetric in an undirected graph
    edge_x: Floats  # (N, N, D)
    directed: bool

    @classmethod
    def of(cls, graph: EdgeList) -> Matrix:
        """Raises BadGraph where parallel edges have features: there is one place for a pair."""
        n, d = len(graph.x), graph.edge_x.shape[1]
        (source, target), features = graph.both_ways()
        count, edge_x = np.zeros((n, n), np.int64), np.zeros((n, n, d))
        np.add.at(count, (source, target), 1)
        if d and (crowded := np.argwhere(count > 1)).size:
            raise BadGraph(
                f"a matrix has one place for a pair's features; {len(crowded)} pairs have parallel "
                f"edges, e.g. {crowded[:MOST_EXAMPLES].tolist()}: use an edge list"
            )
        edge_x[source, target] = features
        return cls(graph.x, count, edge_x, graph.directed)

    def edge_list(self) -> EdgeList:
        source, target = np.nonzero(self.count)
        edges = np.repeat(np.stack([source, target]), self.count[source, target], axis=1)
        features = self.edge_x[edges[0], edges[1]]  # (S, D)
        return EdgeList.from_both_ways(self.x, edges, features, self.directed)


@dataclass(frozen=True)
class Csr:
    """Compressed rows: the edges from node i are numbers start[i] to start[i + 1] - 1."""

    x: Floats  # (N, F)
    start: Ints  # (N + 1,)
    target: Ints  # (S,), ascending within a row
    edge_x: Floats  # (S, D)
    directed: bool

    @classmethod
    def of(cls, graph: EdgeList) -> Csr:
        (source, target), features = graph.both_ways()
        order = np.lexsort((target, source))
        degree = np.bincount(source, minlength=len(graph.x))  # (N,)
        start = np.concatenate([[0], degree.cumsum()]).astype(np.int64)
        return cls(graph.x, start, target[order], features[order], graph.directed)

    def edge_list(self) -> EdgeList:
        source = np.repeat(np.arange(len(self.x)), np.diff(self.start))  # (S,)
        edges = np.stack([source, self.target])
        return EdgeList.from_both_ways(self.x, edges, self.edge_x, self.directed)

    def neighbours(self, node: int) -> Ints:  # (degree,)
        """Where the edges from a node lead: a view, nothing is copied or searched."""
        return self.target[self.start[node] : self.start[node + 1]]


@dataclass(frozen=True)
class AdjacencyList:
    """For each node a Python list of its edges: the form that grows and shrinks cheaply."""

    x: Floats  # (N, F)
    neighbours: list[list[tuple[int, Floats]]]  # N lists of (target, its features (D,))
    edge_width: int  # D, which a graph without edges could not tell
    directed: bool

    @classmethod
    def of(cls, graph: EdgeList) -> AdjacencyList:
        neighbours: list[list[tuple[int, Floats]]] = [[] for _ in graph.x]
        edges, features = graph.both_ways()
        for source, target, feature in zip(*edges.tolist(), features, strict=True):
            neighbours[source].append((target, feature))
        return cls(graph.x, neighbours, graph.edge_x.shape[1], graph.directed)

    def edge_list(self) -> EdgeList:
        pairs = [(i, j) for i, row in enumerate(self.neighbours) for j, _ in row]
        features = [feature for row in self.neighbours for _, feature in row]
        return EdgeList.from_both_ways(
            self.x,
            np.array(pairs, np.int64).reshape(-1, 2).T,
            np.array(features, np.float64).reshape(len(pairs), self.edge_width),
            self.directed,
        )
