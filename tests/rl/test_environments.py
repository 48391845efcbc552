"""Which environments are taken, and that episodes are named by seeds and actions alone."""

import sys

import numpy as np
import pytest

from hour9.engine.settings import Source
from hour9.rl import cartpole, taxi
from hour9.rl.environments import UnsupportedEnvironment, make
from hour9.rl.episodes import SideBySide, play, play_out, returns


def source(name: str, size: int = 10) -> Source:
    return Source(root="src/hour9/rl/environments.py", env=name, size=size)


@pytest.mark.parametrize(
    ("task", "name", "why"),
    [
        (cartpole, "Pendulum-v1", "Box.*supported is Discrete.*CartPole-v1"),
        (cartpole, "Taxi-v4", "not a row of numbers; supported are CartPole-v1"),
        (taxi, "CartPole-v1", "does not publish its transitions.*Taxi-v4"),
        (taxi, "Blackjack-v1", "does not publish its transitions.*FrozenLake"),
        (cartpole, "CartPool-v1", "Supported are"),
        (cartpole, "Blackjack-v1", "not a row of numbers"),
        (cartpole, "MountainCarContinuous-v0", "action_space Box.*supported is Discrete"),
    ],
)
def test_an_unsupported_environment_is_refused_with_those_that_are(task, name, why):
    with pytest.raises(UnsupportedEnvironment, match=why):
        task.ingest(source(name))


def test_a_world_whose_package_is_missing_is_refused_with_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "Box2D", None)
    monkeypatch.delitem(sys.modules, "gymnasium.envs.box2d", raising=False)
    monkeypatch.delitem(sys.modules, "gymnasium.envs.box2d.lunar_lander", raising=False)
    with pytest.raises(UnsupportedEnvironment, match=r"LunarLander-v3.*after pip install box2d"):
        cartpole.ingest(source("LunarLander-v3"))


def test_a_world_of_ones_own_is_named_with_its_package(tmp_path, monkeypatch):
    (tmp_path / "poles.py").write_text(
        "import gymnasium\n"
        "gymnasium.register('Mine-v0', 'gymnasium.envs.classic_control:CartPoleEnv',"
        " max_episode_steps=7)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert make("poles:Mine-v0").spec.max_episode_steps == 7
    with pytest.raises(UnsupportedEnvironment, match="No module named 'nothing'"):
        make("nothing:Mine-v0")


def test_what_an_episode_showed_last_and_that_the_limit_ended_it():
    """From the same start, pushed one way the pole falls; left alone for 7 steps it does not."""
    rewards, last, cut = play_out("CartPole-v1", lambda seen: np.ones(len(seen), int), [0])
    assert not cut[0]
    assert len(rewards) < 500
    assert abs(last[0, 2]) > 0.2  # radians, where an episode ends
    rewards, last, cut = play_out("MountainCar-v0", lambda seen: np.ones(len(seen), int), [0])
    assert cut[0]
    assert len(rewards) == 200


def test_episodes_side_by_side_return_what_they_return_alone():
    def lean(seen: np.ndarray) -> np.ndarray:
        return (seen[:, 2] > 0).astype(int)

    seeds = [11, 12, 13]
    together = returns(play("CartPole-v1", lean, seeds))
    alone = [returns(play("CartPole-v1", lean, [seed])) for seed in seeds]
    assert together.tolist() == np.concatenate(alone).tolist()


def test_a_return_discounts_each_reward_by_its_age():
    rewards = np.array([[1.0, 2.0], [1.0, 0.0], [4.0, 0.0]])  # two episodes, one of a single step
    assert returns(rewards, discount=0.5).tolist() == [1 + 1 / 2 + 4 / 4, 2.0]


@pytest.mark.parametrize("name", ["CartPole-v1", "Acrobot-v1"])  # vectorised, and one by one
def test_restored_environments_go_on_as_if_never_interrupted(name):
    first = SideBySide(name, 1, 3, seed_of=lambda _, n: 100 + n)
    random = np.random.default_rng(0)
    for _ in range(70):  # some episodes have ended by then, and all stand in the middle of one
        first.step(random.integers(2, size=3))
    second = SideBySide(name, 1, 3, seed_of=lambda _, n: 100 + n)
    second.restore(first.state())
    assert all(first.actions)
    for actions in random.integers(2, size=(50, 3)):
        ours, theirs = first.step(actions), second.step(actions)
        for name in ours:
            np.testing.assert_array_equal(ours[name], theirs[name])


def test_a_time_limit_does_not_terminate():
    """MountainCar's engine is off: its 200 steps end, the task does not."""
    one = SideBySide("MountainCar-v0", 1, 1, seed_of=lambda _, n: n)
    steps = [one.step(np.array([1])) for _ in range(200)]
    assert not any(step["terminated"][0] for step in steps)
    assert [step["over"][0] for step in steps] == [False] * 199 + [True]
    assert one.begun == [2]  # a second episode has begun all the same


def test_an_environment_without_a_limit_is_given_one():
    assert make("CliffWalking-v1").spec.max_episode_steps == 1000
