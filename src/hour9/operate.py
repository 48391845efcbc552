"""What a Prefect server needs so that no run hangs: pools, a limit, automations, deployments.

`python -m hour9.operate` sets up the server that PREFECT_API_URL names; `hour9 ui` does the same
to its own. Twice is as good as once, and what a person changed in the UI since stays.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hour9.servers import NotServed, prefect_environment, wait_for

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.responses import DeploymentResponse
    from prefect.events.schemas.automations import Automation, AutomationCore

POOLS = {"cpu": "what trains on processors, and all that decides", "gpu": "what trains on a GPU"}
TRAINING = ("pipeline", "transformers", "graphs", "rl")  # deployments that may use a GPU
SILENCE = 90  # seconds without a heartbeat (they come each 30) after which a run is dead
START = 900  # seconds that a worker may take between accepting a run and starting it
SET_UP = "set-up"  # tag of the runs that a set-up asks for

SCHEDULE = {"schedule", "active", "parameters", "slug", "max_scheduled_runs"}

EVERY_RUN: dict[str, str | list[str]] = {"prefect.resource.id": "prefect.flow-run.*"}
HEARTBEAT = "prefect.flow-run.heartbeat"
# A run in one of these states sends no heartbeat, and rightly so: it ended, it waits for a person,
# or for its turn.
QUIET = (
    *("Completed", "Failed", "Crashed", "Cancelled", "Suspended", "Paused"),
    *("AwaitingRetry", "AwaitingConcurrencySlot", "Scheduled", "Late"),
)


def gpu_limit() -> str:
    """The concurrency limit that what trains on this machine's GPU takes a slot of."""
    return os.environ.get("HOUR9_GPU_LIMIT", "gpu")


def set_up() -> None:
    """Make what the server lacks, then every deployment of prefect.yaml."""
    pool = os.environ.get("HOUR9_POOL", "cpu")
    if pool not in POOLS:
        raise NotServed(f"HOUR9_POOL={pool}, but the pools are {', '.join(POOLS)}")
    asyncio.run(make_all())
    left = asyncio.run(as_people_left_it())
    try:
        deploy()
        asyncio.run(move_to(pool))
    finally:  # nobody knows any more how it was, should this fail half way
        asyncio.run(put_back(left))
    asyncio.run(close_what_died())


async def make_all() -> None:
    """Pools, the limit and the automations, where they are missing."""
    from prefect.client.orchestration import get_client

    async with get_client() as client:
        for name, what in POOLS.items():
            await ensure_pool(client, name, what)
        await ensure_limit(client, gpu_limit())
        for automation in automations():
            if not await client.read_automations_by_name(automation.name):
                await client.create_automation(automation)


async def ensure_pool(client: PrefectClient, name: str, what: str) -> None:
    """A pool of worker processes."""
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectNotFound
    from prefect.workers.process import ProcessWorker

    try:
        await client.read_work_pool(name)
    except ObjectNotFound:
        template = ProcessWorker.get_default_base_job_template()
        made = WorkPoolCreate(
            name=name, type="process", description=what, base_job_template=template
        )
        await client.create_work_pool(made)


async def ensure_limit(client: PrefectClient, name: str) -> None:
    """A limit of one: a GPU trains one candidate at a time, however many runs there are."""
    from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
    from prefect.exceptions import ObjectNotFound

    try:
        await client.read_global_concurrency_limit_by_name(name)
    except ObjectNotFound:
        await client.create_global_concurrency_limit(
            GlobalConcurrencyLimitCreate(name=name, limit=1)
        )


def automations() -> list[AutomationCore]:
    """A run that fell silent, or that a worker took and never started, is crashed."""
    from prefect.client.schemas.objects import StateType
    from prefect.events.actions import ChangeFlowRunState
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
    from prefect.events.schemas.events import ResourceSpecification

    def crash_unless(
        name: str, after: str, expect: set[str], seconds: int, why: str
    ) -> AutomationCore:
        return AutomationCore(
            name=name,
            trigger=EventTrigger(
                after={after},
                expect=expect,
                match=ResourceSpecification(EVERY_RUN),
                for_each={"prefect.resource.id"},
                posture=Posture.Proactive,
                threshold=1,
                within=timedelta(seconds=seconds),
            ),
            actions=[
                ChangeFlowRunState(name=None, state=StateType.CRASHED, message=why, force=False)
            ],
        )

    quiet = {f"prefect.flow-run.{state}" for state in QUIET}
    return [
        crash_unless(
            "crash silent runs",
            HEARTBEAT,
            {HEARTBEAT, *quiet},
            SILENCE,
            f"No heartbeat for {SILENCE} s: its process or its machine died.",
        ),
        crash_unless(
            "crash runs that never started",
            "prefect.flow-run.Pending",
            {HEARTBEAT, *quiet, "prefect.flow-run.Running"},
            START,
            f"A worker took it and did not start it in {START} s.",
        ),
    ]


def deploy() -> None:
    """Every deployment of prefect.yaml, as `prefect deploy --all` makes it: with the code's newest
    parameters, and all else as the file says."""
    command = [str(Path(sys.executable).with_name("prefect")), "--no-prompt", "deploy", "--all"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise NotServed(f"prefect deploy --all: {(done.stdout + done.stderr)[-600:]}")


@dataclass(frozen=True)
class Left:
    """What `prefect deploy` would set back to what prefect.yaml says."""

    deployments: list[DeploymentResponse]
    automations: list[Automation]


async def as_people_left_it() -> Left:
    """Schedules, parameters and limits of the deployments that are there, automations too."""
    from prefect.client.orchestration import get_client

    async with get_client() as client:
        return Left(await client.read_deployments(), await client.read_automations())


async def put_back(left: Left) -> None:
    """As it was, where it is another way now."""
    from prefect.client.orchestration import get_client

    async with get_client() as client:
        for old in left.deployments:
            await put_back_one(client, old)
        for off in [one for one in left.automations if not one.enabled]:
            for anew in await client.read_automations_by_name(off.name):
                await client.pause_automation(anew.id)


async def put_back_one(client: PrefectClient, old: DeploymentResponse) -> None:
    """One deployment; what does not fit any more is left out, aloud."""
    from prefect.client.schemas.actions import DeploymentUpdate
    from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

    try:
        new = await client.read_deployment(old.id)
        now = kept(new)
        if changes := {name: value for name, value in kept(old).items() if value != now[name]}:
            await client.update_deployment(old.id, DeploymentUpdate(**changes))
        if old.parameters != new.parameters:  # apart: the code may not take them any more
            await client.update_deployment(old.id, DeploymentUpdate(parameters=old.parameters))
    except ObjectNotFound:  # somebody deleted it meanwhile
        return
    except PrefectHTTPStatusError as error:
        print(
            f"deployment {old.name}: not all that was set in the UI fits any more, see there; "
            f"it was {kept(old)}, {old.parameters} ({error.response.text[:200]})"
        )


def kept(deployment: DeploymentResponse) -> dict[str, Any]:
    """Whether and when it runs by itself, and how often at once."""
    limit = deployment.global_concurrency_limit
    return {
        "schedules": [one.model_dump(include=SCHEDULE) for one in deployment.schedules],
        "concurrency_limit": limit.limit if limit else None,
        "paused": deployment.paused,
    }


async def move_to(pool: str) -> None:
    """Let another pool train."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import DeploymentUpdate

    if pool == "cpu":  # as prefect.yaml has it
        return
    async with get_client() as client:
        for name in TRAINING:
            deployment = await client.read_deployment_by_name(f"pipeline/{name}")
            await client.update_deployment(deployment.id, DeploymentUpdate(work_pool_name=pool))


async def close_what_died() -> None:
    """Let `reap` run now, and once more when what fell silent has been crashed.

    A server that starts again hears of that too, but for 15 minutes starts no deployment for it.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter
    from prefect.states import Scheduled

    async with get_client() as client:
        reap = await client.read_deployment_by_name("reap/reap")
        by_us = FlowRunFilter.model_validate(
            {
                "deployment_id": {"any_": [reap.id]},
                "tags": {"all_": [SET_UP]},
                "state": {"type": {"any_": ["SCHEDULED"]}},
            }
        )
        for waiting in await client.read_flow_runs(flow_run_filter=by_us):
            await client.delete_flow_run(waiting.id)  # of a set-up before this one
        for seconds in (0, SILENCE + 60):
            at = datetime.now(UTC) + timedelta(seconds=seconds)
            await client.create_flow_run_from_deployment(
                reap.id, state=Scheduled(scheduled_time=at), tags=[SET_UP]
            )


if __name__ == "__main__":
    prefect_environment()
    if "PREFECT_API_URL" not in os.environ:
        sys.exit("set PREFECT_API_URL to the server's address, e.g. http://127.0.0.1:4200/api")
    wait_for(f"{os.environ['PREFECT_API_URL']}/health")
    set_up()
    print("ready: " + ", ".join(POOLS))
