"""Does an agent promise more than it keeps?"""

import pandas as pd

from hour9.gates.statistics import bootstrap_mean
from hour9.gates.verdict import MIN_CASES, Verdict


def overestimation(evidence: pd.DataFrame, threshold: float) -> Verdict:
    """Predicted value of the first state minus the discounted return that came of it, on test.

    The mean is the bias of the values (van Hasselt et al. 2016): its upper bound must not exceed
    the threshold.
    """
    name = "overestimation"
    test = evidence[evidence["split"] == "test"]
    if len(test) < MIN_CASES or not {"predicted", "realised"} <= {*test}:
        why = f"needs predicted and realised values of {MIN_CASES} test cases, got {len(test)}"
        return Verdict.hold(name, why, threshold, len(test))
    bias = bootstrap_mean((test["predicted"] - test["realised"]).to_numpy(float))
    means = test[["predicted", "realised"]].mean()
    why = f"predicted {means['predicted']:.4g}, realised {means['realised']:.4g}"
    return Verdict.at_most(name, bias, threshold, len(test), why)
