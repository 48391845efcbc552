"""How often a gate's lower bound lies above a truth of 0, where it has little to go by.

`divergence`: level validation curves of so many points, whose noise is independent or correlated
from point to point. `seeds`: agents that gain nothing on the mean. Both aim at 5 of 100.

    python benchmarks/bound_errors.py [--short]
"""

import argparse
from collections.abc import Callable
from functools import partial
from itertools import product

import numpy as np
import pandas as pd

from hour9.gates.divergence import divergence
from hour9.gates.seeds import over_seeds

REPETITIONS = 1000
POINTS, CORRELATIONS, SEEDS = (20, 30, 60, 200), (0.0, 0.5), (3, 4, 5, 8)


def main() -> None:
    """Print the shares; --short takes twenty repetitions."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--short", action="store_true", help="twenty repetitions")
    n = 20 if parser.parse_args().short else REPETITIONS
    for points, correlation in product(POINTS, CORRELATIONS):
        rate = wrong(partial(of_curve, points, correlation), n)
        print(f"divergence, {points:3} points, correlation {correlation}  {rate:6.1%}", flush=True)
    for seeds in SEEDS:
        print(
            f"seeds, {seeds} of them                      {wrong(partial(of_seeds, seeds), n):6.1%}"
        )


def of_curve(points: int, correlation: float, random: np.random.Generator) -> float:
    """The bound for one level curve."""
    noise = correlated(random, points, correlation)
    return divergence(pd.DataFrame({"validation": noise}), 0.0).interval[0]


def of_seeds(seeds: int, random: np.random.Generator) -> float:
    """The bound for so many agents."""
    return over_seeds(random.standard_normal(seeds)).low


def correlated(random: np.random.Generator, n: int, correlation: float) -> np.ndarray:  # -> (n,)
    """Normal numbers of spread 1, each with so much of the one before."""
    numbers = random.standard_normal(n)
    for i in range(1, n):
        numbers[i] = correlation * numbers[i - 1] + (1 - correlation**2) ** 0.5 * numbers[i]
    return numbers


def wrong(low: Callable[[np.random.Generator], float], n: int) -> float:
    """The share of repetitions whose lower bound is above 0."""
    return float(np.mean([low(np.random.default_rng(i)) > 0 for i in range(n)]))


if __name__ == "__main__":
    main()
