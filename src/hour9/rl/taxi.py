"""The task `taxi`: act in a small world whose rules are known, so the optimum is known exactly.

A case is a state to start from, and its score the exact expected return of the greedy policy.
Training begins episodes in the starts of split train only. Half of the test's starts are driven in
another world, too, which no training saw: rain, in which the taxi skids.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from hour9.engine.weights import load_model
from hour9.params import Refused
from hour9.rl import qlearning, seeds
from hour9.rl.decision_process import (
    DecisionProcess,
    greedy,
    policy_return,
    policy_values,
    value_iteration,
)
from hour9.rl.environments import (
    complete,
    embedded,
    environment_rules,
    make,
    see_worse,
    share_of_noise,
    tabular_facts,
)
from hour9.rl.maps import draw_map
from hour9.rl.watch import FILMED, animate, play_in_window
from hour9.task import SPLITS, Answer, Source, Tables, Task

if TYPE_CHECKING:
    from great_expectations.expectations import Expectation

OUTCOME = ["state", "action", "outcome"]

PADS = [(0, 0), (0, 4), (4, 0), (4, 3)]  # where Taxi's passengers wait: row, column
MIDDLE = 2
SOUTH, NORTH, EAST, WEST, PICK, DROP = range(6)

PATIENT = 0.999
"""Discount of the reference: near 1, as returns are undiscounted, yet of two ways the shorter."""

FEW = 30
"""With fewer starts than this, every state that can be reached is one, so that splits exist."""

SHARES = (0.3, 0.2)
"""Of the starts, for training and validation. The rest is the test's: it takes many of them to
tell an agent from a driver who does the same in nine of ten."""

AS_TRAINED = "as trained"

ELSEWHERE: dict[str, dict[str, dict[str, Any]]] = {
    "Taxi": {"rain": {"is_rainy": True}},
    "FrozenLake": {"ice half as slippery": {"success_rate": 2 / 3}},
    "CliffWalking": {"slippery": {"is_slippery": True}},
}
"""Worlds that no agent was trained in, by what they are made with."""


def ingest(source: Source) -> Tables:
    """The tables of transitions of all worlds, and a case for each start and world: of at most
    `size` starts."""
    name = embedded(source)
    if source.size < len(SPLITS):
        raise Refused(f"source.size is {source.size}; the splits want {len(SPLITS)} starts")
    facts = tabular_facts(name)
    env: Any = make(name).unwrapped
    table = published(env.P)
    starts = np.flatnonzero(env.initial_state_distrib > 0)
    if len(starts) < FEW:
        starts = reachable(DecisionProcess.from_table(table), starts)
    starts = np.random.default_rng(source.seed).permutation(starts)[: source.size]
    cases = dealt(name, starts).sort_values(["group.world", "start"], ignore_index=True)
    upper = cases["start"] < len(env.P) // 2
    cases["group.half"] = np.where(upper, "upper", "lower")  # of the map
    tables = {"environment": facts, "transitions": table, **elsewhere(name), "cases": cases}
    limit = int(facts["max_steps"][0])

    def best(process: DecisionProcess) -> np.ndarray:
        return policy_return(process, greedy(value_iteration(process, PATIENT)), limit)

    return {**tables, "cases": cases.assign(target=in_each_world(tables, best))}


def dealt(name: str, starts: np.ndarray) -> pd.DataFrame:
    """Each start in one split; every second of the test's in each other world again."""
    ends = np.round(np.cumsum(SHARES) * len(starts)).astype(int)
    rows = [
        (f"{name}-{start}", split, start, AS_TRAINED)
        for split, its in zip(SPLITS, np.split(starts, ends), strict=True)
        for start in its
    ]
    again = [row for row in rows if row[1] == "test"][::2]
    rows += [(f"{case}, {w}", *between, w) for w in others(name) for case, *between, _ in again]
    return pd.DataFrame(rows, columns=["case", "split", "start", "group.world"])


def others(name: str) -> dict[str, dict[str, Any]]:
    """The environment's other worlds."""
    family = name.split("-")[0].rstrip("x0123456789")  # FrozenLake8x8
    return ELSEWHERE.get(family, {})


def elsewhere(name: str) -> Tables:
    """The transitions of the other worlds, if there are any."""
    made = {world: make(name, **its).unwrapped for world, its in others(name).items()}
    tables = [published(env.P).assign(world=world) for world, env in made.items()]  # type: ignore[attr-defined]
    return {"elsewhere": pd.concat(tables, ignore_index=True)} if tables else {}


def in_each_world(tables: Tables, worth: Callable[[DecisionProcess], np.ndarray]) -> np.ndarray:
    """What each case's start is worth in its world, of what every state there is: (S,) -> (N,)."""
    worlds = {AS_TRAINED: tables["transitions"]}
    if "elsewhere" in tables:
        worlds |= {str(world): table for world, table in tables["elsewhere"].groupby("world")}
    found = {world: worth(DecisionProcess.from_table(table)) for world, table in worlds.items()}
    where = tables["cases"][["group.world", "start"]].itertuples(index=False)
    return np.array([found[world][start] for world, start in where])


def published(outcomes: dict[int, dict[int, list[tuple]]]) -> pd.DataFrame:
    """Gymnasium's `P` as a table: a row for each outcome of each action in each state."""
    rows = [
        (state, action, number, *outcome)
        for state, actions in outcomes.items()
        for action, possible in actions.items()
        for number, outcome in enumerate(possible)
    ]
    columns = [*OUTCOME, "probability", "next_state", "reward", "terminated"]
    table = pd.DataFrame(rows, columns=columns)
    return table.astype({"reward": "float64", "probability": "float64", "terminated": "bool"})


def reachable(process: DecisionProcess, starts: np.ndarray) -> np.ndarray:
    """The states in which an episode from `starts` may still have to act."""
    found = np.zeros(len(process.reward), np.bool_)
    found[starts] = True
    goes_on = (process.probability > 0) & ~process.terminated  # (S, A, K)
    for _ in range(len(found)):
        found[process.next_state[found][goes_on[found]]] = True
    return np.flatnonzero(found)


def contract(tables: Tables) -> dict[str, list[Expectation]]:
    """Numbers within their ranges, each outcome once."""
    from great_expectations import expectations as expect

    def at_least(column: str, low: float, high: float | None = None) -> Expectation:
        return expect.ExpectColumnValuesToBeBetween(column=column, min_value=low, max_value=high)

    columns = [*OUTCOME, "probability", "next_state", "reward", "terminated"]
    whole = [
        *(at_least(column, 0) for column in (*OUTCOME, "next_state")),
        at_least("probability", 0, 1),
        expect.ExpectColumnValuesToBeInSet(column="terminated", value_set=[True, False]),
    ]
    rules = {
        "environment": environment_rules(),
        "transitions": [
            *complete(columns),
            *whole,
            expect.ExpectCompoundColumnsToBeUnique(column_list=OUTCOME),
        ],
        "cases": [
            *complete(["case", "split", "start", "target", "group.world", "group.half"]),
            at_least("start", 0),
            expect.ExpectCompoundColumnsToBeUnique(column_list=["start", "group.world"]),
            expect.ExpectColumnValuesToBeInSet(column="group.half", value_set=["upper", "lower"]),
        ],
    }
    worlds = [AS_TRAINED]
    if "elsewhere" in tables:
        rules["elsewhere"] = [
            *complete([*columns, "world"]),
            *whole,
            expect.ExpectCompoundColumnsToBeUnique(column_list=[*OUTCOME, "world"]),
        ]
        worlds += tables["elsewhere"]["world"].unique().tolist()
    rules["cases"].append(
        expect.ExpectColumnValuesToBeInSet(column="group.world", value_set=worlds)
    )
    return rules


def score(folder: Path, tables: Tables) -> pd.DataFrame:
    """The exact return of every agent's greedy policy from the start of each case.

    `predicted` is what the registered agent holds the start to be worth, and `realised` what its
    policy is worth there, exactly; both discounted, and both of the world it was trained in, as
    that is what it promises.
    """
    weights, config = load_model(folder)
    q, agent = weights["q"].numpy(), config["registered"]  # (G, S, A)
    scores = np.stack([returns(tables, acting(own, tables)) for own in q])  # (G, N)
    found = seeds.evidence(tables["cases"]["case"], scores, agent)
    start = tables["cases"]["start"]
    process = DecisionProcess.from_table(tables["transitions"])
    worth = policy_values(process, greedy(q[agent]), config["settings"]["discount"])
    return found.assign(predicted=q[agent].max(axis=1)[start], realised=worth[start])


def acting(q: np.ndarray, tables: Tables) -> np.ndarray:  # (S, A) -> (S, A)
    """The greedy policy; under noise it sometimes takes its state for another, a step away."""
    policy, noise = greedy(q), share_of_noise(tables)
    if not noise:
        return policy
    beside = DecisionProcess.from_table(tables["transitions"]).next_state[:, :, 0]  # (S, A)
    leads_away = beside != np.arange(len(q))[:, None]  # a wall does not
    mistaken = (policy[beside] * leads_away[:, :, None]).sum(axis=1)  # (S, A)
    ways = leads_away.sum(axis=1, keepdims=True)  # (S, 1)
    mistaken = np.where(ways, mistaken / np.maximum(ways, 1), policy)
    return (1 - noise) * policy + noise * mistaken


def baseline(tables: Tables) -> pd.DataFrame:
    """Random actions and a scripted policy; `score` is that of the better one on train."""
    process = DecisionProcess.from_table(tables["transitions"])
    states, actions = process.reward.shape[:2]
    is_taxi = tables["environment"]["env"][0].startswith("Taxi-")
    scripted = by_the_middle_row(states) if is_taxi else look_one_step_ahead(process)
    found = {
        "baseline.random": returns(tables, np.full((states, actions), 1 / actions)),
        "baseline.scripted": returns(tables, np.eye(actions)[scripted]),
    }
    return seeds.better_baseline(tables["cases"], found)


def by_the_middle_row(states: int) -> np.ndarray:  # -> (S,)
    """Taxi by hand: only the middle row has no wall, so every change of column is made there."""
    row, column, passenger, goal = np.unravel_index(np.arange(states), (5, 5, 5, 4))
    aboard = passenger == 4
    to_row, to_column = np.array(PADS)[np.where(aboard, goal, passenger)].T
    crosses = column != to_column
    down = np.where(crosses, MIDDLE, to_row) - row
    sideways = np.where(to_column > column, EAST, WEST)
    stopped = np.where(crosses, sideways, np.where(aboard, DROP, PICK))
    return np.where(down > 0, SOUTH, np.where(down < 0, NORTH, stopped))


def look_one_step_ahead(process: DecisionProcess) -> np.ndarray:  # -> (S,)
    """The action with the largest immediate reward."""
    return process.backup(np.zeros(len(process.reward)), discount=1.0).argmax(axis=1)


def returns(tables: Tables, policy: np.ndarray) -> np.ndarray:  # (S, A) -> (N,)
    """The exact expected return of a policy in each case, cut off where the environment does."""
    limit = int(tables["environment"]["max_steps"][0])
    return in_each_world(tables, lambda process: policy_return(process, policy, limit))


def answer(folder: Path) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Requests with a `state` -> the best `action` and its discounted `value`."""
    weights, config = load_model(folder)
    q = weights["q"][config["registered"]].numpy()  # (S, A)

    def reply(requests: pd.DataFrame) -> pd.DataFrame:
        if "state" not in requests:
            raise ValueError(f"a request has a `state`, got {list(requests.columns)}")
        numbers = pd.to_numeric(requests["state"], errors="coerce")
        known = numbers.isin(range(len(q)))
        if not known.all():
            wrong = requests["state"][~known].tolist()
            raise ValueError(f"states are the integers 0 to {len(q) - 1}, got {wrong[:3]}")
        states = numbers.to_numpy(np.int64)
        return pd.DataFrame({"action": q.argmax(axis=1)[states], "value": q.max(axis=1)[states]})

    return reply


def draw(folder: Path, tables: Tables, pictures: Path) -> None:
    """The map with the policy; an episode; what every agent returns."""
    weights, config = load_model(folder)
    q = weights["q"][config["registered"]].numpy()  # (S, A)
    name = tables["environment"]["env"][0]
    draw_map(name, q, pictures)
    animate(
        name, lambda state: int(q[state].argmax()), FILMED, pictures / "An_episode_of_the_agent.gif"
    )
    seeds.draw_profile(tables["cases"], score(folder, tables), baseline(tables), pictures)


def watch(folder: Path) -> float:
    """Play an episode in a window; its return."""
    weights, config = load_model(folder)
    q = weights["q"][config["registered"]].numpy()
    return play_in_window(config["env"], lambda state: int(q[state].argmax()), FILMED)


def example(tables: Tables) -> pd.DataFrame:
    """The first starts."""
    return pd.DataFrame({"state": tables["cases"]["start"].head(3)})


def requests(tables: Tables, answer: Answer) -> pd.DataFrame:
    """The states that the agent comes by in the episodes of the cases; the likeliest, by chance."""
    process = DecisionProcess.from_table(tables["transitions"])
    states = np.arange(len(process.reward))
    action = answer(pd.DataFrame({"state": states}))["action"].to_numpy()
    outcome = process.probability[states, action].argmax(axis=1)
    at, visited = tables["cases"]["start"].to_numpy(), []
    for _ in range(int(tables["environment"]["max_steps"][0])):
        if not len(at):
            break
        visited.append(at)
        step = (at, action[at], outcome[at])
        at = process.next_state[step][~process.terminated[step]]
    return pd.DataFrame({"state": np.concatenate(visited)})


TASK = Task(
    name="taxi",
    metric="return",
    ingest=ingest,
    contract=contract,
    train=qlearning.train,
    score=score,
    baseline=baseline,
    answer=answer,
    example=example,
    requests=requests,
    draw=draw,
    watch=watch,
    perturb=see_worse,
)
