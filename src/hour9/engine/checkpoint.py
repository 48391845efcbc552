"""A training's state on disk: safetensors for what is a tensor, JSON for the rest. No pickle.

A state is a tree of dicts and lists whose leaves are tensors, arrays, numbers, text or None.
"""

import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from hour9.engine import processes

SECONDS = float(os.environ.get("HOUR9_CHECKPOINT_SECONDS", "20"))
"""Time between two checkpoints. It never changes a result, only how much a crash costs."""

TENSOR = "$tensor"
ARRAY = "$array"

State = dict[str, Any]


class Checkpoint:
    """The newest state of one training, replaced in one step so that a crash leaves old or new."""

    def __init__(self, folder: Path, seconds: float = SECONDS):
        self.folder = folder
        self.seconds = seconds
        self.saved_at = time.monotonic()

    def due(self) -> bool:
        """Whether enough time has passed since the last one."""
        return time.monotonic() - self.saved_at >= self.seconds

    def save(self, state: State) -> None:
        """Write beside the old one, flush to disk, then swap a pointer file."""
        tensors: dict[str, torch.Tensor] = {}
        tree = separate(state, tensors)
        self.folder.mkdir(parents=True, exist_ok=True)
        name = f"state-{time.monotonic_ns()}"
        scratch = self.folder / name
        scratch.mkdir()
        save_file(tensors, scratch / "state.safetensors")
        (scratch / "state.json").write_text(json.dumps(tree))
        pointer = self.folder / "newest.part"
        pointer.write_text(name)
        for path in (*scratch.iterdir(), scratch, pointer):
            flush(path)
        os.replace(pointer, self.folder / "newest")
        flush(self.folder)
        for old in self.folder.glob("state-*"):
            if old != scratch:
                shutil.rmtree(old, ignore_errors=True)
        self.saved_at = time.monotonic()

    def load(self) -> State | None:
        """The newest state, or None where there is none yet, or none that can be read."""
        pointer = self.folder / "newest"
        if not pointer.exists():
            return None
        try:
            folder = self.folder / pointer.read_text()
            tensors = load_file(folder / "state.safetensors")
            return join(json.loads((folder / "state.json").read_text()), tensors)
        except (FileNotFoundError, SafetensorError, ValueError) as error:
            if processes.rank() == 0:
                why = f"the checkpoint in {self.folder} cannot be read ({error})"
                print(f"{why}; training starts over", file=sys.stderr, flush=True)
            return None

    def clear(self) -> None:
        """Forget the training: it has ended."""
        shutil.rmtree(self.folder, ignore_errors=True)


def flush(path: Path) -> None:
    """Have what was written to a file, or the names in a folder, on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def separate(tree: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """Move the tensors out of the tree, leaving their names; the tree is then JSON."""
    if isinstance(tree, dict):
        if not all(isinstance(key, str) for key in tree):
            raise TypeError(f"a state's keys must be text, got {list(tree)[:3]}")
        return {key: separate(value, tensors) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [separate(value, tensors) for value in tree]
    if isinstance(tree, torch.Tensor | np.ndarray):
        name = str(len(tensors))
        is_array = isinstance(tree, np.ndarray)
        tensor = torch.from_numpy(tree) if isinstance(tree, np.ndarray) else tree
        tensors[name] = tensor.detach().cpu().contiguous().clone()
        return {ARRAY if is_array else TENSOR: name}
    if isinstance(tree, np.generic):
        return tree.item()
    return tree


def join(tree: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """Put the tensors back: the inverse of `separate`, up to tuples that became lists."""
    if isinstance(tree, dict):
        if TENSOR in tree:
            return tensors[tree[TENSOR]]
        if ARRAY in tree:
            return tensors[tree[ARRAY]].numpy()
        return {key: join(value, tensors) for key, value in tree.items()}
    if isinstance(tree, list):
        return [join(value, tensors) for value in tree]
    return tree
