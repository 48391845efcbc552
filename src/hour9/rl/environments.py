"""Gymnasium's environments: made, and checked for what the agents here can use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from hour9.params import Refused
from hour9.task import Source, Tables

if TYPE_CHECKING:
    from great_expectations.expectations import Expectation
    from gymnasium import Env

TABULAR = "Taxi-v4, FrozenLake-v1, FrozenLake8x8-v1, CliffWalking-v1"
CONTINUOUS = "CartPole-v1, Acrobot-v1, MountainCar-v0, LunarLander-v3 (after pip install box2d)"

LONGEST = 1000
"""Steps of an episode where the environment itself sets no limit."""

FINITE = 1e300
"""What is larger is infinity: Great Expectations takes that for a number."""


class UnsupportedEnvironment(ValueError):  # noqa: N818 - reads as a sentence where it is raised
    """The environment does not exist, or has states or actions that no agent here can use."""


def make(name: str, **more: object) -> Env:
    """The environment with its time limit. Raises UnsupportedEnvironment."""
    import gymnasium

    module, _colon, own = name.rpartition(":")  # "package:Name-v0": the package registers it
    try:
        if module:
            import_module(module)
        limit = gymnasium.spec(own).max_episode_steps or LONGEST
        return gymnasium.make(own, max_episode_steps=limit, disable_env_checker=True, **more)
    except (gymnasium.error.Error, ImportError) as error:
        raise UnsupportedEnvironment(
            f"Gymnasium cannot make '{name}': {error} Supported are {TABULAR}; {CONTINUOUS}"
        ) from error


def embedded(source: Source) -> str:
    """The name of the source's environment. Raises ValueError where it comes from elsewhere."""
    if source.kind != "embedded":
        raise Refused(f"episodes are played here: kind must be embedded, got '{source.kind}'")
    return source.env


def tabular_facts(name: str) -> pd.DataFrame:
    """`facts` of an environment with numbered states that publishes its transitions."""
    env = make(name)
    if not hasattr(env.unwrapped, "P"):
        raise UnsupportedEnvironment(
            f"{name} does not publish its transitions as `P`; supported are {TABULAR}"
        )
    return facts(name, env, count(name, env, "observation_space", TABULAR))


def bounds(name: str) -> pd.DataFrame:
    """What each number of the environment's observation may be at least and at most."""
    space = make(name).observation_space
    ends = {"low": space.low, "high": space.high}  # type: ignore[attr-defined]
    return pd.DataFrame({k: v.astype(np.float64).clip(-FINITE, FINITE) for k, v in ends.items()})


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
