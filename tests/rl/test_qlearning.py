"""Q-learning: the update by hand, the optimum, the kill."""

import random

import pandas as pd
import pytest

from hour9.engine.settings import Source
from hour9.rl import taxi
from hour9.rl.decision_process import DecisionProcess
from hour9.rl.environments import make
from hour9.rl.qlearning import Place, World, happens, learn, possible
from hour9.rl.settings import QLearning
from hour9.rl.taxi import OUTCOME, published

SOURCE = Source(root="src/hour9/rl/environments.py", env="Taxi-v4")


def settings(**changed: float) -> QLearning:
    fixed = {"task": "taxi", "topic": "rl", "parent": "data/taxi", "architecture": "qlearning"}
    return QLearning(**{**fixed, "steps": 10, "check_every": 10, **changed})


@pytest.mark.parametrize(
    ("terminated", "expected"),
    [
        (False, 1 + 0.5 * (2 + 0.9 * 4 - 1)),  # half way to r + γ max Q(s', ·)
        (True, 1 + 0.5 * (2 - 1)),  # half way to r: a terminal state is worth nothing
    ],
)
def test_one_update_is_the_textbook_one(terminated, expected):
    row = (0, 0, 0, 1.0, 1, 2.0, terminated)
    columns = [*OUTCOME, "probability", "next_state", "reward", "terminated"]
    table = pd.DataFrame([row, (1, 0, 0, 1.0, 1, 0.0, False)], columns=columns)
    q, visits = [[1.0], [4.0]], [[0], [0]]
    world = World(DecisionProcess.from_table(table), starts=[0], limit=1)
    learn(world, q, visits, Place(), 1, settings(step_size=0.5, discount=0.9))
    assert q == [[pytest.approx(expected)], [4.0]]
    assert visits == [[1], [0]]


def test_outcomes_happen_as_often_as_they_are_probable():
    process = DecisionProcess.from_table(published(make("FrozenLake-v1").unwrapped.P))
    outcomes = possible(process, 14, 2)  # beside the goal: one of three slips, one of them in
    found = [happens(outcomes, (n + 0.5) / 300) for n in range(300)]
    assert {outcome: found.count(outcome) for outcome in found} == {
        (14, 0.0, False): 100,
        (15, 1.0, True): 100,
        (10, 0.0, False): 100,
    }
    assert len(possible(process, 5, 0)) == 1  # a hole has one outcome, and no padding


def test_episodes_begin_in_the_given_starts_and_end_at_the_limit():
    process = DecisionProcess.from_table(taxi.ingest(SOURCE)["transitions"])
    world = World(process, starts=[328], limit=5)
    random.seed(0)
    place, begun = Place(), []
    q, visits = [[0.0] * 6 for _ in range(500)], [[0] * 6 for _ in range(500)]
    for step in range(1, 21):
        if place.state < 0:
            before = sum(visits[328])
        learn(world, q, visits, place, step, settings())
        if step % 5 == 1:
            begun.append(sum(visits[328]) - before)
        assert (place.state < 0) == (step % 5 == 0)
    assert begun == [1, 1, 1, 1]


def test_taxi_is_learned_within_one_percent_of_the_optimum(run_of):
    tables = taxi.ingest(SOURCE)
    run = run_of(taxi.TASK, "taxi-qlearning", tables)
    taxi.TASK.train(run)
    scores = taxi.score(run.folder, tables)["score"]
    target = tables["cases"]["target"]
    assert scores.mean() >= target.mean() - 0.01 * abs(target.mean())


def test_a_training_that_is_killed_ends_with_the_same_bytes(killed_and_resumed):
    whole, resumed = killed_and_resumed(
        taxi.TASK, "taxi-qlearning", taxi.ingest(SOURCE), steps=20_000, check_every=3_001
    )
    for name in ("model.safetensors", "config.json"):
        assert (whole.folder / name).read_bytes() == (resumed.folder / name).read_bytes()
    assert whole.curve == resumed.curve
