import numpy as np
import pandas as pd
import pytest

from hour9.gates.champion import champion


def table(gain: float, cases: int = 400) -> pd.DataFrame:
    """Right or wrong on the same cases; `gain` is the share that only the newer one gets right."""
    chance = np.random.default_rng(3)
    theirs = (chance.random(cases) < 0.7).astype(float)
    ours = theirs.copy()
    flipped = chance.permutation(np.flatnonzero(theirs == (0 if gain > 0 else 1)))
    ours[flipped[: round(abs(gain) * cases)]] = float(gain > 0)
    return pd.DataFrame({"split": "test", "score": ours, "champion": theirs})


@pytest.mark.parametrize(
    ("evidence", "verdict"),
    [
        (table(0.05), "pass"),
        (table(-0.05), "reject"),  # the planted fault: a worse model
        (table(0.0), "hold"),  # a champion in disguise
        (table(0.2, cases=20), "hold"),  # too few to say
        (table(0.05).assign(champion=np.nan), "reject"),
        (table(0.05).assign(champion=lambda t: t["champion"].where(t.index != 3)), "reject"),
    ],
    ids=["better", "worse", "disguise", "small", "nan", "one nan"],
)
def test_better_passes_a_tie_holds_worse_is_rejected(evidence, verdict):
    assert champion(evidence).verdict == verdict


def test_it_says_who_has_which_mean():
    better = table(0.05)
    ours, theirs = better["score"].mean(), better["champion"].mean()
    assert champion(better).why == f"better: {ours:.4g}, the champion {theirs:.4g}"
