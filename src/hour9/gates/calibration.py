"""Is it right as often as it believes?"""

import numpy as np
import pandas as pd

from hour9.gates.cases import originals
from hour9.gates.statistics import NOT_A_NUMBER, bootstrap_mean
from hour9.gates.verdict import Estimate, Verdict

BINS = 10
MIN_CASES = 10 * BINS


def calibration(evidence: pd.DataFrame, threshold: float) -> Verdict:
    """Expected calibration error, Σ_b n_b/n |confidence_b - score_b| (Naeini et al. 2015).

    Absolute differences add up even where they are noise, so a plain estimate of a well-calibrated
    model is never 0. Here one half of the cases tells which way each bin errs, and the other half
    by how much: an honest bin then errs either way, and the sum is 0 in the mean.
    """
    test = originals(evidence, "test")
    if "confidence" not in test or len(test) < MIN_CASES:
        why = f"needs {MIN_CASES} test cases with a confidence"
        return Verdict.hold("calibration", why, threshold, len(test))
    confidence, score = (test[name].to_numpy(float) for name in ("confidence", "score"))
    why = f"it is {confidence.mean():.1%} sure and right in {score.mean():.1%} of cases"
    found = error(confidence, score)
    return Verdict.at_most("calibration", found, threshold, len(test), why)


def error(confidence: np.ndarray, score: np.ndarray) -> Estimate:
    """The cross-fitted expected calibration error."""
    if not (np.isfinite(confidence).all() and np.isfinite(score).all()):
        return NOT_A_NUMBER
    order, bins = equal_bins(confidence)
    excess = (confidence - score)[order]
    half = np.arange(len(order)) % 2  # neighbours in confidence fall into different halves
    sums = np.bincount(2 * bins + half, excess, minlength=2 * BINS).reshape(BINS, 2)
    found = bootstrap_mean(np.sign(sums)[bins, 1 - half] * excess)
    return Estimate(*(max(0.0, bound) for bound in (found.value, found.low, found.high)))


def equal_bins(confidence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # (n,), (n,)
    """The cases from least to most sure, and the bin of each: as many cases in every bin."""
    n = len(confidence)
    return np.argsort(confidence, kind="stable"), np.arange(n) * BINS // n


def binned(confidence: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean confidence and the mean score of each bin: the points of a reliability diagram."""
    order, bins = equal_bins(confidence)
    counts = np.bincount(bins)
    return np.bincount(bins, confidence[order]) / counts, np.bincount(bins, score[order]) / counts
