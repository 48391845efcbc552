"""The task cartpole: its episodes, its baseline, and other environments through the same code."""

import numpy as np
import pandas as pd
import pytest
import torch

from hour9.engine.settings import Source
from hour9.engine.weights import save_model
from hour9.rl import cartpole
from hour9.rl.episodes import AS_TRAINED, perturbed, returns, side_by_side
from hour9.rl.qnetwork import QNetwork
from hour9.validate import DataRejected, check


def ingest(name: str = "CartPole-v1", size: int = 20) -> dict[str, pd.DataFrame]:
    return cartpole.ingest(Source(root="src/hour9/rl/environments.py", env=name, size=size))


def test_of_five_hundred_episodes_most_are_fresh_ones_for_the_test():
    cases = ingest(size=500)["cases"]
    home = cases[cases["group.physics"] == "as trained"]
    assert home["split"].value_counts().to_dict() == {"test": 350, "validation": 100, "train": 50}
    assert cases["seed"].is_unique
    assert (cases["target"] == 475).all()
    assert min(cases.groupby("split")["group.start"].value_counts()) >= 15


def test_other_worlds_are_played_on_test_only_and_often_enough_to_be_judged():
    cases = ingest(size=250)["cases"]
    away = cases[cases["group.physics"] != "as trained"]
    assert {*away["split"]} == {"test"}
    assert away["group.physics"].value_counts().tolist() == [100] * 4


@pytest.mark.parametrize("world", sorted(perturbed("CartPole-v1")))
def test_an_episode_in_another_world_is_gymnasiums_with_that_attribute_changed(world):
    """The oracle: Gymnasium's own scalar environment, its attributes set by hand."""
    factors = perturbed("CartPole-v1")[world]
    env = cartpole.make("CartPole-v1").unwrapped
    for attribute, factor in factors.items():
        setattr(env, attribute, getattr(env, attribute) * factor)
    env.total_mass = env.masspole + env.masscart
    env.polemass_length = env.masspole * env.length
    lanes = side_by_side("CartPole-v1", [{}, factors])
    for lane in (0, 1):
        lanes.begin(lane, seed=7)
    env.reset(seed=7)
    over = False
    for action in np.random.default_rng(0).integers(2, size=100).tolist():
        if over:
            break
        seen, _, over, _, _ = env.step(action)
        _, terminated, _ = lanes.step(np.array([1]), np.array([action]))
        np.testing.assert_allclose(lanes.seen[1], seen, rtol=1e-6)
        assert terminated[0] == over
    assert over
    env.reset(seed=7)
    assert lanes.seen[0].tolist() == np.float32(env.state).tolist()  # it stood still meanwhile


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
    found = cartpole.baseline(tables)
    assert found["score"].equals(found["baseline.scripted"])
    assert found["baseline.scripted"].mean() > found["baseline.random"].mean()


@pytest.mark.parametrize("name", ["CartPole-v1", "MountainCar-v0"])
def test_answers_are_the_actions_that_score_plays(name, tmp_path):
    torch.manual_seed(0)
    tables = ingest(name, size=5)
    observations, actions = tables["environment"].loc[0, ["observations", "actions"]]
    network = QNetwork(torch.ones(observations), 8, actions, agents=2, dueling=True)
    config = {
        "settings": {"hidden": 8, "seeds": 2, "dueling": True, "discount": 0.9},
        "env": name,
        "observations": observations,
        "actions": actions,
        "registered": 1,
    }
    save_model(tmp_path, network.state_dict(), config)
    requests = cartpole.example(tables)
    answers = cartpole.answer(tmp_path)(requests)
    seen = requests.to_numpy(np.float32, copy=True)
    registered = network.only(1)
    assert answers["action"].tolist() == registered.act(seen).tolist()
    scores = cartpole.score(tmp_path, tables)
    alone = returns(cartpole.episodes(tables, registered.act))
    assert scores["score"].tolist() == scores["score.seed1"].tolist() == alone.tolist()

    home = tables["cases"].assign(**{"group.physics": AS_TRAINED})
    promised = cartpole.score(tmp_path, {**tables, "cases": home})
    for column in ("predicted", "realised"):  # of the world that it was trained in, both
        assert scores[column].tolist() == promised[column].tolist()
    if name == "CartPole-v1":
        assert (scores["score"] != promised["score"]).any()


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        ({"observation_0": 1.0}, r"2 numbers, observation_0 to observation_1; got"),
        ({"observation_0": 1.0, "observation_1": 1.0, "observation_2": 1.0}, "is 2 numbers"),
        ({"text": "left"}, r"got \['text'\]"),
        ({"observation_0": 1.0, "observation_1": float("nan")}, "observation_1 of request 0 .*nan"),
        ({"observation_0": float("inf"), "observation_1": 0.0}, "observation_0 of request 0 .*inf"),
        ({"observation_0": "up", "observation_1": 0.0}, "finite number, got 'up'"),
    ],
)
def test_what_is_no_observation_is_refused_in_words(request_, why):
    with pytest.raises(ValueError, match=why):
        cartpole.observations(pd.DataFrame([request_]), ["observation_0", "observation_1"])


def test_an_episode_that_ends_twice_breaks_the_contract():
    tables = ingest(size=40)
    tables["transitions"].loc[0, "truncated"] = True
    with pytest.raises(DataRejected, match=r"transitions.episode.*unique: 2 rows break it"):
        check(cartpole.TASK, tables)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.9])
def test_an_observation_that_is_no_number_breaks_the_contract(value):
    tables = ingest(size=40)
    check(cartpole.TASK, tables)
    tables["transitions"].loc[3, "next_observation_2"] = value
    with pytest.raises(DataRejected, match=r"transitions.next_observation_2.*row 3 "):
        check(cartpole.TASK, tables)
