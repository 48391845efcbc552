"""Promotion as Prefect flows: promote (with a person's yes, where asked), rollback and guard."""

from typing import Annotated, Any, Literal

from flows.artifacts import key_of, of_version
from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput
from pydantic import Field

from hour9.params import read_params
from hour9.registry import promotion

PARAMS = read_params()
A_DAY = 24 * 3600  # seconds that a suspended promotion waits for its answer
TaskName: Any = Literal[tuple(PARAMS["tasks"])]


class Approval(RunInput):
    """What the person who resumes the run says."""

    yes: bool = Field(description="promote it")
    who: str = Field(description="your name, for the journal", min_length=1)


@flow(
    name="promote",
    flow_run_name="promote {task}",
    persist_result=True,
    result_serializer="json",  # whatever a worker's own settings say: never a pickle
)
def promote(
    task: TaskName,
    version: Annotated[int, Field(ge=0)] = 0,
    reason: str = "",
    who: str = "",
    approval: Literal["no", "required"] = "no",
) -> str:
    """Make a version the champion, if its bytes are those that were judged and every gate passes.

    Args:
        task: The task whose champion changes.
        version: The version to promote; 0 is the challenger.
        reason: Promote against the gates; it is kept for ever, in tags and journal.
        who: Your name, for the journal.
        approval: `required` suspends the run until a person has read its artifact and resumes it.
    """
    number = str(version or promotion.alias(task, promotion.CHALLENGER))  # a yes is for this one
    if approval == "required":
        seen = f"{promotion.preview(task, number)}\n\n{of_version(task, number)}"
        artifact = key_of(f"promote-{task}")
        create_markdown_artifact(seen, key=artifact, description=f"promote {task}?")
        get_run_logger().info(f"waits for a person: read the artifact {artifact}, then Resume")
        # The run starts again after the yes; another challenger by then is asked about anew.
        key = f"version-{number}"
        answer = suspend_flow_run(wait_for_input=Approval, timeout=A_DAY, key=key)
        if not answer.yes:
            raise promotion.Refused(f"{answer.who} said no to {task} version {number or 'next'}")
        who = answer.who
    entry = promotion.promote(task, number, reason, who)
    get_run_logger().info(str(entry))
    return str(entry)


@flow(name="rollback", flow_run_name="rollback {task}")
def rollback(task: TaskName, reason: str = "", who: str = "") -> str:
    """Make the previous champion the champion again.

    Args:
        task: The task whose champion changes.
        reason: Why; it goes into the journal.
        who: Your name, for the journal.
    """
    entry = promotion.rollback(task, reason, who)
    get_run_logger().info(str(entry))
    return str(entry)


@flow(name="guard", flow_run_name="guard")
def guard() -> list[str]:
    """Judge aliases that were moved by hand in the MLflow UI: take them over or put them back."""
    logger = get_run_logger()
    said: list[str] = []
    failed: list[str] = []
    for task in promotion.with_models():
        try:
            said += filter(None, [promotion.guard(task)])
        except Exception as error:  # the other tasks are guarded all the same
            failed.append(f"{task} is not guarded: {error}")
    for line in (*said, *failed):
        logger.warning(line)
    if failed:
        raise promotion.Refused("\n".join(failed))
    return said
