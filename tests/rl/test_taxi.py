"""The task taxi: its cases, its optimum, its baseline."""

import numpy as np
import pandas as pd
import pytest
import torch

from hour9.engine.settings import Source
from hour9.engine.weights import save_model
from hour9.rl import taxi
from hour9.rl.decision_process import DecisionProcess, value_iteration
from hour9.validate import deal_splits


def tables_of(name: str) -> dict[str, pd.DataFrame]:
    return deal_splits(taxi.ingest(Source(root="src/hour9/rl/environments.py", env=name)))


def config_of(discount: float, registered: int = 0) -> dict[str, object]:
    return {"settings": {"discount": discount}, "registered": registered}


def test_every_start_of_taxi_is_a_case_and_every_outcome_a_row():
    tables = tables_of("Taxi-v4")
    assert len(tables["cases"]) == 25 * 4 * 3  # squares, passengers, other destinations
    assert len(tables["transitions"]) == 500 * 6


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
    np.testing.assert_allclose(found["score"], tables["cases"]["target"], atol=1e-9)
    np.testing.assert_allclose(found["predicted"], found["realised"], atol=1e-6)  # it is Q*


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
    with pytest.raises(ValueError, match=r"0 to 1, got \[7\]"):
        reply(pd.DataFrame({"state": [7]}))
