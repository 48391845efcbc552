"""Gymnasium's environments: made, checked, played side by side.

An episode is named by the integer it was reset with: the same integer and the same actions give
the same episode, so nothing inside an environment ever has to be saved.

Shapes: E environments side by side, N episodes, O numbers in an observation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from hour9.task import Source, Tables

if TYPE_CHECKING:
    from great_expectations.expectations import Expectation
    from gymnasium import Env

TABULAR = "Taxi-v4, FrozenLake-v1, FrozenLake8x8-v1, CliffWalking-v1"
CONTINUOUS = "CartPole-v1, Acrobot-v1, MountainCar-v0, LunarLander-v3 (which needs Box2D)"

LONGEST = 1000
"""Steps of an episode where the environment itself sets no limit."""


class UnsupportedEnvironment(ValueError):  # noqa: N818 - reads as a sentence where it is raised
    """The environment does not exist, or has states or actions that no agent here can use."""


def make(name: str) -> Env:
    """The environment with its time limit. Raises UnsupportedEnvironment."""
    import gymnasium

    try:
        limit = gymnasium.spec(name).max_episode_steps or LONGEST
        return gymnasium.make(name, max_episode_steps=limit, disable_env_checker=True)
    except gymnasium.error.Error as error:
        raise UnsupportedEnvironment(
            f"Gymnasium cannot make '{name}': {error} Supported are {TABULAR}; {CONTINUOUS}"
        ) from error


def embedded(source: Source) -> str:
    """The name of the source's environment. Raises ValueError where it comes from elsewhere."""
    if source.kind != "embedded":
        raise ValueError(f"episodes are played here: kind must be embedded, got '{source.kind}'")
    return source.env


def tabular_facts(name: str) -> pd.DataFrame:
    """`facts` of an environment with numbered states that publishes its transitions."""
    env = make(name)
    if not hasattr(env.unwrapped, "P"):
        raise UnsupportedEnvironment(
            f"{name} does not publish its transitions as `P`; supported are {TABULAR}"
        )
    return facts(name, env, count(name, env, "observation_space", TABULAR))


def continuous_facts(name: str) -> pd.DataFrame:
    """`facts` of an environment whose observation is a row of numbers."""
    env = make(name)
    shape = env.observation_space.shape
    if shape is None or len(shape) != 1:
        raise UnsupportedEnvironment(
            f"{name} observes {env.observation_space}, not a row of numbers; "
            f"supported are {CONTINUOUS}"
        )
    return facts(name, env, shape[0])


def facts(name: str, env: Env, observations: int) -> pd.DataFrame:
    """One row: what a training and a score must know of the environment."""
    assert env.spec is not None
    row = {
        "env": name,
        "observations": observations,
        "actions": count(name, env, "action_space", f"{TABULAR}; {CONTINUOUS}"),
        "max_steps": env.spec.max_episode_steps,
    }
    return pd.DataFrame([row])


def count(name: str, env: Env, space: str, supported: str) -> int:
    """The size of a space of numbered things: 0, 1, … n - 1."""
    from gymnasium.spaces import Discrete

    found = getattr(env, space)
    if not isinstance(found, Discrete) or found.start != 0:
        raise UnsupportedEnvironment(
            f"{name} has {space} {found}; supported is Discrete(n) from 0, as in {supported}"
        )
    return int(found.n)


def complete(columns: list[str]) -> list[Expectation]:
    """A table has rows, these columns and no other, and no hole."""
    from great_expectations import expectations as expect

    return [
        expect.ExpectTableRowCountToBeBetween(min_value=1),
        expect.ExpectTableColumnsToMatchSet(column_set=columns, exact_match=True),
        *(expect.ExpectColumnValuesToNotBeNull(column=column) for column in columns),
    ]


def environment_rules() -> list[Expectation]:
    """The table `environment` is one row of `facts`."""
    from great_expectations import expectations as expect

    columns = ["observations", "actions", "max_steps"]
    return [
        *complete(["env", *columns]),
        expect.ExpectTableRowCountToEqual(value=1),
        *(expect.ExpectColumnValuesToBeBetween(column=c, min_value=1) for c in columns),
    ]


NOISE = 0.1
"""How badly a perturbed agent sees: in a share of steps it takes its state for one beside it, or
to each number it sees this much of that number's spread is added."""


def see_worse(tables: Tables, _: int) -> Tables:
    """The same episodes, with noise in what the agent observes."""
    return {**tables, "environment": tables["environment"].assign(noise=NOISE)}


def share_of_noise(tables: Tables) -> float:
    """What `see_worse` set; none in the data themselves."""
    facts = tables["environment"]
    return float(facts["noise"].iloc[0]) if "noise" in facts else 0.0


Policy = Callable[[np.ndarray], np.ndarray]
"""(E, O) -> (E,): an action for each observation."""


def play(name: str, policy: Policy, seeds: Sequence[int]) -> np.ndarray:  # -> (N,)
    """The return of one episode for each seed, all of them side by side."""
    envs = [make(name) for _ in seeds]
    seen = np.stack([env.reset(seed=int(seed))[0] for env, seed in zip(envs, seeds, strict=True)])
    returns = np.zeros(len(envs))
    playing = list(range(len(envs)))
    while playing:
        actions = policy(seen[playing]).tolist()
        for number, action in zip(tuple(playing), actions, strict=True):
            seen[number], reward, terminated, truncated, _ = envs[number].step(action)
            returns[number] += float(reward)
            if terminated or truncated:
                playing.remove(number)
    return returns


class SideBySide:
    """E environments that always play; the n-th episode begins with `seed_of(n)`."""

    def __init__(self, name: str, number: int, seed_of: Callable[[int], int]):
        self.envs = [make(name) for _ in range(number)]
        self.seed_of = seed_of
        self.begun = 0
        self.seeds = [0] * number
        self.actions: list[list[int]] = [[] for _ in range(number)]  # since the reset
        self.seen = np.stack([self.begin(e) for e in range(number)])  # (E, O)

    def begin(self, e: int) -> np.ndarray:  # -> (O,)
        """Start the next episode in environment `e`."""
        self.seeds[e], self.actions[e] = self.seed_of(self.begun), []
        self.begun += 1
        return self.envs[e].reset(seed=self.seeds[e])[0]

    def step(self, actions: np.ndarray) -> dict[str, np.ndarray]:  # (E,) -> each (E, ...)
        """One step of each: the transitions.

        `next_observation` is the one before any reset. An episode cut by its time limit begins
        anew, yet its last transition is not `terminated`: there was a future.
        """
        before = self.seen
        following = np.empty_like(before)
        rewards = np.zeros(len(self.envs), np.float32)
        over = np.zeros(len(self.envs), np.bool_)
        self.seen = np.empty_like(before)
        for e, action in enumerate(actions.tolist()):
            following[e], reward, over[e], truncated, _ = self.envs[e].step(action)
            rewards[e] = reward
            self.actions[e].append(action)
            self.seen[e] = self.begin(e) if over[e] or truncated else following[e]
        return {
            "observation": before,
            "action": actions,
            "reward": rewards,
            "next_observation": following,
            "terminated": over,
        }

    def state(self) -> dict[str, Any]:
        """What must be told to environments for them to stand where these stand."""
        return {
            "begun": self.begun,
            "seeds": [*self.seeds],
            "actions": [[*a] for a in self.actions],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Play the unfinished episodes again up to where `state` was taken."""
        self.begun, self.seeds, self.actions = state["begun"], state["seeds"], state["actions"]
        for e, env in enumerate(self.envs):
            self.seen[e], _ = env.reset(seed=self.seeds[e])
            for action in self.actions[e]:
                self.seen[e] = env.step(action)[0]
