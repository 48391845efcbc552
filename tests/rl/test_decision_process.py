"""Exact values against equations solved by hand, and tables against Gymnasium itself."""

import numpy as np
import pandas as pd
import pytest

from hour9.rl.decision_process import (
    DecisionProcess,
    NotADecisionProcess,
    greedy,
    policy_iteration,
    policy_return,
    policy_values,
    regret,
    value_iteration,
)
from hour9.rl.environments import make
from hour9.rl.taxi import OUTCOME, published


def table(*rows: tuple) -> pd.DataFrame:
    return pd.DataFrame(
        rows, columns=[*OUTCOME, "probability", "next_state", "reward", "terminated"]
    )


CHAIN = table(  # 0 → 1 → end for a reward of 10; action 1 stays where it is
    (0, 0, 0, 1.0, 1, -1.0, False),
    (0, 1, 0, 1.0, 0, -1.0, False),
    (1, 0, 0, 1.0, 1, 10.0, True),
    (1, 1, 0, 1.0, 1, -1.0, False),
)


def test_the_optimum_of_a_chain_is_the_one_found_by_hand():
    q = value_iteration(DecisionProcess.from_table(CHAIN), discount=0.5)
    # V(1) = 10, V(0) = -1 + 10 / 2 = 4; staying costs 1 and half of what comes
    np.testing.assert_allclose(q, [[4.0, -1 + 4 / 2], [10.0, -1 + 10 / 2]])


@pytest.mark.parametrize("name", ["FrozenLake-v1", "FrozenLake8x8-v1", "Taxi-v4"])
def test_policy_iteration_and_value_iteration_find_the_same_values(name):
    process = DecisionProcess.from_table(published(make(name).unwrapped.P))
    np.testing.assert_allclose(
        policy_iteration(process, 0.95), value_iteration(process, 0.95), atol=1e-8
    )


def test_values_that_go_on_growing_are_no_answer():
    for_ever = table((0, 0, 0, 1.0, 0, 1.0, False))
    with pytest.raises(NotADecisionProcess, match=r"at discount 1\.0, .* move by 1 after 10000"):
        value_iteration(DecisionProcess.from_table(for_ever), discount=1.0)


def test_the_value_of_a_policy_is_the_one_found_by_hand():
    stays_once = np.array([[0.5, 0.5], [1.0, 0.0]])
    values = policy_values(DecisionProcess.from_table(CHAIN), stays_once, discount=0.5)
    # V(1) = 10 and V(0) = (-1 + 10 / 2) / 2 + (-1 + V(0) / 2) / 2, so V(0) = 2
    np.testing.assert_allclose(values, [2.0, 10.0])


def test_regret_is_what_a_detour_costs_and_the_optimum_has_none():
    process = DecisionProcess.from_table(CHAIN)
    optimum = greedy(value_iteration(process, discount=0.9))
    stays = np.array([[0.0, 1.0], [1.0, 0.0]])
    assert regret(process, stays, optimum, steps=5).tolist() == [(-1 + 10) - -5, 0.0]
    assert regret(process, optimum, optimum, steps=5).tolist() == [0.0, 0.0]


def test_a_policy_that_never_arrives_earns_the_cost_of_every_step():
    stays = np.array([[0.0, 1.0], [0.0, 1.0]])
    values = policy_return(DecisionProcess.from_table(CHAIN), stays, steps=7)
    assert values.tolist() == [-7.0, -7.0]


@pytest.mark.parametrize("name", ["FrozenLake-v1", "Taxi-v4"])
def test_value_iteration_satisfies_the_linear_equations_of_its_policy(name):
    """V = r + γ P V for the greedy policy, solved as a linear system: the oracle."""
    process = DecisionProcess.from_table(published(make(name).unwrapped.P))
    q = value_iteration(process, discount=0.9)
    states = np.arange(len(q))
    best = q.argmax(axis=1)
    weight = process.probability[states, best] * ~process.terminated[states, best]  # (S, K)
    transition = np.zeros((len(q), len(q)))
    np.add.at(transition, (states[:, None], process.next_state[states, best]), weight)
    reward = (process.probability * process.reward)[states, best].sum(axis=-1)
    values = np.linalg.solve(np.eye(len(q)) - 0.9 * transition, reward)
    np.testing.assert_allclose(q.max(axis=1), values, atol=1e-8)


def test_the_exact_return_of_a_slippery_world_is_what_episodes_earn_on_average():
    env = make("FrozenLake-v1")
    process = DecisionProcess.from_table(published(env.unwrapped.P))
    policy = greedy(value_iteration(process, discount=0.99))
    exact = policy_return(process, policy, env.spec.max_episode_steps)[0]
    earned = [episode_return(env, policy.argmax(axis=1), seed) for seed in range(2000)]
    assert abs(np.mean(earned) - exact) < 4 * np.std(earned) / np.sqrt(len(earned))


def episode_return(env, actions: np.ndarray, seed: int) -> float:
    state, total, over = env.reset(seed=seed)[0], 0.0, False
    while not over:
        state, reward, terminated, truncated, _ = env.step(int(actions[state]))
        total, over = total + reward, terminated or truncated
    return total


def test_the_table_equals_what_the_environment_does():
    env = make("Taxi-v4")
    process = DecisionProcess.from_table(published(env.unwrapped.P))
    random = np.random.default_rng(0)
    for state, action in random.integers([500, 6], size=(400, 2)).tolist():
        env.reset(seed=0)
        env.unwrapped.s = state
        following, reward, terminated, *_ = env.step(action)
        assert following == process.next_state[state, action, 0]
        assert reward == process.reward[state, action, 0]
        assert terminated == process.terminated[state, action, 0]


@pytest.mark.parametrize(
    ("column", "value", "why"),
    [
        ("probability", 0.5, "action 0 in state 0 sum to 0.5"),
        ("next_state", 9, "state 9 is reached"),
    ],
)
def test_a_table_with_a_hole_is_refused(column, value, why):
    broken = CHAIN.copy()
    broken.loc[0, column] = value
    with pytest.raises(NotADecisionProcess, match=why):
        DecisionProcess.from_table(broken)
