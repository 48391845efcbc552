"""Q-learning over the table of transitions, beside the plain loop over `env.step`: one thread.

    python benchmarks/qlearning_speed.py            # speed, and ten seeds' exact regret
    python benchmarks/qlearning_speed.py --short    # seconds, nothing recorded

Speed is environment steps per CPU second, the median over the rounds, who goes first alternates.
Update, schedules and settings are the same, those of `taxi-qlearning`: ours has many walkers on
each agent's table, the plain loop one; measured for the candidate's agents side by side, and for
one alone. The quality is that of each seed's greedy policy, exactly, over the starts of the test in
the world of the training, as a share of the optimum's: its discounted value, and its return within
the time limit.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import argparse
import random
import time

import numpy as np

from hour9.engine.settings import Source, load_settings
from hour9.rl import taxi
from hour9.rl.decision_process import (
    DecisionProcess,
    greedy,
    policy_return,
    policy_values,
    value_iteration,
)
from hour9.rl.environments import make
from hour9.rl.qlearning import Walkers
from hour9.rl.settings import QLearning
from hour9.task import Tables
from record import Row, record

ALLOWED = {"Taxi-v4": 0.01, "FrozenLake8x8-v1": 0.03}
AGENTS = 5
SEEDS = 10
STREAM = 7
"""Seeds the ten agents that are reported; the settings were chosen on others (1234 and 4321)."""


def main() -> None:
    """Measure both worlds, print a line each, and record them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--short", action="store_true", help="seconds, nothing recorded")
    parser.add_argument("--rounds", type=int, default=7)
    asked = parser.parse_args()
    rows = []
    for name in ALLOWED:
        source = Source(root="src/hour9/rl/environments.py", env=name)
        tables = taxi.ingest(source)
        rounds = 1 if asked.short else asked.rounds
        rows += [speed(name, tables, agents, rounds, asked.short) for agents in (AGENTS, 1)]
        rows.append(quality(name, tables, 2 if asked.short else SEEDS, asked.short))
    if not asked.short:
        record(rows)


def chosen(**changed: int) -> QLearning:
    """The settings of the candidate."""
    settings = load_settings("taxi-qlearning")
    return QLearning(**{**settings.model_dump(), **changed})


def walkers_of(tables: Tables, settings: QLearning) -> Walkers:
    """The candidate's learner, as its training has it."""
    process = DecisionProcess.from_table(tables["transitions"])
    cases = tables["cases"]
    starts = cases.loc[cases["split"] == "train", "start"].to_numpy()
    return Walkers(process, starts, int(tables["environment"]["max_steps"][0]), settings)


def speed(name: str, tables: Tables, agents: int, rounds: int, short: bool) -> Row:
    """Steps per CPU second of so many agents side by side, and of the plain loop."""
    settings = chosen(seeds=agents)
    steps = 100_000 if short else 1_000_000
    found: dict[str, list[float]] = {"ours": [], "plain": []}
    for number in range(rounds):
        calls = {
            "ours": lambda: walkers_of(tables, settings).walk(steps // agents),
            "plain": lambda: plain_loop(name, settings, steps // 50),
        }
        for who in sorted(calls, reverse=bool(number % 2)):
            started = time.process_time()
            calls[who]()
            share = steps if who == "ours" else steps // 50
            found[who].append(share / (time.process_time() - started))
    ours, plain = (float(np.median(found[who])) for who in ("ours", "plain"))
    side = f"{agents} agents" if agents > 1 else "one agent"
    print(f"{name}, {side}: {ours:,.0f} steps/s, plain loop {plain:,.0f}: {ours / plain:.1f} times")
    return Row(
        name=f"Q-learning {name}, {side}",
        ours=round(ours),
        peer=round(plain),
        peer_name="the plain loop over env.step",
        unit="environment steps per CPU second, one thread",
        ratio=round(ours / plain, 2),
        runs=rounds,
    )


def plain_loop(name: str, settings: QLearning, steps: int) -> None:
    """Q-learning as the textbooks have it (Sutton & Barto 2018, section 6.5)."""
    env = make(name)
    states, actions = (int(space.n) for space in (env.observation_space, env.action_space))  # type: ignore[attr-defined]
    q = np.zeros((states, actions))
    visits = np.zeros((states, actions), np.int64)
    state, over = env.reset(seed=0)[0], False
    for step in range(steps):
        if over:
            state, over = env.reset()[0], False
        explores = random.random() < settings.epsilon(step)
        action = random.randrange(actions) if explores else int(q[state].argmax())
        following, reward, terminated, truncated, _ = env.step(action)
        visits[state, action] += 1
        future = 0.0 if terminated else q[following].max()
        step_size = settings.step_size * visits[state, action] ** -settings.step_size_decay
        q[state, action] += step_size * (
            float(reward) + settings.discount * future - q[state, action]
        )
        state, over = following, terminated or truncated


def quality(name: str, tables: Tables, seeds: int, short: bool) -> Row:
    """The worst seed's share of the exact optimum; the table kept is the best on validation."""
    settings = chosen(seeds=seeds, **({"steps": 100_000} if short else {}))
    cases = tables["cases"]
    cases = cases[cases["group.world"] == taxi.AS_TRAINED]
    validation, test = (cases.loc[cases["split"] == s, "start"] for s in ("validation", "test"))
    np.random.seed(STREAM)
    walkers = walkers_of(tables, settings)
    process = walkers.process
    optimum = value_iteration(process, settings.discount).max(axis=1)[test].mean()
    best, shares, returned = np.full(seeds, -np.inf), np.zeros(seeds), np.zeros(seeds)
    started = time.process_time()
    while walkers.step < settings.steps:
        walkers.walk(min(settings.steps, walkers.step + settings.check_every))
        for agent, q in enumerate(walkers.values()):
            policy = greedy(q)
            found = policy_return(process, policy, walkers.limit)
            if found[validation].mean() >= best[agent]:
                best[agent] = found[validation].mean()
                worth = policy_values(process, policy, settings.discount)[test].mean()
                shares[agent] = worth / optimum
                returned[agent] = (
                    found[test].mean() / cases.set_index("start")["target"][test].mean()
                )
    seconds = time.process_time() - started
    missed = int((shares < 1 - ALLOWED[name]).sum())
    print(
        f"{name}: {100 * shares.min():.2f} to {100 * shares.max():.2f} % of the optimum over "
        f"{seeds} seeds, {missed} below {100 - 100 * ALLOWED[name]:.0f} %, {seconds:.1f} CPU s; "
        f"return within the time limit {100 * returned.min():.2f} to {100 * returned.max():.2f} %"
    )
    return Row(
        name=f"Q-learning {name}, worst of {seeds} seeds",
        ours=round(float(shares.min() * optimum), 5),
        peer=round(float(optimum), 5),
        peer_name="the exact optimum",
        unit=f"discounted value (γ = {settings.discount}) of the greedy policy, exactly",
        ratio=round(float(shares.min()), 5),
        runs=seeds,
    )


if __name__ == "__main__":
    main()
