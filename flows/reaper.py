"""Closes the MLflow runs of trainings, sweeps and trials that were killed.

The worker that sees a run die does it at once. Where the worker died too, the server notices, and
a crashed run triggers the deployment. That alone is not enough: with SQLite, a busy server drops
an event now and then ("database is locked").
"""

from uuid import UUID

from prefect import Flow, flow, get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas import FlowRun
from prefect.exceptions import ObjectNotFound
from prefect.states import State

from hour9.registry import reaper


@flow(name="reap", flow_run_name="close the runs of killed trainings")
def reap() -> list[str]:
    """Set MLflow's runs of trainings, sweeps and trials that were killed from RUNNING to KILLED."""
    closed = reaper.reap(has_ended)
    for line in closed:
        get_run_logger().warning(line)
    return closed


def has_ended(flow_run: str) -> bool:
    """Whether Prefect knows the run, and that it is over."""
    with get_client(sync_client=True) as client:
        try:
            state = client.read_flow_run(UUID(flow_run)).state
        except ObjectNotFound:  # of another server: not ours to judge
            return False
    return state is not None and state.is_final()


def close_trainings(flow: Flow, flow_run: FlowRun, state: State) -> None:
    """A flow's hook: it failed, crashed or is being cancelled, and so is what it trained."""
    reaper.reap(lambda run: run == str(flow_run.id) or has_ended(run))
