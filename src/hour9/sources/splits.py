"""The splits of a source: named by its files, and made where one is missing.

Where there is no validation file, a share of train becomes validation; where there is no test
file, the validation file becomes test, as is usual with GLUE; where there is but one split, it is
left empty and `validate` deals it.
"""

import re

import numpy as np
import pandas as pd

SPLIT_WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("dev", "val", "valid", "validation"), "validation"),
    "test": "test",
}
CARVED = 0.1  # share of train that becomes validation where there is none


def split_of(name: str) -> str:
    """The split that a name speaks of; empty where it speaks of none."""
    words = re.split(r"[^a-z]+", name.lower())
    return next((SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS), "")


def with_all_splits(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The table with a train, a validation and a test, or with none at all."""
    splits = set(table["split"])
    if "train" not in splits or len(splits) == 1:
        return table.assign(split="")
    table = table.copy()
    if "test" not in splits:
        table["split"] = table["split"].replace("validation", "test")
    if "validation" not in splits or "test" not in splits:
        train = np.flatnonzero(table["split"] == "train")
        carved = np.random.default_rng(seed).permutation(train)[: round(CARVED * len(train))]
        table.loc[carved, "split"] = "validation"
    return table
