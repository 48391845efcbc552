"""The task `cartpole`: keep a pole upright, or any other task whose observations are numbers.

A case is an episode, named by the integer that its environment is reset with; its score is the
return of the policy played greedily. No two splits share an episode. A part of the test plays in
worlds whose physics no training saw: the gap to the train split shows what was only learned by
heart.

Shapes: G agents (seeds), N cases, T steps, O numbers in an observation.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from hour9.params import Refused
from hour9.rl import dqn, seeds
from hour9.rl.environments import (
    FINITE,
    UnsupportedEnvironment,
    bounds,
    complete,
    continuous_facts,
    embedded,
    environment_rules,
    make,
    see_worse,
    share_of_noise,
)
from hour9.rl.episodes import (
    AS_TRAINED,
    Policy,
    perturbed,
    play,
    play_out,
    returns,
    starts,
)
from hour9.rl.qnetwork import load_network
from hour9.rl.watch import FILMED, Choose, animate, play_in_window
from hour9.task import Answer, Source, Tables, Task

if TYPE_CHECKING:
    from great_expectations.expectations import Expectation

FEWEST = 3  # episodes: one for each split
SHARES = {"train": 0.1, "validation": 0.2, "test": 0.7}

ELSEWHERE = 0.4
"""Test episodes in each other world, in relation to those in the one that is trained in."""

REFLEXES = {  # observation, action where it is below zero, action where it is above
    "CartPole": (2, 0, 1),  # the pole leans left: push left
    "Acrobot": (4, 2, 0),  # the upper link swings back: torque with it
    "MountainCar": (1, 0, 2),  # the car rolls back: push back
}

SEEDS = 2**31
"""The cases' seeds lie below; training takes its other episodes from far above."""


def ingest(source: Source) -> Tables:
    """The cases, and what a random policy sees in the episodes of split train."""
    name = embedded(source)
    if source.size < FEWEST:
        raise Refused(f"source.size is {source.size}; the splits want {FEWEST} episodes")
    facts = continuous_facts(name)
    random = np.random.default_rng(source.seed)
    worlds = list(perturbed(name))
    elsewhere = np.repeat(worlds[1:], round(ELSEWHERE * source.size))
    numbers = random.choice(SEEDS, size=source.size + len(elsewhere), replace=False)
    sizes = [max(1, round(share * source.size)) for share in SHARES.values()]
    sizes[-1] = len(numbers) - sum(sizes[:-1])
    cases = pd.DataFrame(
        {
            "case": [f"{name}-{seed}" for seed in numbers],
            "split": np.repeat(list(SHARES), sizes),
            "seed": numbers,
            "target": threshold(name),
            "group.start": start_groups(starts(name, numbers)),
            "group.physics": np.concatenate([np.full(source.size, AS_TRAINED), elsewhere]),
        }
    )
    train = cases.loc[cases["split"] == "train", "seed"].tolist()
    return {
        "environment": facts,
        "bounds": bounds(name),
        "transitions": wander(name, train, random),
        "cases": cases,
    }


def threshold(name: str) -> float:
    """The mean return at which the environment counts as solved."""
    spec = make(name).spec
    if spec is None or spec.reward_threshold is None:
        raise UnsupportedEnvironment(f"{name} names no reward_threshold, so nothing to aim at")
    return float(spec.reward_threshold)


def start_groups(seen: np.ndarray) -> np.ndarray:  # (N, O) -> (N,)
    """Whether an episode begins nearer to the middle of all starts than half of them, or not."""
    scale = np.maximum(seen.std(axis=0), 1e-12)
    distance = np.linalg.norm((seen - seen.mean(axis=0)) / scale, axis=1)
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
    from great_expectations.expectations.row_conditions import Column

    def at_least(column: str, low: float, high: float | None = None) -> Expectation:
        return expect.ExpectColumnValuesToBeBetween(column=column, min_value=low, max_value=high)

    facts, allowed = tables["environment"].iloc[:1], tables["bounds"]
    observations, actions, longest = (
        int(facts[column].sum()) for column in ("observations", "actions", "max_steps")
    )
    over = (Column("terminated") == True) | (Column("truncated") == True)  # noqa: E712
    worlds = list(perturbed("".join(facts["env"])))
    return {
        "environment": environment_rules(),
        "bounds": [
            *complete(["low", "high"]),
            expect.ExpectTableRowCountToEqual(value=observations),
        ],
        "transitions": [
            *complete(transition_columns(observations)),
            *(
                at_least(f"{which}observation_{o}", low, high)
                for o, low, high in allowed[["low", "high"]].itertuples()
                for which in ("", "next_")
            ),
            at_least("reward", -FINITE, FINITE),
            at_least("episode", 0),
            at_least("step", 0, longest - 1),
            at_least("action", 0, actions - 1),
            expect.ExpectColumnValuesToBeInSet(column="terminated", value_set=[True, False]),
            expect.ExpectColumnValuesToBeInSet(column="truncated", value_set=[True, False]),
            expect.ExpectCompoundColumnsToBeUnique(column_list=["episode", "step"]),
            expect.ExpectColumnValuesToBeUnique(  # an episode ends once
                column="episode", row_condition=over
            ),
        ],
        "cases": [
            *complete(["case", "split", "seed", "target", "group.start", "group.physics"]),
            at_least("seed", 0, SEEDS - 1),
            expect.ExpectColumnValuesToBeUnique(column="seed"),
            expect.ExpectColumnValuesToBeInSet(column="group.start", value_set=["near", "far"]),
            expect.ExpectColumnValuesToBeInSet(column="group.physics", value_set=worlds),
        ],
    }


def score(folder: Path, tables: Tables) -> pd.DataFrame:
    """Each case's episode, played greedily by every agent.

    `predicted` is what the registered agent holds the first state to be worth, and `realised` the
    discounted return that comes of it; both of the world it was trained in, as that is what it
    promises. A time limit is no end of the task to an agent: where one cut the episode, what is
    left counts for what the agent holds it to be worth.
    """
    network, config = load_network(folder)
    settings, own = config["settings"], network.only(config["registered"])
    name, cases = config["env"], tables["cases"]
    scores = returns(episodes(tables, through_noise(network.act, tables), settings["seeds"]))
    found = seeds.evidence(cases["case"], scores.reshape(-1, len(cases)), config["registered"])
    rewards, last, cut = play_out(name, own.act, cases["seed"])  # (T, N), (N, O), (N,)
    gamma = settings["discount"]
    rest = cut * gamma ** len(rewards) * own.values(last).max(axis=1)
    return found.assign(
        predicted=own.values(starts(name, cases["seed"])).max(axis=1),
        realised=returns(rewards, gamma) + rest,
    )


def through_noise(policy: Policy, tables: Tables) -> Policy:
    """The policy, seeing no better than `see_worse` lets it."""
    noise, random = share_of_noise(tables), np.random.default_rng(0)
    if not noise:
        return policy
    spread = tables["transitions"].filter(regex=r"^observation_").std().to_numpy()  # (O,)
    return lambda seen: policy(seen + noise * spread * random.normal(size=seen.shape))


def episodes(tables: Tables, policy: Policy, agents: int = 1) -> np.ndarray:  # -> (T, G N)
    """The rewards of each case's episode, in its own world, of one agent after the other."""
    name, cases = tables["environment"]["env"][0], tables["cases"]
    physics = cases["group.physics"].map(perturbed(name)).tolist()
    return play(name, policy, cases["seed"].tolist() * agents, physics * agents)


def baseline(tables: Tables) -> pd.DataFrame:
    """Random actions and a scripted policy; `score` is that of the better one on train."""
    name, actions = tables["environment"].loc[0, ["env", "actions"]]
    random = np.random.default_rng(0)
    policies: dict[str, Policy] = {
        "baseline.random": lambda seen: random.integers(actions, size=len(seen)),
        "baseline.scripted": scripted(name, actions),
    }
    found = {name: returns(episodes(tables, policy)) for name, policy in policies.items()}
    return seeds.better_baseline(tables["cases"], found)


def scripted(name: str, actions: int) -> Policy:
    """Push towards the side of one number, wherever it stands: no more than a reflex."""
    watched, below, above = REFLEXES.get(name.split("-")[0], (0, 0, actions - 1))
    return lambda seen: np.where(seen[:, watched] > 0, above, below)


def answer(folder: Path) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Requests with observation_0, observation_1, … -> the best `action` and its `value`."""
    network, config = load_network(folder)
    network = network.only(config["registered"])
    columns = [f"observation_{o}" for o in range(config["observations"])]

    def reply(requests: pd.DataFrame) -> pd.DataFrame:
        seen = observations(requests, columns)  # (E, O)
        values = network.values(seen)  # (E, A)
        return pd.DataFrame({"action": values.argmax(axis=1), "value": values.max(axis=1)})

    return reply


def observations(requests: pd.DataFrame, columns: list[str]) -> np.ndarray:  # -> (E, O)
    """The requests' numbers. Raises ValueError where there are not as many, or some are none."""
    given = [str(c) for c in requests.columns if str(c).startswith("observation")]
    if {*given} != {*columns}:
        raise ValueError(
            f"an observation is {len(columns)} numbers, {columns[0]} to {columns[-1]}; "
            f"got {given or list(requests.columns)}"
        )
    with np.errstate(over="ignore"):  # what a float32 cannot hold becomes infinite
        numbers = requests[columns].apply(pd.to_numeric, errors="coerce").to_numpy(np.float32)
    if (wrong := np.argwhere(~np.isfinite(numbers))).size:
        row, column = wrong[0]
        found = requests[columns].iloc[row, column : column + 1].tolist()[0]  # Python's own number
        raise ValueError(
            f"{columns[column]} of request {row} must be a finite number, got {found!r}"
        )
    return numbers.copy()


def draw(folder: Path, tables: Tables, pictures: Path) -> None:
    """An episode, and what every agent returns."""
    choose, name = registered(folder)
    animate(name, choose, FILMED, pictures / "An_episode_of_the_agent.gif")
    seeds.draw_profile(tables["cases"], score(folder, tables), baseline(tables), pictures)


def watch(folder: Path) -> float:
    """Play an episode in a window; its return."""
    choose, name = registered(folder)
    return play_in_window(name, choose, FILMED)


def registered(folder: Path) -> tuple[Choose, str]:
    """How the registered agent acts on one observation, and its environment's name."""
    network, config = load_network(folder)
    own = network.only(config["registered"])
    return lambda seen: int(own.act(seen[None])[0]), config["env"]


def example(tables: Tables) -> pd.DataFrame:
    """The first observations of the random policy."""
    transitions = tables["transitions"]
    return transitions.filter(regex=r"^observation_").head(3).astype(float)  # as people write them


def requests(tables: Tables, answer: Answer) -> pd.DataFrame:
    """All that the agent sees in the episodes of the cases."""
    seen: list[pd.DataFrame] = []

    def watched(observations: np.ndarray) -> np.ndarray:
        seen.append(pd.DataFrame(observations).add_prefix("observation_"))
        return answer(seen[-1])["action"].to_numpy()

    episodes(tables, watched)
    return pd.concat(seen).drop_duplicates(ignore_index=True)


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
    requests=requests,
    draw=draw,
    watch=watch,
    perturb=see_worse,
)
