"""Which rows of the evidence a gate looks at."""

import numpy as np
import pandas as pd


def originals(evidence: pd.DataFrame, *splits: str) -> pd.DataFrame:
    """The cases of the splits. A counterfactual is no case of its own: it repeats another one."""
    chosen = evidence[evidence["split"].isin(splits)]
    return chosen[chosen["pair"] == ""] if "pair" in chosen else chosen


def pairs(evidence: pd.DataFrame, column: str) -> pd.DataFrame:
    """A row for each counterfactual on test or among the probes.

    `change` is the column's value minus that of its original, `swap` the names of both identities
    in alphabetical order, and `sign` -1 where the original's comes first.
    """
    if "pair" not in evidence:
        return pd.DataFrame({"change": [], "swap": [], "sign": []})
    judged = evidence[evidence["split"].isin(("test", "probe"))]
    swapped = judged[judged["pair"] != ""]
    at = pd.Index(judged["case"]).get_indexer(swapped["pair"])
    original = judged.iloc[at]
    value = np.where(at < 0, np.nan, original[column].to_numpy(float))  # a lost one is no evidence
    change = swapped[column].to_numpy(float) - value
    if "group.identity" not in evidence:
        return pd.DataFrame({"change": change, "swap": "identities", "sign": 1})
    mine, other = (rows["group.identity"].to_numpy(str) for rows in (swapped, original))
    first = mine < other
    names = np.where(first, mine, other), np.where(first, other, mine)
    swap = pd.Series(names[0]) + " and " + names[1]
    return pd.DataFrame({"change": change, "swap": swap, "sign": np.where(first, 1, -1)})
