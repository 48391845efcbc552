"""The task `cartpole`: keep a pole upright, or any other task whose observations are numbers.

A case is an episode, named by the integer that its environment is reset with; its score is the
return of the policy played greedily. No two splits share an episode.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from hour9.rl import dqn
from hour9.rl.environments import (
    Policy,
    UnsupportedEnvironment,
    complete,
    continuous_facts,
    embedded,
    environment_rules,
    make,
    play,
    see_worse,
    share_of_noise,
)
from hour9.task import Source, Tables, Task

if TYPE_CHECKING:
    from great_expectations.expectations import Expectation

SHARES = {"train": 0.2, "validation": 0.4, "test": 0.4}

REFLEXES = {  # observation, action where it is below zero, action where it is above
    "CartPole": (2, 0, 1),  # the pole leans left: push left
    "Acrobot": (4, 2, 0),  # the upper link swings back: torque with it
    "MountainCar": (1, 0, 2),  # the car rolls back: push back
}

FINITE = 1e300
"""What is larger is infinity: Great Expectations takes that for a number."""

SEEDS = 2**31
"""The cases' seeds lie below; training takes its other episodes from far above."""


def ingest(source: Source) -> Tables:
    """The cases, and what a random policy sees in the episodes of split train."""
    name = embedded(source)
    facts = continuous_facts(name)
    random = np.random.default_rng(source.seed)
    seeds = random.choice(SEEDS, size=source.size, replace=False)
    sizes = [round(share * source.size) for share in SHARES.values()]
    sizes[-1] = source.size - sum(sizes[:-1])
    cases = pd.DataFrame(
        {
            "case": [f"{name}-{seed}" for seed in seeds],
            "split": np.repeat(list(SHARES), sizes),
            "seed": seeds,
            "target": threshold(name),
            "group.start": start_groups(name, seeds),
        }
    )
    train = cases.loc[cases["split"] == "train", "seed"].tolist()
    return {"environment": facts, "transitions": wander(name, train, random), "cases": cases}


def threshold(name: str) -> float:
    """The mean return at which the environment counts as solved."""
    spec = make(name).spec
    if spec is None or spec.reward_threshold is None:
        raise UnsupportedEnvironment(f"{name} names no reward_threshold, so nothing to aim at")
    return float(spec.reward_threshold)


def start_groups(name: str, seeds: np.ndarray) -> np.ndarray:
    """Whether an episode begins nearer to the middle of all starts than half of them, or not."""
    env = make(name)
    starts = np.stack([env.reset(seed=int(seed))[0] for seed in seeds])  # (N, O)
    scale = np.maximum(starts.std(axis=0), 1e-12)
    distance = np.linalg.norm((starts - starts.mean(axis=0)) / scale, axis=1)
    return np.where(distance <= np.median(distance), "near", "far")


def wander(name: str, seeds: list[int], random: np.random.Generator) -> pd.DataFrame:
    """Every step of one episode of random actions for each seed."""
    env = make(name)
    actions = continuous_facts(name)["actions"][0]
    rows = []
    for episode, seed in enumerate(seeds):
        before, step, over = env.reset(seed=seed)[0], 0, False
        while not over:
            action = int(random.integers(actions))
            after, reward, terminated, truncated, _ = env.step(action)
            rows.append(
                (episode, step, *before, action, float(reward), *after, terminated, truncated)
            )
            before, step, over = after, step + 1, terminated or truncated
    return pd.DataFrame(rows, columns=transition_columns(len(before)))


def transition_columns(observations: int) -> list[str]:
    """The columns of the table `transitions`."""
    numbers = range(observations)
    return [
        *("episode", "step"),
        *(f"observation_{o}" for o in numbers),
        *("action", "reward"),
        *(f"next_observation_{o}" for o in numbers),
        *("terminated", "truncated"),
    ]


def contract(tables: Tables) -> dict[str, list[Expectation]]:
    """Whole episodes of numbers, and cases of which no two are the same episode."""
    from great_expectations import expectations as expect

    def at_least(column: str, low: float, high: float | None = None) -> Expectation:
        return expect.ExpectColumnValuesToBeBetween(column=column, min_value=low, max_value=high)

    observations = int(tables["environment"]["observations"].iloc[:1].sum())
    columns = transition_columns(observations)
    measured = [column for column in columns if "observation" in column or column == "reward"]
    return {
        "environment": environment_rules(),
        "transitions": [
            *complete(columns),
            *(at_least(column, -FINITE, FINITE) for column in measured),
            *(at_least(column, 0) for column in ("episode", "step", "action")),
            expect.ExpectColumnValuesToBeInSet(column="terminated", value_set=[True, False]),
            expect.ExpectColumnValuesToBeInSet(column="truncated", value_set=[True, False]),
            expect.ExpectCompoundColumnsToBeUnique(column_list=["episode", "step"]),
        ],
        "cases": [
            *complete(["case", "split", "seed", "target", "group.start"]),
            at_least("seed", 0, SEEDS - 1),
            expect.ExpectColumnValuesToBeUnique(column="seed"),
            expect.ExpectColumnValuesToBeInSet(column="group.start", value_set=["near", "far"]),
        ],
    }


def score(folder: Path, tables: Tables) -> pd.DataFrame:
    """The return of each case's episode, played greedily; what is seen may be noisy."""
    network, _ = dqn.load_network(folder)
    noise = share_of_noise(tables)
    if not noise:
        return returns(tables, network.act)
    scale = tables["transitions"].filter(regex=r"^observation_").std().to_numpy()  # (O,)
    random = np.random.default_rng(0)
    return returns(
        tables, lambda seen: network.act(seen + noise * scale * random.normal(size=seen.shape))
    )


def baseline(tables: Tables) -> pd.DataFrame:
    """Random actions or a scripted policy: the one that is better on the train split."""
    name, actions = tables["environment"].loc[0, ["env", "actions"]]
    random = np.random.default_rng(0)
    policies: list[Policy] = [
        lambda seen: random.integers(actions, size=len(seen)),
        scripted(name, actions),
    ]
    train = tables["cases"]["split"] == "train"
    candidates = [returns(tables, policy) for policy in policies]
    return max(candidates, key=lambda found: found["score"][train].mean())


def scripted(name: str, actions: int) -> Policy:
    """Push towards the side of one number, wherever it stands: no more than a reflex."""
    watched, below, above = REFLEXES.get(name.split("-")[0], (0, 0, actions - 1))
    return lambda seen: np.where(seen[:, watched] > 0, above, below)


def returns(tables: Tables, policy: Policy) -> pd.DataFrame:
    """The return of each case's episode under a policy."""
    cases = tables["cases"]
    found = play(tables["environment"]["env"][0], policy, cases["seed"].tolist())
    return pd.DataFrame({"case": cases["case"], "score": found})


def answer(folder: Path) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Requests with observation_0, observation_1, … -> the best `action` and its `value`."""
    network, config = dqn.load_network(folder)
    columns = [f"observation_{o}" for o in range(config["observations"])]

    def reply(requests: pd.DataFrame) -> pd.DataFrame:
        if missing := [column for column in columns if column not in requests]:
            raise ValueError(f"requests lack {missing}; got {list(requests.columns)}")
        values = network.values(requests[columns].to_numpy(np.float32, copy=True))  # (E, A)
        return pd.DataFrame({"action": values.argmax(axis=1), "value": values.max(axis=1)})

    return reply


def example(tables: Tables) -> pd.DataFrame:
    """The first observations of the random policy."""
    transitions = tables["transitions"]
    return transitions.filter(regex=r"^observation_").head(3)


TASK = Task(
    name="cartpole",
    metric="return",
    ingest=ingest,
    contract=contract,
    train=dqn.train,
    score=score,
    baseline=baseline,
    answer=answer,
    example=example,
    perturb=see_worse,
)
