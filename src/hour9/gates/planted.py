"""Faults of a known size in real evidence: what a gate is tested and measured with.

`draw` gives a table as another test set would have given it: the same candidate's cases, drawn
again. With an effect, a fault is planted first, so large that the gate's true value is the effect,
in the units of its threshold. Every gate has a planter here; one without fails the tests.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from hour9.gates.cases import originals, pairs
from hour9.gates.seeds import interquartile_mean
from hour9.gates.verdict import MIN_CASES

Random = np.random.Generator
Planter = Callable[[pd.DataFrame, float, Random], pd.DataFrame]


def draw(gate: str, table: pd.DataFrame, effect: float | None, random: Random) -> pd.DataFrame:
    """The gate's table once more; without an effect, as clean or faulty as it is."""
    if (
        gate == "identifiers"
    ):  # copies would stand beside each other: each case once, then the fault
        table = some(table, random)
        return table if effect is None else identifiers(table, effect, random)
    if effect is not None:
        table = PLANTERS[gate](table, effect, random)
    return RESAMPLERS.get(gate, resample)(table, random)


# Drawing again


def resample(evidence: pd.DataFrame, random: Random) -> pd.DataFrame:
    """As many cases of each split, with replacement; a counterfactual comes with its original."""
    first = evidence if "pair" not in evidence else evidence[evidence["pair"] == ""]
    places = [
        random.choice(rows, len(rows))
        for rows in first.groupby("split", sort=False).indices.values()
    ]
    drawn = first.iloc[np.concatenate(places)].reset_index(drop=True)
    if "case" not in drawn:
        return drawn
    named = drawn.assign(case=drawn["case"] + "#" + drawn.index.astype(str))
    if "pair" not in evidence:
        return named
    again = evidence[evidence["pair"] != ""].merge(
        pd.DataFrame({"pair": drawn["case"], "named": named["case"]}), on="pair"
    )
    again = again.assign(case=again["case"] + "#" + again.index.astype(str), pair=again["named"])
    return pd.concat([named, again.drop(columns="named")], ignore_index=True)


def some(evidence: pd.DataFrame, random: Random) -> pd.DataFrame:
    """The cases that a drawing with replacement finds, each once."""
    return evidence.iloc[np.unique(random.integers(len(evidence), size=len(evidence)))]


def resample_seeds(evidence: pd.DataFrame, random: Random) -> pd.DataFrame:
    """Other cases, played by agents of which some may be the same."""
    table = resample(evidence, random)
    agents = table.filter(regex=SEEDED)
    drawn = agents.iloc[:, random.integers(agents.shape[1], size=agents.shape[1])]
    return table.assign(**{name: drawn.iloc[:, k] for k, name in enumerate(agents)})


def resample_curve(curve: pd.DataFrame, random: Random) -> pd.DataFrame:
    """The smoothed curve with its own ripple, in another order."""
    level, ripple = smooth(curve)
    return pd.DataFrame({"validation": level + random.choice(ripple, len(level))})


def resample_rounds(rounds: pd.DataFrame, random: Random) -> pd.DataFrame:
    return rounds.sample(frac=1, replace=True, random_state=random)


def as_it_is(table: pd.DataFrame, _: Random) -> pd.DataFrame:
    """What is counted does not scatter."""
    return table


def smooth(curve: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """The validation curve's moving mean, and how the second half of the points lies about it."""
    points = curve["validation"].dropna()
    level = points.rolling(max(5, len(points) // 10), center=True, min_periods=1).mean().to_numpy()
    return level, (points.to_numpy() - level)[len(points) // 2 :]


RESAMPLERS: dict[str, Callable[[pd.DataFrame, Random], pd.DataFrame]] = {
    "seeds": resample_seeds,
    "divergence": resample_curve,
    "budget": as_it_is,
    "latency": resample_rounds,
}
SEEDED = r"^score\.seed\d+$"


# Planting


def fallen(values: np.ndarray, lost: float, low: float, random: Random) -> np.ndarray:
    """The values, of which some have fallen to the lowest, so that their mean is `lost` less.

    Faults come so: some cases fail. What that cannot take away is taken from all. Where a score is
    minus a loss, which has no worst value, all losses grow in proportion.
    """
    if values.max() <= 0:
        return values * (1 - lost / values.mean())
    order = random.permutation(len(values))
    room = np.cumsum(values[order] - low) / len(values)  # the loss where so many fall
    count = int(np.searchsorted(room, lost))
    if count == len(values):
        return np.full(len(values), low) - (lost - room[-1])
    worse = values.astype(float).copy()
    worse[order[: count + (count < len(room) and lost > 0)]] = low
    return worse


def lowest(evidence: pd.DataFrame) -> float:
    """The worst that the candidate or its baseline scores on any case."""
    return float(evidence[["score", "baseline"]].min().min())


def with_scores(
    evidence: pd.DataFrame, rows: pd.Series, lost: float, random: Random, name: str = "score"
) -> pd.DataFrame:
    """The evidence, its scores in these rows `lost` less in the mean."""
    table = evidence.copy()
    values = table.loc[rows, name].to_numpy(float)
    table.loc[rows, name] = fallen(values, lost, lowest(evidence), random)
    return table


def tested(evidence: pd.DataFrame) -> pd.Series:
    """Which rows are test cases of their own."""
    return pd.Series(evidence.index.isin(originals(evidence, "test").index), evidence.index)


def gain(evidence: pd.DataFrame, over: str = "baseline") -> float:
    """What a candidate has over its rival."""
    test = originals(evidence, "test")
    return float((test["score"] - test[over]).mean())


def over_champion(evidence: pd.DataFrame) -> float:
    return gain(evidence, "champion")


def floor(evidence: pd.DataFrame, effect: float, random: Random) -> pd.DataFrame:
    return places_changed(evidence, "baseline", effect, random)


def champion(evidence: pd.DataFrame, effect: float, random: Random) -> pd.DataFrame:
    return places_changed(evidence, "champion", effect, random)


def places_changed(
    evidence: pd.DataFrame, rival: str, effect: float, random: Random
) -> pd.DataFrame:
    """In so many cases candidate and rival change places that the gain is the effect; they differ
    in as many as before."""
    test = tested(evidence).to_numpy()
    own = gain(evidence, rival)
    change = np.zeros(len(evidence), bool)
    change[test] = random.permutation(test.sum()) < round(test.sum() * (1 - effect / own) / 2)
    ours, theirs = evidence["score"], evidence[rival]
    return evidence.assign(
        score=ours.where(~change, theirs), **{rival: theirs.where(~change, ours)}
    )


def overfitting(evidence: pd.DataFrame, effect: float, random: Random) -> pd.DataFrame:
    means = {split: originals(evidence, split)["score"].mean() for split in ("train", "test")}
    own = means["train"] - means["test"]
    return with_scores(evidence, tested(evidence), effect - own, random)


def divergence(curve: pd.DataFrame, effect: float, random: Random) -> pd.DataFrame:
    """The training goes on for half as long again, and its validation score falls."""
    level, ripple = smooth(curve)
    more = len(level) // 2
    fall = np.interp(np.linspace(0, 1, more), [0, 0.6], [level[-1], level.max() - effect])
    points = np.concatenate([level, fall])
    return pd.DataFrame({"validation": points + random.choice(ripple, len(points))})


def a_swap(evidence: pd.DataFrame, column: str, random: Random) -> tuple[pd.DataFrame, pd.Series]:
    """The counterfactuals, and which of them swap two identities that are drawn."""
    found = pairs(evidence, column).set_axis(
        evidence.index[(evidence["pair"] != "") & evidence["split"].isin(("test", "probe"))]
    )
    counts = found["swap"].value_counts()
    return found, found["swap"] == random.choice(sorted(counts[counts >= MIN_CASES].index))


def counterfactual(evidence: pd.DataFrame, effect: float, random: Random) -> pd.DataFrame:
    """One pair of identities is mixed up: some answers turn from right to wrong, or back."""
    found, hit = a_swap(evidence, "score", random)
    rows = found.index[hit]
    original = evidence.loc[rows, "score"] - found["change"][hit]
    turned = np.where(original > lowest(evidence), lowest(evidence), evidence["score"].max())
    share = effect / np.abs(turned - original).mean()
    flips = random.random(len(rows)) < share
    return evidence.assign(
        score=evidence["score"].where(
            ~evidence.index.isin(rows),
            pd.Series(np.where(flips, turned, original), rows).reindex(evidence.index),
        )
    )


def shift(evidence: pd.DataFrame, effect: float, random: Random) -> pd.DataFrame:
    """Of two identities one gets the lowest output in some cases, or the other the highest."""
    found, hit = a_swap(evidence, "output", random)
    output = evidence["output"].astype(float)
    lost = effect + (found["sign"] * found["change"])[hit].mean()
    for sign in (1, -1):  # 1: the counterfactual is of the first identity, which falls behind
        rows = found.index[hit & (found["sign"] == sign)]
        if len(rows):
            moved = fallen(sign * output[rows].to_numpy(), lost, (sign * output).min(), random)
            output[rows] = sign * moved
    return evidence.assign(output=output)


def group_gap(evidence: pd.DataFrame, effect: float, random: Random) -> pd.DataFrame:
    """One group, drawn from those that are large enough, falls behind the best of its slice."""
    test = originals(evidence, "test")
    slices = [test[name][test[name] != ""] for name in test if name.startswith("group.")]
    counts = [values.value_counts() for values in slices]
    large = [(k, g) for k, c in enumerate(counts) if (c >= MIN_CASES).sum() > 1
             for g in sorted(c.index[c >= MIN_CASES])]  # fmt: skip
    k, group = large[random.integers(len(large))]
    means = test.groupby(slices[k], observed=True)["score"].mean()
    best = means[[g for j, g in large if j == k and g != group]].max()
    rows = pd.Series(evidence.index.isin(slices[k].index[slices[k] == group]), evidence.index)
    return with_scores(evidence, rows, means[group] - best + effect, random)


def leakage(evidence: pd.DataFrame, effect: float, random: Random) -> pd.DataFrame:
    stands = random.permutation(len(evidence)) < round(effect * len(evidence))
    return evidence.assign(twin=np.where(stands, "a train case", ""))


def identifiers(evidence: pd.DataFrame, effect: float, random: Random) -> pd.DataFrame:
    """Targets drawn anew, in the order of the ids; now and then that of the case before."""
    from hour9.gates.leakage import in_order

    cases = originals(evidence, "train", "validation", "test")
    cases = cases.iloc[in_order(cases["case"])]
    n = len(cases)
    drawn = random.permutation(cases["target"].to_numpy())
    again = random.random(n) < effect
    return cases.assign(target=drawn[np.maximum.accumulate(np.where(again, 0, np.arange(n)))])


def calibration(evidence: pd.DataFrame, effect: float, random: Random) -> pd.DataFrame:
    """It believes as it did, and is right that much less often, whatever it believes."""
    chance = (evidence["confidence"] - effect).clip(0, 1)
    return evidence.assign(score=(random.random(len(evidence)) < chance).astype(float))


def memorised(evidence: pd.DataFrame, effect: float, random: Random) -> pd.DataFrame:
    """Some of what it writes is copied whole."""
    known = tested(evidence) & evidence["copied"].notna()
    own = float((evidence["copied"] - evidence["shared"])[known].mean())
    copied = evidence["copied"].copy()
    copied[known] = 1 - fallen(1 - copied[known].to_numpy(float), effect - own, 0.0, random)
    return evidence.assign(copied=copied)


def robustness(evidence: pd.DataFrame, effect: float, random: Random) -> pd.DataFrame:
    test = originals(evidence, "test")
    own = float((test["score"] - test["perturbed"]).mean())
    return with_scores(evidence, tested(evidence), effect - own, random, "perturbed")


def budget(evidence: pd.DataFrame, effect: float, random: Random) -> pd.DataFrame:
    return evidence.assign(megabytes=effect)


def seeds(evidence: pd.DataFrame, effect: float, random: Random) -> pd.DataFrame:
    """Every agent is that much worse."""
    test = evidence["split"] == "test"
    agents = evidence.filter(regex=SEEDED)
    lost = own_gain_of_seeds(evidence) - effect
    table = evidence
    for name in agents:
        table = with_scores(table, test, lost, random, str(name))
    return table


def own_gain_of_seeds(evidence: pd.DataFrame) -> float:
    """The interquartile mean over the seeds of what they gain on the baseline."""
    test = evidence[evidence["split"] == "test"]
    means = test.filter(regex=SEEDED).mean().to_numpy(float)
    return float(interquartile_mean(means) - test["baseline"].mean())


def overestimation(evidence: pd.DataFrame, effect: float, random: Random) -> pd.DataFrame:
    test = evidence[evidence["split"] == "test"]
    own = float((test["predicted"] - test["realised"]).mean())
    return evidence.assign(predicted=evidence["predicted"] + effect - own)


def latency(rounds: pd.DataFrame, effect: float, random: Random) -> pd.DataFrame:
    own = float((rounds["seconds"] / rounds["reference"]).median())
    return rounds.assign(seconds=rounds["seconds"] * effect / own)


PLANTERS: dict[str, Planter] = {
    planter.__name__: planter
    for planter in (
        floor,
        overfitting,
        memorised,
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
        champion,
        latency,
    )
}


def effect_of(gate: str, evidence: pd.DataFrame, limit: float, size: float) -> float:
    """The effect of a fault of `size` times the threshold.

    Where a gain is asked for the threshold is mostly 0, which has no multiple. There a fault of 1.5
    is as far below the threshold as the candidate is above it, and one of 1.2 two fifths of that.
    """
    own = {"floor": gain, "seeds": own_gain_of_seeds, "champion": over_champion}.get(gate)
    return size * limit if own is None else limit - 2 * (size - 1) * (own(evidence) - limit)
