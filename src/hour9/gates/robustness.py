"""Does it still hold when the input is a little worse?"""

import pandas as pd

from hour9.gates.cases import originals
from hour9.gates.statistics import bootstrap_mean
from hour9.gates.verdict import MIN_CASES, Verdict


def robustness(evidence: pd.DataFrame, threshold: float) -> Verdict:
    """Score minus the score of the same test case perturbed, in the mean."""
    test = originals(evidence, "test")
    if "perturbed" not in test or len(test) < MIN_CASES:
        why = f"needs {MIN_CASES} test cases that were scored perturbed as well"
        return Verdict.hold("robustness", why, threshold, len(test))
    drop = bootstrap_mean((test["score"] - test["perturbed"]).to_numpy(float))
    why = f"scores {test['score'].mean():.4g}, and {test['perturbed'].mean():.4g} when perturbed"
    return Verdict.at_most("robustness", drop, threshold, len(test), why)
