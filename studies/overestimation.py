"""Does Q-learning promise more than it keeps, and does double learning help?

The largest of several noisy values is too large on average, and every update passes that on. So
deep Q-learning predicts more than its policy then earns. In double learning one network chooses
the action and the other values it (van Hasselt et al. 2016), which should bring the prediction down
to what is earned. Both are trained alike on CartPole, but for that switch.

What comes out: once the values have spread, both predict more than the 20 that are possible at
most, by 1.2 to 1.4 and, with double learning, by 0.9 to 1.2; the intervals overlap. CartPole has
two actions, so the largest is taken of two values only, and the two networks are never far apart.

Predicted is the value of an episode's first state, realised the discounted return that comes of it.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hour9.engine.settings import Source
from hour9.rl import cartpole, dqn
from hour9.rl.episodes import play, returns, starts
from hour9.rl.settings import DQN
from hour9.task import without_test
from study import COLOURS, asked, curve, interval, looks

SETTINGS = {
    "task": "cartpole",
    "topic": "rl",
    "parent": "data/cartpole",
    "architecture": "dqn",
    "discount": 0.95,
    "epsilon_final": 0.04,
    "exploration": 0.4,
    "hidden": 64,
    "environments": 8,
    "round_steps": 16,
    "updates": 32,
    "target_every": 1,
    "batch_size": 64,
    "learning_rate": 1e-3,
    "decay": False,
    "replay": 30_000,
}
EPISODES = 20
MOST = 20.0
"""No discounted return can exceed it: one for each step, worth 0.95 of the one before."""


def main() -> None:
    """Draw predicted and realised values over training, with and without double learning."""
    options = asked(__doc__)
    seeds, steps, every = (2, 1_024, 512) if options.short else (6, 16_384, 1_024)
    points = []
    for double in (False, True):
        settings = DQN(**SETTINGS, double=double, seeds=seeds, steps=steps, check_every=2 * steps)
        points += measure(settings, every)
    options.save("overestimation", draw(points), points)


def measure(settings: DQN, every: int) -> list[dict]:
    """Train and look, every so many steps, at what the agents promise and what they keep."""
    tables = cartpole.ingest(Source(root="-", env="CartPole-v1", size=50))
    seeds = dqn.split_seeds(tables, "test")[:EPISODES]
    first = np.tile(starts("CartPole-v1", seeds), (settings.seeds, 1))
    points = []
    for training in looks(settings, without_test(tables), every):
        network = training.learner.network
        rewards = play("CartPole-v1", network.act, seeds * settings.seeds)
        found = {
            "predicted": network.values(first).max(axis=1),
            "realised": returns(rewards, settings.discount),
        }
        found["predicted minus realised"] = found["predicted"] - found["realised"]
        for name, values in found.items():
            mean, low, high = interval(values.reshape(settings.seeds, -1).mean(axis=1))
            points.append(
                {"measure": name, "double": settings.double, "step": training.place.step}
                | {"mean": mean, "low": low, "high": high, "seeds": settings.seeds}
            )
    return points


def draw(points: list[dict]) -> Figure:
    """A panel for each agent, and one for what lies between promise and fact."""
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    one, two, gap = figure.subplots(1, 3)
    for axis, double in ((one, False), (two, True)):
        for name, colour in zip(("predicted", "realised"), COLOURS[1::-1], strict=True):
            line(axis, points, name, double, colour, name)
        axis.axhline(MOST, color="grey", linestyle=":", linewidth=1)
        place = {"xycoords": ("axes fraction", "data"), "ha": "right", "va": "top"}
        axis.annotate("no return is larger", (1, MOST - 0.2), fontsize=8, **place)
        axis.set_title("double DQN" if double else "DQN")
    for double, colour in ((False, COLOURS[3]), (True, COLOURS[2])):
        label = "double DQN" if double else "DQN"
        line(gap, points, "predicted minus realised", double, colour, label)
    gap.axhline(0, color="grey", linewidth=1)
    gap.set_title("predicted minus realised")
    one.sharey(two)
    for axis in (one, two, gap):
        axis.set_xlabel("steps in the environment")
        axis.locator_params(axis="x", nbins=4)
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(frameon=False, fontsize=8)
    one.set_ylabel("discounted return")
    return figure


def line(axis: Axes, points: list[dict], name: str, double: bool, colour: str, label: str) -> None:
    """One measure of one of the two agents."""
    chosen = [p for p in points if p["measure"] == name and p["double"] == double]
    curve(axis, chosen, label, colour)


if __name__ == "__main__":
    main()
