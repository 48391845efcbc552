"""Several seeds: what is reported of them, and which of them is registered.

Shapes: G agents (seeds), N cases.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd


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
