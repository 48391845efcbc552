"""What a network must see to answer for some nodes: they, whom they hear, whom those hear.

A step on a few labelled nodes needs no others: its output and its gradient are those of a step on
the whole graph. Where even that is too much, each node hears a few of its neighbours, drawn anew at
each step (GraphSAGE: Hamilton et al. 2017, section 3.1), and a step costs the same however large
the graph is. The graph is only ever read row by row, so its arrays may lie on disk.

Shapes: N nodes, F features, E edges, D edge features, Z entries that are not zero, n_l nodes that
layer l reads; n_L is the nodes asked about.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hour9.graphs.sparse import Sparse

Ints = NDArray[np.int64]

CHUNK = 8192
"""Nodes that `layerwise` answers for at a time."""


@dataclass(frozen=True)
class Rows:
    """A sparse matrix by rows (CSR) in NumPy's arrays, in memory or mapped from disk."""

    start: NDArray  # (n + 1,)
    column: NDArray  # (Z,)
    value: NDArray  # (Z,)
    width: int

    @classmethod
    def of(cls, sparse: Sparse) -> Rows:
        matrix = sparse.matrix
        return cls(
            start=matrix.start.cpu().numpy(),
            column=matrix.column.cpu().numpy(),
            value=matrix.value.cpu().numpy(),
            width=matrix.width,
        )

    def __len__(self) -> int:
        return len(self.start) - 1

    def entries(self, rows: Ints) -> tuple[Ints, Ints]:  # (n,) -> (z,), (z,)
        """Of each entry in these rows: which of the rows it is in, and its number."""
        first = self.start[rows].astype(np.int64)
        count = self.start[rows + 1] - first
        row = np.repeat(np.arange(len(rows)), count)
        place = np.arange(len(row)) - np.repeat(count.cumsum() - count, count)
        return row, first[row] + place

    def part(self, rows: Ints) -> Sparse:  # (n, width)
        """These rows as a matrix."""
        row, entry = self.entries(rows)
        return sparse_of(row, self.column[entry], self.value[entry], (len(rows), self.width))


@dataclass(frozen=True)
class ReceptiveField:
    """The features of all nodes seen, and layer by layer who hears whom.

    The nodes that a layer answers for come first among those that it reads.
    """

    x: Sparse | Tensor  # (n_0, F)
    hops: Sequence[Sparse]  # of layer l: (n_{l+1}, n_l)
    edge_x: Tensor | None = None  # (E, D); a hop's values are then the numbers of the edges

    def to(self, device: torch.device) -> ReceptiveField:
        return ReceptiveField(
            self.x.to(device),
            [hop.to(device) for hop in self.hops],
            None if self.edge_x is None else self.edge_x.to(device),
        )


@dataclass(frozen=True)
class Surroundings:
    """A graph to cut receptive fields from. Row i of `adjacency` says whom node i hears."""

    features: Rows  # (N, F)
    adjacency: Rows  # (N, N)
    edge_x: Tensor | None = None  # (E, D)

    def field(
        self, nodes: Ints, most: Sequence[int], draw: np.random.Generator | None = None
    ) -> ReceptiveField:
        """Of a network with a layer for each number in `most`: how many neighbours a node hears
        there, the first layer first; 0 is all of them, else `draw` chooses."""
        hops: list[Sparse] = []
        for limit in reversed(most):
            hop, nodes = self.hop(nodes, limit, draw)
            hops.insert(0, hop)
        return ReceptiveField(self.features.part(nodes), hops, self.edge_x)

    def hop(
        self, nodes: Ints, limit: int = 0, draw: np.random.Generator | None = None
    ) -> tuple[Sparse, Ints]:  # (n,) -> (n, m), (m,)
        """Whom the nodes hear, and all nodes that are then needed: these, then the others."""
        row, entry = self.adjacency.entries(nodes)
        column, value = self.adjacency.column[entry].astype(np.int64), self.adjacency.value[entry]
        if limit:
            assert draw is not None, "a choice among neighbours needs a generator"
            kept, scale = chosen(row, column == nodes[row], limit, draw)
            row, column, value = row[kept], column[kept], value[kept]
            if value.dtype.kind == "f":  # a weight; the number of an edge stays as it is
                value = value * scale[kept]
        needed = np.concatenate([nodes, np.setdiff1d(column, nodes)])
        order = needed.argsort()
        place = order[np.searchsorted(needed, column, sorter=order)]
        return sparse_of(row, place, value, (len(nodes), len(needed))), needed


def chosen(
    row: Ints, own: NDArray[np.bool_], limit: int, draw: np.random.Generator
) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:  # (z,) each
    """Which entries stay, at most `limit` a row and the node itself, and how much more each counts
    so that a row's sum is right on average: neighbours over neighbours that stay."""
    order = np.lexsort((draw.random(len(row)), ~own, row))  # within a row: itself, then by chance
    neighbours = np.bincount(row, weights=~own)
    first = np.searchsorted(row, row)  # entries of a row stand together
    rank = np.empty(len(row), np.int64)
    rank[order] = np.arange(len(row))
    rank -= first + np.bincount(row, weights=own).astype(np.int64)[row]
    scale = np.maximum(neighbours / limit, 1)[row]
    return own | (rank < limit), np.where(own, 1, scale).astype(np.float32)


def sparse_of(row: Ints, column: NDArray, value: NDArray, shape: tuple[int, int]) -> Sparse:
    parts = (torch.from_numpy(np.ascontiguousarray(part)) for part in (row, column, value))
    row_, column_, value_ = parts
    return Sparse.of(row_, column_.long(), value_, shape)


class Network(nn.Module):
    """Layers of message passing; a layer hears one hop."""

    depth: int
    first: Any
    """What multiplies the features; its `weight` is penalised by `l2`."""

    def step(
        self, layer: int, x: Tensor | Sparse, hop: Sparse, edge_x: Tensor | None
    ) -> Tensor:  # (n_l, ·) -> (n_{l+1}, ·)
        """One layer with what comes before and after it."""
        raise NotImplementedError

    def forward(self, seen: ReceptiveField) -> Tensor:  # (n_L, K)
        x: Tensor | Sparse = seen.x
        for layer, hop in enumerate(seen.hops):
            x = self.step(layer, x, hop, seen.edge_x)
        assert isinstance(x, Tensor)
        return x


def layerwise(model: Network, graph: Surroundings, device: torch.device) -> Tensor:  # (N, K)
    """What the model says of every node, exactly: all nodes through a layer, then through the next.

    So nothing is computed twice, and no more than CHUNK nodes' neighbours are in memory at once.
    """
    edge_x = None if graph.edge_x is None else graph.edge_x.to(device)
    x: Tensor | None = None
    for layer in range(model.depth):
        parts = []
        for hop, needed in chunks(graph):
            seen = graph.features.part(needed) if x is None else x[torch.from_numpy(needed)]
            parts.append(model.step(layer, seen.to(device), hop.to(device), edge_x).cpu())
        x = torch.cat(parts)
    assert x is not None
    return x


def chunks(graph: Surroundings) -> Iterator[tuple[Sparse, Ints]]:
    """All nodes and whom they hear, some at a time."""
    nodes = np.arange(len(graph.adjacency))
    for first in range(0, len(nodes), CHUNK):
        yield graph.hop(nodes[first : first + CHUNK])
