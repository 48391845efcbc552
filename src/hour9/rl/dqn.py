"""Deep Q-learning: the values of the actions from a network, learned from replayed transitions.

Training goes in rounds: some steps in all environments, then some updates. The batches of a round
are drawn at once and their targets computed in one pass, as the target network stands still
meanwhile: a small network's time goes into the number of calls, not into arithmetic.

Shapes: U updates, B transitions in a batch, E environments, O numbers in an observation,
A actions.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hour9.engine.checkpoint import State
from hour9.engine.device import pick_device, prepare_threads
from hour9.engine.fit import Diverged
from hour9.engine.randomness import random_state, seed_all, set_random_state
from hour9.engine.run import Run
from hour9.engine.weights import load_model, save_model
from hour9.rl.environments import SideBySide, play
from hour9.rl.replay import Batch, Replay
from hour9.rl.settings import DQN
from hour9.task import Tables

UNSEEN = 2**32
"""Episodes that stand in no table are seeded from here on; the cases' seeds are below."""


class QNetwork(nn.Module):
    """Q(s, ·): two hidden layers over observations in units of `scale`."""

    scale: Tensor  # (O,)

    def __init__(self, scale: Tensor, hidden: int, actions: int):
        super().__init__()
        self.register_buffer("scale", scale)
        self.first = nn.Linear(len(scale), hidden)
        self.second = nn.Linear(hidden, hidden)
        self.value = nn.Linear(hidden, actions)

    def forward(self, observation: Tensor) -> Tensor:  # (..., O) -> (..., A)
        return self.value(F.relu(self.second(F.relu(self.first(observation / self.scale)))))

    @torch.no_grad()
    def values(self, observations: np.ndarray) -> np.ndarray:  # (E, O) -> (E, A)
        """The same for arrays."""
        seen = torch.as_tensor(observations, dtype=torch.float32, device=self.scale.device)
        return self(seen).cpu().numpy()

    def act(self, observations: np.ndarray) -> np.ndarray:  # (E, O) -> (E,)
        """The best action for each observation."""
        return self.values(observations).argmax(axis=1)


@torch.no_grad()
def q_targets(target: nn.Module, batch: Batch, discount: float) -> Tensor:  # -> (U, B)
    """y = r + γ max_a Q⁻(s', a), and y = r where s' is terminal (Mnih et al. 2015, algorithm 1).

    A time limit is no end of the task: an episode that was only truncated keeps its future.
    """
    future = target(batch["next_observation"]).amax(dim=-1)  # (U, B)
    return batch["reward"] + discount * future * ~batch["terminated"]


@dataclass
class Place:
    """Where a training stands."""

    step: int = 0
    rounds: int = 0
    best: float = float("-inf")
    checked: int = 0  # step of the last check
    perfect: int = 0  # checks in a row that could not have been better
    loss: float = 0.0  # sum over the rounds since the last check


class Learner:
    """The network, its target, the optimizer and the memory."""

    def __init__(self, settings: DQN, known: dict[str, np.ndarray], actions: int):
        device = pick_device(settings.device)
        scale = largest(known["observation"])
        self.settings = settings
        self.network = QNetwork(scale, settings.hidden, actions).to(device)
        self.target = QNetwork(scale, settings.hidden, actions).to(device)
        self.target.load_state_dict(self.network.state_dict())
        self.replay = Replay(settings.replay, len(scale), device)
        self.replay.add(known)
        self.optimizer = torch.optim.Adam(
            self.network.parameters(), lr=settings.learning_rate, fused=True
        )

    def learn(self, learning_rate: float) -> float:
        """One round of updates; the mean loss of them (Huber's, as Mnih et al. clip the error)."""
        settings = self.settings
        batch = self.replay.sample(settings.updates, settings.batch_size)
        targets = q_targets(self.target, batch, settings.discount)  # (U, B)
        self.optimizer.param_groups[0]["lr"] = learning_rate
        total = torch.zeros((), device=targets.device)
        for seen, action, target in zip(
            batch["observation"], batch["action"][..., None], targets[..., None], strict=True
        ):
            chosen = self.network(seen).gather(1, action)  # (B, 1)
            loss = F.smooth_l1_loss(chosen, target)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            total += loss.detach()
        return total.item() / settings.updates

    def state(self) -> State:
        """Fit for a checkpoint."""
        return {
            "network": self.network.state_dict(),
            "target": self.target.state_dict(),
            "optimizer": {str(k): v for k, v in self.optimizer.state_dict()["state"].items()},
            "replay": self.replay.state(),
        }

    def restore(self, state: State) -> None:
        """The inverse of `state`."""
        self.network.load_state_dict(state["network"])
        self.target.load_state_dict(state["target"])
        self.replay.restore(state["replay"])
        groups = self.optimizer.state_dict()["param_groups"]
        moments = {int(k): v for k, v in state["optimizer"].items()}
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})


def largest(observations: np.ndarray) -> Tensor:  # (B, O) -> (O,)
    """How far from zero each number was seen, so that an angle weighs as much as a speed."""
    reach = torch.from_numpy(np.abs(observations).max(axis=0))
    return torch.where(reach > 0, reach, 1.0)


def train(run: Run) -> None:
    """Learn from the train cases' episodes, then from fresh ones; keep the best network.

    Best is the largest mean return over the validation cases; of equals the latest. Training
    ends early when two checks in a row could not have been better.
    """
    settings: DQN = run.settings
    prepare_threads(settings.threads)
    seed_all(settings.seed)
    env = run.tables["environment"].iloc[0]
    seeds = split_seeds(run.tables, "validation")
    most = largest_return(run.tables)
    known = recorded(run.tables["transitions"], int(env["observations"]))
    learner = Learner(settings, known, int(env["actions"]))
    episodes = SideBySide(env["env"], settings.environments, seed_stream(run.tables, settings.seed))
    place, best = Place(), copy(learner.network)

    def state() -> State:
        return {
            "place": asdict(place),
            "best": best,
            "learner": learner.state(),
            "episodes": episodes.state(),
            "random": random_state(),
        }

    if saved := run.resume():
        place, best = Place(**saved["place"]), saved["best"]
        learner.restore(saved["learner"])
        episodes.restore(saved["episodes"])
        set_random_state(saved["random"])

    while place.step < settings.steps and place.perfect < 2:
        gather(learner, episodes, place)
        place.loss += learner.learn(rate(place.step, settings))
        place.rounds += 1
        if place.rounds % settings.target_every == 0:
            learner.target.load_state_dict(learner.network.state_dict())
        due = place.step - place.checked >= settings.check_every or place.step >= settings.steps
        if due and check(run, learner, place, seeds, most):
            best = copy(learner.network)
        run.save_if_due(state)
    config = {"settings": settings.model_dump(), **env.to_dict(), "validation": place.best}
    save_model(run.folder, best, config)


def gather(learner: Learner, episodes: SideBySide, place: Place) -> None:
    """Act ε-greedily for the steps of one round and remember what happened."""
    settings = learner.settings
    for _ in range(settings.round_steps):
        chosen = learner.network.values(episodes.seen)  # (E, A)
        explores = np.random.random(len(chosen)) < settings.epsilon(place.step)
        random = np.random.randint(chosen.shape[1], size=len(chosen))
        learner.replay.add(episodes.step(np.where(explores, random, chosen.argmax(axis=1))))
        place.step += len(chosen)


def rate(step: int, settings: DQN) -> float:
    """Adam's step size: down to a hundredth along a line, or level."""
    left = max(0.01, 1 - step / settings.steps) if settings.decay else 1.0
    return settings.learning_rate * left


def check(run: Run, learner: Learner, place: Place, seeds: list[int], most: float) -> bool:
    """Play the validation episodes; whether none before were played better."""
    settings = learner.settings
    env = run.tables["environment"]["env"][0]
    score = float(play(env, learner.network.act, seeds).mean())
    rounds = (place.step - place.checked) / (settings.environments * settings.round_steps)
    loss = place.loss / rounds
    if not loss < float("inf"):
        raise Diverged(f"the loss is {loss}; lower learning_rate ({settings.learning_rate})")
    run.log(place.step, loss=loss, validation=score, epsilon=settings.epsilon(place.step))
    run.progress(place.step, settings.steps, f"steps, validation return {score:.1f}")
    better = score >= place.best
    place.best = max(score, place.best)
    place.perfect = place.perfect + 1 if score >= most else 0
    place.checked, place.loss = place.step, 0.0
    return better


def copy(network: nn.Module) -> dict[str, Tensor]:
    """The weights, apart from those that training goes on to change."""
    return {name: weight.detach().clone() for name, weight in network.state_dict().items()}


def recorded(transitions: pd.DataFrame, observations: int) -> dict[str, np.ndarray]:
    """The table's transitions, as the memory takes them."""

    def observation(which: str) -> np.ndarray:  # -> (B, O)
        return transitions[[f"{which}_{o}" for o in range(observations)]].to_numpy(np.float32)

    return {
        "observation": observation("observation"),
        "action": transitions["action"].to_numpy(np.int64),
        "reward": transitions["reward"].to_numpy(np.float32),
        "next_observation": observation("next_observation"),
        "terminated": transitions["terminated"].to_numpy(np.bool_),
    }


def split_seeds(tables: Tables, split: str) -> list[int]:
    """What the episodes of a split are reset with."""
    cases = tables["cases"]
    return cases.loc[cases["split"] == split, "seed"].tolist()


def seed_stream(tables: Tables, seed: int) -> Callable[[int], int]:
    """The seed of the n-th training episode: those of the train cases, then ever fresh ones."""
    known = split_seeds(tables, "train")

    def seed_of(n: int) -> int:
        if n < len(known):
            return known[n]
        return UNSEEN + int(np.random.SeedSequence([seed, n]).generate_state(1)[0])

    return seed_of


def largest_return(tables: Tables) -> float:
    """What no episode can exceed; infinite where it cannot be told.

    It can be told where every step earns the same: then the best is to last to the time limit.
    """
    rewards = tables["transitions"]["reward"]
    same = rewards.min() == rewards.max() > 0
    return float(rewards.max() * tables["environment"]["max_steps"][0]) if same else float("inf")


def load_network(folder: Path) -> tuple[QNetwork, dict[str, Any]]:
    """The trained network on the CPU, where a small one answers fastest, and its config."""
    weights, config = load_model(folder)
    hidden = config["settings"]["hidden"]
    network = QNetwork(weights["scale"], hidden, config["actions"])
    network.load_state_dict(weights)
    return network.eval(), config
