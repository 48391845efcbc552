"""Memory and time of a training step as the graph grows: neighbours drawn, or the whole graph.

    python benchmarks/graph_memory.py                   # up to a million nodes
    python benchmarks/graph_memory.py --short           # one small graph: nothing is recorded

Each graph is generated on the spot, piece by piece, as arrays on disk that are mapped, not read: a
step touches the rows it needs. A size and a way is a process of its own. Memory is the most that
training adds to the process after its imports, without the pages of mapped files, which belong to
the disk's cache and are given back when others need them. A step trains a two-layer GCN on 512
nodes of 4,096 with a label, or on all of them and what lies around them. The steps are the
candidate's own, switched by its parameter `neighbours`; the candidate keeps the graph's arrays in
memory where these are mapped.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import torch

from hour9.graphs.lesson import Lesson
from hour9.graphs.nodes import build
from hour9.graphs.receptive_field import Rows, Surroundings
from hour9.graphs.settings import Gcn
from record import compare, record

SIZES = (10_000, 100_000, 1_000_000)
WAYS = {"neighbours drawn": [10, 5], "whole graph": []}
DEGREE, CLASSES, WORDS = 10, 8, 32  # neighbours of a node; classes, each with its words
PIECE = 100_000  # nodes generated at a time
LABELLED, BATCH = 4096, 512
MIB = 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--short", action="store_true", help="a small graph, no record")
    parser.add_argument("--measure", nargs=2, metavar=("FOLDER", "WAY"), help="one training")
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(Path(options.measure[0]), WAYS[options.measure[1]])))
        return
    sizes = (2_000,) if options.short else SIZES
    found = {}
    print("    nodes  way                memory     CPU ms a step")
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            generate(Path(folder), size)
            for way in WAYS:
                found[size, way] = memory, milliseconds = in_a_process(folder, way)
                print(f"{size:9,}  {way:17} {memory:6.0f} MiB  {milliseconds:10.1f}", flush=True)
    drawn, whole = (found[sizes[-1], way] for way in WAYS)
    growth = drawn[0] / found[sizes[0], "neighbours drawn"][0]
    print(f"{sizes[-1] // sizes[0]} times the nodes, {growth:.2f} times the memory")
    rows = [
        compare(
            f"memory, {size:,} nodes", [ours], [peer], "whole graph", "MiB", less_is_better=True
        )
        for size in sizes
        for ours, peer in [[found[size, way][0] for way in WAYS]]
    ]
    rows.append(
        compare(
            "step, largest graph",
            [drawn[1]],
            [whole[1]],
            "whole graph",
            "CPU ms",
            less_is_better=True,
        )
    )
    if not options.short:
        record(rows)


def generate(folder: Path, size: int) -> None:
    """A graph on disk, most of whose edges stay within a class, and one word of a class a node.

    Made in pieces: never all of it in memory. A node hears DEGREE others and itself.
    """
    adjacency = Columns(folder, "adjacency", size, DEGREE + 1)
    features = Columns(folder, "features", size, CLASSES)
    draw, stride = np.random.default_rng(size), size // (DEGREE + 1) // CLASSES * CLASSES
    for first in range(0, size, PIECE):
        nodes = np.arange(first, min(first + PIECE, size))
        steps = stride * np.arange(DEGREE) + draw.integers(CLASSES, stride, (len(nodes), DEGREE))
        steps -= np.where(draw.random(steps.shape) < 0.8, steps % CLASSES, 0)  # to its own class
        adjacency.write(first, np.concatenate([nodes[:, None], nodes[:, None] + steps], 1) % size)
        words = draw.integers(WORDS, size=(len(nodes), CLASSES))
        words[np.arange(len(nodes)), nodes % CLASSES] //= 8  # its class shows in one word of eight
        features.write(first, words + WORDS * np.arange(CLASSES))


class Columns:
    """A matrix on disk with as many entries in each row, all of one value."""

    def __init__(self, folder: Path, name: str, size: int, width: int):
        def array(part: str, kind: type, length: int) -> np.memmap:
            path = folder / f"{name}.{part}.npy"
            return np.lib.format.open_memmap(path, "w+", kind, (length,))

        self.width = width
        self.column = array("column", np.int32, size * width)
        array("start", np.int64, size + 1)[:] = np.arange(size + 1) * width
        array("value", np.float32, size * width)[:] = 1 / width

    def write(self, first: int, columns: np.ndarray) -> None:
        self.column[first * self.width :][: columns.size] = np.sort(columns, axis=1).ravel()


def in_a_process(folder: str, way: str) -> tuple[float, float]:
    """Memory in MiB and CPU milliseconds a step."""
    command = [sys.executable, __file__, "--measure", folder, way]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    memory, milliseconds = json.loads(done.stdout)
    return memory, milliseconds


def measure(folder: Path, neighbours: list[int]) -> tuple[float, float]:
    """One epoch of the candidate's own lesson."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    around = Surroundings(opened(folder, "features"), opened(folder, "adjacency"))
    size = len(around.adjacency)
    settings = Gcn(
        architecture="gcn",
        task="nodes",
        topic="graphs",
        parent="",
        device="cpu",
        batch_size=BATCH if neighbours else LABELLED,
        neighbours=neighbours,
        hidden=64,
    )
    width = around.features.width
    model = build({"settings": settings.model_dump(), "features": width, "classes": CLASSES})
    chosen = np.sort(np.random.default_rng(0).choice(size, min(LABELLED, size // 2), replace=False))
    known = {"position": torch.from_numpy(chosen), "target": torch.from_numpy(chosen % CLASSES)}
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    with Watch() as watch:
        started = time.process_time()
        lesson = Lesson(settings, around, model, known)
        batches = lesson.batches(0)
        for batch in batches:
            lesson.loss(model, batch).backward()
            optimizer.step()
            optimizer.zero_grad()
        seconds = time.process_time() - started
    return watch.most, 1000 * seconds / len(batches)


def opened(folder: Path, name: str) -> Rows:
    """Mapped, not read."""
    start, column, value = (
        np.load(folder / f"{name}.{part}.npy", mmap_mode="r")
        for part in ("start", "column", "value")
    )
    width = CLASSES * WORDS if name == "features" else len(start) - 1
    return Rows(start, column, value, width)


class Watch:
    """The most memory of its own that the process takes on meanwhile, in MiB."""

    def __enter__(self) -> "Watch":
        self.before, self.most, self.over = own_memory(), 0.0, threading.Event()
        self.thread = threading.Thread(target=self.look)
        self.thread.start()
        return self

    def look(self) -> None:
        while not self.over.wait(0.005):
            self.most = max(self.most, (own_memory() - self.before) / MIB)

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join()


def own_memory() -> int:
    """Bytes without those of mapped files (Linux)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return 1024 * int(line.split()[1])
    raise RuntimeError("this system does not say how much memory is the process's own")


if __name__ == "__main__":
    main()
