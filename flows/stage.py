"""One stage of the DAG on another machine. `hour9 run --pool` sends it; `hour9 worker` takes it."""

import os
from typing import Any

from flows.reaper import close_trainings
from prefect import flow, get_run_logger
from prefect.client.orchestration import get_client
from prefect.runtime import flow_run

from hour9 import dispatch, remote
from hour9.registry.tracking import FLOW_VARIABLE


@flow(
    name="stage",
    flow_run_name="{name}",
    on_failure=[close_trainings],  # a training that was killed for memory fails its run
    on_crashed=[close_trainings],
    on_cancellation=[close_trainings],
)
def stage(
    name: str, commit: str, inputs: dict[str, Any], trial: dict[str, Any] | None = None
) -> None:
    """Run one stage at a git commit, and push its outs and its run-cache to DVC's remote.

    Args:
        name: The stage, for example `train@nodes-gcn`.
        commit: What the worker checks out. Its code and its parameters are the run's.
        inputs: What dvc.lock holds of the stages before it: names and hashes.
        trial: For `trial@nodes-gcn.3`, a sweep's training: its settings and its MLflow run.
    """
    os.environ[FLOW_VARIABLE] = str(flow_run.id)  # so that a killed training's run is closed
    if worker := os.environ.get(remote.WORKER):  # whoever sent the stage listens for its pulse
        tags = [*flow_run.tags, f"{dispatch.TAKEN}{worker}"]
        with get_client(sync_client=True) as client:
            client.update_flow_run(flow_run.id, tags=tags)
    remote.work(name, commit, inputs, trial, get_run_logger().info)
