"""Monitoring as a Prefect flow: recent requests beside the data that the champion learned from."""

from pathlib import Path
from typing import Any, Literal

from flows.artifacts import key_of
from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.deployments import run_deployment

from hour9 import monitor as watching
from hour9.params import read_params

TASKS = read_params()["tasks"]
TaskName: Any = Literal[tuple(TASKS)]


@flow(name="monitor", flow_run_name="monitor {task}")
def monitor(task: TaskName, file: str, retrain: Literal["no", "auto"] = "no") -> str:
    """Say whether recent requests are fine, to be watched, or ask for a new training.

    Args:
        task: The task whose champion answered them.
        file: The requests: a JSON object a line, CSV or Parquet.
        retrain: `auto` starts the topic's deployment where the verdict is `retrain`.
    """
    found = watching.monitor(task, Path(file))
    create_markdown_artifact(found.text(), key=key_of(f"monitor-{task}"), description=found.verdict)
    get_run_logger().info(f"{found.verdict}: {found.why}")
    if found.verdict == watching.RETRAIN and retrain == "auto":
        topic = TASKS[task]["topic"]
        run_deployment(f"pipeline/{topic}", timeout=0)
        get_run_logger().warning(f"started the deployment {topic}")
    return found.verdict
