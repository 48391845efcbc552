"""Two processes train as one does, or say why they cannot."""

import json

import pytest
from tests.test_resume import stop_in_the_middle

from hour9.config import BadSetting, set_params
from hour9.engine import processes
from hour9.params import read_params
from hour9.registry.lineage import dvc_md5

SMALL = {
    "sentiment-encoder": [
        "tasks.sentiment.source.size=120",
        "candidates.sentiment-encoder.epochs=2",
        "candidates.sentiment-encoder.batch_size=16",
        "candidates.sentiment-encoder.accumulate=2",
    ],
    "nodes-gcn": [
        "candidates.nodes-gcn.epochs=4",
        "candidates.nodes-gcn.batch_size=40",
        "candidates.nodes-gcn.accumulate=2",
        "candidates.nodes-gcn.neighbours=[5, 5]",
        "candidates.nodes-gcn.consistency=0",
    ],
}


@pytest.mark.parametrize("candidate", SMALL)
def test_two_processes_give_the_loss_curve_of_one(candidate, project, stage):
    curve = bring_data(candidate, stage, project)
    stage("train", candidate)
    alone = json.loads(curve.read_text())
    set_params([f"candidates.{candidate}.processes=2"])
    stage("train", candidate)
    together = json.loads(curve.read_text())
    assert [point.keys() for point in together] == [point.keys() for point in alone]
    for one, two in zip(alone, together, strict=True):
        assert two == pytest.approx(one, abs=1e-5)


def test_two_processes_that_are_killed_resume_to_the_same_bytes(project, stage, warm):
    candidate = "nodes-gcn"
    curve = bring_data(candidate, stage, project)
    set_params([f"candidates.{candidate}.processes=2", f"candidates.{candidate}.epochs=60"])
    stage("train", candidate)
    expected = dvc_md5(project / "models/nodes" / candidate), curve.read_bytes()
    stop_in_the_middle(project, candidate, warm)
    assert "continues from its checkpoint" in stage("train", candidate).stderr
    assert (dvc_md5(project / "models/nodes" / candidate), curve.read_bytes()) == expected


def bring_data(candidate, stage, project):
    """Set it small, make its data; where its curve will be."""
    set_params(SMALL[candidate])
    task = read_params()["candidates"][candidate]["task"]
    stage("ingest", task)
    stage("validate", task)
    return project / "reports" / task / candidate / "curve.json"


def test_an_epoch_of_one_batch_is_refused_in_the_words_of_the_person(project, stage):
    bring_data("nodes-gcn", stage, project)
    section = "candidates.nodes-gcn"
    set_params([f"{section}.neighbours=[]", f"{section}.batch_size=512", f"{section}.processes=2"])
    said = stage("train", "nodes-gcn", check=False).stderr
    assert "an epoch is 1 batch, too few for 2 processes" in said
    assert "Traceback" not in said, said


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("candidates.vision-vit.processes=2", r"accumulate \(1\) must be a multiple"),
        ("candidates.molecules-gin.processes=2", "each of several would normalise its own batches"),
        ("candidates.taxi-qlearning.processes=2", "no key 'candidates.taxi-qlearning.processes'"),
    ],
)
def test_what_has_nothing_to_share_is_refused_before_anything_starts(project, setting, words):
    with pytest.raises(BadSetting, match=words):
        set_params([setting])


def test_the_shares_of_all_processes_are_the_whole(monkeypatch):
    monkeypatch.setattr(processes, "world", lambda: 3)
    seen = []
    for number in range(3):
        monkeypatch.setattr(processes, "rank", lambda number=number: number)
        seen += processes.mine("abcde")
    assert sorted(seen) == list(enumerate("abcde"))
