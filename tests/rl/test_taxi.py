"""The task taxi: its cases, its optimum, its baseline."""

import numpy as np
import pandas as pd
import pytest
import torch

from hour9.engine.settings import Source
from hour9.engine.weights import save_model
from hour9.params import Refused
from hour9.rl import taxi
from hour9.rl.decision_process import DecisionProcess, value_iteration
from hour9.rl.environments import make, see_worse
from hour9.validate import deal_splits


def tables_of(name: str) -> dict[str, pd.DataFrame]:
    return deal_splits(taxi.ingest(Source(root="src/hour9/rl/environments.py", env=name)))


def config_of(discount: float, registered: int = 0) -> dict[str, object]:
    return {"settings": {"discount": discount}, "registered": registered}


def test_every_start_of_taxi_is_a_case_and_every_outcome_a_row():
    tables = tables_of("Taxi-v4")
    home = tables["cases"]["group.world"] == taxi.AS_TRAINED
    assert home.sum() == 25 * 4 * 3  # squares, passengers, other destinations
    assert len(tables["transitions"]) == 500 * 6


def test_a_smaller_size_takes_some_of_the_starts_and_too_small_a_one_none():
    cases = taxi.ingest(Source(root="x", env="Taxi-v4", size=40))["cases"]
    assert (cases["group.world"] == taxi.AS_TRAINED).sum() == 40
    with pytest.raises(Refused, match=r"source\.size is 2; the splits want 3 starts"):
        taxi.ingest(Source(root="x", env="Taxi-v4", size=2))


def test_half_of_the_tests_starts_are_driven_in_the_rain_too_and_no_others():
    cases = tables_of("Taxi-v4")["cases"]
    rain = cases[cases["group.world"] == "rain"]
    home = cases[cases["group.world"] == taxi.AS_TRAINED].set_index("start")
    assert (rain["split"] == "test").all()
    assert (home.loc[rain["start"], "split"] == "test").all()
    assert home["split"].value_counts().to_dict() == {"test": 150, "train": 90, "validation": 60}
    assert len(rain) == 75


def test_a_case_is_scored_by_the_rules_of_its_own_world():
    """The oracle: Gymnasium's own episodes in the rain."""
    tables = tables_of("Taxi-v4")
    scripted = taxi.by_the_middle_row(500)
    cases = tables["cases"]
    row = cases.index[cases["group.world"] == "rain"][0]
    exact = taxi.returns(tables, np.eye(6)[scripted])[row]
    env, earned = make("Taxi-v4", is_rainy=True), []
    for seed in range(400):
        env.reset(seed=seed)
        state, over = int(cases["start"][row]), False
        env.unwrapped.s, total = state, 0.0
        while not over:
            state, reward, terminated, truncated, _ = env.step(int(scripted[state]))
            total, over = total + reward, terminated or truncated
        earned.append(total)
    assert abs(np.mean(earned) - exact) < 4 * np.std(earned) / np.sqrt(len(earned))


@pytest.mark.parametrize("name", ["FrozenLake8x8-v1", "CliffWalking-v1"])
def test_a_world_with_one_start_is_entered_wherever_it_can_lead(name):
    cases = tables_of(name)["cases"]
    assert len(cases) >= 30
    assert {*cases["split"]} == {"train", "validation", "test"}


@pytest.mark.parametrize("name", ["Taxi-v4", "CliffWalking-v1", "FrozenLake-v1"])
def test_the_optimal_policy_scores_the_target(name, tmp_path):
    tables = tables_of(name)
    q = value_iteration(DecisionProcess.from_table(tables["transitions"]), discount=taxi.PATIENT)
    save_model(tmp_path, {"q": torch.from_numpy(q)[None]}, config_of(taxi.PATIENT))
    found = taxi.score(tmp_path, tables)
    target, home = tables["cases"]["target"], tables["cases"]["group.world"] == taxi.AS_TRAINED
    np.testing.assert_allclose(found["score"][home], target[home], atol=1e-9)
    assert (found["score"] <= target + 0.02).all()  # elsewhere it is the best of another world
    np.testing.assert_allclose(found["predicted"], found["realised"], atol=1e-6)  # it is Q*


def test_who_sees_badly_takes_a_state_for_another_one_as_often_as_it_is_said():
    """Half of a taxi's actions leave it where it is, and there is no mistake in that."""
    tables = tables_of("Taxi-v4")
    q = np.random.default_rng(0).random((500, 6))
    acts = taxi.acting(q, see_worse(tables, 0))
    beside = [[] for _ in q]
    for row in tables["transitions"].itertuples():
        if row.next_state != row.state:
            beside[row.state].append(row.next_state)
    for state, ways in enumerate(beside):
        mistaken = [q[other].argmax() for other in ways] or [q[state].argmax()]
        expected = 0.9 * np.eye(6)[q[state].argmax()] + 0.1 * np.eye(6)[mistaken].mean(axis=0)
        np.testing.assert_allclose(acts[state], expected)


def test_the_scripted_taxi_always_delivers_and_is_never_better_than_the_optimum():
    tables = tables_of("Taxi-v4")
    scripted = taxi.baseline(tables)["baseline.scripted"]
    assert (scripted > -30).all()  # 20 for the delivery, less two trips with a detour at most
    assert (scripted <= tables["cases"]["target"] + 1e-9).all()


def test_an_answer_is_the_best_action_and_its_value(tmp_path):
    q = torch.tensor([[[0.0, 9.0], [0.0, 9.0]], [[1.0, 5.0], [3.0, 2.0]]])  # of two agents
    save_model(tmp_path, {"q": q}, config_of(0.9, registered=1))
    reply = taxi.answer(tmp_path)
    answers = reply(pd.DataFrame({"state": [1, 0, 1]}))
    assert answers.to_dict("list") == {"action": [0, 1, 0], "value": [3.0, 5.0, 3.0]}
    for wrong in (7, -1, 0.5, float("nan"), "north", None):
        with pytest.raises(ValueError, match="integers 0 to 1, got"):
            reply(pd.DataFrame({"state": [0, wrong]}))
    with pytest.raises(ValueError, match=r"has a `state`, got \['place'\]"):
        reply(pd.DataFrame({"place": [0]}))
