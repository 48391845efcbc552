"""Deep Q-learning on CartPole, beside Stable-Baselines3's DQN with its zoo settings: one thread.

    python benchmarks/cartpole_speed.py --seeds 6-15     # minutes a seed: the peer takes them
    python benchmarks/cartpole_speed.py --seeds 6-10 --only ours
    python benchmarks/cartpole_speed.py --only updates   # a minute
    python benchmarks/cartpole_speed.py --short          # seconds, nothing recorded

Four figures. An update: CPU milliseconds of a learning update with its replay sampling, same
network (2 x 256), same batch (64), same transitions in the memory: as few as when learning begins,
and as many as 50,000 steps leave. Solved: CPU seconds until the greedy policy returns 475 in the
mean of 100 fresh episodes; playing those is not counted, ours playing its own validation is. Held:
until it does at two looks in a row, as the first may be luck: three of our seeds 11 to 15 are there
at 1,024 steps and hold it at 15,360 to 17,408. Final: the policy after 50,000 steps, whatever it
was before, and the CPU seconds up to there. Each seed trains alone; ours and the peer take turns.
Settings: `cartpole-rainbow-lite`, chosen on seeds 1 to 5.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import argparse
import contextlib
import io
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hour9.engine.checkpoint import Checkpoint
from hour9.engine.run import Run
from hour9.engine.settings import Source, load_settings
from hour9.rl import cartpole
from hour9.rl.dqn import Training
from hour9.rl.episodes import Policy, play, returns
from hour9.rl.learner import Learner
from hour9.rl.settings import DQN
from hour9.task import Tables, without_test
from record import Row, record

SOLVED = 475.0
FRESH = range(10**6, 10**6 + 100)
"""Episodes that neither of the two has ever trained or chosen on."""

STEPS, LOOK_EVERY = 50_000, 1_024
UPDATES = 128
"""Of a round, as in the zoo's settings."""

MEMORIES = 1_200, 50_000
"""Transitions of the random policy, from which updates are timed."""

PEER = "Stable-Baselines3 DQN, zoo settings"
ZOO = {  # rl-baselines3-zoo, hyperparams/dqn.yml, CartPole-v1
    "learning_rate": 2.3e-3,
    "batch_size": 64,
    "buffer_size": 100_000,
    "learning_starts": 1_000,
    "gamma": 0.99,
    "target_update_interval": 10,
    "train_freq": 256,
    "gradient_steps": 128,
    "exploration_fraction": 0.16,
    "exploration_final_eps": 0.04,
    "policy_kwargs": {"net_arch": [256, 256]},
}


@dataclass
class Watched:
    """One training: CPU seconds without looking, when it was good enough, how it ended."""

    started: float = 0.0
    looking: float = 0.0
    solved: float = float("inf")  # at the first good look
    solved_step: int = 0
    held: float = float("inf")  # at the second of two in a row
    held_step: int = 0
    final: float = 0.0
    seconds: float = 0.0

    def look(self, policy: Policy, step: int) -> None:
        """Play the fresh episodes; the time it takes is not the training's."""
        before = time.process_time()
        self.seconds = before - self.started - self.looking
        last, self.final = self.final, float(returns(play("CartPole-v1", policy, FRESH)).mean())
        if self.final >= SOLVED and self.solved == float("inf"):
            self.solved, self.solved_step = self.seconds, step
        if min(last, self.final) >= SOLVED and self.held == float("inf"):
            self.held, self.held_step = self.seconds, step
        self.looking += time.process_time() - before


def main() -> None:
    """Measure, print a line each, and record what was measured on both."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", default="6-15", help="first and last, e.g. 6-15")
    parser.add_argument("--only", choices=("ours", "peer", "updates"), default="")
    parser.add_argument("--short", action="store_true", help="seconds, nothing recorded")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    memories = MEMORIES[:1] if asked.short else MEMORIES
    rows = [updates(2 if asked.short else 15, memory) for memory in memories]
    first, last = (6, 6) if asked.short else map(int, asked.seeds.split("-"))
    steps = 2_000 if asked.short else STEPS
    contenders = {"ours": ours, "peer": peer}
    found: dict[str, list[Watched]] = {
        who: [] for who in contenders if asked.only in ("", who) and asked.only != "updates"
    }
    for seed in range(first, last + 1):
        for who, watched in found.items():
            watched.append(contenders[who](seed, steps))
            print(f"  seed {seed} {who}: {watched[-1]}", flush=True)
    if len(found) == 2:
        rows += compared(found["ours"], found["peer"])
    if not asked.short:
        record(rows)


def compared(ours: list[Watched], peer: list[Watched]) -> list[Row]:
    """A row for each of the three questions about whole trainings."""
    questions: dict[str, tuple[Callable[[Watched], float], Callable[[Watched], bool]]] = {
        f"CartPole to a mean of {SOLVED:.0f}": (lambda w: w.solved, lambda w: w.solved_step > 0),
        f"CartPole to {SOLVED:.0f} twice in a row": (lambda w: w.held, lambda w: w.held_step > 0),
        f"CartPole, {STEPS} steps": (lambda w: w.seconds, lambda w: w.final >= SOLVED),
    }
    rows = []
    for name, (seconds, good) in questions.items():
        mine, theirs = (float(np.median([seconds(w) for w in who])) for who in (ours, peer))
        how, peers = (f"{sum(map(good, who))} of {len(who)}" for who in (ours, peer))
        print(f"{name}: ours {mine:.1f} CPU s ({how}), peer {theirs:.1f} ({peers})")
        what = f"CPU seconds, median over seeds; {how} of ours are good, {peers} of the peer's"
        ratio = round(theirs / mine, 2)
        rows.append(Row(name, round(mine, 2), round(theirs, 2), PEER, what, ratio, len(ours)))
    return rows


def chosen(**changed: Any) -> DQN:
    """The candidate's settings."""
    return DQN(**{**load_settings("cartpole-rainbow-lite").model_dump(), **changed})


def tables() -> Tables:
    """The task's, without its test cases."""
    return without_test(cartpole.ingest(Source(root="-", env="CartPole-v1", size=250)))


def ours(seed: int, steps: int) -> Watched:
    """One agent, without the early end that the candidate has."""
    with tempfile.TemporaryDirectory() as scratch, contextlib.redirect_stdout(io.StringIO()):
        folder = Path(scratch)
        settings = chosen(seed=seed, seeds=1)
        run = Run(settings, tables(), folder, folder / "model", Checkpoint(folder))
        watched = Watched(started=time.process_time())
        training = Training(run)
        training.most = float("inf")
        looked = 0
        while training.place.step < steps:
            training.round()
            if training.place.step - looked >= LOOK_EVERY or training.place.step >= steps:
                looked = training.place.step
                watched.look(training.learner.network.act, looked)
    return watched


def peer(seed: int, steps: int) -> Watched:
    """Stable-Baselines3, looked at as often."""
    import stable_baselines3
    from stable_baselines3.common.callbacks import BaseCallback

    watched = Watched(started=time.process_time())

    class Look(BaseCallback):
        """Called after each of the environment's steps."""

        def _on_step(self) -> bool:
            if self.num_timesteps % LOOK_EVERY == 0 or self.num_timesteps == steps:
                watched.look(lambda seen: agent.predict(seen, deterministic=True)[0], self.n_calls)
            return True

    agent = stable_baselines3.DQN("MlpPolicy", "CartPole-v1", seed=seed, device="cpu", **ZOO)  # type: ignore[arg-type]
    agent.learn(steps, callback=Look())
    return watched


def updates(rounds: int, memory: int) -> Row:
    """CPU milliseconds of an update, sampling included, in turns."""
    times: dict[str, list[float]] = {"ours": [], "peer": []}
    agent = their_agent(memory)
    calls = {"ours": our_updates(agent.replay_buffer), "peer": lambda: agent.train(UPDATES, 64)}
    for call in calls.values():
        call()
    for number in range(rounds):
        for who in sorted(calls, reverse=bool(number % 2)):
            before = time.process_time()
            calls[who]()
            times[who].append(1000 * (time.process_time() - before) / UPDATES)
    mine, theirs = np.array(times["ours"]), np.array(times["peer"])
    ratio = float(np.median(theirs) / np.median(mine))
    low, high = np.percentile(theirs / mine, [25, 75])
    print(
        f"an update, {memory} transitions: ours {np.median(mine):.3f} ms (least {mine.min():.3f}), "
        f"peer {np.median(theirs):.3f} (least {theirs.min():.3f}): {ratio:.2f} times, "
        f"half of {rounds} rounds {low:.2f} to {high:.2f}",
        flush=True,
    )
    return Row(
        f"DQN update with replay sampling, {memory} transitions",
        round(float(np.median(mine)), 4),
        round(float(np.median(theirs)), 4),
        PEER,
        "CPU ms, one thread, 2 x 256 network, batch of 64",
        round(ratio, 2),
        rounds,
    )


def their_agent(memory: int) -> Any:
    """The peer with so many transitions of the random policy in its memory."""
    import stable_baselines3

    settings = {**ZOO, "learning_starts": memory}
    agent = stable_baselines3.DQN("MlpPolicy", "CartPole-v1", seed=0, device="cpu", **settings)  # type: ignore[arg-type]
    agent.learn(memory)
    return agent


def our_updates(memory: Any) -> Callable[[], object]:
    """128 updates of plain DQN on the zoo's network, from the transitions that the peer has."""
    n = memory.size()
    known = {
        "observation": memory.observations[:n, 0],
        "action": memory.actions[:n, 0, 0],
        "reward": memory.rewards[:n, 0],
        "next_observation": memory.next_observations[:n, 0],
        "terminated": memory.dones[:n, 0] > memory.timeouts[:n, 0],
        "over": memory.dones[:n, 0] > 0,
    }
    off = {"double": False, "dueling": False, "n_step": 1, "priority": 0.0}
    sizes = {"seeds": 1, "hidden": 256, "updates": UPDATES, "batch_size": 64, "replay": 100_000}
    learner = Learner(chosen(**sizes, **off), known, 2)
    return lambda: learner.learn(0)


if __name__ == "__main__":
    main()
