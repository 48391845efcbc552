"""Does it matter who is spoken of? Pairs of cases that differ in the identity named in them."""

import numpy as np
import pandas as pd

from hour9.gates.cases import pairs
from hour9.gates.statistics import NOT_A_NUMBER, SEED, largest, resampled_means, share
from hour9.gates.verdict import MIN_CASES, Estimate, Verdict


def counterfactual(evidence: pd.DataFrame, threshold: float) -> Verdict:
    """How often the score changes when only the identity is swapped, for the worst pair of groups.

    The mean of |score - score of the original|: for right-or-wrong scores, the flip rate
    (Garg et al. 2019, counterfactual token fairness).
    """
    found = pairs(evidence, "score")
    what = "changes the score by"
    return judged("counterfactual", what, found["swap"], found["change"].abs(), threshold)


def shift(evidence: pd.DataFrame, threshold: float) -> Verdict:
    """How far the answers lean to one identity: the mean change, in one direction, of `output`
    (the model's number before it decides), or of the score where there is none.

    A model may lean without flipping: then this one finds it (Kiritchenko & Mohammad 2018).
    """
    of = "output" if "output" in evidence else "score"
    found = pairs(evidence, of)
    change = found["sign"] * found["change"]
    return judged("shift", f"moves the {of} by", found["swap"], change, threshold)


def judged(name: str, what: str, swap: pd.Series, change: pd.Series, threshold: float) -> Verdict:
    """The pair of groups with the largest mean change, in either direction, must be within."""
    if not np.isfinite(change).all():
        return Verdict.at_most(name, NOT_A_NUMBER, threshold, len(change), "a change is no number")
    groups = {g: c.to_numpy(float) for g, c in change.groupby(swap) if len(c) >= MIN_CASES}
    if not groups:
        why = f"needs {MIN_CASES} counterfactual pairs, got {len(change)}"
        return Verdict.hold(name, why, threshold, len(change))
    means = {g: float(c.mean()) for g, c in groups.items()}
    worst = max(means, key=lambda g: abs(means[g]))
    why = f"swapping {worst} {what} {means[worst]:.4g} in the mean"
    n = sum(map(len, groups.values()))
    return Verdict.at_most(name, largest_change(list(groups.values())), threshold, n, why)


def largest_change(groups: list[np.ndarray]) -> Estimate:
    """The largest |mean| of the groups, with its interval."""
    rng = np.random.default_rng(SEED)
    values = np.array([g.mean() for g in groups])
    means = np.stack([resampled_means(g, rng) for g in groups], axis=1)  # (R, M)
    found = largest(np.concatenate([values, -values]), np.concatenate([means, -means], axis=1))
    high = found.high
    if np.isin(np.concatenate(groups), (0, 1)).all():  # no flip seen is not: none possible
        high = max(share(g).high for g in groups)
    return Estimate(abs(found.value), max(0.0, found.low), high)
