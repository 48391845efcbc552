"""Intervals: seeded, vectorised, the same bytes every time.

Each bound of an interval is wrong in 5 of 100 repetitions: a gate asks about one side at a time.

Shapes: n cases, R resamples, M quantities that are measured together.
"""

import numpy as np

from hour9.gates.verdict import Estimate

RESAMPLES = 2000
TAIL = 5.0  # per cent beyond either bound
FIRST_LOOK = 0.5  # per cent of TAIL that leaving out what cannot be the largest may cost
ONE_SIDED = 1.6449  # standard deviations that leave TAIL beyond them
SEED = 9
DISTINCT = 100  # values that are told apart

NOT_A_NUMBER = Estimate(np.nan, np.nan, np.nan)


def resampled_means(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:  # (n,) -> (R,)
    """Means of RESAMPLES samples with replacement (Efron 1979).

    A mean depends only on how often each distinct value is drawn, so the counts of the distinct
    values are drawn at once: 100,000 right-or-wrong scores cost no more than a hundred.
    """
    mean, variance, counts = grouped(values)
    n = len(values)
    drawn = rng.multinomial(n, counts / n, size=RESAMPLES)  # (R, D)
    found = drawn @ mean / n
    if variance.any():  # of so many draws from a group, the sum is as good as normal
        found += np.sqrt(drawn @ variance) / n * rng.standard_normal(RESAMPLES)
    return found


def grouped(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The distinct values, each with variance 0 and how often it stands; beyond DISTINCT of them,
    groups of neighbours with mean, variance and number."""
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) <= DISTINCT:
        return distinct, np.zeros(len(distinct)), counts
    low, high = distinct[0], distinct[-1]
    place = np.minimum((values - low) / (high - low) * DISTINCT, DISTINCT - 1).astype(int)
    place = np.unique(place, return_inverse=True)[1]
    counts = np.bincount(place)
    mean = np.bincount(place, values) / counts
    return mean, np.bincount(place, (values - mean[place]) ** 2) / counts, counts


def bootstrap_mean(values: np.ndarray) -> Estimate:
    """Mean with its interval. For paired comparisons pass the differences, case by case."""
    if not np.isfinite(values).all():
        return NOT_A_NUMBER
    return interval(resampled_means(values, np.random.default_rng(SEED)), values.mean())


def bootstrap_median(values: np.ndarray) -> Estimate:
    """Median with its interval; for a few hundred values at most."""
    if not np.isfinite(values).all():
        return NOT_A_NUMBER
    drawn = np.random.default_rng(SEED).choice(values, (RESAMPLES, len(values)))
    return interval(np.median(drawn, axis=1), float(np.median(values)))


def bootstrap_difference(first: np.ndarray, second: np.ndarray) -> Estimate:
    """Mean of the first minus mean of the second, two samples that share no case."""
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        return NOT_A_NUMBER
    rng = np.random.default_rng(SEED)
    means = resampled_means(first, rng) - resampled_means(second, rng)
    return interval(means, first.mean() - second.mean())


def interval(means: np.ndarray, value: float) -> Estimate:
    """The percentile interval around a value."""
    low, high = np.percentile(means, [TAIL, 100.0 - TAIL])
    return Estimate(float(value), float(low), float(high))


def largest(values: np.ndarray, means: np.ndarray) -> Estimate:  # (M,), (R, M)
    """The largest of M quantities, each of which has been resampled.

    Whoever looks at many finds a large one by chance. So the lower bound is the largest of
    v_m - c s_m, where c bounds the largest of all deviations at once; of those that may be the
    largest, as a first look leaves out the others (Romano, Shaikh & Wolf 2014). The upper bound is
    the largest of theirs, as all must be small for the largest to be.
    """
    spread = means.std(axis=0)
    deviation = (means - values) / np.where(spread > 0, spread, 1.0)  # (R, M)
    wide = np.percentile(np.abs(deviation).max(axis=1), 100.0 - FIRST_LOOK) * spread
    may = values + wide >= (values - wide).max()
    allowance = np.percentile(deviation[:, may].max(axis=1), 100.0 - TAIL + FIRST_LOOK)
    low = (values - allowance * spread)[may].max()
    highs = np.percentile(means, 100.0 - TAIL, axis=0)
    return Estimate(float(values.max()), float(low), float(highs.max()))


def share(hits: np.ndarray) -> Estimate:
    """Share of cases that are hit (Wilson 1927): even where none is, the bound is not zero."""
    n, z = len(hits), ONE_SIDED
    found = float(hits.mean())
    centre = (found + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(found * (1 - found) / n + z**2 / (4 * n**2))
    low, high = (round(float(bound), 12) for bound in (centre - half, centre + half))
    return Estimate(found, max(0.0, low), min(1.0, high))
