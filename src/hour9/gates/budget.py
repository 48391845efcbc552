"""Is it small enough to be used?"""

import pandas as pd

from hour9.gates.verdict import Estimate, Verdict


def budget(evidence: pd.DataFrame, threshold: float) -> Verdict:
    """The size of the model's folder in megabytes (10^6 bytes). It is counted, not estimated."""
    if "megabytes" not in evidence or evidence.empty:
        return Verdict.hold("budget", "the evidence does not say how large the model is", threshold)
    size = float(evidence["megabytes"].iloc[0])
    why = f"the model takes {size:.4g} MB"
    return Verdict.at_most("budget", Estimate(size, size, size), threshold, 1, why)
