"""Several seeds: what is reported of them, and which of them is registered.

Shapes: G agents (seeds), N cases.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

RESAMPLES = 1000


def median_agent(validation: Sequence[float] | np.ndarray) -> int:
    """The agent with the median validation score: neither the lucky one nor the unlucky."""
    order = np.argsort(validation, kind="stable")
    return int(order[(len(order) - 1) // 2])


def evidence(cases: pd.Series, scores: np.ndarray, registered: int) -> pd.DataFrame:
    """Every agent's score of every case, (G, N); `score` is the registered agent's."""
    columns = {f"score.seed{agent}": own for agent, own in enumerate(scores)}
    return pd.DataFrame({"case": cases, "score": scores[registered], **columns})


def better_baseline(cases: pd.DataFrame, found: dict[str, np.ndarray]) -> pd.DataFrame:
    """All baselines' scores of the cases; `score` is that of the best on the train split."""
    train = (cases["split"] == "train").to_numpy()
    best = max(found.values(), key=lambda scores: scores[train].mean())
    return pd.DataFrame({"case": cases["case"], "score": best, **found})


def performance_profile(scores: np.ndarray, levels: np.ndarray) -> np.ndarray:  # (G, N), (K,)
    """The share of all agents' episodes that return more than each level, as (K,).

    (Agarwal et al. 2021, section 4.2.) Where one curve lies above another everywhere, it is better
    whatever one asks for.
    """
    return (scores.reshape(-1, 1) > levels).mean(axis=0)


def profile_band(scores: np.ndarray, levels: np.ndarray) -> np.ndarray:  # -> (2, K)
    """Its 95 % bootstrap band, whole agents drawn with replacement."""
    own = np.stack([performance_profile(one[None], levels) for one in scores])  # (G, K)
    drawn = np.random.default_rng(0).integers(len(own), size=(RESAMPLES, len(own)))
    return np.percentile(own[drawn].mean(axis=1), [2.5, 97.5], axis=0)


def draw_profile(
    cases: pd.DataFrame, found: pd.DataFrame, baselines: pd.DataFrame, pictures: Path
) -> None:
    """The performance profile on test, with every agent's and the baselines'."""
    from matplotlib.figure import Figure

    test = (cases["split"] == "test").to_numpy()
    scores = found.filter(regex=r"^score\.seed").to_numpy().T[:, test]  # (G, N)
    others = baselines.filter(like="baseline.")[test]
    seen = [scores.ravel(), baselines["score"][test]]  # a much worse baseline may lie outside
    low, high = min(map(min, seen)), max(map(max, seen))
    margin = 0.03 * (high - low)
    levels = np.linspace(low - margin, high + margin, 301)
    figure = Figure(figsize=(6.4, 3.4), layout="constrained")
    axis = figure.subplots()
    low_band, high_band = profile_band(scores, levels)
    axis.fill_between(
        levels, low_band, high_band, step="post", color="#1f6feb", alpha=0.25, linewidth=0
    )
    for one in scores:
        axis.step(levels, performance_profile(one, levels), "#1f6feb", linewidth=0.6, alpha=0.6)
    label = f"{len(scores)} agents, 95 % band"
    axis.step(levels, performance_profile(scores, levels), "#1f6feb", linewidth=2, label=label)
    for (name, column), style in zip(others.items(), (":", "--"), strict=False):
        share = performance_profile(column.to_numpy(), levels)
        axis.step(levels, share, "#57606a", linestyle=style, label=str(name).split(".")[1])
    axis.set(xlabel="return τ", ylabel="share of test episodes above τ", ylim=(-0.02, 1.05))
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize=8)
    figure.savefig(pictures / "How_much_the_test_episodes_return.png", dpi=110)
