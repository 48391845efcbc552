"""Does the candidate serve some worse than others?"""

import pandas as pd

from hour9.gates.statistics import bootstrap_difference, bootstrap_mean
from hour9.gates.verdict import MIN_CASES, Verdict


def counterfactual(evidence: pd.DataFrame, threshold: float | None) -> Verdict:
    """How much the score changes when only the identity in a case is swapped, e.g. he for she.

    The mean of |score - score of the original| over the test pairs; for right-or-wrong scores, the
    flip rate (Garg et al. 2019, counterfactual token fairness).
    """
    name = "counterfactual"
    if threshold is None:
        return Verdict.hold(name, f"no threshold: set tasks.<task>.thresholds.{name}")
    test = evidence[evidence["split"] == "test"]
    pairs = test[test["pair"] != ""] if "pair" in test else test.head(0)
    if len(pairs) < MIN_CASES:
        why = f"needs {MIN_CASES} counterfactual pairs on test, got {len(pairs)}"
        return Verdict.hold(name, why, threshold, len(pairs))
    original = test.set_index("case")["score"].reindex(pairs["pair"]).to_numpy(float)
    change = abs(pairs["score"].to_numpy(float) - original)
    why = f"swapping the identity changes the score by {change.mean():.4g} in the mean"
    return Verdict.at_most(name, bootstrap_mean(change), threshold, len(pairs), why)


def group_gap(evidence: pd.DataFrame, threshold: float | None) -> Verdict:
    """The best group's mean test score minus the worst's, where the slices differ most.

    Groups of too few cases are left out; where no slice has two groups left, nothing can be said.
    """
    name = "group_gap"
    if threshold is None:
        return Verdict.hold(name, f"no threshold: set tasks.<task>.thresholds.{name}")
    test = evidence[evidence["split"] == "test"]
    if test["score"].isna().any():
        return Verdict.at_most(
            name, bootstrap_mean(test["score"].to_numpy(float)), threshold, 0, ""
        )
    widest = None
    for column in (column for column in test.columns if column.startswith("group.")):
        named = test[test[column] != ""].groupby(column)["score"]
        scores = {group: s.to_numpy(float) for group, s in named if len(s) >= MIN_CASES}
        if len(scores) < 2:
            continue
        best, worst = (pick(scores, key=lambda g: scores[g].mean()) for pick in (max, min))
        gap = bootstrap_difference(scores[best], scores[worst])
        if widest is None or gap.value > widest[0].value:
            n = len(scores[best]) + len(scores[worst])
            what = column.removeprefix("group.")
            means = f"{scores[best].mean():.4g} for {what} {best}, {scores[worst].mean():.4g} for"
            widest = gap, n, f"{means} {worst}"
    if widest is None:
        why = f"no slice has two groups of {MIN_CASES} test cases"
        return Verdict.hold(name, why, threshold)
    gap, n, why = widest
    return Verdict.at_most(name, gap, threshold, n, why)
