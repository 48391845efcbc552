"""Tabular learning from single steps: Q-learning, SARSA, expected SARSA, double Q-learning.

The steps are drawn from the task's table of transitions, whose dynamics are the environment's
own. All walkers of all agents take one step together, each agent into its own table: NumPy then
does in one call what a loop over `env.step` does in a hundred.

Shapes: G agents (seeds), W walkers of each, L = G W of them in all, S states, A actions,
K outcomes of an action, T tables (two in double Q-learning), N cases.
"""

from dataclasses import dataclass, field

import numpy as np
import torch

from hour9.engine.checkpoint import State
from hour9.engine.randomness import random_state, seed_all, set_random_state
from hour9.engine.run import Run
from hour9.engine.weights import save_model
from hour9.rl.decision_process import DecisionProcess, greedy, policy_return
from hour9.rl.seeds import median_agent
from hour9.rl.settings import QLearning


def train(run: Run) -> None:
    """Learn from starts of split train; keep each agent's table that acts best on validation.

    Of equally good tables the latest is kept: it has seen more.
    """
    settings: QLearning = run.settings
    seed_all(settings.seed)
    process = DecisionProcess.from_table(run.tables["transitions"])
    limit = int(run.tables["environment"]["max_steps"][0])
    cases = run.tables["cases"]
    starts = cases.loc[cases["split"] == "train", "start"].to_numpy()
    validation = cases[cases["split"] == "validation"]
    walkers = Walkers(process, starts, limit, settings)
    best = np.zeros_like(walkers.tables[0])  # (G, S, A)
    scores = np.full(settings.seeds, -np.inf)

    def state() -> State:
        return {
            "walkers": walkers.state(),
            "best": best,
            "scores": scores,
            "random": random_state(),
        }

    if saved := run.resume():
        walkers.restore(saved["walkers"])
        best, scores = saved["best"], saved["scores"]
        set_random_state(saved["random"])

    while walkers.step < settings.steps:
        walkers.walk(min(settings.steps, walkers.step + settings.check_every))
        q = walkers.values()  # (G, S, A)
        found = np.array(
            [policy_return(process, greedy(own), limit)[validation["start"]].mean() for own in q]
        )
        better = found >= scores
        best[better], scores[better] = q[better], found[better]
        regret = validation["target"].mean() - found.mean()
        epsilon = settings.epsilon(walkers.step)
        run.log(walkers.step, validation=found.mean(), regret=regret, epsilon=epsilon)
        run.progress(walkers.step, settings.steps, f"steps, regret {regret:.4f}")
        run.save_if_due(state)
    config = {
        "settings": settings.model_dump(),
        "env": run.tables["environment"]["env"][0],
        "validation": scores.tolist(),
        "registered": median_agent(scores),
    }
    save_model(run.folder, {"q": torch.from_numpy(best)}, config)


@dataclass
class Walkers:
    """Every walker of every agent, with the agents' tables."""

    process: DecisionProcess
    starts: np.ndarray
    limit: int  # steps of an episode at most
    settings: QLearning
    step: int = 0  # of each agent, over all its walkers
    state_of: np.ndarray = field(init=False)  # (L,)
    action: np.ndarray = field(init=False)  # (L,), what each does next
    age: np.ndarray = field(init=False)  # (L,), steps since its episode began
    tables: np.ndarray = field(init=False)  # (T, G, S, A)
    visits: np.ndarray = field(init=False)  # (T, G, S, A)

    def __post_init__(self) -> None:
        G, lanes = self.settings.seeds, self.settings.seeds * self.settings.walkers
        T = 2 if self.settings.update == "double-q" else 1
        self.agent = np.repeat(np.arange(G), self.settings.walkers)  # (L,)
        S, A, K = self.process.reward.shape
        self.first_state = self.agent * S  # (L,) in G S
        cumulative = self.process.probability.cumsum(axis=-1)[..., :-1]
        self.cumulative = cumulative.reshape(S * A, K - 1)
        self.tables = np.zeros((T, G, S, A))
        self.visits = np.zeros(self.tables.shape, np.int64)
        self.state_of, self.action, self.age = (np.zeros(lanes, np.int64) for _ in range(3))
        self.begin(np.arange(lanes))

    def values(self) -> np.ndarray:  # -> (G, S, A)
        """What each agent holds every action to be worth: the mean of its tables."""
        return self.tables.mean(axis=0)

    def begin(self, lanes: np.ndarray) -> None:
        """Let these walkers begin an episode; their first action is ε-greedy, too."""
        drawn = np.random.random((3, len(lanes)))
        self.state_of[lanes] = self.starts[(drawn[0] * len(self.starts)).astype(np.int64)]
        self.age[lanes] = 0
        q = self.tables[:, self.agent[lanes], self.state_of[lanes]].sum(axis=0)  # (lanes, A)
        self.action[lanes] = epsilon_greedy(q, self.settings.epsilon(self.step), drawn[1:])

    def walk(self, until: int) -> None:
        """Act ε-greedily until step `until` of each agent and learn from every step."""
        W = self.settings.walkers
        rounds = -(-(until - self.step) // W)
        for chance in np.random.random((rounds, 4, len(self.agent))):
            self.one_step(chance)
            self.step += W

    def one_step(self, chance: np.ndarray) -> None:  # (4, L)
        """One step of each walker: Q(S, A) ← Q(S, A) + α / n^ω (R + γ worth(S') - Q(S, A)).

        Sutton & Barto (2018, eq. 6.8, where worth is max_a Q(S', a)); n are the visits of (S, A),
        of two tables those of which this one learned (van Hasselt 2010).

        An episode cut by its time limit had a future, so only `terminated` makes a next state
        worthless. Where two walkers of an agent meet in the same state and action, one is heard.
        """
        settings, A = self.settings, self.tables.shape[-1]
        epsilon = settings.epsilon(self.step)
        act = self.state_of * A + self.action  # (L,) in S A
        outcome = (chance[0][:, None] >= self.cumulative.take(act, axis=0)).sum(axis=1)
        came = act * self.process.reward.shape[-1] + outcome  # (L,) in S A K
        following = self.process.next_state.take(came)
        terminated = self.process.terminated.take(came)
        values = self.tables.reshape(len(self.tables), -1, A)  # (T, G S, A)
        q = values.take(self.first_state + following, axis=1)  # (T, L, A)
        then = epsilon_greedy(q.sum(axis=0) if len(q) > 1 else q[0], epsilon, chance[1:3])
        table = (chance[3] * len(q)).astype(np.int64)  # (L,), which one learns
        future = worth(settings.update, q, then, table, epsilon)
        reward = self.process.reward.take(came)
        target = reward + settings.discount * future * ~terminated
        place = table * self.tables[0].size + self.first_state * A + act  # (L,) in T G S A
        visits, learned = self.visits.reshape(-1), self.tables.reshape(-1)
        visits[place] += 1
        step_size = settings.step_size * visits.take(place) ** -settings.step_size_decay
        old = learned.take(place)
        learned[place] = old + step_size * (target - old)
        self.state_of, self.action, self.age = following, then, self.age + 1
        over = np.flatnonzero(terminated | (self.age == self.limit))
        if len(over):
            self.begin(over)

    def state(self) -> State:
        """Fit for a checkpoint."""
        names = ("step", "state_of", "action", "age", "tables", "visits")
        return {name: getattr(self, name) for name in names}

    def restore(self, state: State) -> None:
        """The inverse of `state`."""
        vars(self).update(state)


def epsilon_greedy(q: np.ndarray, epsilon: float, chance: np.ndarray) -> np.ndarray:
    """The best action of each row, the first of equals, or now and then any: (L, A) -> (L,)."""
    any_action = (chance[1] * q.shape[1]).astype(np.int64)
    return np.where(chance[0] < epsilon, any_action, q.argmax(axis=1))


def worth(
    update: str, q: np.ndarray, then: np.ndarray, table: np.ndarray, epsilon: float
) -> np.ndarray:  # (T, L, A), (L,), (L,) -> (L,)
    """What the next state is worth, where A' is the action that is taken there.

    q               max_a Q(S', a)                      Sutton & Barto (2018), eq. 6.8
    sarsa           Q(S', A')                           eq. 6.7
    expected-sarsa  Σ_a π(a | S') Q(S', a)              eq. 6.9
    double-q        Q_2(S', argmax_a Q_1(S', a))        eq. 6.10 (van Hasselt 2010)
    """
    lanes = np.arange(len(then))
    if update == "q":
        return q[0].max(axis=1)
    if update == "sarsa":
        return q[0, lanes, then]
    if update == "expected-sarsa":
        return (1 - epsilon) * q[0].max(axis=1) + epsilon * q[0].mean(axis=1)
    chosen = q[table, lanes].argmax(axis=1)  # by the table that learns
    return q[1 - table, lanes, chosen]  # as the other one sees it
