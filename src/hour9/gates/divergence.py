"""Did the training go on to spoil what it had learned?"""

import numpy as np
import pandas as pd

from hour9.gates.statistics import bootstrap_difference
from hour9.gates.verdict import Estimate, Verdict

MIN_POINTS = 20
NOTHING = Estimate(0.0, 0.0, 0.0)


def divergence(curve: pd.DataFrame, threshold: float) -> Verdict:
    """Validation score at its best minus at the end, each the mean of a tenth of the curve.

    The best of many windows is the luckiest, too. So every other point says where the best one is,
    and the points between say how good it was. A tenth is five points at least. Where the end is no
    worse, the difference is 0 and there is no doubt about it.
    """
    known = curve["validation"].to_numpy(float) if "validation" in curve else np.zeros(0)
    points = known[~np.isnan(known)]
    n = len(points)
    if n < MIN_POINTS:
        why = f"needs a validation curve of {MIN_POINTS} points, got {n}"
        return Verdict.hold("divergence", why, threshold, n)
    width = max(5, n // 10)
    before, last = points[:-width], points[-width:]  # they share no point
    where, what = before[::2], before[1::2]
    means = np.convolve(where[: len(what)], np.full(width, 1 / width), mode="valid")
    start = int(means.argmax())
    best = what[start : start + width]
    spoiled = best.mean() > last.mean()
    peak = best.mean() if spoiled else last.mean()
    why = f"validation {peak:.4g} at its best, {last.mean():.4g} at the end of training"
    found = bootstrap_difference(best, last) if spoiled else NOTHING
    return Verdict.at_most("divergence", found, threshold, n, why)
