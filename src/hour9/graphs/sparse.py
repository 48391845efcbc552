"""Message passing as a product of sparse matrices.

A node's new vector is a weighted sum over its neighbours: row i of a sparse matrix that holds the
weights, times the matrix of all nodes' vectors. Nothing is gathered edge by edge.

Shapes: n rows, m columns, F features, Z entries that are not zero.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Sparse:
    """A constant sparse matrix A: A @ x is a dense product through which gradients pass to x.

    The gradient is Aᵀ g, so the transpose stands ready beside it. Both are stored by rows (CSR),
    whose sums run in a fixed order and need no atomic addition.
    """

    matrix: Tensor  # (n, m)
    transpose: Tensor  # (m, n)
    order: Tensor  # (Z,), which entry of `matrix` is at each place of `transpose`
    memory: dict[int, Any] = field(default_factory=dict, compare=False, repr=False)
    """What others made of the pattern once, to be used at every step."""

    @classmethod
    def of(cls, row: Tensor, column: Tensor, value: Tensor, shape: tuple[int, int]) -> Sparse:
        """From entries in any order, none twice."""
        n, m = shape
        by_row = torch.argsort(row * m + column)
        row, column, value = row[by_row], column[by_row], value[by_row]
        order = torch.argsort(column * n + row)
        return cls(
            matrix=rows_of(row, column, value, (n, m)),
            transpose=rows_of(column[order], row[order], value[order], (m, n)),
            order=order,
        )

    @property
    def shape(self) -> torch.Size:
        return self.matrix.shape

    def to(self, device: torch.device) -> Sparse:
        return Sparse(self.matrix.to(device), self.transpose.to(device), self.order.to(device))

    def dropout(self, share: float, training: bool) -> Sparse:
        """Zero a share of the entries and enlarge the others: a new mask at each call."""
        if not training or share == 0:
            return self
        values = dropped(self.matrix.values(), share)  # (Z,)
        return replace(
            self,
            matrix=with_values(self.matrix, values),
            transpose=with_values(self.transpose, values.index_select(0, self.order)),
        )

    def __matmul__(self, x: Tensor) -> Tensor:  # (m, F) -> (n, F)
        return Product.apply(self.matrix, self.transpose, x)


def dropout(x: Tensor | Sparse, share: float, training: bool) -> Tensor | Sparse:
    """Of a dense or a sparse matrix."""
    if isinstance(x, Sparse):
        return x.dropout(share, training)
    return dropped(x, share) if training and share else x


def dropped(x: Tensor, share: float) -> Tensor:
    """By comparison: three times as fast as F.dropout."""
    return x * torch.rand_like(x).ge_(share).div_(1 - share)


class Product(torch.autograd.Function):
    """A x, whose gradient is Aᵀ g. In the format of A: sparse products know no short one."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, transpose: Tensor, x: Tensor) -> Tensor:
        ctx.transpose, ctx.dtype = transpose, x.dtype
        return product(matrix, x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, None, Tensor]:  # type: ignore[override]
        return None, None, product(ctx.transpose, gradient).to(ctx.dtype)


def product(matrix: Tensor, x: Tensor) -> Tensor:
    """The product in the matrix's own format, whatever format surrounds it."""
    if not torch.is_autocast_enabled(x.device.type):  # asking is cheaper than switching off
        return matrix @ x.to(matrix.dtype)
    with torch.autocast(x.device.type, enabled=False):
        return matrix @ x.to(matrix.dtype)


def rows_of(row: Tensor, column: Tensor, value: Tensor, shape: tuple[int, int]) -> Tensor:
    """The CSR tensor of entries sorted by row."""
    start = F.pad(torch.bincount(row, minlength=shape[0]).cumsum(0), (1, 0))  # (n + 1,)
    with warnings.catch_warnings():  # Torch calls CSR "beta", once a process
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support")
        return torch.sparse_csr_tensor(
            start.int(), column.int(), value, shape, check_invariants=True
        )


def with_values(matrix: Tensor, values: Tensor) -> Tensor:
    """The same pattern with other values."""
    return torch.sparse_csr_tensor(
        matrix.crow_indices(), matrix.col_indices(), values, matrix.shape, check_invariants=False
    )
