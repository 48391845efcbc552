"""Finite Markov decision processes in NumPy: what is best, and what a policy is worth, exactly.

Shapes: S states, A actions, K outcomes that an action can have at most (padded with
probability 0).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd


class NotADecisionProcess(ValueError):  # noqa: N818 - reads as a sentence where it is raised
    """The table of transitions has a hole, or probabilities that do not sum to one."""


@dataclass(frozen=True)
class DecisionProcess:
    """p(s', r | s, a) of Sutton & Barto (2018, eq. 3.2), as lists of outcomes."""

    probability: np.ndarray  # (S, A, K)
    next_state: np.ndarray  # (S, A, K)
    reward: np.ndarray  # (S, A, K)
    terminated: np.ndarray  # (S, A, K)

    @classmethod
    def from_table(cls, table: pd.DataFrame) -> DecisionProcess:
        """Columns state, action, outcome, probability, next_state, reward, terminated."""
        index = tuple(table[name].to_numpy() for name in ("state", "action", "outcome"))
        shape = tuple(int(column.max()) + 1 for column in index)  # (S, A, K)

        def filled(name: str, dtype: type) -> np.ndarray:
            values: np.ndarray = np.zeros(shape, dtype)
            values[index] = table[name].to_numpy()
            return values

        process = cls(
            filled("probability", np.float64),
            filled("next_state", np.int64),
            filled("reward", np.float64),
            filled("terminated", np.bool_),
        )
        process.check()
        return process

    def check(self) -> None:
        """Raise NotADecisionProcess, naming the first state and action that are wrong."""
        total = self.probability.sum(axis=-1)  # (S, A)
        if wrong := np.argwhere(np.abs(total - 1) > 1e-9).tolist():
            s, a = wrong[0]
            raise NotADecisionProcess(f"outcomes of action {a} in state {s} sum to {total[s, a]}")
        if (last := int(self.next_state.max())) >= len(total):
            raise NotADecisionProcess(f"state {last} is reached, but its transitions are missing")

    def backup(self, values: np.ndarray, discount: float) -> np.ndarray:  # (S,) -> (S, A)
        """Q(s, a) = Σ_{s', r} p(s', r | s, a) (r + γ V(s')); a terminated s' is worth 0."""
        future = discount * values[self.next_state] * ~self.terminated  # (S, A, K)
        return (self.probability * (self.reward + future)).sum(axis=-1)


def value_iteration(
    process: DecisionProcess, discount: float, tolerance: float = 1e-10, sweeps: int = 10_000
) -> np.ndarray:  # -> (S, A)
    """Q* by V(s) ← max_a Q(s, a) until nothing moves (Sutton & Barto 2018, eq. 4.10).

    Raises NotADecisionProcess where values still move after so many sweeps.
    """
    values = np.zeros(len(process.reward))
    for _ in range(sweeps):
        q = process.backup(values, discount)
        moved = np.abs(q.max(axis=1) - values).max()
        values = q.max(axis=1)
        if moved < tolerance:
            return process.backup(values, discount)
    raise NotADecisionProcess(
        f"at discount {discount}, values still move by {moved:.2g} after {sweeps} sweeps: rewards "
        "go on for ever; lower the discount, or let some transition terminate"
    )


def policy_values(process: DecisionProcess, policy: np.ndarray, discount: float) -> np.ndarray:
    """V of a policy (S, A) from its linear equations V = r + γ P V, as (S,).

    Sutton & Barto (2018, eq. 4.4). Raises numpy.linalg.LinAlgError at discount 1 where the policy
    never arrives.
    """
    S = len(policy)
    goes_on = policy[..., None] * process.probability * ~process.terminated  # (S, A, K)
    transition = np.zeros((S, S))
    np.add.at(transition, (np.arange(S)[:, None, None], process.next_state), goes_on)
    reward = (policy * process.backup(np.zeros(S), discount)).sum(axis=1)  # (S,)
    return np.linalg.solve(np.eye(S) - discount * transition, reward)


def policy_iteration(process: DecisionProcess, discount: float) -> np.ndarray:  # -> (S, A)
    """Q* by evaluating a policy and acting greedily on it until it is its own best answer.

    Sutton & Barto (2018, section 4.3). An action is only changed for one that is truly better, so
    that two equally good policies do not alternate for ever.
    """
    states = np.arange(len(process.reward))
    actions = np.zeros(len(states), np.int64)
    while True:
        policy = np.eye(process.reward.shape[1])[actions]
        q = process.backup(policy_values(process, policy, discount), discount)
        better = q.max(axis=1) > q[states, actions] + 1e-9
        if not better.any():
            return q
        actions = np.where(better, q.argmax(axis=1), actions)


def policy_return(process: DecisionProcess, policy: np.ndarray, steps: int) -> np.ndarray:
    """The exact expected undiscounted return of a policy (S, A) over `steps` steps, as (S,).

    V_n(s) = Σ_a π(a | s) Q_n(s, a), with Q_n from V_{n-1} (Sutton & Barto 2018, eq. 4.5).
    """
    values = np.zeros(len(process.reward))
    for _ in range(steps):
        values = (policy * process.backup(values, discount=1.0)).sum(axis=1)
    return values


def regret(
    process: DecisionProcess, policy: np.ndarray, optimum: np.ndarray, steps: int
) -> np.ndarray:
    """What a policy (S, A) loses against the optimal one, exactly, from each start: (S,)."""
    return policy_return(process, optimum, steps) - policy_return(process, policy, steps)


def greedy(q: np.ndarray) -> np.ndarray:  # (S, A) -> (S, A)
    """The policy that takes the best action of each state, the first of equals."""
    return np.eye(q.shape[1])[q.argmax(axis=1)]
