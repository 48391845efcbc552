from dataclasses import replace
from itertools import groupby

import numpy as np
import pandas as pd
import pytest

from hour9.engine.weights import save_model
from hour9.evaluate import IncompleteEvidence, asked_once, draw, gather, megabytes, summary, twins
from hour9.report import reliability_svg, standing
from hour9.rl import taxi
from hour9.rl.decision_process import DecisionProcess, value_iteration
from hour9.task import Source, only
from hour9.validate import deal_splits

CASES = pd.DataFrame(
    {
        "case": ["t1", "v1", "e1", "e2", "e3", "p1"],
        "split": ["train", "validation", "test", "test", "test", "probe"],
    }
)


def test_a_twin_is_a_case_that_training_sees_and_shares_a_fingerprint_with():
    shared = [("t1", "x"), ("v1", "y"), ("e1", "x"), ("e2", "z"), ("e2", "y"), ("e3", "w"),
              ("p1", "w")]  # fmt: skip
    prints = pd.DataFrame(shared, columns=["case", "fingerprint"])
    assert twins(CASES, prints).tolist() == ["", "", "t1", "v1", "", ""]


def test_what_is_perturbed_are_test_cases_and_no_counterfactuals():
    cases = CASES.assign(pair=["", "", "", "e1", "", ""])
    tables = {"cases": cases, "texts": cases[["case"]], "rules": pd.DataFrame({"a": [1]})}
    chosen = only(tables, asked_once(tables))
    assert chosen["cases"]["case"].tolist() == chosen["texts"]["case"].tolist() == ["e1", "e3"]
    assert len(chosen["rules"]) == 1


def test_the_size_of_a_model_is_that_of_all_its_files(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "a").write_bytes(b"x" * 1_500_000)
    (tmp_path / "inner/b").write_bytes(b"x" * 500_000)
    assert megabytes(tmp_path) == 2.0


def test_dollars_in_a_text_are_drawn_and_no_formula(tmp_path):
    from matplotlib.figure import Figure

    def told(model, tables, pictures):
        figure = Figure()
        figure.text(0.5, 0.5, r"It costs $ 5 % of $ 9, or $\frac$")
        figure.savefig(pictures / "told.png")

    task = replace(taxi.TASK, draw=told)
    draw(task, tmp_path, {}, tmp_path / "pictures")
    assert (tmp_path / "pictures/told.png").exists()


def test_a_counterfactual_does_not_count_in_the_mean():
    evidence = pd.DataFrame(
        {
            "split": ["train", "validation", "test", "test"],
            "score": [1.0, 1.0, 1.0, 0.0],
            "baseline": 0.5,
            "pair": ["", "", "", "e1"],
        }
    )
    assert summary(evidence)["test"] == 1.0


@pytest.fixture
def best_taxi(tmp_path):
    """The best agent there is, and its tables."""
    source = Source(root="src/hour9/rl/environments.py", env="Taxi-v4")
    tables = deal_splits(taxi.ingest(source))
    import torch

    q = value_iteration(DecisionProcess.from_table(tables["transitions"]), taxi.PATIENT)
    config = {"registered": 0, "settings": {"discount": 1.0}}
    save_model(tmp_path, {"q": torch.from_numpy(q[None])}, config)
    return tmp_path, tables


def test_evidence_has_the_perturbed_score_of_test_cases_only_and_noise_costs(best_taxi):
    evidence = gather(taxi.TASK, *best_taxi)
    test = evidence["split"] == "test"
    assert evidence["perturbed"].notna().equals(test)
    drop = (evidence["score"] - evidence["perturbed"])[test]
    assert (drop > 0).all()
    assert drop.mean() < 3


@pytest.mark.parametrize("column", ["score", "baseline"])
@pytest.mark.parametrize("lost", ["no row", "no number"])
def test_a_case_without_a_score_is_an_error_and_no_evidence(best_taxi, column, lost):
    def with_a_gap(found: pd.DataFrame) -> pd.DataFrame:
        if lost == "no row":
            return found[1:]
        return found.assign(score=found["score"].where(found.index != found.index[0]))

    of = {"score": lambda *a: with_a_gap(taxi.score(*a))}
    if column == "baseline":
        of = {"baseline": lambda tables: with_a_gap(taxi.TASK.baseline(tables))}
    with pytest.raises(IncompleteEvidence, match=f"1 cases have no {column}, e.g. "):
        gather(replace(taxi.TASK, **of), *best_taxi)


def test_a_case_with_two_baselines_is_an_error(best_taxi):
    def twice(tables) -> pd.DataFrame:
        found = taxi.TASK.baseline(tables)
        return pd.concat([found, found[:1]])

    with pytest.raises(pd.errors.MergeError):
        gather(replace(taxi.TASK, baseline=twice), *best_taxi)


def test_the_means_are_those_of_each_split_and_the_baseline_that_of_test():
    table = pd.DataFrame(
        {
            "split": ["train", "train", "validation", "test", "test", "probe"],
            "score": [1.0, 0.5, 0.25, 0.0, 1.0, 9.0],
            "baseline": [9.0, 9.0, 9.0, 0.125, 0.375, 9.0],
        }
    )
    assert summary(table) == {"train": 0.75, "validation": 0.25, "test": 0.5, "baseline": 0.25}


def test_an_agent_that_sees_its_state_a_tenth_of_the_time_wrongly_is_played_out_exactly(best_taxi):
    """The expected return under noise, against many episodes played."""
    folder, tables = best_taxi
    noisy = taxi.TASK.perturb(tables, 0)
    home = tables["cases"]["group.world"] == taxi.AS_TRAINED
    exact = taxi.score(folder, noisy)["score"][home].mean()
    process = DecisionProcess.from_table(tables["transitions"])
    q = value_iteration(process, taxi.PATIENT)
    random = np.random.default_rng(0)
    starts = tables["cases"]["start"][home].to_numpy()
    state, over, total = np.tile(starts, 20), np.zeros(20 * len(starts), bool), 0.0
    for _ in range(200):
        ways = process.next_state[state, :, 0]  # one that leads on is as likely as another
        chance = np.where(ways != state[:, None], random.random(ways.shape), -1.0)
        beside = ways[np.arange(len(state)), chance.argmax(axis=1)]
        seen = np.where(random.random(len(state)) < 0.1, beside, state)
        action = q[seen].argmax(axis=1)
        total += process.reward[state, action, 0][~over].sum()
        over, state = (
            over | process.terminated[state, action, 0],
            process.next_state[state, action, 0],
        )
    assert exact == pytest.approx(total / len(state), abs=0.15)


def test_the_reliability_diagram_is_drawn_where_there_is_a_confidence(tmp_path):
    sure = np.linspace(0.5, 1, 100)
    table = pd.DataFrame({"split": "test", "score": (sure > 0.6).astype(float), "confidence": sure})
    path = tmp_path / "evidence.parquet"
    table.to_parquet(path)
    assert reliability_svg(path).startswith("<svg")
    table.drop(columns="confidence").to_parquet(path)
    assert reliability_svg(path) == ""


def test_the_candidates_of_a_task_and_the_tasks_of_a_topic_stand_together(project):
    for name in ("topic", "task"):
        found = [row[name] for row in standing()]
        assert len([*groupby(found)]) == len(set(found))


def test_a_matplotlibrc_has_no_say_in_a_picture(tmp_path):
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    def told(model, tables, pictures):
        figure = Figure()
        figure.text(0.5, 0.5, "told")
        figure.savefig(pictures / "told.png")

    task = replace(taxi.TASK, draw=told)
    draw(task, tmp_path, {}, tmp_path / "plain")
    (tmp_path / "matplotlibrc").write_text("savefig.dpi: 200\nfont.size: 20\n")
    with rc_context(fname=tmp_path / "matplotlibrc"):
        draw(task, tmp_path, {}, tmp_path / "own")
    one, other = (tmp_path / name / "told.png" for name in ("plain", "own"))
    assert one.read_bytes() == other.read_bytes()
