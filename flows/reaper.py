"""Closes the MLflow runs of trainings that were killed. A crashed or cancelled run triggers it."""

from uuid import UUID

from prefect import flow, get_run_logger
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound

from hour9.registry import reaper


@flow(name="reap", flow_run_name="close the runs of killed trainings")
def reap() -> list[str]:
    """Set MLflow's runs of trainings that were killed from RUNNING to KILLED."""
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
