"""Is the candidate good, or was one of its agents lucky?"""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from hour9.gates.statistics import RESAMPLES, SEED, interval
from hour9.gates.verdict import REJECT, Estimate, Verdict

LEAST = 5
"""Of fewer seeds the lower bound is wrong too often: of three in 22 of 100, of five in 7."""


def seeds(evidence: pd.DataFrame, threshold: float) -> Verdict:
    """Interquartile mean over the seeds of what each gains on the baseline on test.

    Rejects unless even the lower bound is above the threshold: what a rerun with other random
    numbers might not repeat is no candidate (Agarwal et al. 2021).
    """
    test = evidence[evidence["split"] == "test"]
    scores = test.filter(regex=r"^score\.seed\d+$")
    n = scores.shape[1]
    if n < LEAST or not len(test):
        why = f"needs {LEAST} seeds and a test case, got {n} seeds and {len(test)} cases"
        return Verdict.hold("seeds", why, threshold, n)
    means = scores.mean(skipna=False).to_numpy(float)  # a number for each seed
    found = over_seeds(means - test["baseline"].mean(skipna=False))
    middle = interquartile_mean(means)
    why = f"{n} seeds score {means.min():.4g} to {means.max():.4g}, the middle half {middle:.4g}"
    verdict = Verdict.above("seeds", found, threshold, n, why)
    return verdict if found.low > threshold else replace(verdict, verdict=REJECT)


def interquartile_mean(values: np.ndarray) -> Any:  # (..., n) -> (...)
    """The mean of the middle half: of four values or more, no outlier moves it, and it wastes less
    than a median."""
    n = values.shape[-1]
    return np.sort(values)[..., n // 4 : n - n // 4].mean(axis=-1)


def over_seeds(values: np.ndarray) -> Estimate:
    """Interquartile mean with its bootstrap interval, whole seeds drawn with replacement.

    The stratified bootstrap of Agarwal et al. draws the seeds of each task apart; one task is one
    stratum, and its conditions are played by the same agents, so they are drawn together.
    """
    drawn = np.random.default_rng(SEED).integers(len(values), size=(RESAMPLES, len(values)))
    return interval(interquartile_mean(values[drawn]), interquartile_mean(values))
