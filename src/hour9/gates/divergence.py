"""Did the training go on to spoil what it had learned?"""

import numpy as np
import pandas as pd

from hour9.gates.statistics import bootstrap_difference
from hour9.gates.verdict import Verdict

MIN_POINTS = 20


def divergence(curve: pd.DataFrame, threshold: float) -> Verdict:
    """Validation score at its best minus at the end, each the mean of a tenth of the curve.

    Means, because the best single point of a noisy curve is always above its last one.
    """
    known = curve["validation"].to_numpy(float) if "validation" in curve else np.zeros(0)
    points = known[~np.isnan(known)]
    n = len(points)
    if n < MIN_POINTS:
        why = f"needs a validation curve of {MIN_POINTS} points, got {n}"
        return Verdict.hold("divergence", why, threshold, n)
    width = max(5, n // 10)
    means = np.convolve(points, np.full(width, 1 / width), mode="valid")
    start = int(means.argmax())
    best, last = points[start : start + width], points[-width:]
    why = f"validation {best.mean():.4g} at its best, {last.mean():.4g} at the end of training"
    return Verdict.at_most("divergence", bootstrap_difference(best, last), threshold, n, why)
