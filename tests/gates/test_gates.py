import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hour9.gates import GATES, judge_all, overall
from hour9.gates.calibration import binned, calibration
from hour9.gates.counterfactual import counterfactual, shift
from hour9.gates.divergence import divergence
from hour9.gates.floor import floor
from hour9.gates.group_gap import group_gap
from hour9.gates.latency import latency
from hour9.gates.leakage import identifiers, leakage
from hour9.gates.memorised import memorised
from hour9.gates.overfitting import overfitting
from hour9.gates.statistics import (
    bootstrap_difference,
    bootstrap_mean,
    interval,
    largest,
    share,
)
from hour9.gates.verdict import Verdict

RNG = np.random.default_rng(0)
NO_CURVE = pd.DataFrame()


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


@pytest.mark.parametrize(
    ("end", "verdict"),
    [
        (1.0, "pass"),  # it only rose
        (0.6, "pass"),  # level
        (0.2, "reject"),
    ],
)
def test_divergence_is_what_the_curve_lost_since_its_best(end, verdict):
    rise = np.linspace(0.0, 0.6, 10)
    curve = pd.DataFrame({"validation": [*rise, *np.linspace(0.6, end, 10)]})
    assert divergence(curve, 0.05).verdict == verdict


def test_the_best_of_many_windows_of_noise_is_seldom_taken_for_a_loss():
    """Of level curves the lower bound is above 0 in some 5 of 100, wherever their best tenth is."""
    curves = np.random.default_rng(0).normal(size=(200, 60))
    found = [
        divergence(pd.DataFrame({"validation": points}), 0.05).interval[0] for points in curves
    ]
    assert np.mean(np.array(found) > 0) < 0.1


def test_divergence_compares_tenths_of_the_curve():
    curve = pd.DataFrame({"validation": [1.0] * 90 + [0.0] * 5 + [1.0] * 5})
    found = divergence(curve, 0.05)
    assert found.value == pytest.approx(0.5)
    assert found.why == "validation 1 at its best, 0.5 at the end of training"


def test_a_curve_whose_end_is_its_best_has_lost_nothing_for_sure():
    found = divergence(pd.DataFrame({"validation": [0.0, 1.0] * 15 + [1.0] * 5}), 0.0)
    assert (found.value, found.interval, found.verdict) == (0.0, (0.0, 0.0), "pass")


def test_a_curve_without_validation_holds():
    assert divergence(pd.DataFrame({"step": range(50), "loss": 1.0}), 0.05).verdict == "hold"


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


def test_one_flip_has_the_bound_of_a_share_and_a_small_change_that_of_a_mean():
    assert counterfactual(pairs(1 / 400), 0.1).interval[1] == share(np.arange(400) < 1).high
    table = pairs(0.0)
    swapped = table.index[table["pair"] != ""]
    table.loc[swapped[1:], "score"] += 0.01  # and one that does not change at all
    assert counterfactual(table, 0.1).interval[1] == pytest.approx(0.01, abs=0.0005)


def test_counterfactuals_of_probes_are_judged_too():
    assert counterfactual(pairs(0.4).assign(split="probe"), 0.1).verdict == "reject"


def test_a_swap_with_few_pairs_is_not_judged():
    table = pairs(0.0).assign(**{"group.identity": "men"})
    table.loc[table["pair"] != "", "group.identity"] = "women"
    few = table.index[-20:]
    table.loc[few, "group.identity"] = "robots"
    table.loc[few, "score"] = 1 - table.loc[few, "score"]
    assert counterfactual(table, 0.1) == counterfactual(table.drop(index=few), 0.1)


@pytest.mark.parametrize("gate", [counterfactual, shift])
def test_a_score_that_is_no_number_is_seen_in_a_swap_with_few_pairs_too(gate):
    table = pairs(0.0).assign(**{"group.identity": "men"})
    table.loc[table["pair"] != "", "group.identity"] = "women"
    table.loc[table.index[-20:], "group.identity"] = "robots"
    table.loc[table.index[-1], "score"] = np.nan
    assert gate(table, 0.1).verdict == "reject"


def test_no_flip_is_no_flip_of_minus_zero():
    assert str(counterfactual(pairs(0.0), 0.1).value) == "0.0"


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
    assert ("0.8 for who a" in found.why) == (worse < 0.79)  # 0.01 is less than chance makes of it


def test_group_gap_is_fairlearns():
    from fairlearn.metrics import MetricFrame

    table = evidence(0.8, 0.8, 0.5).query("split == 'test'")
    table = table.assign(**{"group.who": RNG.choice(["a", "b", "c"], len(table))})
    frame = MetricFrame(
        metrics=lambda true, score: score.mean(),
        y_true=table["score"],
        y_pred=table["score"],
        sensitive_features=table["group.who"],
    )
    assert group_gap(table, 0.1).value == pytest.approx(frame.difference(method="between_groups"))


def test_of_many_equal_groups_one_that_looks_bad_by_chance_is_not_rejected():
    """Twenty groups of 40: by chance alone the gap is 0.25 in the mean, and the truth is zero."""
    who = np.repeat([f"group {i}" for i in range(20)], 40)
    verdicts = []
    for seed in range(20):
        score = (np.random.default_rng(seed).random(800) < 0.8).astype(float)
        table = pd.DataFrame({"split": "test", "score": score, "group.who": who})
        verdicts.append(group_gap(table, 0.05).verdict)
    assert verdicts.count("reject") <= 2


def test_a_counterfactual_counts_only_as_one():
    """The same cases once more, all wrong, as counterfactuals: no score may change."""
    table = pairs(0.0)
    worse = table.assign(score=np.where(table["pair"] == "", table["score"], 0.0))
    assert floor(worse, 0.0).value == floor(table, 0.0).value
    assert floor(table, 0.0).n == 400


def test_a_counterfactual_without_its_original_is_no_evidence():
    table = pairs(0.0)
    assert counterfactual(table.drop(index=3), 0.1).verdict == "reject"


def test_a_lean_is_seen_though_nothing_flips_and_has_a_direction():
    table = pairs(0.0).assign(output=0.6, **{"group.identity": "men"})
    table.loc[table["pair"] != "", "group.identity"] = "women"
    leaning = table["output"].where(table["group.identity"] == "men", 0.9)
    assert counterfactual(table, 0.1).verdict == "pass"
    assert shift(table.assign(output=leaning), 0.1).value == pytest.approx(0.3)
    # Half of the pairs the other way round: the lean is the same, as it is to women.
    half = table["case"].str.extract(r"(\d+)")[0].astype(int) % 2 == 0
    other = {"men": "women", "women": "men"}
    table["group.identity"] = table["group.identity"].where(
        half, table["group.identity"].map(other)
    )
    leaning = table["output"].where(table["group.identity"] == "men", 0.9)
    assert shift(table.assign(output=leaning), 0.1).value == pytest.approx(0.3)


def test_the_worst_pair_of_identities_is_named_and_judged():
    fair, unfair = pairs(0.0), pairs(0.5)
    named = [
        t.assign(
            case=f"{x}-" + t["case"],
            pair=("" + (f"{x}-" + t["pair"])).where(t["pair"] != "", ""),
            **{"group.identity": np.where(t["pair"] == "", "men", x)},
        )
        for x, t in (("women", fair), ("robots", unfair))
    ]
    found = counterfactual(pd.concat(named, ignore_index=True), 0.3)
    assert found.verdict == "reject"
    assert found.value == 0.5
    assert "men and robots" in found.why


def test_calibration_error_is_how_much_too_sure_it_is():
    sure = np.linspace(0.7, 0.95, 20_000)
    right = (np.random.default_rng(0).random(20_000) < sure - 0.2).astype(float)
    table = pd.DataFrame({"split": "test", "score": right, "confidence": sure})
    assert calibration(table, 0.1).value == pytest.approx(0.2, abs=0.01)


def test_calibration_errors_either_way_add_up():
    sure = np.repeat([0.9, 0.6], 10_000)  # right in 7 and in 8 of ten
    right = np.random.default_rng(0).random(20_000) < np.repeat([0.7, 0.8], 10_000)
    table = pd.DataFrame({"split": "test", "score": right.astype(float), "confidence": sure})
    assert calibration(table, 0.1).value == pytest.approx(0.2, abs=0.01)


def test_the_points_of_a_reliability_diagram_are_means_of_the_same_cases():
    sure = np.random.default_rng(0).permutation(np.linspace(0.5, 1.0, 200))
    confidence, score = binned(sure, sure)
    np.testing.assert_allclose(confidence, score)
    assert (np.diff(confidence) > 0).all()


def test_calibration_error_of_an_honest_model_is_zero_in_the_mean_however_few_cases():
    """The plain estimate is 0.1 here; what ours keeps is the noise of the cases it is cut at 0."""
    found = []
    for seed in range(50):
        random = np.random.default_rng(seed)
        sure = random.uniform(0.5, 1.0, 150)
        right = (random.random(150) < sure).astype(float)
        table = pd.DataFrame({"split": "test", "score": right, "confidence": sure})
        found.append(calibration(table, 0.1).value)
    assert np.mean(found) < 0.03


def test_leakage_says_how_the_twins_score_beside_the_others():
    table = pd.DataFrame(
        {"split": "test", "twin": [""] * 90 + ["a"] * 10, "score": [0.5, 1.0] * 50}
    )
    table.loc[90:, "score"] = 1.0
    said = "10 of 100 test cases stand in training too, or nearly"
    assert leakage(table, 0.1).why == f"{said}; they score 1, the others 0.75"
    assert leakage(table[90:], 0.1).verdict == "hold"
    assert leakage(table.assign(twin="a"), 0.1).why == said.replace("10 ", "100 ", 1)


def test_sorted_targets_are_given_away_by_the_ids_whatever_the_order_of_the_rows():
    targets = np.repeat(["cat", "dog", "fox"], 100)
    table = pd.DataFrame(
        {"case": [f"image-{i}" for i in range(300)], "split": "test", "target": targets}
    ).sample(frac=1, random_state=0)
    assert identifiers(table, 0.2).value > 0.98
    mixed = table.assign(target=np.random.default_rng(0).permutation(targets))
    assert identifiers(mixed, 0.2).verdict == "pass"


def test_numbers_in_the_order_of_the_ids_are_given_away_by_them_too():
    targets = np.arange(300) / 7
    table = pd.DataFrame(
        {"case": [f"graph-{i}" for i in range(300)], "split": "test", "target": targets}
    )
    assert identifiers(table, 0.2).value > 0.95
    mixed = table.assign(target=np.random.default_rng(0).permutation(targets))
    assert identifiers(mixed, 0.2).verdict == "pass"


def test_a_busy_machine_in_some_rounds_does_not_make_a_model_slow():
    rounds = pd.DataFrame({"seconds": [1.0] * 50 + [100.0] * 10, "reference": 0.8})
    found = latency(rounds, 2.0)
    assert (found.value, found.verdict) == (1.25, "pass")


def test_a_reference_that_took_no_time_once_is_no_pass():
    """Its ratio is no number, though the median of the rounds is one."""
    rounds = pd.DataFrame({"seconds": 1.0, "reference": [0.8] * 59 + [0.0]})
    assert latency(rounds, 2.0).verdict == "reject"


def test_what_the_real_texts_share_with_training_is_not_held_against_it():
    table = pd.DataFrame({"split": "test", "copied": [0.5] * 40 + [np.nan] * 200, "shared": 0.4})
    found = memorised(table, 0.2)
    assert (found.value, found.n) == (pytest.approx(0.1), 40)


def test_beside_larger_groups_small_and_unnamed_ones_are_not_judged():
    table = evidence(0.8, 0.8, 0.5).query("split == 'test'").reset_index(drop=True)
    table["group.who"] = np.where(table.index % 2, "a", "b")
    table.loc[:19, ["score", "group.who"]] = 0.0, "few"
    table.loc[20:119, ["score", "group.who"]] = 0.0, ""
    found, named = group_gap(table, 0.2), group_gap(table[120:], 0.2)
    assert (found.value, found.interval) == (named.value, named.interval)


def test_small_and_unnamed_groups_are_not_judged():
    table = evidence(0.8, 0.8, 0.5).assign(**{"group.who": ""})
    table.loc[table.index[-20:], "group.who"] = "few"
    assert group_gap(table, 0.1).verdict == "hold"


def test_a_task_is_asked_for_what_it_has_thresholds_and_always_for_the_first_two():
    table = evidence(0.9, 0.9, 0.1)
    asked = judge_all(table, {"floor": 0.0, "overfitting": None, "group_gap": None}, NO_CURVE)
    assert {v.name: v.verdict for v in asked} == {"floor": "pass", "overfitting": "hold"}
    asked = judge_all(table, {"floor": 0.0, "overfitting": 0.1, "counterfactual": 0.1}, NO_CURVE)
    assert [v.name for v in asked] == ["floor", "overfitting", "counterfactual"]


def test_divergence_is_judged_on_the_curve():
    curve = pd.DataFrame({"validation": np.linspace(0.6, 0.2, 20)})
    table, limits = evidence(0.9, 0.9, 0.1), {"floor": 0.0, "overfitting": 0.1, "divergence": 0.05}
    asked = judge_all(table, limits, curve)
    assert [v.verdict for v in asked] == ["pass", "pass", "reject"]


@pytest.mark.parametrize("gate", [floor, overfitting])
def test_a_threshold_that_is_no_number_is_never_a_pass(gate):
    assert gate(evidence(0.9, 0.9, 0.1), np.nan).verdict == "reject"


def test_who_needs_just_what_is_allowed_passes_and_who_needs_more_does_not():
    table = pd.DataFrame({"megabytes": [10.0]})
    assert [GATES["budget"](table, limit).verdict for limit in (10.0, 9.999)] == ["pass", "reject"]
    no_twin = pd.DataFrame({"split": "test", "twin": [""] * 400, "score": 1.0})
    assert leakage(no_twin, 0.0).verdict == "hold"  # none was seen, which is not: there is none


def test_no_threshold_is_never_a_pass():
    found = judge_all(evidence(1.0, 1.0, 0.0), {}, NO_CURVE)
    assert [v.verdict for v in found] == ["hold", "hold"]


def test_a_misspelled_threshold_switches_no_gate_off_in_silence():
    limits = {"floor": 0.0, "overfitting": 0.1, "leakge": 0.1, "champion": 0.0}
    found = judge_all(evidence(1.0, 1.0, 0.0), limits, NO_CURVE)
    assert [(v.name, v.verdict) for v in found][2:] == [("leakge", "hold")]
    assert overall(found) == "hold"


SCORED = ("floor", "overfitting", "counterfactual", "shift", "group_gap", "calibration")


@pytest.mark.parametrize("gate", [*SCORED, "robustness", "seeds", "overestimation"])
def test_a_score_that_is_no_number_is_never_a_pass(gate):
    table = pairs(0.0).assign(**{"group.who": lambda t: np.where(t.index % 2, "a", "b")})
    table = table.assign(confidence=0.9, perturbed=table["score"])
    table = pd.concat([table, table.assign(split="train", pair="")], ignore_index=True)
    table.loc[[5, 405, 1000], "score"] = np.nan
    agents = (*(f"score.seed{n}" for n in range(5)), "predicted", "realised")
    table = table.assign(**dict.fromkeys(agents, table["score"]))
    assert GATES[gate](table, 0.1).verdict == "reject"


@pytest.mark.parametrize("gate", [floor, overfitting])
def test_one_that_is_no_number_among_many_different_scores_is_never_a_pass(gate):
    score = np.random.default_rng(0).random(800)
    table = pd.DataFrame({"split": ["train", "test"] * 400, "score": score, "baseline": 0.0})
    for row in (0, 1):
        table.loc[row, ["score", "baseline"]] = np.nan
    assert gate(table, 0.5).verdict == "reject"


def test_a_gap_between_groups_that_is_no_number_and_a_missing_target_are_no_pass():
    table = evidence(0.8, 0.8, 0.7).assign(target="x")
    table["group.half"] = np.where(table.index % 2, "a", "b")
    table["case"] = table.index.astype(str)
    assert group_gap(table.assign(score=np.inf), 0.1).verdict == "reject"
    table.loc[3, "target"] = None
    assert identifiers(table, 0.1).verdict == "reject"


def test_who_is_just_as_good_as_the_baseline_holds():
    even = evidence(0.8, 0.8, 0.8)
    assert floor(even.assign(baseline=even["score"]), 0.0).verdict == "hold"


def test_one_outlier_does_not_make_all_others_one_value():
    values = np.append(np.random.default_rng(0).normal(size=20_000), 1000.0)
    plain = [np.random.default_rng(s).choice(values, len(values)).mean() for s in range(2000)]
    found = bootstrap_mean(values)
    low, high = np.percentile(plain, [5, 95])
    assert found.low == pytest.approx(low, abs=0.1 * (high - low))
    assert found.high == pytest.approx(high, abs=0.1 * (high - low))


def test_where_an_outlier_leaves_all_others_in_one_group_they_keep_their_own_chance():
    """Half of the variance is the outlier's, the other half is that of the others."""
    values = np.append(np.random.default_rng(0).normal(size=1_000_000), 1000.0)
    found = bootstrap_mean(values)
    half = 1.645 * values.std() / np.sqrt(len(values))
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.1)


def test_five_of_a_hundred_resamples_lie_beyond_either_bound():
    found = interval(np.arange(101.0), 50.0)
    assert (found.value, found.low, found.high) == (50.0, 5.0, 95.0)


def test_one_rejection_rejects_and_no_gate_at_all_holds():
    passed, held = (Verdict("x", word, 0.0, (0.0, 0.0), 0.0, 99, "") for word in ("pass", "hold"))
    rejected = Verdict("x", "reject", 0.0, (0.0, 0.0), 0.0, 99, "")
    assert overall([passed, passed]) == "pass"
    assert overall([passed, held]) == "hold"
    assert overall([passed, held, rejected]) == "reject"
    assert overall([]) == "hold"


def test_the_interval_covers_the_truth_as_often_as_it_says():
    """Of 200 samples of a fair coin, about 90 in 100 intervals hold one half."""
    draws = np.random.default_rng(1).integers(0, 2, size=(200, 300)).astype(float)
    found = [bootstrap_mean(sample) for sample in draws]
    assert 0.85 <= np.mean([e.low <= 0.5 <= e.high for e in found]) <= 0.95


def test_the_interval_is_that_of_the_normal_approximation_for_many_cases():
    values = np.random.default_rng(2).normal(size=20_000)
    found = bootstrap_mean(values)
    half = 1.645 * values.std() / np.sqrt(len(values))
    assert found.high - found.value == pytest.approx(half, rel=0.1)


def test_the_interval_of_a_difference_has_the_chance_of_both_samples():
    values = np.random.default_rng(2).normal(size=20_000)
    found = bootstrap_difference(values, values.copy())
    half = 1.645 * values.std() * np.sqrt(2 / len(values))
    assert found.high == pytest.approx(half, rel=0.1)
    assert found.low == pytest.approx(-half, rel=0.1)


def test_the_same_evidence_gives_the_same_interval():
    values = np.random.default_rng(3).normal(size=100)
    assert bootstrap_mean(values) == bootstrap_mean(values.copy())


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=50))
def test_a_sample_differs_from_itself_by_nothing(values):
    found = bootstrap_difference(np.array(values), np.array(values))
    assert found.low <= found.value == 0.0 <= found.high


def test_many_different_values_have_the_interval_that_they_would_have_one_by_one():
    """A sample of few values, and the same values told apart by next to nothing."""
    values = np.random.default_rng(4).integers(0, 20, 5000).astype(float)
    blurred = values + np.random.default_rng(5).uniform(0, 1e-6, 5000)
    one, other = bootstrap_mean(values), bootstrap_mean(blurred)
    assert (one.low, one.high) == pytest.approx((other.low, other.high), abs=0.02)
    assert other.value == pytest.approx(blurred.mean())


@pytest.mark.parametrize(("hits", "n"), [(0, 40), (3, 40), (40, 40), (500, 1000)])
def test_a_shares_interval_is_wilsons_as_scipy_has_it(hits, n):
    from scipy.stats import binomtest

    found = share(np.arange(n) < hits)
    theirs = binomtest(hits, n).proportion_ci(0.90, method="wilson")
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=1e-4)


def test_the_largest_of_one_is_that_one_and_of_many_is_bounded_below_for_all_at_once():
    """Each of 50 quantities is 0 and measured with a standard error of 1."""
    random = np.random.default_rng(0)
    below = []
    for _ in range(100):
        values = random.normal(size=50)
        below.append(largest(values, values + random.normal(size=(1000, 50))).low <= 0)
    assert np.mean(below) >= 0.9
