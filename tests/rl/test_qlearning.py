"""Tabular learning: the updates by hand, the optimum, the kill."""

import numpy as np
import pandas as pd
import pytest

from hour9.engine.settings import Source
from hour9.rl import taxi
from hour9.rl.decision_process import DecisionProcess
from hour9.rl.environments import make
from hour9.rl.qlearning import Walkers, worth
from hour9.rl.settings import QLearning
from hour9.rl.taxi import OUTCOME, published

SOURCE = Source(root="src/hour9/rl/environments.py", env="Taxi-v4")


def settings(**changed: object) -> QLearning:
    fixed = {"task": "taxi", "topic": "rl", "parent": "data/taxi", "architecture": "qlearning"}
    return QLearning(**{**fixed, "steps": 10, "check_every": 10, "seeds": 1, **changed})


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
    process = DecisionProcess.from_table(table)
    chosen = settings(step_size=0.5, discount=0.9)
    walkers = Walkers(process, np.array([0]), limit=1, settings=chosen)
    walkers.tables[0, 0] = [[1.0], [4.0]]
    walkers.walk(1)
    assert walkers.tables[0, 0].tolist() == [[pytest.approx(expected)], [4.0]]
    assert walkers.visits[0, 0].tolist() == [[1], [0]]


def test_each_of_two_tables_steps_by_its_own_visits():
    """With 1 / n each table is the mean of its own targets, all of them 1 here."""
    row = (0, 0, 0, 1.0, 0, 1.0, True)
    columns = [*OUTCOME, "probability", "next_state", "reward", "terminated"]
    process = DecisionProcess.from_table(pd.DataFrame([row], columns=columns))
    chosen = settings(step_size=1.0, step_size_decay=1.0, update="double-q")
    walkers = Walkers(process, np.array([0]), limit=1, settings=chosen)
    walkers.walk(20)
    assert walkers.visits.sum() == 20
    assert walkers.visits.min() > 0
    assert walkers.tables.tolist() == [[[[1.0]]], [[[1.0]]]]


@pytest.mark.parametrize(
    ("update", "expected"),
    [
        ("q", 3.0),  # the best of 1, 2, 3
        ("sarsa", 2.0),  # the second, which is what is done there
        ("expected-sarsa", 0.4 * 3 + 0.6 * 2),  # greedy in 0.4 of all, else any of the three
        ("double-q", 30.0),  # the second table's, of the action that the first likes best
    ],
)
def test_the_next_state_is_worth_what_its_rule_says(update, expected):
    q = np.array([[[1.0, 2.0, 3.0]], [[50.0, 40.0, 30.0]]])  # two tables, one walker
    found = worth(update, q, then=np.array([1]), table=np.array([0]), epsilon=0.6)
    assert found.tolist() == [pytest.approx(expected)]


@pytest.mark.parametrize("update", ["q", "sarsa", "expected-sarsa", "double-q"])
def test_every_rule_finds_the_way_through_a_frozen_lake(update):
    """Without slipping the best way is six steps, whatever is corrected towards."""
    env = make("FrozenLake-v1", is_slippery=False)
    process = DecisionProcess.from_table(published(env.unwrapped.P))
    chosen = settings(
        steps=40_000, walkers=8, update=update, discount=0.9, step_size_decay=0.5, epsilon_final=0.1
    )
    np.random.seed(0)
    walkers = Walkers(process, np.array([0]), limit=100, settings=chosen)
    walkers.walk(40_000)
    state, way = 0, []
    while not way or (len(way) < 10 and state != 15):
        action = walkers.values()[0, state].argmax()
        state = int(process.next_state[state, action, 0])
        way.append(state)
    assert way[-1] == 15
    assert len(way) == 6


def test_outcomes_happen_as_often_as_they_are_probable():
    process = DecisionProcess.from_table(published(make("FrozenLake-v1").unwrapped.P))
    found = []
    for n in range(300):
        walkers = Walkers(process, np.array([14]), limit=100, settings=settings())
        walkers.action[:] = 2  # beside the goal: one of three slips, one of them in
        chance = np.full((4, 1), 0.999)
        chance[0] = (n + 0.5) / 300
        walkers.one_step(chance)
        found.append((int(walkers.state_of[0]), float(walkers.tables[0, 0, 14, 2])))
    # it stayed, was blown back, or slipped into the goal and began anew
    assert sorted({*found}) == [(10, 0.0), (14, 0.0), (14, 1.0)]
    assert [found.count(o) for o in sorted({*found})] == [100, 100, 100]


def test_episodes_begin_in_the_given_starts_and_end_at_the_limit():
    process = DecisionProcess.from_table(taxi.ingest(SOURCE)["transitions"])
    walkers = Walkers(process, np.array([328]), limit=5, settings=settings(walkers=3))
    for step in range(1, 21):
        walkers.walk(3 * step)
        assert (walkers.age == step % 5).all()
        if step % 5 == 0:
            assert (walkers.state_of == 328).all()


@pytest.mark.parametrize(("name", "share"), [("Taxi-v4", 0.01), ("FrozenLake8x8-v1", 0.03)])
def test_every_seed_comes_near_the_exact_optimum(name, share, run_of):
    tables = taxi.ingest(SOURCE.model_copy(update={"env": name}))
    run = run_of(taxi.TASK, "taxi-qlearning", tables)
    taxi.TASK.train(run)
    home = tables["cases"]["group.world"] == taxi.AS_TRAINED
    scores = taxi.score(run.folder, tables).filter(like="score.seed")[home]
    target = tables["cases"]["target"][home].mean()
    assert scores.mean().min() >= target - share * abs(target)
    assert run.curve[-1]["regret"] < run.curve[0]["regret"]


def test_a_training_that_is_killed_ends_with_the_same_bytes(killed_and_resumed):
    whole, resumed = killed_and_resumed(
        taxi.TASK, "taxi-qlearning", taxi.ingest(SOURCE), steps=20_000, check_every=3_001, walkers=8
    )
    for name in ("model.safetensors", "config.json"):
        assert (whole.folder / name).read_bytes() == (resumed.folder / name).read_bytes()
    assert whole.curve == resumed.curve
