"""A trained model on disk: `model.safetensors` and `config.json`, nothing that runs when read."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file


def save_model(folder: Path, weights: Mapping[str, torch.Tensor], config: dict[str, Any]) -> None:
    """Write both files; the same weights and config give the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    ready = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    save_file(ready, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def load_model(folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Weights by name, and the config they were saved with."""
    config = json.loads((folder / "config.json").read_text())
    return load_file(folder / "model.safetensors"), config
