"""The gates of agents: no lucky seed passes, and no agent that promises more than it keeps."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy.stats import trim_mean

from hour9.gates.overestimation import overestimation
from hour9.gates.seeds import interquartile_mean, over_seeds, seeds


def evidence(*means: float, baseline: float = 100.0, n: int = 50) -> pd.DataFrame:
    """As many seeds as there are means; every case of a seed scores its mean."""
    columns = {f"score.seed{k}": np.full(n, mean) for k, mean in enumerate(means)}
    return pd.DataFrame({"split": "test", "baseline": baseline, **columns})


@pytest.mark.parametrize(
    ("means", "verdict"),
    [
        ((500, 490, 480, 500, 470), "pass"),
        ((500, 90, 80, 70, 60), "reject"),  # one lucky seed
        ((500, 500, 500, 90, 90), "reject"),  # three: the mean is high, the lower bound is not
        ((500, 500), "hold"),
        ((500, 500, 500, 500, float("nan")), "reject"),
    ],
)
def test_the_lower_bound_over_seeds_must_beat_the_baseline(means, verdict):
    assert seeds(evidence(*means), 0.0).verdict == verdict


def test_the_interquartile_mean_is_the_mean_of_the_middle_half():
    assert interquartile_mean(np.array([-1000.0, 1, 2, 3, 4, 5, 6, 1000])) == (2 + 3 + 4 + 5) / 4


def test_the_interquartile_mean_is_scipys():
    values = np.random.default_rng(0).normal(size=(20, 11))
    np.testing.assert_allclose(interquartile_mean(values), trim_mean(values, 0.25, axis=1))


def test_the_bounds_over_seeds_are_those_of_all_resamples_there_are():
    """The oracle: five seeds can be drawn in 5⁵ ways. 2,000 of them err by under 1 per cent."""
    means = np.array([110.0, 131.0, 147.0, 150.0, 203.0])
    ways = means[np.array([*product(range(5), repeat=5)])]  # (3125, 5)
    every = trim_mean(ways, 0.25, axis=1)
    found = over_seeds(means)
    assert found.value == trim_mean(means, 0.25)
    for bound, percent in ((found.low, 5), (found.high, 95)):
        nearest, farthest = np.percentile(every, [percent - 1, percent + 1])
        assert nearest <= bound <= farthest


def test_a_baseline_that_is_no_number_in_one_case_is_not_beaten():
    table = evidence(500, 490, 480, 500, 470)
    table.loc[3, "baseline"] = np.nan
    assert seeds(table, 0.0).verdict == "reject"


def test_seeds_say_what_they_measured():
    found = seeds(evidence(110, 120, 130, 140, 10_000), 0.0)
    assert found.value == pytest.approx(30)  # of 120, 130, 140, above 100
    assert found.n == 5
    assert found.why == "5 seeds score 110 to 1e+04, the middle half 130"


@pytest.mark.parametrize(("bias", "verdict"), [(0.0, "pass"), (3.0, "reject"), (1.0, "hold")])
def test_an_agent_must_keep_what_it_promises(bias, verdict):
    chance = np.random.default_rng(0)
    realised = chance.normal(50, 5, size=400)
    noise = chance.normal(0, 1, size=400)
    table = pd.DataFrame(
        {"split": "test", "realised": realised, "predicted": realised + noise - noise.mean() + bias}
    )
    assert overestimation(table, 1.0).verdict == verdict


def test_evidence_without_predictions_holds():
    assert overestimation(evidence(500, 500, 500), 1.0).verdict == "hold"
