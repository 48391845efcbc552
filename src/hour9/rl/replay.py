"""Experience replay: the newest transitions, in tensors that are made once.

Shapes: B transitions, O numbers in an observation.
"""

import numpy as np
import torch
from torch import Tensor

Batch = dict[str, Tensor]


class Replay:
    """The newest `capacity` transitions (Lin 1992; Mnih et al. 2015, "replay memory")."""

    def __init__(self, capacity: int, observations: int, device: torch.device):
        def empty(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.zeros(capacity, *shape, dtype=dtype, device=device)

        self.capacity = capacity
        self.added = 0
        self.memory: Batch = {
            "observation": empty(observations),
            "action": empty(dtype=torch.int64),
            "reward": empty(),
            "next_observation": empty(observations),
            "terminated": empty(dtype=torch.bool),
        }

    def __len__(self) -> int:
        return min(self.added, self.capacity)

    def add(self, transitions: dict[str, np.ndarray]) -> None:  # each (B, ...)
        """Remember them in place of the oldest."""
        number = len(transitions["action"])
        places = torch.arange(self.added, self.added + number) % self.capacity
        for name, memory in self.memory.items():
            new = torch.tensor(transitions[name]).to(memory.device, memory.dtype)
            memory[places.to(memory.device)] = new
        self.added += number

    def sample(self, *shape: int) -> Batch:  # -> each (*shape, ...)
        """Transitions drawn evenly, with replacement."""
        places = torch.randint(len(self), shape)
        return {name: memory[places.to(memory.device)] for name, memory in self.memory.items()}

    def state(self) -> dict[str, object]:
        """What is remembered, fit for a checkpoint."""
        return {"added": self.added, **{k: v[: len(self)] for k, v in self.memory.items()}}

    def restore(self, state: dict) -> None:
        """The inverse of `state`."""
        self.added = state["added"]
        for name, memory in self.memory.items():
            memory[: len(self)] = state[name].to(memory.device)
