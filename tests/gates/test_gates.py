import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hour9.gates import GATES, judge_all, overall
from hour9.gates.bias import counterfactual, group_gap
from hour9.gates.floor import floor
from hour9.gates.overfitting import overfitting
from hour9.gates.statistics import bootstrap_difference, bootstrap_mean
from hour9.gates.verdict import Verdict

RNG = np.random.default_rng(0)


def evidence(train: float, test: float, baseline: float, n: int = 1000) -> pd.DataFrame:
    """Right-or-wrong scores with these means, exactly."""

    def draw(mean: float) -> np.ndarray:
        return RNG.permutation(np.arange(n) < round(mean * n)).astype(float)

    return pd.DataFrame(
        {
            "split": ["train"] * n + ["test"] * n,
            "score": np.concatenate([draw(train), draw(test)]),
            "baseline": np.concatenate([draw(baseline), draw(baseline)]),
        }
    )


@pytest.mark.parametrize(("baseline", "verdict"), [(0.7, "pass"), (0.9, "reject"), (0.8, "hold")])
def test_floor_compares_with_the_baseline(baseline, verdict):
    assert floor(evidence(0.8, 0.8, baseline), 0.0).verdict == verdict


@pytest.mark.parametrize(("train", "verdict"), [(0.82, "pass"), (1.0, "reject"), (0.9, "hold")])
def test_overfitting_is_the_gap_between_train_and_test(train, verdict):
    assert overfitting(evidence(train, 0.8, 0.5), 0.1).verdict == verdict


@pytest.mark.parametrize("gate", GATES.values(), ids=GATES.keys())
def test_too_little_evidence_holds(gate):
    assert gate(evidence(1.0, 1.0, 0.0, n=10), 0.1).verdict == "hold"


def pairs(flips: float, n: int = 400) -> pd.DataFrame:
    """Cases of two groups, each with its counterfactual; a share of the pairs scores otherwise."""
    table = evidence(0.8, 0.8, 0.5, n).query("split == 'test'").reset_index(drop=True)
    table = table.assign(case=[f"c{i}" for i in range(n)], pair="")
    twins = table.assign(case=table["case"] + "-twin", pair=table["case"])
    flipped = np.arange(n) < round(flips * n)
    twins["score"] = np.where(flipped, 1 - twins["score"], twins["score"])
    return pd.concat([table, twins], ignore_index=True)


@pytest.mark.parametrize(("flips", "verdict"), [(0.01, "pass"), (0.4, "reject"), (0.1, "hold")])
def test_counterfactual_is_the_rate_of_flips(flips, verdict):
    assert counterfactual(pairs(flips), 0.1).verdict == verdict


def test_cases_without_counterfactuals_say_nothing_of_bias():
    assert counterfactual(evidence(0.8, 0.8, 0.5), 0.1).verdict == "hold"


@pytest.mark.parametrize(("worse", "verdict"), [(0.79, "pass"), (0.5, "reject"), (0.7, "hold")])
def test_group_gap_finds_the_slice_that_is_served_worst(worse, verdict):
    fair, unfair = evidence(0.8, 0.8, 0.5), evidence(0.8, worse, 0.5)
    table = pd.concat(
        [fair.assign(**{"group.who": "a"}), unfair.assign(**{"group.who": "b"})], ignore_index=True
    ).assign(**{"group.even": lambda t: np.where(t.index % 2, "odd", "even")})
    found = group_gap(table, 0.1)
    assert found.verdict == verdict
    assert "for who a" in found.why


def test_small_and_unnamed_groups_are_not_judged():
    table = evidence(0.8, 0.8, 0.5).assign(**{"group.who": ""})
    table.loc[table.index[-20:], "group.who"] = "few"
    assert group_gap(table, 0.1).verdict == "hold"


def test_a_task_is_asked_for_what_it_has_thresholds_and_always_for_the_first_two():
    table = evidence(0.9, 0.9, 0.1)
    asked = judge_all(table, {"floor": 0.0, "overfitting": None, "group_gap": None})
    assert {v.name: v.verdict for v in asked} == {"floor": "pass", "overfitting": "hold"}
    asked = judge_all(table, {"floor": 0.0, "overfitting": 0.1, "counterfactual": 0.1})
    assert [v.name for v in asked] == ["floor", "overfitting", "counterfactual"]


@pytest.mark.parametrize("gate", GATES.values(), ids=GATES.keys())
def test_no_threshold_is_never_a_pass(gate):
    assert gate(evidence(1.0, 1.0, 0.0), None).verdict == "hold"


@pytest.mark.parametrize("gate", GATES.values(), ids=GATES.keys())
def test_a_score_that_is_no_number_is_never_a_pass(gate):
    table = pairs(0.0).assign(**{"group.who": lambda t: np.where(t.index % 2, "a", "b")})
    table = pd.concat([table, table.assign(split="train")], ignore_index=True)
    table.loc[[5, 505, 1000], "score"] = np.nan
    agents = ("score.seed0", "score.seed1", "score.seed2", "predicted", "realised")
    table = table.assign(**dict.fromkeys(agents, table["score"]))
    assert gate(table, 0.1).verdict == "reject"


def test_one_rejection_rejects_and_no_gate_at_all_holds():
    passed, held = (Verdict("x", word, 0.0, (0.0, 0.0), 0.0, 99, "") for word in ("pass", "hold"))
    rejected = Verdict("x", "reject", 0.0, (0.0, 0.0), 0.0, 99, "")
    assert overall([passed, passed]) == "pass"
    assert overall([passed, held]) == "hold"
    assert overall([passed, held, rejected]) == "reject"
    assert overall([]) == "hold"


def test_the_interval_covers_the_truth_as_often_as_it_says():
    """Of 200 samples of a fair coin, about 95 in 100 intervals hold one half."""
    draws = np.random.default_rng(1).integers(0, 2, size=(200, 300)).astype(float)
    found = [bootstrap_mean(sample) for sample in draws]
    assert 0.90 <= np.mean([e.low <= 0.5 <= e.high for e in found]) <= 0.99


def test_the_interval_is_that_of_the_normal_approximation_for_many_cases():
    values = np.random.default_rng(2).normal(size=20_000)
    found = bootstrap_mean(values)
    half = 1.96 * values.std() / np.sqrt(len(values))
    assert found.high - found.value == pytest.approx(half, rel=0.1)


def test_the_same_evidence_gives_the_same_interval():
    values = np.random.default_rng(3).normal(size=100)
    assert bootstrap_mean(values) == bootstrap_mean(values.copy())


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=50))
def test_a_sample_differs_from_itself_by_nothing(values):
    found = bootstrap_difference(np.array(values), np.array(values))
    assert found.low <= found.value == 0.0 <= found.high
