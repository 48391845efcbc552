"""Was the answer there to be read?"""

import numpy as np
import pandas as pd

from hour9.gates.cases import originals
from hour9.gates.statistics import NOT_A_NUMBER, bootstrap_mean, share
from hour9.gates.verdict import MIN_CASES, Estimate, Verdict

MOST_CLASSES = 20
"""With more targets than this, cases count as alike within the same fifth of them."""


def leakage(evidence: pd.DataFrame, threshold: float) -> Verdict:
    """Share of test cases that training has seen, exactly or nearly: those with a `twin`."""
    test = originals(evidence, "test")
    if "twin" not in test or len(test) < MIN_CASES:
        why = f"needs {MIN_CASES} test cases that were searched for twins in training"
        return Verdict.hold("leakage", why, threshold, len(test))
    known = (test["twin"] != "").to_numpy()
    why = f"{known.sum()} of {len(test)} test cases stand in training too, or nearly"
    if known.any() and not known.all():
        scores = test["score"].to_numpy(float)
        why += f"; they score {scores[known].mean():.4g}, the others {scores[~known].mean():.4g}"
    return Verdict.at_most("leakage", share(known), threshold, len(test), why)


def identifiers(evidence: pd.DataFrame, threshold: float) -> Verdict:
    """How much better than chance a target is guessed as that of the case with the id before.

    (h - c) / (1 - c), with h the share of neighbours alike and c its mean over all orders, so 0
    where the order says nothing and 1 where the ids are sorted by target.
    """
    cases = originals(evidence, "train", "validation", "test")
    if len(cases) < MIN_CASES:
        why = f"needs {MIN_CASES} cases, got {len(cases)}"
        return Verdict.hold("identifiers", why, threshold, len(cases))
    if cases["target"].isna().any():
        why = "a target is missing"
        return Verdict.at_most("identifiers", NOT_A_NUMBER, threshold, len(cases), why)
    targets = classes(cases["target"])[in_order(cases["case"])]
    alike = (targets[1:] == targets[:-1]).astype(float)
    counts = np.bincount(targets).astype(float)
    n = len(targets)
    chance = float((counts * (counts - 1)).sum() / (n * (n - 1)))
    why = f"{alike.mean():.1%} of neighbours in the order of ids are alike, {chance:.1%} by chance"
    if chance == 1:
        return Verdict.hold("identifiers", f"there is but one target; {why}", threshold, n)
    found = bootstrap_mean(alike)
    scaled = ((bound - chance) / (1 - chance) for bound in (found.value, found.low, found.high))
    return Verdict.at_most("identifiers", Estimate(*scaled), threshold, n, why)


def in_order(case: pd.Series) -> np.ndarray:
    """The rows in the order of their ids, where id-9 comes before id-10."""
    parts = case.astype(str).reset_index(drop=True).str.extract(r"^(.*?)(\d{0,18})$")
    keys = pd.DataFrame({"name": parts[0], "number": parts[1].replace("", "0").astype("int64")})
    return keys.sort_values(["name", "number"], kind="stable").index.to_numpy()


def classes(target: pd.Series) -> np.ndarray:
    """Each target as a number from 0 on."""
    if pd.api.types.is_numeric_dtype(target) and target.nunique() > MOST_CLASSES:
        target = pd.qcut(target.rank(method="first"), 5, labels=False)
    return pd.factorize(target)[0]
