"""Several seeds: the one in the middle is registered."""

import numpy as np
import pandas as pd

from hour9.rl import seeds


def test_the_registered_agent_is_neither_the_lucky_nor_the_unlucky_one():
    assert seeds.median_agent([500.0, 10.0, 200.0]) == 2
    assert seeds.median_agent([1.0, 4.0, 3.0, 2.0]) == 3  # of two in the middle the lower
    assert seeds.median_agent([7.0, 7.0, 7.0]) == 1


def test_every_agents_score_stands_in_the_evidence():
    found = seeds.evidence(pd.Series(["a", "b"]), np.array([[1.0, 2.0], [3.0, 4.0]]), registered=1)
    assert found["score"].tolist() == found["score.seed1"].tolist() == [3.0, 4.0]
    assert found["score.seed0"].tolist() == [1.0, 2.0]


def test_the_baseline_is_chosen_on_train_and_the_others_are_shown():
    cases = pd.DataFrame({"case": ["a", "b"], "split": ["train", "test"]})
    found = seeds.better_baseline(cases, {"x": np.array([1.0, 9.0]), "y": np.array([2.0, 0.0])})
    assert found["score"].tolist() == [2.0, 0.0]
    assert found["x"].tolist() == [1.0, 9.0]
