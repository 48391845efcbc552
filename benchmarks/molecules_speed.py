"""How fast a graph isomorphism network trains on many graphs, beside PyG: one thread, in turns.

    python benchmarks/molecules_speed.py            # MUTAG and PROTEINS from ../shared/data
    python benchmarks/molecules_speed.py --short    # seconds, on the embedded molecules

An epoch is everything between two of them: shuffling, batching, forward, backward and the
optimizer. The peer is PyG's DataLoader with its GINConv around the same layers, the same weights
and the same number of batches, once with the plain Adam of PyG's examples, once with our
optimizer, torch's fused AdamW. Outputs are compared before anything is timed.

Last, not recorded, stands what the matrix products of the epoch cost alone, which both sides make:
with them as they are, no network can have a larger ratio than that line's.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # read by torch and its libraries when they are loaded
os.environ["OPENBLAS_NUM_THREADS"] = "1"  # by NumPy

import argparse
import copy
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import Batch, Data
from torch_geometric.loader import DataLoader
from torch_geometric.nn import GINConv, global_add_pool

from hour9.graphs.batches import Graphs, batches
from hour9.graphs.gin import GIN, Normalised
from hour9.graphs.molecule_tables import to_graphs
from hour9.graphs.molecules import TASK, described, distance, targets_of
from hour9.task import Source
from record import Pair, measure, record

SETTINGS = {"hidden": 32, "layers": 5, "dropout": 0.5}  # the widest of Xu et al. 2019
BATCHES = (32, 128)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--root", default="../shared/data/tudataset")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--short", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.short:
        source = Source(kind="embedded", root="src/hour9/graphs/atlas.py", size=60)
        *rows, _ = [measure(pair, 2) for pair in pairs("atlas", source, 32)]
        record(rows)
        return
    for name in ("MUTAG", "PROTEINS"):
        source = Source(kind="path", root=options.root, name=name)
        for size in BATCHES:
            *rows, _ = [measure(pair, options.rounds) for pair in pairs(name, source, size)]
            record(rows)


def pairs(name: str, source: Source, size: int) -> Iterator[Pair]:
    """An epoch of ours against PyG's with either optimizer, and its products alone."""
    tables = TASK.ingest(source)
    tables["cases"]["split"] = "train"
    tables["edges"] = tables["edges"][["case", "source", "target"]]  # a GIN hears no edge features
    config = described(tables)
    graphs, target = to_graphs(tables, config), targets_of(tables["cases"], config)
    torch.manual_seed(0)
    ours = GIN(len(config["nodes"]), 0, len(config.get("classes", [0])), **SETTINGS)
    theirs = PygGIN(copy.deepcopy(ours))
    listed = data_list(graphs, target)
    with torch.no_grad():
        whole = Batch.from_data_list(listed)
        torch.testing.assert_close(ours.eval()(graphs), theirs.eval()(whole), rtol=1e-3, atol=1e-3)
    loader = DataLoader(listed, batch_size=size, shuffle=True)
    of_epoch = batches(graphs, target, size, seed=0)
    for kind, fused in (("Adam", False), ("fused AdamW", True)):
        peer = (
            torch.optim.AdamW(theirs.parameters(), fused=True)
            if fused
            else torch.optim.Adam(theirs.parameters())
        )
        yield Pair(
            f"GIN epoch {name} batch {size} against {kind}",
            our_epoch(ours, of_epoch),
            pyg_epoch(theirs, loader, peer),
            f"PyG's DataLoader, GINConv, {kind}",
        )

    yield Pair(
        f"products alone, GIN epoch {name} batch {size}",
        products(ours, of_epoch),
        pyg_epoch(theirs, loader, peer),
        "PyG's epoch",
    )


def our_epoch(model: GIN, of_epoch: Callable) -> Callable[[], None]:
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)

    def epoch() -> None:
        model.train()
        for batch in of_epoch(0):
            target = batch.pop("target")
            distance(model(Graphs(**batch)), target).backward()
            optimizer.step()
            optimizer.zero_grad()

    return epoch


def products(model: GIN, of_epoch: Callable) -> Callable[[], None]:
    """x W, and back to W and, but for the features, to x, of each layer in each batch."""
    sizes = [len(batch["x"]) for batch in of_epoch(0)]
    weights = [
        part.weight.detach() for layer in model.layers for part in (layer.first, layer.second)
    ]
    inputs = {(n, w.shape[0]): torch.randn(n, w.shape[0]) for n in sizes for w in weights}

    def epoch() -> None:
        for n in sizes:
            for number, weight in enumerate(weights):
                x = inputs[n, weight.shape[0]]
                gradient = x @ weight  # as wide as the gradient is
                _ = x.T @ gradient
                if number:
                    _ = gradient @ weight.T

    return epoch


class PygGIN(nn.Module):
    """The same network of torch's and PyG's layers, with our first weights."""

    def __init__(self, ours: GIN):
        super().__init__()
        self.convolutions = nn.ModuleList(
            GINConv(nn.Sequential(*steps(layer.first), *steps(layer.second)))
            for layer in ours.layers
        )
        for convolution, layer in zip(self.convolutions, ours.layers, strict=True):
            for place, part in ((0, layer.first), (3, layer.second)):  # GINConv drew new ones
                convolution.nn[place].weight.data = part.weight.data.T.clone()
        self.output, self.dropout = copy.deepcopy(ours.output), ours.dropout

    def forward(self, data: Batch) -> Tensor:
        known = [data.x]
        for convolution in self.convolutions:
            known.append(convolution(known[-1], data.edge_index))
        sums = torch.cat([global_add_pool(x, data.batch, data.num_graphs) for x in known], dim=1)
        return self.output(F.dropout(sums, self.dropout, self.training))


def steps(layer: Normalised) -> tuple[nn.Module, ...]:
    """A product, its batch norm and ReLU, as torch has them."""
    features, hidden = layer.weight.shape
    return nn.Linear(features, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True)


def pyg_epoch(model: PygGIN, loader: DataLoader, optimizer) -> Callable[[], None]:
    def epoch() -> None:
        model.train()
        for data in loader:
            optimizer.zero_grad()
            distance(model(data), data.y).backward()
            optimizer.step()

    return epoch


def data_list(graphs: Graphs, target: Tensor) -> list[Data]:
    """The graphs as PyG keeps them."""
    listed = []
    for number in range(len(graphs)):
        graph = graphs.between(number, number + 1)
        row = torch.arange(len(graph.x)).repeat_interleave(graph.row.diff())
        edges = torch.stack([graph.column.long(), row])
        listed.append(Data(x=graph.x, edge_index=edges, y=target[number : number + 1]))
    return listed


if __name__ == "__main__":
    main()
