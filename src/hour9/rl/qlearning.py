"""Q-learning: the value of every action in every state, learned from single steps.

The steps are drawn from the task's table of transitions, whose dynamics are the environment's
own; in plain Python that is ten times as fast as `env.step`.

Shapes: S states, A actions.
"""

import random
from dataclasses import asdict, dataclass

import numpy as np
import torch

from hour9.engine.checkpoint import State
from hour9.engine.randomness import random_state, seed_all, set_random_state
from hour9.engine.run import Run
from hour9.engine.weights import save_model
from hour9.rl.decision_process import DecisionProcess, greedy, policy_return
from hour9.rl.settings import QLearning


@dataclass
class Place:
    """Where a training stands."""

    step: int = 0
    state: int = -1  # -1: the next step begins an episode
    age: int = 0  # steps since the episode began
    best: float = float("-inf")


Outcomes = list[tuple[float, int, float, bool]]
"""What one action can lead to: cumulative probability, next state, reward, terminated."""


def train(run: Run) -> None:
    """Learn from starts of split train; keep the table that acts best on split validation.

    Of equally good tables the latest is kept: it has seen more.
    """
    settings: QLearning = run.settings
    seed_all(settings.seed)
    process = DecisionProcess.from_table(run.tables["transitions"])
    limit = int(run.tables["environment"]["max_steps"][0])
    cases = run.tables["cases"]
    starts = cases.loc[cases["split"] == "train", "start"].tolist()
    validation = cases.loc[cases["split"] == "validation", "start"].to_numpy()
    world = World(process, starts, limit)
    place = Place()
    q = [[0.0] * world.actions for _ in world.outcomes]
    visits = [[0] * world.actions for _ in world.outcomes]
    best = np.array(q)

    def state() -> State:
        return {
            "place": asdict(place),
            "q": np.array(q),
            "visits": np.array(visits),
            "best": best,
            "random": random_state(),
        }

    if saved := run.resume():
        place = Place(**saved["place"])
        q, visits, best = saved["q"].tolist(), saved["visits"].tolist(), saved["best"]
        set_random_state(saved["random"])

    while place.step < settings.steps:
        until = min(settings.steps, place.step + settings.check_every)
        learn(world, q, visits, place, until, settings)
        score = policy_return(process, greedy(np.array(q)), limit)[validation].mean()
        run.log(place.step, validation=score, epsilon=settings.epsilon(place.step))
        run.progress(place.step, settings.steps, f"steps, validation return {score:.3f}")
        if score >= place.best:
            place.best, best = float(score), np.array(q)
        run.save_if_due(state)
    facts = run.tables["environment"].iloc[0]
    config = {"settings": settings.model_dump(), "env": facts["env"], "validation": place.best}
    save_model(run.folder, {"q": torch.from_numpy(best)}, config)


class World:
    """The decision process as Python lists, which are read faster one by one than arrays."""

    def __init__(self, process: DecisionProcess, starts: list[int], limit: int):
        self.actions = process.reward.shape[1]
        self.starts = starts
        self.limit = limit
        states = range(len(process.reward))
        self.outcomes = [[possible(process, s, a) for a in range(self.actions)] for s in states]


def possible(process: DecisionProcess, state: int, action: int) -> Outcomes:
    """What may follow the action, without the padding."""
    real = process.probability[state, action] > 0  # (K,)
    columns = [process.probability[state, action, real].cumsum()]
    columns += [
        column[state, action, real]
        for column in (process.next_state, process.reward, process.terminated)
    ]
    return list(zip(*(column.tolist() for column in columns), strict=True))


def happens(outcomes: Outcomes, chance: float) -> tuple[int, float, bool]:
    """The outcome at `chance`, from 0 to 1, along the line of their probabilities."""
    for cumulative, following, reward, terminated in outcomes:
        if chance < cumulative:
            return following, reward, terminated
    return outcomes[-1][1:]  # the probabilities sum to a rounding error less than one


def learn(
    world: World,
    q: list[list[float]],
    visits: list[list[int]],
    place: Place,
    until: int,
    settings: QLearning,
) -> None:
    """Act ε-greedily until step `until` and correct `q` at each step, in place.

    Q(s, a) ← Q(s, a) + α (r + γ max_b Q(s', b) - Q(s, a)), where Q(s', ·) is 0 if s' is terminal
    (Watkins 1989; Sutton & Barto 2018, eq. 6.8). An episode cut by its time limit had a future,
    so only `terminated` makes a next state worthless.
    """
    draw, power = random.random, settings.step_size_decay
    state, age = place.state, place.age
    for step in range(place.step, until):
        if state < 0:
            state, age = random.choice(world.starts), 0
        row = q[state]
        explores = draw() < settings.epsilon(step)
        action = int(draw() * world.actions) if explores else row.index(max(row))
        following, reward, terminated = happens(world.outcomes[state][action], draw())
        visits[state][action] += 1
        target = reward if terminated else reward + settings.discount * max(q[following])
        step_size = settings.step_size * visits[state][action] ** -power
        row[action] += step_size * (target - row[action])
        age += 1
        state = -1 if terminated or age == world.limit else following
    place.step, place.state, place.age = until, state, age
