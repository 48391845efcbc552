"""The MLflow store, and the run of one training."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hour9.params import DATA, Refused, write_whole
from hour9.registry.lineage import dvc_md5

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

STORE = "sqlite:///mlruns/mlflow.db"
ARTIFACTS = Path("mlruns/artifacts")
LOCK = Path("mlruns/.lock")
FLOW, PLACE, STAGE = "hour9.flow_run", "hour9.place", "hour9.stage"
"""Tags of a run: Prefect's run that it belongs to, the host and folder where it trains, and the
stage whose lock its process holds there."""
FLOW_VARIABLE = "HOUR9_FLOW_RUN"  # the first one, for the stages of a flow
MOST_AT_ONCE = 1000  # metrics that MLflow takes in one call


@cache
def connect() -> MlflowClient:
    """A client of the store: the embedded one unless MLFLOW_TRACKING_URI names another.

    The first two users of a fresh database would both create its tables, and one would fail; so
    the first call in each process goes through a lock.
    """
    import mlflow

    mlflow.set_tracking_uri(address())
    with one_at_a_time():
        client = mlflow.MlflowClient()
        client.search_experiments(max_results=1)
    return client


def address() -> str:
    """Where the store is, whether or not anybody has connected yet."""
    return os.environ.get("MLFLOW_TRACKING_URI") or STORE


def all_pages(search: Callable[..., Any], *wanted: Any, **named: Any) -> Iterator[Any]:
    """All that one of the client's searches finds, however many calls it takes."""
    token = None
    while True:
        page = search(*wanted, **named, page_token=token)
        yield from page
        if not (token := page.token):
            return


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """One process of this checkout inside the block."""
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    with LOCK.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def is_embedded() -> bool:
    """Whether the store is the checkout's own."""
    return address() == STORE


def experiment(task: str) -> str:
    """The id of the task's experiment, made where it is new.

    Raises Refused where the project was moved or copied: MLflow keeps absolute paths.
    """
    client = connect()
    with one_at_a_time():
        found = client.get_experiment_by_name(task)
        place = (ARTIFACTS / task).absolute().as_uri() if is_embedded() else None
        if found and place not in (None, found.artifact_location):
            raise Refused(
                f"mlruns was made in another folder, {found.artifact_location}, and would go on to "
                "write there; move the project back, or begin a registry: mv mlruns mlruns.before"
            )
        if found:
            return found.experiment_id
        return client.create_experiment(task, artifact_location=place)


class TrainingRun:
    """The MLflow run of one training, the same one after a crash: its id lies by the checkpoint."""

    def __init__(self, candidate: str, settings: dict[str, Any], folder: Path, device: str = ""):
        self.candidate = candidate
        self.device = device or "unknown"
        self.settings = settings
        self.note = folder / "run.json"
        self.last_step = -1.0

    def __enter__(self) -> TrainingRun:
        from mlflow.exceptions import MlflowException

        self.client = connect()
        if known := self.noted():
            self.run_id = known
            try:
                take_over(self.run_id, f"train@{self.candidate}")
                self.last_step = self.last_published()
                return self
            except MlflowException:
                pass  # the store was emptied since: a new run
        self.run_id = new_run(self.candidate, self.settings)
        self.note.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self.note, json.dumps({"run_id": self.run_id}))
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.client.set_terminated(self.run_id, "FAILED")

    def noted(self) -> str:
        """The run's id; nothing where there is none yet, or a power cut left half a note."""
        try:
            return json.loads(self.note.read_text())["run_id"]
        except (FileNotFoundError, ValueError):
            return ""

    def last_published(self) -> float:
        """The last step that the run holds: a resumed training repeats some points."""
        known = self.client.get_run(self.run_id).data.metrics
        histories = [self.client.get_metric_history(self.run_id, name) for name in known]
        return max((point.step for history in histories for point in history), default=-1.0)

    def publish(self, curve: list[dict[str, float]]) -> None:
        """Show the points of the curve that are new; steps only grow."""
        new = [point for point in curve if point["step"] > self.last_step]
        log_curve(self.client, self.run_id, new)
        self.last_step = max([self.last_step, *(point["step"] for point in new)])

    def finish(self, curve: list[dict[str, float]], model: Path) -> None:
        """Close the run, naming the model that came out of it."""
        self.publish(curve)
        seconds = time.time() - self.client.get_run(self.run_id).info.start_time / 1000
        self.client.set_tag(self.run_id, "hour9.wall_seconds", f"{seconds:.1f}")
        self.client.set_tag(self.run_id, "hour9.device", self.device)
        self.client.set_tag(self.run_id, "hour9.model_md5", dvc_md5(model))
        self.client.set_terminated(self.run_id, "FINISHED")


def new_run(candidate: str, settings: dict[str, Any]) -> str:
    """A run named after its candidate, with the settings as parameters."""
    from mlflow.entities import Dataset, DatasetInput, InputTag, Param
    from mlflow.exceptions import MlflowException

    client = connect()
    tags = {"hour9.candidate": candidate, "hour9.task": settings["task"]}
    tags |= whose(f"train@{candidate}")
    run = client.create_run(experiment(settings["task"]), tags=tags, run_name=candidate)
    params = [Param(key, str(value)) for key, value in settings.items()]
    client.log_batch(run.info.run_id, params=params)
    if (data := DATA / settings["task"]).exists():
        md5 = dvc_md5(data)
        source = json.dumps({"path": data.as_posix(), "md5": md5})
        seen = DatasetInput(
            Dataset(settings["task"], digest=md5, source_type="dvc", source=source),
            [InputTag("mlflow.data.context", "training")],
        )
        try:
            client.log_inputs(run.info.run_id, datasets=[seen])
        except MlflowException:  # another training made the same record at the same moment
            client.log_inputs(run.info.run_id, datasets=[seen])
    return run.info.run_id


def whose(stage: str) -> dict[str, str]:
    """Tags that say who is training, so that a run whose owner died can be told from a live one."""
    return {PLACE: here(), FLOW: os.environ.get(FLOW_VARIABLE, ""), STAGE: stage}


def here() -> str:
    """This machine and this clone, as a run's tag has them."""
    return f"{socket.gethostname()}:{Path.cwd()}"


def take_over(run_id: str, stage: str) -> None:
    """Make a run that another process began this one's."""
    client = connect()
    for name, value in whose(stage).items():  # first: reaper.py closes what runs for the dead
        client.set_tag(run_id, name, value)
    client.update_run(run_id, status="RUNNING")


def log_curve(client: MlflowClient, run_id: str, points: list[dict[str, float]]) -> None:
    """Add points to a run's metrics, as few calls as can be."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    metrics = [
        Metric(name, value, now, int(point["step"]))
        for point in points
        for name, value in point.items()
        if name != "step"
    ]
    for start in range(0, len(metrics), MOST_AT_ONCE):
        client.log_batch(run_id, metrics=metrics[start : start + MOST_AT_ONCE])


def run_of_model(task: str, candidate: str, model_md5: str) -> str | None:
    """The finished run that made these bytes, where the store has one."""
    client = connect()
    wanted = f"tags.`hour9.model_md5` = '{model_md5}' and tags.`hour9.candidate` = '{candidate}'"
    runs = client.search_runs([experiment(task)], wanted, order_by=["start_time ASC"])
    return runs[0].info.run_id if runs else None


def rebuild_run(
    candidate: str, settings: dict[str, Any], curve: list[dict[str, float]], model: Path
) -> str:
    """A run made from the outs: the model came from a cache, or the store is new."""
    client = connect()
    run_id = new_run(candidate, settings)
    log_curve(client, run_id, curve)
    client.set_tag(run_id, "hour9.rebuilt", "true")
    client.set_tag(run_id, "hour9.model_md5", dvc_md5(model))
    client.set_terminated(run_id, "FINISHED")
    return run_id
