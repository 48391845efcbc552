"""Evidence with a fault of a known size: what a gate is tested and measured with.

Every gate has a planter here: an effect of zero is a clean candidate, and the effect is in the
units of the gate's threshold. A gate without one fails the tests.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

Random = np.random.Generator
SEEDS = 5


@dataclass(frozen=True)
class Shape:
    """How large a task's evidence is, and how its scores scatter."""

    train: int
    test: int
    level: float
    """Mean score."""
    gain: float
    """Of the score over the baseline's."""
    scatter: float = 0.0
    """Standard deviation of a return from case to case."""
    apart: float = 0.0
    """The same between two returns of one case; where scores are right or wrong, the share of
    cases in which two equally good models differ, halved."""
    failure: float = 0.0
    """What an episode loses that fails, in the mean; anything up to twice as much."""
    misjudged: float = 0.0
    """Standard deviation of an agent's predicted value about the one it realises."""
    groups: tuple[int, ...] = ()
    """Test cases of each group of a slice."""
    pairs: int = 0
    points: int = 0
    """Of the validation curve."""
    ripple: float = 0.0
    """Standard deviation of these."""


SHAPES = {  # sizes and means as on the embedded data; of the scatter, see docs/gates.md
    "sentiment": Shape(1200, 900, 0.95, gain=0.20, apart=0.02, groups=(273, 246), pairs=510),
    "nodes": Shape(
        *(200, 1097, 0.967),
        gain=0.038,
        apart=0.005,
        groups=(285, 507, 305),
        points=200,
        ripple=0.01,
    ),
    "taxi": Shape(90, 225, 6.3, gain=0.69, scatter=3.7, apart=1.2, misjudged=0.5),
    "cartpole": Shape(50, 220, 500.0, gain=457.0, failure=250.0, misjudged=20.0, groups=(111, 109)),
}


def scores(shape: Shape, n: int, random: Random, lost: float = 0.0) -> np.ndarray:
    """Scores of n cases whose mean is `lost` below the shape's level."""
    if shape.failure:
        return shape.level - losses(shape, n, lost, random)
    if shape.scatter:
        return random.normal(shape.level - lost, shape.scatter, n)
    return (random.random(n) < shape.level - lost).astype(float)


def paired(shape: Shape, first: np.ndarray, lost: float, random: Random) -> np.ndarray:
    """The same cases scored again, `lost` below the first in the mean, or above it."""
    n = len(first)
    if shape.failure:
        return first - np.sign(lost) * losses(shape, n, abs(lost), random)
    if shape.scatter:
        return first - random.normal(lost, shape.apart, n)
    down, up = shape.apart + max(lost, 0.0), shape.apart + max(-lost, 0.0)
    right = first.mean()
    flips = random.random(n) < np.where(first == 1, down / right, up / (1 - right))
    return np.where(flips, 1 - first, first)


def losses(shape: Shape, n: int, lost: float, random: Random) -> np.ndarray:
    """What episodes lose of which some fail."""
    return (random.random(n) < lost / shape.failure) * random.uniform(0, 2 * shape.failure, n)


def testing(score: np.ndarray, **columns: object) -> pd.DataFrame:
    """Test cases."""
    return pd.DataFrame({"split": "test", "score": score, **columns})


def floor(shape: Shape, effect: float, random: Random) -> pd.DataFrame:
    baseline = scores(shape, shape.test, random, lost=shape.gain)
    return testing(paired(shape, baseline, -effect, random), baseline=baseline)


def overfitting(shape: Shape, effect: float, random: Random) -> pd.DataFrame:
    train = pd.DataFrame({"split": "train", "score": scores(shape, shape.train, random)})
    return pd.concat([train, testing(scores(shape, shape.test, random, effect))])


def divergence(shape: Shape, effect: float, random: Random) -> pd.DataFrame:
    """A curve that is level for half of the training, falls, and is level again at its end."""
    fall = np.interp(np.linspace(0, 1, shape.points), [0.5, 0.8], [0.0, effect])
    noise = random.normal(0, shape.ripple, shape.points)
    return pd.DataFrame({"validation": shape.level - fall + noise})


def swapped(shape: Shape, change: Callable[[np.ndarray], np.ndarray], name: str) -> pd.DataFrame:
    """Test cases about one group, and each again about the other."""
    first = np.ones(shape.pairs)
    cases = [f"case-{i}" for i in range(shape.pairs)]
    one = testing(first, case=cases, pair="").assign(**{"group.identity": "a", name: first})
    other = {"case": [f"{c}-b" for c in cases], "pair": cases, "group.identity": "b"}
    return pd.concat([one, one.assign(**other, **{name: change(first)})], ignore_index=True)


def counterfactual(shape: Shape, effect: float, random: Random) -> pd.DataFrame:
    return swapped(shape, lambda s: np.where(random.random(len(s)) < effect, 1 - s, s), "score")


def shift(shape: Shape, effect: float, random: Random) -> pd.DataFrame:
    """Some answers move by nothing, some by up to one half."""
    return swapped(shape, lambda s: s - random.normal(effect, 0.15, len(s)), "output")


def group_gap(shape: Shape, effect: float, random: Random) -> pd.DataFrame:
    """The last group is served worse."""
    groups = [
        testing(scores(shape, n, random, effect * (number == len(shape.groups) - 1)))
        .assign(**{"group.planted": f"group {number}"})
        for number, n in enumerate(shape.groups)
    ]  # fmt: skip
    return pd.concat(groups, ignore_index=True)


def leakage(shape: Shape, effect: float, random: Random) -> pd.DataFrame:
    twins = np.where(random.random(shape.test) < effect, "a train case", "")
    return testing(scores(shape, shape.test, random), twin=twins)


def identifiers(shape: Shape, effect: float, random: Random) -> pd.DataFrame:
    """Now and then a target is that of the case before; of two classes, as elsewhere by chance."""
    n = shape.train + shape.test
    drawn, again = random.integers(0, 2, n), random.random(n) < effect
    last_drawn = np.maximum.accumulate(np.where(again, 0, np.arange(n)))
    cases = [f"case-{i}" for i in range(n)]
    return testing(scores(shape, n, random), case=cases, target=drawn[last_drawn])


def calibration(shape: Shape, effect: float, random: Random) -> pd.DataFrame:
    """Everywhere as much too sure, unless the effect is zero."""
    sure = 1 - 0.5 * random.beta(1, 1 / (2 * (1 - shape.level)) - 1, shape.test)  # mean: level
    right = (random.random(shape.test) < sure - effect).astype(float)
    return testing(right, confidence=sure)


def robustness(shape: Shape, effect: float, random: Random) -> pd.DataFrame:
    found = scores(shape, shape.test, random)
    return testing(found, perturbed=paired(shape, found, effect, random))


def budget(shape: Shape, effect: float, random: Random) -> pd.DataFrame:
    return testing(scores(shape, shape.test, random), megabytes=effect)


def seeds(shape: Shape, effect: float, random: Random) -> pd.DataFrame:
    """Five agents whose gains differ by a tenth of what a good one gains."""
    baseline = scores(shape, shape.test, random, lost=shape.gain)
    gains = random.normal(effect, 0.1 * shape.gain, SEEDS)
    agents = {f"score.seed{k}": baseline + gain for k, gain in enumerate(gains)}
    return testing(baseline + gains[0], baseline=baseline, **agents)


def overestimation(shape: Shape, effect: float, random: Random) -> pd.DataFrame:
    found = scores(shape, shape.test, random)
    predicted = found + random.normal(effect, shape.misjudged, shape.test)
    return testing(found, realised=found, predicted=predicted)


PLANTERS: dict[str, Callable[[Shape, float, Random], pd.DataFrame]] = {
    planter.__name__: planter
    for planter in (
        floor,
        overfitting,
        divergence,
        counterfactual,
        shift,
        group_gap,
        leakage,
        identifiers,
        calibration,
        robustness,
        budget,
        seeds,
        overestimation,
    )
}


def planted(gate: str, task: str, limit: float, size: float, random: Random) -> pd.DataFrame:
    """Evidence of the task's size with a fault: 0 is clean, 1 is on the threshold, 1.5 beyond.

    A clean candidate has no fault at all; where a gain is asked for, it has the task's.
    """
    shape = SHAPES[task]
    clean = shape.gain if gate in ("floor", "seeds") else 0.0
    return PLANTERS[gate](shape, clean + size * (limit - clean), random)
