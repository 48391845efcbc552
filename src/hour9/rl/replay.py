"""Experience replay: the newest transitions, in tensors that are made once.

Transitions lie in the order in which they happened, so a return over several steps is read off
when it is asked for, and nothing has to be kept ready.

Shapes: G agents, T rows of time, E environments of each agent, O numbers in an observation,
U updates, B transitions in a batch.
"""

import numpy as np
import torch
from torch import Tensor

Batch = dict[str, Tensor]

LEAST = 1e-3
"""Added to every priority, so that a transition without an error may still be drawn."""


class Replay:
    """The newest `capacity` transitions of each agent (Lin 1992; Mnih et al. 2015)."""

    def __init__(
        self,
        shape: tuple[int, int, int],  # G, E, O
        capacity: int,
        device: torch.device,
        *,
        discount: float = 1.0,
        n_step: int = 1,
        priority: float = 0.0,
    ):
        G, E, O = shape  # noqa: E741 - the legend's letter
        self.rows = capacity // E  # T
        self.discount, self.n_step, self.priority = discount, n_step, priority
        self.added = 0  # rows, since ever

        def empty(*more: int, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.zeros(G, self.rows, E, *more, dtype=dtype, device=device)

        self.memory: Batch = {
            "observation": empty(O),
            "action": empty(dtype=torch.int64),
            "reward": empty(),
            "next_observation": empty(O),
            "terminated": empty(dtype=torch.bool),
            "over": empty(dtype=torch.bool),  # terminated, or cut by the time limit
            "priority": empty(),
        }

    def __len__(self) -> int:
        """Rows that are filled."""
        return min(self.added, self.rows)

    def add(self, transitions: dict[str, np.ndarray]) -> None:  # each (G E, ...)
        """Remember one step of every environment, in place of the oldest.

        Nothing is known of its error yet, so it is as likely as the likeliest (Schaul et al. 2016).
        """
        row = self.added % self.rows
        for name, new in transitions.items():
            memory = self.memory[name]
            memory[:, row] = torch.from_numpy(new).to(memory).view_as(memory[:, row])
        likeliest = self.memory["priority"].amax(dim=(1, 2), keepdim=True)  # (G, 1, 1)
        self.memory["priority"][:, row] = torch.where(likeliest > 0, likeliest, 1.0)[:, 0]
        self.added += 1

    def sample(self, updates: int, batch: int, correction: float = 1.0) -> Batch:
        """Transitions drawn with replacement, each (U, G, B, ...), and their places in memory.

        The rewards of n steps are summed up to where an episode is over; `discount` is the factor
        of what comes then: γ^n, or less far where it is over (Sutton & Barto 2018, eq. 7.1).
        """
        G, T, E = self.memory["reward"].shape
        shape = (updates, G, batch)
        drawn = self.by_priority(shape) if self.priority else self.evenly(shape)  # in T E
        device = self.memory["reward"].device
        agent = torch.arange(G, device=device)[:, None] * (T * E)  # (G, 1)
        here = self.flat("observation", agent + drawn)
        reward = torch.zeros(shape, device=device)
        discount = torch.ones(shape, device=device)
        goes_on = torch.ones(shape, dtype=torch.bool, device=device)
        last = step = drawn
        for _ in range(self.n_step):
            last = torch.where(goes_on, step, last)
            reward += goes_on * discount * self.flat("reward", agent + step)
            discount = torch.where(goes_on, self.discount * discount, discount)
            goes_on &= ~self.flat("over", agent + step)
            step = (step + E) % (T * E)
        return {
            "observation": here,
            "action": self.flat("action", agent + drawn),
            "reward": reward,
            "discount": discount,
            "next_observation": self.flat("next_observation", agent + last),
            "terminated": self.flat("terminated", agent + last),
            "weight": self.weight(agent + drawn, correction),
            "place": agent + drawn,
        }

    def flat(self, name: str, places: Tensor) -> Tensor:
        """What stands in the memory at these places, agents and rows counted through."""
        found = self.memory[name].flatten(0, 2).index_select(0, places.flatten())
        return found.view(*places.shape, *found.shape[1:])

    def evenly(self, shape: tuple[int, ...]) -> Tensor:
        """Places of transitions that have n - 1 successors, each as likely as the next."""
        _, T, E = self.memory["reward"].shape
        oldest = self.added % T if self.added > T else 0
        drawn = torch.randint((len(self) - self.n_step + 1) * E, shape)
        return ((oldest * E + drawn) % (T * E)).to(self.memory["reward"].device)

    def by_priority(self, shape: tuple[int, int, int]) -> Tensor:
        """The same, as likely as P(i) = p_i^α / Σ_k p_k^α (Schaul et al. 2016, eq. 1)."""
        cumulative = self.likelihood().cumsum(dim=1)  # (G, T E)
        chance = torch.rand(shape, dtype=torch.float64).movedim(1, 0).flatten(1)  # (G, U B)
        chance = chance.to(cumulative.device) * cumulative[:, -1:]
        drawn = torch.searchsorted(cumulative, chance, right=True)  # (G, U B)
        return drawn.view(shape[1], shape[0], shape[2]).movedim(0, 1)

    def likelihood(self) -> Tensor:  # -> (G, T E)
        """p^α of each transition that may be drawn, 0 of the others."""
        p = self.memory["priority"].double() ** self.priority  # 0 ** α = 0: never filled
        recent = (self.added - 1 - torch.arange(self.n_step - 1)) % self.rows
        p[:, recent.to(p.device)] = 0.0  # what follows them has not happened yet
        return p.flatten(1)

    def weight(self, places: Tensor, correction: float) -> Tensor:
        """w_i = (N P(i))^-β over its maximum, as what is drawn more often must count for less.

        (Schaul et al. 2016, section 3.4.) The maximum is that of each batch.
        """
        if not self.priority:
            return torch.ones(places.shape, device=places.device)
        likelihood = self.flat("priority", places) ** self.priority
        return (likelihood / likelihood.amin(dim=-1, keepdim=True)) ** -correction

    def renew(self, places: Tensor, errors: Tensor) -> None:
        """The priority of a transition is its last error: p = |δ| + ε.

        Of one that was drawn twice, a GPU may keep either.
        """
        self.memory["priority"].view(-1)[places.flatten()] = errors.abs().flatten() + LEAST

    def state(self) -> dict[str, object]:
        """What is remembered, fit for a checkpoint."""
        return {"added": self.added, **{k: v[:, : len(self)] for k, v in self.memory.items()}}

    def restore(self, state: dict) -> None:
        """The inverse of `state`."""
        self.added = state["added"]
        for name, memory in self.memory.items():
            memory[:, : len(self)] = state[name].to(memory.device)
