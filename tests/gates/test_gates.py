import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hour9.gates import GATES, overall
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


@pytest.mark.parametrize("gate", GATES.values(), ids=GATES.keys())
def test_no_threshold_is_never_a_pass(gate):
    assert gate(evidence(1.0, 1.0, 0.0), None).verdict == "hold"


@pytest.mark.parametrize("gate", GATES.values(), ids=GATES.keys())
def test_a_score_that_is_no_number_is_never_a_pass(gate):
    table = evidence(0.8, 0.8, 0.1)
    table.loc[[5, 1500], "score"] = np.nan
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
