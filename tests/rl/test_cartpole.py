"""The task cartpole: its episodes, its baseline, and other environments through the same code."""

import numpy as np
import pandas as pd
import pytest
import torch

from hour9.engine.settings import Source
from hour9.engine.weights import save_model
from hour9.rl import cartpole
from hour9.rl.dqn import QNetwork
from hour9.validate import DataRejected, check


def ingest(name: str = "CartPole-v1", size: int = 20) -> dict[str, pd.DataFrame]:
    return cartpole.ingest(Source(root="src/hour9/rl/environments.py", env=name, size=size))


def test_two_hundred_and_fifty_episodes_hold_a_hundred_fresh_ones_for_the_test():
    cases = ingest(size=250)["cases"]
    assert cases["split"].value_counts().to_dict() == {"test": 100, "validation": 100, "train": 50}
    assert cases["seed"].is_unique
    assert (cases["target"] == 475).all()
    assert min(cases.groupby("split")["group.start"].value_counts()) >= 15


def test_the_random_policy_plays_train_episodes_only():
    tables = ingest()
    cases, transitions = tables["cases"], tables["transitions"]
    first = transitions[transitions["step"] == 0].filter(regex="^observation_")
    env = cartpole.make("CartPole-v1")
    seeds = cases.loc[cases["split"] == "train", "seed"]
    starts = np.stack([env.reset(seed=int(seed))[0] for seed in seeds])
    np.testing.assert_array_equal(first.to_numpy(), starts)


def test_the_same_source_gives_the_same_tables():
    for first, second in zip(ingest().values(), ingest().values(), strict=True):
        pd.testing.assert_frame_equal(first, second)


def test_pushing_towards_the_lean_beats_chance():
    tables = ingest()
    random = np.random.default_rng(0)
    chance = cartpole.returns(tables, lambda seen: random.integers(2, size=len(seen)))
    assert cartpole.baseline(tables)["score"].mean() > chance["score"].mean()


@pytest.mark.parametrize("name", ["CartPole-v1", "MountainCar-v0"])
def test_answers_are_the_actions_that_score_plays(name, tmp_path):
    torch.manual_seed(0)
    tables = ingest(name, size=5)
    observations, actions = tables["environment"].loc[0, ["observations", "actions"]]
    network = QNetwork(torch.ones(observations), 8, actions)
    config = {"settings": {"hidden": 8}, "observations": observations, "actions": actions}
    save_model(tmp_path, network.state_dict(), config)
    requests = cartpole.example(tables)
    answers = cartpole.answer(tmp_path)(requests)
    seen = requests.to_numpy(np.float32, copy=True)
    assert answers["action"].tolist() == network.act(seen).tolist()
    scores = cartpole.score(tmp_path, tables)
    assert scores["score"].tolist() == cartpole.returns(tables, network.act)["score"].tolist()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_observation_that_is_no_number_breaks_the_contract(value):
    tables = ingest(size=40)
    check(cartpole.TASK, tables)
    tables["transitions"].loc[3, "next_observation_3"] = value
    with pytest.raises(DataRejected, match=r"transitions.next_observation_3.*row 3 "):
        check(cartpole.TASK, tables)
