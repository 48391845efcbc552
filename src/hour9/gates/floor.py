"""Is the candidate better than the simplest honest competitor?"""

import pandas as pd

from hour9.gates.cases import originals
from hour9.gates.statistics import bootstrap_mean
from hour9.gates.verdict import MIN_CASES, Verdict


def floor(evidence: pd.DataFrame, threshold: float) -> Verdict:
    """Score minus the baseline's on the same test cases: must be more than the threshold."""
    test = originals(evidence, "test")
    if len(test) < MIN_CASES:
        why = f"needs {MIN_CASES} test cases, got {len(test)}"
        return Verdict.hold("floor", why, threshold, len(test))
    gain = bootstrap_mean((test["score"] - test["baseline"]).to_numpy(float))
    score, baseline = test["score"].mean(), test["baseline"].mean()
    why = f"scores {score:.4g} where the baseline scores {baseline:.4g}"
    return Verdict.above("floor", gain, threshold, len(test), why)
