"""What learns in deep Q-learning: a round of updates from replayed transitions.

The batches of a round are drawn at once and valued by the target network in one go, as it stands
still meanwhile. What is left for each update is the network forward and, by hand, back.

Shapes: G agents, U updates, B transitions in a batch, E environments of each agent, O numbers in
an observation, A actions.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hour9.engine.checkpoint import State
from hour9.engine.device import pick_device
from hour9.rl.adam import Adam, Vector
from hour9.rl.by_hand import ByHand
from hour9.rl.qnetwork import QNetwork
from hour9.rl.replay import Batch, Replay
from hour9.rl.settings import DQN

CORRECTION = 0.4
"""β at first; 1 in the end (Schaul et al. 2016, table 3, proportional)."""

ROWS = 512
"""Transitions that the target network values at once: what it computes then stays in the cache."""


class Learner:
    """The agents' network, its target, the optimizer and the memory."""

    def __init__(self, settings: DQN, known: dict[str, np.ndarray], actions: int):
        device = pick_device(settings.device)
        scale = largest(known["observation"])
        self.settings = settings
        self.network, self.target = (
            QNetwork(scale, settings.hidden, actions, settings.seeds, settings.dueling).to(device)
            for _ in range(2)
        )
        if settings.unit:
            self.network.worth.copy_(torch.tensor(for_ever(known["reward"], settings)))
        self.adam = Adam(Vector.of(self.network))
        self.renew_target()
        self.replay = Replay(
            (settings.seeds, settings.environments, len(scale)),
            settings.replay,
            device,
            discount=settings.discount,
            n_step=settings.n_step,
            priority=settings.priority,
        )
        self.remember(known)

    def remember(self, known: dict[str, np.ndarray]) -> None:
        """Give every agent the same transitions, dealt to its environments one after the other."""
        G, E = self.settings.seeds, self.settings.environments
        rows = len(known["action"]) // E
        dealt = {k: v[: rows * E].reshape(E, rows, *v.shape[1:]) for k, v in known.items()}
        dealt["over"][:, -1:] = True  # what followed was dealt to another
        for row in range(rows):
            self.replay.add(
                {k: np.tile(v[:, row], (G, *[1] * (v.ndim - 2))) for k, v in dealt.items()}
            )

    def renew_target(self) -> None:
        """The target is what the network is now."""
        self.target.load_state_dict(self.network.state_dict())

    @torch.no_grad()
    def learn(self, step: int) -> float:
        """One round of updates; the mean loss of them."""
        settings, gone = self.settings, min(1.0, step / self.settings.steps)
        correction = CORRECTION + gone * (1 - CORRECTION)
        batch = self.replay.sample(settings.updates, settings.batch_size, correction)
        batch["reward"] = centred(batch, *self.network.worth.tolist())
        errors = self.updates(batch, rate(gone, settings))  # (U, G, B)
        if settings.priority:
            self.replay.renew(batch["place"], errors * self.network.worth[1])
        loss = F.smooth_l1_loss(errors, torch.zeros_like(errors), reduction="none")
        return (batch["weight"] * loss).mean().item()

    def updates(self, batch: Batch, learning_rate: float) -> Tensor:  # -> (U, G, B)
        """Update once for each batch of the round; the errors Q(s, a) - y on the way.

        The loss is Huber's, as Mnih et al. clip the error: the mean over a batch, the sum over the
        agents, so that each learns as if it were alone.
        """
        network, double, B = self.network, self.settings.double, batch["reward"].shape[-1]
        values = next_values(self.target, batch["next_observation"])  # (U, G, B, A)
        targets = q_targets(values, batch)  # (U, G, B, A)
        if not double:
            targets = targets.amax(dim=-1, keepdim=True)  # (U, G, B, 1)
        seen = batch["observation"] / network.scale
        rows = [seen, batch["next_observation"] / network.scale] if double else [seen]
        shown = torch.cat(rows, dim=2)  # (U, G, B or 2 B, O)
        action = batch["action"][..., None]  # (U, G, B, 1)
        share = torch.zeros_like(values).scatter_(-1, action, batch["weight"][..., None] / B)
        errors = torch.empty_like(values)  # of all actions; `share` is 0 where one wasn't taken
        way = ByHand(network, shown.shape[2], B)
        batches = zip(shown, seen, targets, errors, share, strict=True)
        for x, here, target, error, part in batches:
            found = way.forward(x)
            if double:
                best = found[:, B:].argmax(dim=-1, keepdim=True)  # (G, B, 1)
                found, target = found[:, :B], target.gather(-1, best)
            torch.sub(found, target, out=error)  # (G, B, A)
            way.backward(here, error.clamp(-1.0, 1.0).mul_(part))  # ∂L/∂Q(s, ·)
            self.adam.step(learning_rate)
        return errors.gather(-1, action)[..., 0]

    def state(self) -> State:
        """Fit for a checkpoint."""
        return {
            "network": self.network.state_dict(),
            "target": self.target.state_dict(),
            "adam": self.adam.state(),
            "replay": self.replay.state(),
        }

    def restore(self, state: State) -> None:
        """The inverse of `state`."""
        self.network.load_state_dict(state["network"])
        self.target.load_state_dict(state["target"])
        self.adam.restore(state["adam"])
        self.replay.restore(state["replay"])


def next_values(target: QNetwork, seen: Tensor) -> Tensor:  # (U, G, B, O) -> (U, G, B, A)
    """What the target network holds the actions after all transitions of a round to be worth."""
    U, G, B, O = seen.shape  # noqa: E741 - the legend's letter
    rows = seen.transpose(0, 1).reshape(G, U * B, O)
    found = torch.cat([target(part) for part in rows.split(ROWS, dim=1)], dim=1)  # (G, U B, A)
    return found.view(G, U, B, -1).transpose(0, 1)


def q_targets(values: Tensor, batch: Batch) -> Tensor:  # (..., A) -> (..., A)
    """y = r + γ Q⁻(s', a') for each a', and y = r where s' is terminal.

    The one that counts is the largest (Mnih et al. 2015, algorithm 1), or that of the action which
    the network that learns finds best (van Hasselt et al. 2016, eq. 4): then one network's luck is
    not the other's. A time limit is no end of the task: an episode that was only truncated keeps
    its future.
    """
    rest = batch["discount"] * ~batch["terminated"]  # of what is still to come
    return batch["reward"][..., None] + rest[..., None] * values


def for_ever(rewards: np.ndarray, settings: DQN) -> tuple[float, float]:
    """c = r̄ / (1 - γ), what a mean reward for ever is worth, and the unit u that q is told in.

    Most of a value is that of going on, whatever one does: where two pushes differ in how soon the
    pole falls after all, one is worth 97 and the other 97.5. Told from c, the difference is all
    that is left to learn (reward centering, Naik et al. 2024), and in units of this size Huber's
    loss does not cut the errors that tell of an end. Where steps cost something, c is 0: what has
    not been tried must look no worse than what has (Sutton & Barto 2018, section 2.6).
    """
    horizon = 1 / (1 - settings.discount)
    unit = settings.unit * horizon * np.abs(rewards).mean()
    return float(horizon * max(rewards.mean(), 0.0)), float(unit) or 1.0


def centred(batch: Batch, centre: float, unit: float) -> Tensor:  # -> as batch["reward"]
    """The rewards of which q is the value: Q = c + u q in both sides of y = r + γⁿ Q(s', a')."""
    rest = batch["discount"] * ~batch["terminated"]  # of what is still to come
    return (batch["reward"] - centre * (1 - rest)) / unit


def rate(gone: float, settings: DQN) -> float:
    """Adam's step size: down to a hundredth along a line, or level."""
    return settings.learning_rate * (max(0.01, 1 - gone) if settings.decay else 1.0)


def largest(observations: np.ndarray) -> Tensor:  # (B, O) -> (O,)
    """How far from zero each number was seen, so that an angle weighs as much as a speed."""
    reach = torch.from_numpy(np.abs(observations).max(axis=0))
    return torch.where(reach > 0, reach, 1.0)
