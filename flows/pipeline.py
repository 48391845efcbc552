"""The DAG that DVC holds, as Prefect tasks. Nothing of it is repeated here."""

import os
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

from flows.artifacts import draw_data_docs, publish
from flows.reaper import close_trainings
from prefect import flow, get_run_logger, runtime, task
from prefect.cache_policies import NO_CACHE
from prefect.concurrency.sync import concurrency
from prefect.futures import PrefectFuture
from prefect.states import State
from prefect.task_runners import ThreadPoolTaskRunner

from hour9 import dag, dispatch, run
from hour9.config import set_params
from hour9.operate import gpu_limit
from hour9.params import read_params
from hour9.registry.tracking import FLOW_VARIABLE
from hour9.stage import die_with_parent

ALL = "all"
PUSH = "HOUR9_PUSH"  # set by worker.py, where a team shares a remote
UNCHANGED, FORCED = "unchanged", "forced"
PARAMS = read_params()
# The form's choices are what params.yaml has; a type checker cannot know them.
Topic: Any = Literal[(ALL, *sorted({t["topic"] for t in PARAMS["tasks"].values()}))]
TaskName: Any = Literal[(ALL, *PARAMS["tasks"])]
Candidate: Any = Literal[(ALL, *PARAMS["candidates"])]


class PipelineFailed(RuntimeError):  # noqa: N818 - reads as a sentence where it is raised
    """Some stages failed; each one's reason is in the message."""


@dataclass(frozen=True)
class Plan:
    """Where stages run: so many here at once, or at a commit on the workers of a pool."""

    slots: run.Slots
    pool: str = ""
    commit: str = ""


@task(name="stage", task_run_name="{stage}", cache_policy=NO_CACHE)
def run_stage(
    stage: str, node: dag.Stage, place: int, plan: Plan, why: str, before: list[str]
) -> str:
    """One stage of the DAG, after those it needs. DVC decides whether there is anything to do.

    `why` is what DVC said of it when the run began: nothing, `stale`, or it is to be forced. Where
    it said nothing and no stage before it did anything, there is nothing to ask again.
    """
    logger = get_run_logger()
    if not why and set(before) <= {UNCHANGED}:
        logger.info(UNCHANGED)
        return UNCHANGED
    travels = plan.pool and node.kind in dispatch.TRAVEL
    with nullcontext() if travels else room_here(stage, place, plan.slots):
        started = time.monotonic()
        logger.info("starts")
        if travels:
            ran = dispatch.reproduce(
                node, plan.commit, plan.pool, logger.info, lambda: plan.slots.closed
            )
        else:
            ran = dag.reproduce(stage, say=logger.info, force=why == FORCED)
    outcome = f"done in {time.monotonic() - started:.1f} s" if ran else UNCHANGED
    logger.info(outcome)
    return outcome


@contextmanager
def room_here(stage: str, place: int, slots: run.Slots) -> Iterator[None]:
    """Hold what a stage needs of this machine: a processor, and its GPU where it trains on one."""
    with gpu_for(stage), run.gpu_turn(stage, lambda: slots.closed), slots.taken(place):
        yield


@contextmanager
def gpu_for(stage: str) -> Iterator[None]:
    """Hold the GPU's slot of the server where the stage trains on one: of all clones and persons
    that share the server, one trains at a time. Where there is no such limit, `gpu_turn` holds."""
    if run.on_gpu(stage):
        with concurrency(gpu_limit()):
            yield
    else:
        yield


def run_name() -> str:
    """What a run does, in its name: `everything`, `nodes`, or `rl/cartpole-dqn seed=1`."""
    given = runtime.flow_run.parameters
    chosen = [given[name] for name in ("topic", "task", "candidate") if given[name] != ALL]
    changes = [setting.partition("=") for setting in given["settings"]]
    told = [f"{key.rpartition('.')[2]}={value}" for key, _, value in changes]
    return " ".join(["/".join(chosen) or "everything", *told])


@flow(
    name="pipeline",
    flow_run_name=run_name,
    # The threads wait; `Slots` limits what works.
    task_runner=ThreadPoolTaskRunner(max_workers=200),  # type: ignore[arg-type]
    on_failure=[close_trainings],  # a training that was killed for memory fails its run
    on_crashed=[close_trainings],
    on_cancellation=[close_trainings],
)
def pipeline(
    topic: Topic = ALL,
    task: TaskName = ALL,
    candidate: Candidate = ALL,
    settings: list[str] = [],  # noqa: B006 - the form shows it; nothing writes to it
    pool: str = "",
) -> dict[str, str]:
    """Bring the chosen part of the DAG up to date, from ingest to the registry.

    DVC decides what is stale. Every field left as it is means: as params.yaml stands.

    Args:
        topic: Run the tasks of one topic, or of all.
        task: Run one task, or all.
        candidate: Train one candidate, or all.
        settings: Changes to params.yaml, one `key=value` each, for example
            `candidates.nodes-gcn.seed=1`. They are checked and stay in the file.
        pool: Train and evaluate on the workers of this work pool, at the commit that is checked
            out here; empty: on this machine.
    """
    logger = get_run_logger()
    if runtime.deployment.id:  # nobody could cancel it when its worker is gone
        die_with_parent()
    os.environ[FLOW_VARIABLE] = str(runtime.flow_run.id)
    commit = ""
    if pool:
        commit = dispatch.commit_to_send(settings)
        dispatch.check_served(pool)
    plan = Plan(run.Slots(run.cores()), pool, commit)
    with run.one_run(logger.info) as this:
        for line in set_params(settings):
            logger.info(line)
        names = {"topic": topic, "task": task, "candidate": candidate}
        names = {kind: name for kind, name in names.items() if name != ALL}
        chosen = dag.select(this.stages, **names)
        forced = to_force(chosen, this.stale)
        try:
            with run.warmed():
                done, failed = run_all(chosen, plan, this.stale, forced)
                well = [stage for stage in chosen if stage.name in done]
                checked = {s.subject: done[s.name] for s in well if s.kind == "validate"}
                draw_data_docs({task: said != UNCHANGED for task, said in checked.items()})
        finally:
            dag.sort_lock(stage.name for stage in this.stages)
        try:
            if os.environ.get(PUSH):
                shared = [stage.name for stage in well if stage.kind not in ("register", "report")]
                dag.push(shared, runs=True)
        finally:  # a remote that takes nothing hides no failed stage
            if failed:
                words = (f"{name} failed\n{why}" for name, why in failed.items())
                raise PipelineFailed("\n".join(words))
    publish([stage.subject for stage in chosen if stage.kind == "judge"])
    return done


def to_force(chosen: list[dag.Stage], stale: Collection[str]) -> list[str]:
    """What is done though DVC would not: what `hour9 run` has found, or what the registry lacks."""
    if run.FORCE in os.environ:
        return os.environ[run.FORCE].split(",")
    # A task whose registration is stale is registered whatever the registry holds.
    fresh = [s.subject for s in chosen if s.kind == "register" and s.name not in stale]
    behind = run.RegistryCheck(fresh).behind()
    return [*behind, "report"] if behind else []


def run_all(
    chosen: list[dag.Stage], plan: Plan, stale: Iterable[str], forced: Iterable[str]
) -> tuple[dict[str, str], dict[str, str]]:
    """A task for each stage, after those it needs; all of them end before this returns.

    What the stages say that did their work or had none, and why the others failed.
    """
    why = dict.fromkeys(stale, "stale")
    why |= dict.fromkeys(forced, FORCED)
    futures: dict[str, PrefectFuture[str]] = {}
    for place, stage in enumerate(chosen):
        futures[stage.name] = run_stage.submit(
            stage.name,
            stage,
            place,
            plan,
            why.get(stage.name, ""),
            [futures[need] for need in stage.needs if need in futures],
            return_state=False,
        )
    try:
        for future in futures.values():
            future.wait()
    except BaseException:  # Ctrl-C, or Prefect was told to cancel
        plan.slots.stop()
        raise
    states = {name: future.state for name, future in futures.items()}
    ended = {name: state for name, state in states.items() if state.is_final()}
    failed = {name: reason(state) for name, state in ended.items() if not state.is_completed()}
    return {name: futures[name].result() for name in ended if name not in failed}, failed


def reason(state: State) -> str:
    """What the failed stage said."""
    error = state.result(raise_on_failure=False)
    return str(error)
