"""Sparse products whose weights are learnt: one number an edge and a head, gradients to both sides.

The pattern (which edges there are) is a constant sparse matrix; its values arrive as a tensor of
their own. All heads are one product: the heads' matrices stand along the diagonal of a large one.
`index_select` gathers four times as fast as brackets do.

Shapes: n nodes that hear, m nodes that are heard (the first n of them the same), E edges, Z entries
of the pattern, H heads, C channels a head. In a pattern row i holds the edges into node i.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hour9.graphs.sparse import ByRow, Sparse, sums


def incoming(edges: Tensor, num_nodes: int) -> Sparse:  # (2, E) -> (N, N), Z = E
    """The pattern of edges, none twice; its values are their numbers, to find what they carry."""
    number = torch.arange(edges.shape[1], device=edges.device)
    return Sparse.of(edges[1], edges[0], number, (num_nodes, num_nodes))


@dataclass(frozen=True)
class Heads:
    """A pattern, repeated for each head along the diagonal: (H n, H m) with H Z entries."""

    start: Tensor  # (H n + 1,)
    column: Tensor  # (H Z,)
    row: Tensor  # (H Z,)
    back_start: Tensor  # (H m + 1,), `start` of the transpose
    back_column: Tensor  # (H Z,), `column` of the transpose
    order: Tensor  # (H Z,), which entry is at each place of the transpose
    count: int  # H
    offsets: Tensor  # (H n + 1,), `start` in the format that segment_reduce asks for

    @classmethod
    def of(cls, pattern: Sparse, count: int) -> Heads:
        """Made once for a pattern."""
        if count not in pattern.memory:
            pattern.memory[count] = cls.repeat(pattern, count)
        return pattern.memory[count]

    @classmethod
    def repeat(cls, pattern: Sparse, count: int) -> Heads:
        n, m = pattern.shape
        z = len(pattern.order)
        by_row, by_column = pattern.matrix, pattern.transpose
        start = starts(by_row, count, z)
        return cls(
            start=start,
            column=repeated(by_row.column, count, m),
            row=repeated(by_row.row, count, n),
            back_start=starts(by_column, count, z),
            back_column=repeated(by_column.column, count, n),
            order=repeated(pattern.order, count, z),
            count=count,
            offsets=start.long(),
        )

    def sums(self, values: Tensor) -> Tensor:  # (H Z,) -> (H n,)
        """Over each row, in a fixed order."""
        return self.times(values, values.new_ones(len(self.back_start) - 1, 1)).squeeze(1)

    def column_sums(self, values: Tensor) -> Tensor:  # (H Z,) -> (H m,)
        return self.transposed_times(values, values.new_ones(len(self.start) - 1, 1)).squeeze(1)

    def times(self, values: Tensor, x: Tensor) -> Tensor:  # (H Z,), (H m, C) -> (H n, C)
        return sums(self.start, self.column, values, x)

    def transposed_times(self, values: Tensor, x: Tensor) -> Tensor:  # (H n, C) -> (H m, C)
        return sums(self.back_start, self.back_column, values.index_select(0, self.order), x)


def starts(matrix: ByRow, count: int, z: int) -> Tensor:  # (H n + 1,)
    return F.pad(repeated(matrix.start[1:], count, z), (1, 0))


def repeated(index: Tensor, count: int, step: int) -> Tensor:  # (n,) -> (H n,)
    """The index once for each head, each time `step` further."""
    further = torch.arange(count, device=index.device, dtype=index.dtype) * step
    return (further[:, None] + index).reshape(-1)


def csr(start: Tensor, column: Tensor, values: Tensor, width: int) -> Tensor:
    """Torch's own sparse matrix; `sampled_addmm` asks for one."""
    shape = (len(start) - 1, width)
    return torch.sparse_csr_tensor(start, column, values, shape, check_invariants=False)


with warnings.catch_warnings():  # Torch calls it "beta", once a process
    warnings.filterwarnings("ignore", message="Sparse CSR tensor support")
    csr(torch.tensor([0]), torch.tensor([], dtype=torch.int64), torch.tensor([]), 0)


class OverEdges(torch.autograd.Function):
    """Computes in 32 bits or more: sparse kernels know no 16, which autocast would hand them."""

    @classmethod
    def of(cls, heads: Heads, *values: Tensor) -> Tensor:
        return cls.apply(heads, *(x.float() if x.itemsize < 4 else x for x in values))


class PairSums(OverEdges):
    """a_i + b_j for each edge j → i; its gradients are sums over rows and over columns."""

    @staticmethod
    def forward(ctx: Any, heads: Heads, a: Tensor, b: Tensor) -> Tensor:  # (H n,), (H m,) -> (H Z,)
        ctx.heads = heads
        return a.index_select(0, heads.row) + b.index_select(0, heads.column)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor, Tensor]:  # type: ignore[override]
        return None, ctx.heads.sums(gradient), ctx.heads.column_sums(gradient)


class Shares(OverEdges):
    """Softmax over each row: α = exp(s) / Σ exp(s); its gradient is α (g - Σ α g)."""

    @staticmethod
    def forward(ctx: Any, heads: Heads, scores: Tensor) -> Tensor:  # (H Z,) -> (H Z,)
        largest = torch.segment_reduce(scores, "max", offsets=heads.offsets, unsafe=True)
        weight = (scores - largest.index_select(0, heads.row)).exp()
        share = weight / heads.sums(weight).index_select(0, heads.row)
        ctx.heads = heads
        ctx.save_for_backward(share)
        return share

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:  # type: ignore[override]
        (share,) = ctx.saved_tensors
        weighted = share * gradient
        mean = ctx.heads.sums(weighted).index_select(0, ctx.heads.row)
        return None, weighted - share * mean


class WeightedSums(OverEdges):
    """y_i = Σ_j α_ij x_j; the gradients are αᵀ g for x, and g_i · x_j for α_ij."""

    @staticmethod
    def forward(
        ctx: Any, heads: Heads, weight: Tensor, x: Tensor
    ) -> Tensor:  # (H Z,), (H m, C) -> (H n, C)
        ctx.heads = heads
        ctx.save_for_backward(weight, x)
        return heads.times(weight, x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor, Tensor]:  # type: ignore[override]
        heads, (weight, x) = ctx.heads, ctx.saved_tensors
        gradient = gradient.contiguous()
        pattern = csr(heads.start, heads.column, torch.zeros_like(weight), len(x))
        to_weight = torch.sparse.sampled_addmm(pattern, gradient, x.T)  # only where there are edges
        return None, to_weight.values(), heads.transposed_times(weight, gradient)
