"""Episodes, played side by side, in worlds with other physics too.

An episode is named by the integer its environment was reset with: the same integer and the same
actions give the same episode, so nothing inside an environment ever has to be saved.

Shapes: L environments side by side (lanes), O numbers in an observation, T steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from hour9.rl.environments import make

Policy = Callable[[np.ndarray], np.ndarray]
"""(L, O) -> (L,): an action for each observation."""

Physics = dict[str, float]
"""By how much an attribute of the environment differs from what it is made with."""


AS_TRAINED = "as trained"

PERTURBED: dict[str, dict[str, Physics]] = {
    "CartPole": {
        "pole 2 times as long": {"length": 2.0},
        "pole half as long": {"length": 0.5},
        "pole 5 times as heavy": {"masspole": 5.0},
        "push half as strong": {"force_mag": 0.5},
    },
    "Acrobot": {
        "lower link 1.3 times as heavy": {"LINK_MASS_2": 1.3},
        "upper link 1.3 times as long": {"LINK_LENGTH_1": 1.3},
    },
    "MountainCar": {"engine 0.9 times as strong": {"force": 0.9}},
}
"""Worlds that no agent was trained in: whether it learned more than the one it knows."""


def perturbed(name: str) -> dict[str, Physics]:
    """The worlds in which an agent of this environment is tested; what it was trained in first."""
    return {AS_TRAINED: {}, **PERTURBED.get(name.split("-")[0], {})}


class Lanes:
    """Environments side by side, each with its own physics; `seen` is what they show, (L, O)."""

    def __init__(self, name: str, physics: Sequence[Physics]):
        self.envs = [make(name) for _ in physics]
        for env, factors in zip(self.envs, physics, strict=True):
            change(env.unwrapped, factors)
        shape = self.envs[0].observation_space.shape or ()
        self.seen = np.zeros((len(physics), *shape), np.float32)

    def begin(self, lane: int, seed: int) -> None:
        """Start an episode in one of them."""
        self.seen[lane] = self.envs[lane].reset(seed=seed)[0]

    def step(self, lanes: np.ndarray, actions: np.ndarray) -> tuple[np.ndarray, ...]:
        """One step of these, the others stand still: rewards, terminated, truncated."""
        rewards = np.zeros(len(lanes), np.float32)
        terminated, truncated = np.zeros((2, len(lanes)), np.bool_)
        for n, (lane, action) in enumerate(zip(lanes.tolist(), actions.tolist(), strict=True)):
            seen, reward, terminated[n], truncated[n], _ = self.envs[lane].step(action)
            self.seen[lane], rewards[n] = seen, float(reward)
        return rewards, terminated, truncated


class CartPoleLanes(Lanes):
    """The same for the pole, all in one call: Gymnasium's own vectorised equations of motion."""

    def __init__(self, name: str, physics: Sequence[Physics]):
        from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv

        super().__init__(name, [{}])  # one to begin episodes with
        self.poles: Any = CartPoleVectorEnv(len(physics))
        self.poles.reset(seed=0)
        attributes = {attribute for factors in physics for attribute in factors}
        change(
            self.poles,
            {a: np.array([factors.get(a, 1.0) for factors in physics]) for a in attributes},
        )
        assert self.envs[0].spec is not None
        self.limit = self.envs[0].spec.max_episode_steps
        self.age = np.zeros(len(physics), np.int64)
        self.seen = np.zeros((len(physics), 4), np.float32)

    def begin(self, lane: int, seed: int) -> None:
        self.seen[lane] = self.envs[0].reset(seed=seed)[0]
        self.poles.state[:, lane] = self.envs[0].unwrapped.state  # type: ignore[attr-defined]
        self.age[lane] = 0

    def step(self, lanes: np.ndarray, actions: np.ndarray) -> tuple[np.ndarray, ...]:
        before, pushes = self.poles.state, np.zeros(len(self.age), np.int64)
        pushes[lanes] = actions
        seen, rewards, terminated, _, _ = self.poles.step(pushes)
        after = self.poles.state
        self.poles.state = before  # a new array was made, so what stands still is as it was
        self.poles.state[:, lanes] = after[:, lanes]
        self.poles.prev_done[:] = False  # when an episode ends and begins is our own affair
        self.seen[lanes] = seen[lanes]
        self.age[lanes] += 1
        return rewards[lanes], terminated[lanes], self.age[lanes] >= self.limit


def change(env: object, factors: Mapping[str, float | np.ndarray]) -> None:
    """Multiply attributes; what the pole's constructor computes from them is computed again."""
    for attribute, factor in factors.items():
        setattr(env, attribute, getattr(env, attribute) * factor)
    if isinstance(pole := env, HasPole):
        pole.total_mass = pole.masspole + pole.masscart
        pole.polemass_length = pole.masspole * pole.length


@runtime_checkable
class HasPole(Protocol):
    """What Gymnasium's cart poles are made of."""

    masscart: Any
    masspole: Any
    length: Any
    total_mass: Any
    polemass_length: Any


def side_by_side(name: str, physics: Sequence[Physics]) -> Lanes:
    """As many environments as there are physics, in the fastest way there is."""
    return (CartPoleLanes if name == "CartPole-v1" else Lanes)(name, physics)


def play(
    name: str,
    policy: Policy,
    seeds: Sequence[int],
    physics: Sequence[Physics] | None = None,
) -> np.ndarray:  # -> (T, L)
    """The rewards of one episode for each seed, all of them side by side; 0 where it has ended."""
    return play_out(name, policy, seeds, physics)[0]


def play_out(
    name: str,
    policy: Policy,
    seeds: Sequence[int],
    physics: Sequence[Physics] | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # -> (T, L), (L, O), (L,)
    """The same, what each episode showed last, and whether only the time limit ended it."""
    lanes = side_by_side(name, physics or [{}] * len(seeds))
    for lane, seed in enumerate(seeds):
        lanes.begin(lane, int(seed))
    rewards: list[np.ndarray] = []
    playing, cut = np.arange(len(seeds)), np.zeros(len(seeds), np.bool_)
    while len(playing):
        earned, terminated, truncated = lanes.step(playing, policy(lanes.seen)[playing])
        rewards.append(np.zeros(len(seeds)))
        rewards[-1][playing] = earned
        cut[playing] = truncated & ~terminated
        playing = playing[~(terminated | truncated)]
    return np.stack(rewards), lanes.seen, cut


def returns(rewards: np.ndarray, discount: float = 1.0) -> np.ndarray:  # (T, L) -> (L,)
    """G = Σ_t γ^t R_{t+1} (Sutton & Barto 2018, eq. 3.8)."""
    return discount ** np.arange(len(rewards)) @ rewards


def starts(name: str, seeds: Iterable[int]) -> np.ndarray:  # -> (L, O)
    """What the episodes of these seeds show first."""
    env = make(name)
    return np.stack([env.reset(seed=int(seed))[0] for seed in seeds])


class SideBySide:
    """L environments that always play: the n-th episode of agent g begins with `seed_of(g, n)`.

    The agents own equally many of them, one agent's beside each other.
    """

    def __init__(self, name: str, agents: int, number: int, seed_of: Callable[[int, int], int]):
        self.lanes = side_by_side(name, [{}] * (agents * number))
        self.agent = np.repeat(np.arange(agents), number).tolist()
        self.seed_of = seed_of
        self.begun = [0] * agents
        self.seeds = [0] * len(self.agent)
        self.actions: list[list[int]] = [[] for _ in self.agent]  # since the reset
        for lane in range(len(self.agent)):
            self.begin(lane)

    @property
    def seen(self) -> np.ndarray:  # (L, O)
        """What the environments show now."""
        return self.lanes.seen

    def begin(self, lane: int) -> None:
        """Start the agent's next episode in this environment."""
        agent = self.agent[lane]
        self.seeds[lane], self.actions[lane] = self.seed_of(agent, self.begun[agent]), []
        self.begun[agent] += 1
        self.lanes.begin(lane, self.seeds[lane])

    def step(self, actions: np.ndarray) -> dict[str, np.ndarray]:  # (L,) -> each (L, ...)
        """One step of each: the transitions.

        `next_observation` is the one before any reset. An episode cut by its time limit begins
        anew and is `over`, yet its last transition is not `terminated`: there was a future.
        """
        before = self.seen.copy()
        rewards, terminated, truncated = self.lanes.step(np.arange(len(actions)), actions)
        following = self.seen.copy()
        for played, action in zip(self.actions, actions.tolist(), strict=True):
            played.append(action)
        over = terminated | truncated
        for lane in np.flatnonzero(over).tolist():
            self.begin(lane)
        return {
            "observation": before,
            "action": actions,
            "reward": rewards,
            "next_observation": following,
            "terminated": terminated,
            "over": over,
        }

    def state(self) -> dict[str, Any]:
        """What must be told to environments for them to stand where these stand."""
        return {
            "begun": [*self.begun],
            "seeds": [*self.seeds],
            "actions": [[*a] for a in self.actions],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Play the unfinished episodes again up to where `state` was taken."""
        self.begun, self.seeds, self.actions = state["begun"], state["seeds"], state["actions"]
        for lane, seed in enumerate(self.seeds):
            self.lanes.begin(lane, seed)
        for step in range(max(map(len, self.actions))):
            behind = [lane for lane, played in enumerate(self.actions) if len(played) > step]
            again = [self.actions[lane][step] for lane in behind]
            self.lanes.step(np.array(behind), np.array(again))
