"""Many graphs as one: their nodes and edges stand one after the other, so that a batch is a slice.

Nothing is collated graph by graph: an epoch's order is one gather over all graphs, and each of its
batches a view of what that gave. Edges are walked both ways, so the adjacency is symmetric and its
own transpose: gradients need no second matrix.

Shapes: G graphs, N nodes, E edges, S = 2 E edges as walked, F node features, D edge features.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from hour9.engine.fit import Batches
from hour9.graphs.sparse import ByRow, Sparse


@dataclass(frozen=True)
class Graphs:
    """Undirected graphs, each a block on the diagonal of one adjacency matrix; no edge twice."""

    x: Tensor  # (N, F)
    start: Tensor  # (G + 1,), the nodes of graph g are start[g] to start[g + 1] - 1
    row: Tensor  # (N + 1,), the edges into node i are row[i] to row[i + 1] - 1
    column: Tensor  # (S,), the node where each edge comes from
    back: Tensor  # (S,), the number of the same edge, walked the other way
    edge_x: Tensor  # (S, D)

    @classmethod
    def of(cls, x: Tensor, sizes: Tensor, edges: Tensor, edge_x: Tensor) -> Graphs:
        """From (N, F), the number of nodes of each graph (G,), (2, E) and (E, D)."""
        e = edges.shape[1]
        row, column = torch.cat([edges, edges.flip(0)], dim=1)  # (S,) each
        order = torch.argsort(row * len(x) + column)
        place = torch.argsort(order)  # where each edge went
        adjacency = ByRow.of(row[order], column[order], x.new_ones(2 * e), (len(x),) * 2)
        return cls(
            x=x,
            start=starts(sizes),
            row=adjacency.start,
            column=adjacency.column,
            back=place[(order + e) % max(2 * e, 1)].int(),
            edge_x=edge_x.repeat(2, 1)[order],
        )

    def __len__(self) -> int:
        return len(self.start) - 1

    def tensors(self) -> dict[str, Tensor]:
        """By the names of the fields: `Graphs(**graphs.tensors())` are the same graphs."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def to(self, device: torch.device) -> Graphs:
        return Graphs(**{name: tensor.to(device) for name, tensor in self.tensors().items()})

    def take(self, order: Tensor) -> Graphs:  # (G',) -> G' graphs
        """The graphs of these numbers, in this order."""
        start, nodes, node_shift = moved(self.start, order)
        first_edge, edges, edge_shift = moved(self.row[self.start], order)
        count = first_edge.diff()  # (G',), edges of each graph
        return Graphs(
            x=self.x.index_select(0, nodes),
            start=start,
            row=starts(self.row.diff().index_select(0, nodes)),
            column=self.column.index_select(0, edges) + node_shift.repeat_interleave(count),
            back=self.back.index_select(0, edges) + edge_shift.repeat_interleave(count),
            edge_x=self.edge_x.index_select(0, edges),
        )

    def between(self, first: int, last: int) -> Graphs:
        """The graphs from number `first` to `last` - 1, their features as views."""
        n, m = self.start[[first, last]].tolist()
        s, t = self.row[[n, m]].tolist()
        return Graphs(
            x=self.x[n:m],
            start=self.start[first : last + 1] - n,
            row=self.row[n : m + 1] - s,
            column=self.column[s:t] - n,
            back=self.back[s:t] - s,
            edge_x=self.edge_x[s:t],
        )

    @cached_property
    def adjacency(self) -> Sparse:  # (N, N)
        """1 where there is an edge."""
        n = len(self.x)
        ones = ByRow(self.row, self.column, self.x.new_ones(len(self.column)), n)
        return Sparse(ones, ones, self.back)

    @cached_property
    def numbered(self) -> Sparse:  # (N, N)
        """The pattern of the edges; its values are their numbers."""
        n = len(self.x)
        number = count_up(len(self.column), self.column)
        by_row = ByRow(self.row, self.column, number, n)
        return Sparse(by_row, ByRow(self.row, self.column, self.back, n), self.back)

    @cached_property
    def sources(self) -> Sparse:  # (S, N)
        """Takes what is known of nodes to the edges that come from them."""
        s, n = len(self.column), len(self.x)
        ones, each = self.x.new_ones(s), count_up(s + 1, self.column)
        to_nodes = ByRow(self.row, self.back, ones, s)
        return Sparse(ByRow(each, self.column, ones, n), to_nodes, self.back)

    @cached_property
    def targets(self) -> Sparse:  # (N, S)
        """Sums what is known of edges over those into each node."""
        return summing(self.row, self.x)

    @cached_property
    def members(self) -> Sparse:  # (G, N)
        """Sums what is known of nodes over those of each graph."""
        return summing(self.start, self.x)


def batches(graphs: Graphs, target: Tensor, size: int, seed: int) -> Batches:
    """The graphs in a new order each epoch, in batches of at most `size`, as equal as can be.

    A batch has the fields of Graphs and `target`.
    """
    count = math.ceil(len(graphs) / size)
    bounds = [len(graphs) * i // count for i in range(count + 1)]

    def of_epoch(epoch: int) -> list[dict[str, Tensor]]:
        chance = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        order = torch.randperm(len(graphs), generator=chance)
        mixed, wanted = graphs.take(order), target[order]
        return [
            {**mixed.between(first, last).tensors(), "target": wanted[first:last]}
            for first, last in pairwise(bounds)
        ]

    return of_epoch


def moved(start: Tensor, order: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Blocks in a new order: where each starts, which rows they are, how far each block moved."""
    size = start.diff()[order]
    new = starts(size)
    shift = new[:-1] - start[order]
    rows = count_up(int(new[-1]), start) - shift.repeat_interleave(size)
    return new, rows, shift


def summing(start: Tensor, like: Tensor) -> Sparse:  # (n + 1,) -> (n, m)
    """Row i sums over the consecutive start[i] to start[i + 1] - 1."""
    n, m = len(start) - 1, int(start[-1])
    ones, each = like.new_ones(m), count_up(m + 1, start)
    block = count_up(n, start).repeat_interleave(start.diff())  # (m,), the row that each is in
    return Sparse(ByRow(start, each[:m], ones, m), ByRow(each, block, ones, n), each[:m])


def starts(sizes: Tensor) -> Tensor:  # (n,) -> (n + 1,)
    return F.pad(sizes.cumsum(0), (1, 0)).int()


def count_up(n: int, like: Tensor) -> Tensor:
    return torch.arange(n, dtype=torch.int32, device=like.device)
