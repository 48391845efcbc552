"""Each candidate, killed in the middle and run again, ends with the bytes of an unharmed one."""

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from mlflow import MlflowClient

from hour9.config import set_params
from hour9.params import read_params
from hour9.registry.lineage import dvc_md5
from hour9.stage import WARM

StageRunner = Callable[..., object]

TINY = [
    f"candidates.textgen-pretrained.{setting}"
    for setting in ("channels=16", "layers=1", "batch_size=128", "vocabulary=300", "epochs=1")
]
# Long enough to be killed in the middle, short enough for a test. sentiment-int8 learns nothing.
SMALL = {
    "sentiment-bert": [
        "tasks.sentiment.source.size=60",
        "candidates.sentiment-bert.epochs=2",
        "candidates.sentiment-bert.batch_size=8",
    ],
    "sentiment-encoder": [
        "tasks.sentiment.source.size=400",
        "candidates.sentiment-encoder.epochs=12",
    ],
    "sentiment-student": [
        "tasks.sentiment.source.size=60",
        "candidates.sentiment-bert.epochs=1",
        "candidates.sentiment-student.epochs=3",
        "candidates.sentiment-student.batch_size=8",
        "candidates.sentiment-student.copies=0",
    ],
    "textgen-pretrained": TINY,
    "textgen-gpt": ["candidates.textgen-gpt.epochs=30", *TINY],
    "textgen-scratch": [
        *("candidates.textgen-scratch.channels=32", "candidates.textgen-scratch.layers=1"),
        "candidates.textgen-scratch.epochs=8",
    ],
    "nodes-gcn": ["candidates.nodes-gcn.epochs=80"],
    "nodes-gat": ["candidates.nodes-gat.epochs=25"],
    "nodes-mpnn": ["candidates.nodes-mpnn.epochs=40"],
    "links-gcn": ["candidates.links-gcn.epochs=45"],
    "molecules-gin": ["tasks.molecules.source.size=150", "candidates.molecules-gin.epochs=15"],
    "molecules-mpnn": ["tasks.molecules.source.size=150", "candidates.molecules-mpnn.epochs=8"],
    "taxi-qlearning": ["candidates.taxi-qlearning.steps=400000"],
    "cartpole-dqn": ["candidates.cartpole-dqn.steps=4000", "candidates.cartpole-dqn.seeds=2"],
    "cartpole-rainbow-lite": ["candidates.cartpole-rainbow-lite.steps=4500"],
    "vision-vit": ["tasks.vision.source.size=400", "candidates.vision-vit.epochs=12"],
    "translation-seq2seq": [
        "tasks.translation.source.size=800",
        "candidates.translation-seq2seq.epochs=4",
    ],
}


@pytest.mark.parametrize("candidate", SMALL)
def test_a_killed_training_resumes_to_the_same_bytes_in_one_run(
    candidate, project, stage, warm, monkeypatch
):
    set_params(SMALL[candidate])
    section = read_params()["candidates"][candidate]
    task = section["task"]
    stage("ingest", task)
    stage("validate", task)
    bring_parent(section["parent"], stage)
    out = project / "models" / task / candidate
    curve = project / "reports" / task / candidate / "curve.json"

    stage("train", candidate)
    expected, expected_curve = dvc_md5(out), curve.read_bytes()

    stop_in_the_middle(project, candidate, warm)
    done = stage("train", candidate)
    assert "continues from its checkpoint" in done.stderr
    assert dvc_md5(out) == expected
    assert curve.read_bytes() == expected_curve

    client = MlflowClient(f"sqlite:///{project}/mlruns/mlflow.db")
    experiment = client.get_experiment_by_name(task).experiment_id
    runs = client.search_runs([experiment], f"tags.`hour9.candidate` = '{candidate}'")
    assert [run.info.status for run in runs] == ["FINISHED", "FINISHED"]
    points = [client.get_metric_history(run.info.run_id, "validation") for run in runs]
    assert [len(p) for p in points] == [len(json.loads(expected_curve))] * 2


def bring_parent(parent: str, stage: StageRunner) -> None:
    """What a training starts from, where that is neither made nor data: weights, another model."""
    if parent.startswith("data/weights"):
        stage("weights", Path(parent).name)
    if parent.startswith("models"):
        name = Path(parent).name
        bring_parent(read_params()["candidates"][name]["parent"], stage)
        stage("train", name)


def stop_in_the_middle(project: Path, candidate: str, warm: str) -> None:
    """Start the training, and kill -9 it when it has made a checkpoint or two."""
    client = subprocess.Popen(
        [sys.executable, "-m", "hour9.stage", "train", candidate],
        cwd=project,
        env={**os.environ, WARM: warm, "HOUR9_CHECKPOINT_SECONDS": "0.05"},
        stdout=subprocess.DEVNULL,
    )
    folder = project / ".hour9/checkpoints" / candidate
    seen: set[str] = set()
    while len(seen) < 3:
        with suppress(subprocess.TimeoutExpired):
            client.wait(timeout=0.02)
        assert client.returncode is None, "the training ended before it could be killed"
        for pointer in folder.glob("*/newest"):
            seen.add(pointer.read_text())
    client.send_signal(signal.SIGKILL)
    client.wait()
    # The worker holds the stage's lock until it is gone, too.
    with (project / f".hour9/locks/train@{candidate}.lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
