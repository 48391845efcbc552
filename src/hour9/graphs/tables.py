"""A graph between its tables, its file and its matrices.

Shapes: N nodes, E edges, D edge features, F features, Z entries of the feature matrix that are not
zero.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from hour9.graphs.sparse import Sparse
from hour9.task import Tables

FILE = "graph.safetensors"
MOST_EXAMPLES = 5


class UnknownNode(ValueError):  # noqa: N818 - reads as a sentence where it is raised
    """A node that is not in the graph; the message says which are."""


@dataclass(frozen=True)
class Graph:
    """Nodes by their ids; in all else a node is its position among them."""

    nodes: Tensor  # (N,), ids
    edges: Tensor  # (2, E), positions, each edge once
    entries: Tensor  # (2, Z), position and feature
    values: Tensor  # (Z,)
    edge_x: Tensor  # (E, D)

    @classmethod
    def of(cls, tables: Tables) -> Graph:
        """From the tables `nodes`, `edges` and `features`. Raises UnknownNode.

        What an edge carries is every column beside its ends; where there is none, a constant 1.
        """
        nodes = torch.from_numpy(tables["nodes"]["node"].to_numpy(np.int64, copy=True))
        edges, features = tables["edges"], tables["features"]
        ends = [find(nodes, edges[end]) for end in ("source", "target")]
        carried = edges.drop(columns=["source", "target"])
        edge_x = carried.to_numpy(np.float32) if carried.shape[1] else np.ones((len(edges), 1))
        feature = features["feature"].to_numpy(np.int64)
        return cls(
            nodes=nodes,
            edges=torch.from_numpy(np.stack(ends)),
            entries=torch.from_numpy(np.stack([find(nodes, features["node"]), feature])),
            values=torch.from_numpy(features["value"].to_numpy(np.float32, copy=True)),
            edge_x=torch.tensor(edge_x, dtype=torch.float32),
        )

    @classmethod
    def load(cls, folder: Path) -> Graph:
        return cls(**load_file(folder / FILE))

    def save(self, folder: Path) -> None:
        """Write it beside a model, which can then answer for its nodes."""
        folder.mkdir(parents=True, exist_ok=True)
        save_file({name: tensor.contiguous() for name, tensor in vars(self).items()}, folder / FILE)

    def features(self, width: int | None = None) -> Sparse:  # (N, F)
        """Each node's features as shares of their sum: long and short texts weigh the same."""
        found = int(self.entries[1].max()) + 1
        if width is not None and found > width:
            raise ValueError(f"the model knows {width} features, the graph has {found}: train anew")
        node, feature = self.entries
        total = torch.zeros(len(self.nodes)).index_add(0, node, self.values)  # (N,)
        return Sparse.of(
            node, feature, self.values / total[node], (len(self.nodes), width or found)
        )

    def edge_units(self) -> Tensor:  # (D,)
        """The mean size of what edges carry: divided by it, numbers are around 1."""
        return self.edge_x.abs().mean(dim=0).clamp(min=1e-12)


def lose_edges(tables: Tables, share: float, seed: int) -> Tables:
    """The same, with so large a share of the edges gone."""
    kept = tables["edges"].sample(frac=1 - share, random_state=seed).sort_index()
    return {**tables, "edges": kept.reset_index(drop=True)}


def find(nodes: Tensor, ids: Iterable[int]) -> NDArray[np.int64]:
    """The positions of the ids. Raises UnknownNode, naming the ids that are no node."""
    known, wanted = pd.Index(nodes.numpy()), pd.Index(ids)
    positions = known.get_indexer(wanted)
    if (lost := wanted[positions < 0].unique()).size:
        raise UnknownNode(
            f"{len(lost)} unknown nodes, e.g. {lost[:MOST_EXAMPLES].tolist()}; "
            f"the graph has {len(known):,}, from {known.min()} to {known.max()}"
        )
    return positions.astype(np.int64)
