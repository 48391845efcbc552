"""What does each of Rainbow's parts bring to deep Q-learning on CartPole?

Five switches lead from DQN to `cartpole-rainbow-lite`: double, dueling, n-step returns,
prioritised replay and, not of Rainbow, values told from a centre in a unit. Each is switched on
alone, and off alone, all else being alike, and the agents are looked at while they learn: the
return of the greedy policy on episodes that nobody trained on (Hessel et al. 2018, figure 3, of
which this is the small form).
"""

from matplotlib.figure import Figure

from hour9.engine.settings import Source
from hour9.rl import cartpole
from hour9.rl.episodes import play, returns
from hour9.rl.settings import DQN
from hour9.task import without_test
from study import COLOURS, asked, curve, interval, looks

SETTINGS = {
    "task": "cartpole",
    "topic": "rl",
    "parent": "data/cartpole",
    "architecture": "rainbow-lite",
    "discount": 0.99,
    "epsilon_final": 0.04,
    "exploration": 0.2,
    "hidden": 64,
    "environments": 8,
    "round_steps": 16,
    "updates": 32,
    "target_every": 8,
    "batch_size": 64,
    "learning_rate": 4e-3,
    "decay": True,
    "replay": 100_000,
}
ON = {"double": True, "dueling": True, "n_step": 10, "priority": 0.5, "unit": 0.1}
OFF = {"double": False, "dueling": False, "n_step": 1, "priority": 0.0, "unit": 0.0}
SINGLE = {name: {**OFF, name: ON[name]} for name in ON}
WITHOUT = {name: {**ON, name: OFF[name]} for name in ON}
EPISODES = range(10**6, 10**6 + 20)


def main() -> None:
    """Draw the return over training: none, all, each one alone, and all but each one."""
    options = asked(__doc__)
    seeds, steps, every = (2, 1_024, 512) if options.short else (5, 24_576, 2_048)
    variants = {"none": OFF, "all": ON}
    variants |= {f"only {name}": parts for name, parts in SINGLE.items()}
    variants |= {f"all but {name}": parts for name, parts in WITHOUT.items()}
    points = []
    for name, parts in variants.items():
        length = {"seeds": seeds, "steps": steps, "check_every": 2 * steps}
        settings = DQN(**{**SETTINGS, **parts, **length})
        points += [{"variant": name, **point} for point in learn(settings, every)]
    options.save("ablation", draw(points), points)


def learn(settings: DQN, every: int) -> list[dict]:
    """Train, and play every so many steps."""
    tables = without_test(cartpole.ingest(Source(root="-", env="CartPole-v1", size=50)))
    points = []
    for training in looks(settings, tables, every):
        act = training.learner.network.act
        found = returns(play("CartPole-v1", act, [*EPISODES] * settings.seeds))
        mean, low, high = interval(found.reshape(settings.seeds, -1).mean(axis=1))
        point = {"step": training.place.step, "mean": mean, "low": low, "high": high}
        points.append({**point, "seeds": settings.seeds})
    return points


def draw(points: list[dict]) -> Figure:
    """One panel for each part alone, one for all but each."""
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    for axis, prefix, title in zip(
        figure.subplots(1, 2, sharey=True),
        ("only ", "all but "),
        ("one switch on", "one switch off"),
        strict=True,
    ):
        lines = [("none", "black", "--"), ("all", COLOURS[5], "--")]
        lines += [(prefix + part, colour, "-") for part, colour in zip(ON, COLOURS, strict=False)]
        for name, colour, style in lines:
            curve(axis, [p for p in points if p["variant"] == name], name, colour, style)
        axis.set(title=title, xlabel="steps in the environment", ylim=(0, 510))
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(frameon=False, fontsize=8)
    figure.axes[0].set_ylabel("return, mean over seeds")
    return figure


if __name__ == "__main__":
    main()
