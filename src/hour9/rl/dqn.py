"""Deep Q-learning: the values of the actions from a network, learned from replayed transitions.

Training goes in rounds: some steps in all environments, then some updates (learner.py). Several
agents are trained side by side, apart only in their random numbers. Four switches lead from DQN
towards Rainbow (Hessel et al. 2018): double, dueling, n_step and priority. A fifth is not of it:
values told from a centre, in a unit.

Shapes: G agents, B transitions, E environments of each agent, O numbers in an observation,
A actions.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field

import numpy as np
import pandas as pd
from torch import Tensor, nn

from hour9.engine.checkpoint import State
from hour9.engine.device import prepare_threads
from hour9.engine.fit import Diverged
from hour9.engine.randomness import random_state, seed_all, set_random_state
from hour9.engine.run import Run
from hour9.engine.weights import save_model
from hour9.rl.episodes import SideBySide, play, returns
from hour9.rl.learner import Learner
from hour9.rl.seeds import median_agent
from hour9.rl.settings import DQN
from hour9.task import Tables

UNSEEN = 2**32
"""Episodes that stand in no table are seeded from here on; the cases' seeds are below."""

DONE = 2
"""An agent has learned all there is when as many checks in a row could not have been better."""


def train(run: Run) -> None:
    """Learn from the train cases' episodes, then from fresh ones; keep each agent's best network.

    Best is the largest mean return over the validation cases; of equals the latest. Training
    ends early when all agents are done.
    """
    training = Training(run)
    if saved := run.resume():
        training.restore(saved)
    while training.place.step < run.settings.steps and not training.done().all():
        training.round()
        run.save_if_due(training.state)
    place = training.place
    config = {
        "settings": run.settings.model_dump(),
        **run.tables["environment"].iloc[0].to_dict(),
        "validation": place.best,
        "registered": median_agent(place.best),
    }
    save_model(run.folder, training.best, config)


@dataclass
class Place:
    """Where a training stands."""

    step: int = 0  # of each agent
    rounds: int = 0
    checked: int = 0  # step of the last check
    loss: float = 0.0  # sum over the rounds since the last check
    best: list[float] = field(default_factory=list)  # of each agent
    perfect: list[int] = field(default_factory=list)  # checks in a row, of each agent


class Training:
    """The agents with their environments, and how far they are."""

    def __init__(self, run: Run):
        settings: DQN = run.settings
        prepare_threads(settings.threads)
        seed_all(settings.seed)
        env = run.tables["environment"].iloc[0]
        self.run, self.env = run, env["env"]
        self.seeds = split_seeds(run.tables, "validation")
        self.most = largest_return(run.tables)
        known = recorded(run.tables["transitions"], int(env["observations"]))
        G = settings.seeds
        self.learner = Learner(settings, known, int(env["actions"]))
        seed_of = seed_stream(run.tables, settings.seed)
        self.episodes = SideBySide(self.env, G, settings.environments, seed_of)
        self.place = Place(best=[float("-inf")] * G, perfect=[0] * G)
        self.best = copy(self.learner.network)

    def done(self) -> np.ndarray:  # -> (G,)
        """Which agents cannot become better."""
        return np.array(self.place.perfect) >= DONE

    def round(self) -> None:
        """Some steps, some updates, and now and then a new target or a check."""
        place, settings, learner = self.place, self.learner.settings, self.learner
        self.gather()
        while len(learner.replay) < settings.n_step:  # no transition has all its rewards yet
            self.gather()
        place.loss += learner.learn(place.step)
        place.rounds += 1
        if place.rounds % settings.target_every == 0:
            learner.renew_target()
        due = place.step - place.checked >= settings.check_every
        if due or place.step >= settings.steps:
            self.check()

    def gather(self) -> None:
        """Act ε-greedily for the steps of one round and remember what happened.

        A random action may be kept for some steps: one push each way leads nowhere where it takes
        several to get anywhere (Dabney et al. 2021).
        """
        settings = self.learner.settings
        for step in range(settings.round_steps):
            chosen = self.learner.network.told(self.episodes.seen)  # (G E, A)
            if step % settings.keep == 0:
                explores = np.random.random(len(chosen)) < settings.epsilon(self.place.step)
                random = np.random.randint(chosen.shape[1], size=len(chosen))
            taken = np.where(explores, random, chosen.argmax(axis=1))
            self.learner.replay.add(self.episodes.step(taken))
            self.place.step += settings.environments

    def check(self) -> None:
        """Play the validation episodes; keep each agent's network if none of its own before was
        better."""
        settings, place = self.learner.settings, self.place
        network = self.learner.network
        found = returns(play(self.env, network.act, self.seeds * settings.seeds))
        scores = found.reshape(settings.seeds, -1).mean(axis=1)  # (G,)
        rounds = (place.step - place.checked) / (settings.environments * settings.round_steps)
        loss = place.loss / rounds
        if not loss < float("inf"):
            raise Diverged(f"the loss is {loss}; lower learning_rate ({settings.learning_rate})")
        score, epsilon = scores.mean(), settings.epsilon(place.step)
        self.run.log(place.step, loss=loss, validation=score, epsilon=epsilon)
        said = f"steps, validation return {score:.1f} ({scores.min():.1f} to {scores.max():.1f})"
        self.run.progress(place.step, settings.steps, said)
        better = (scores >= place.best) & ~self.done()
        for name, weight in network.named_parameters():
            self.best[name][better] = weight.detach()[better]
        place.best = np.where(better, scores, place.best).tolist()
        perfect = np.where(scores >= self.most, np.array(place.perfect) + 1, 0)
        place.perfect = np.where(self.done(), DONE, perfect).tolist()
        place.checked, place.loss = place.step, 0.0

    def state(self) -> State:
        """Fit for a checkpoint."""
        return {
            "place": asdict(self.place),
            "best": self.best,
            "learner": self.learner.state(),
            "episodes": self.episodes.state(),
            "random": random_state(),
        }

    def restore(self, state: State) -> None:
        """The inverse of `state`."""
        self.place, self.best = Place(**state["place"]), state["best"]
        self.learner.restore(state["learner"])
        self.episodes.restore(state["episodes"])
        set_random_state(state["random"])


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
        "over": transitions[["terminated", "truncated"]].to_numpy(np.bool_).any(axis=1),
    }


def split_seeds(tables: Tables, split: str) -> list[int]:
    """What the episodes of a split are reset with."""
    cases = tables["cases"]
    return cases.loc[cases["split"] == split, "seed"].tolist()


def seed_stream(tables: Tables, seed: int) -> Callable[[int, int], int]:
    """The seed of an agent's n-th training episode: those of the train cases, then fresh ones."""
    known = split_seeds(tables, "train")

    def seed_of(agent: int, n: int) -> int:
        if n < len(known):
            return known[n]
        return UNSEEN + int(np.random.SeedSequence([seed, agent, n]).generate_state(1)[0])

    return seed_of


def largest_return(tables: Tables) -> float:
    """What no episode can exceed; infinite where it cannot be told.

    It is taken as known where every recorded step earned the same: then the best is to last to the
    time limit. A world that pays more only where random actions never lead is not seen through.
    """
    rewards = tables["transitions"]["reward"]
    same = rewards.min() == rewards.max() > 0
    return float(rewards.max() * tables["environment"]["max_steps"][0]) if same else float("inf")
