"""Does the candidate serve some worse than others?"""

import numpy as np
import pandas as pd

from hour9.gates.cases import originals
from hour9.gates.statistics import NOT_A_NUMBER, SEED, largest, resampled_means
from hour9.gates.verdict import MIN_CASES, Verdict


def group_gap(evidence: pd.DataFrame, threshold: float) -> Verdict:
    """The best group's mean test score minus the worst's, where the slices differ most.

    Groups of too few cases are left out; where no slice has two groups left, nothing can be said.
    """
    test = originals(evidence, "test")
    columns = [column for column in test.columns if column.startswith("group.")]
    slices = {column: groups_of(test, column) for column in columns}
    slices = {column: groups for column, groups in slices.items() if len(groups) > 1}
    if not slices:
        why = f"no slice has two groups of {MIN_CASES} test cases"
        return Verdict.hold("group_gap", why, threshold)
    if not np.isfinite(test["score"]).all():
        return Verdict.at_most("group_gap", NOT_A_NUMBER, threshold, len(test), "a score is none")
    rng = np.random.default_rng(SEED)
    gaps, resampled = zip(*(all_gaps(groups, rng) for groups in slices.values()), strict=True)
    found = largest(np.concatenate(gaps), np.concatenate(resampled, axis=1))
    column, groups = max(slices.items(), key=lambda item: np.ptp(means_of(item[1])))
    worst, *_, best = sorted(groups, key=lambda group: groups[group].mean())
    what = column.removeprefix("group.")
    why = f"{groups[best].mean():.4g} for {what} {best}, {groups[worst].mean():.4g} for {worst}"
    return Verdict.at_most("group_gap", found, threshold, len(test), why)


def groups_of(test: pd.DataFrame, column: str) -> dict[str, np.ndarray]:
    """The scores of each group that has a name and cases enough."""
    named = test[test[column] != ""].groupby(column, observed=True)["score"]
    return {str(group): s.to_numpy(float) for group, s in named if len(s) >= MIN_CASES}


def means_of(groups: dict[str, np.ndarray]) -> np.ndarray:
    return np.array([scores.mean() for scores in groups.values()])


def all_gaps(
    groups: dict[str, np.ndarray], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:  # (M,), (R, M)
    """Every group's mean minus every other's, as measured and as resampled."""
    means = means_of(groups)
    drawn = np.stack([resampled_means(scores, rng) for scores in groups.values()], axis=1)
    one, other = np.nonzero(~np.eye(len(groups), dtype=bool))
    return means[one] - means[other], drawn[:, one] - drawn[:, other]
