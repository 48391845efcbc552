"""`hour9 run`: bring the pipeline, or a part of it, up to date."""

from __future__ import annotations

import argparse
import atexit
import os
import sys
import time
from contextlib import ExitStack, redirect_stderr
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from hour9.params import PAGE, STANDING, STATE
from hour9.standing import show, show_table
from hour9.wording import some

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from prefect.states import State

    from hour9.run import Run
    from hour9.servers import PrefectServer


class RunFailed(RuntimeError):  # noqa: N818 - reads as a sentence where it is raised
    """A flow, or every trial of a sweep, ended with an error; the message is what it said."""


def run(asked: argparse.Namespace) -> int:
    """Do what is stale, through Prefect; where nothing is, say so without starting it."""
    from hour9 import config, dag, dispatch
    from hour9 import run as runs
    from hour9.servers import PrefectServer

    if asked.settings:  # a name that is not there leaves params.yaml as it is
        dag.wanted(asked.topic, asked.task, asked.candidate)
    if asked.pool:
        dispatch.commit_to_send(asked.settings)
        import_flow(PrefectServer.shared())
        dispatch.check_served(asked.pool)
    with runs.one_run() as this:
        for line in config.set_params(asked.settings):
            print(line)
        return run_stale(this, asked.topic, asked.task, asked.candidate, asked.pool)


def run_stale(this: Run, topic: str, task: str, candidate: str, pool: str = "") -> int:
    """The run itself, when it is this process's turn."""
    from hour9 import dag
    from hour9 import run as runs
    from hour9.servers import PrefectServer

    started = time.time()
    runs.TIMELINE.write_text("")
    tasks = [*dict.fromkeys(dag.wanted(topic, task, candidate).values())]
    check = runs.RegistryCheck(tasks)
    server = PrefectServer.find()
    if not server.port:
        this.ask()
        import_flow(server)  # while DVC and the registry are asked
        dag.open_repo().close()  # imports DVC, for the stages
    chosen = dag.select(this.stages, topic, task, candidate)
    todo = [stage.name for stage in chosen if stage.name in this.stale]
    if not pool:
        check_roots(todo)
    behind = check.behind()
    runs.note("status", started)
    if not todo and not behind and PAGE.exists() and STANDING.exists():
        dag.sort_lock(stage.name for stage in this.stages)
        print(f"Nothing to do: {len(chosen)} stages are up to date and the registry agrees.")
        show_table(tasks)
        return 0
    print(f"changed: {some(todo or behind or ['the page'])}; starting Prefect")
    names = {"topic": topic, "task": task, "candidate": candidate}
    parameters = {name: value or "all" for name, value in names.items()} | {"pool": pool}
    run_flow(server, parameters, len(chosen), [*behind, "report"])
    ended = time.time()
    show_table(tasks)
    show_times(runs.where_time_went(started, ended), ended - started)
    print("\nreport  reports/index.html\nUIs     make ui")
    return 0


def check_roots(todo: Sequence[str]) -> None:
    """Raise BadSetting where data to ingest is not there: DVC tells it late, and less well."""
    from hour9.config import BadSetting
    from hour9.params import read_params

    names = [name.removeprefix("ingest@") for name in todo if name.startswith("ingest@")]
    tasks = read_params()["tasks"] if names else {}
    for name in names:
        root = tasks[name]["source"]["root"]
        if not Path(root).exists():
            raise BadSetting(f"there is no '{root}'; set tasks.{name}.source.root to what is there")


def import_flow(server: PrefectServer) -> Callable[..., State]:
    """The pipeline. Its first import takes seconds, for Prefect, which keeps to this address."""
    os.environ |= {
        "PREFECT_API_URL": server.api,
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",  # the board shows the logs
    }
    sys.path.insert(0, str(Path.cwd()))
    return import_module("flows.pipeline").pipeline


def run_flow(
    server: PrefectServer, parameters: dict[str, str], total: int, force: list[str]
) -> None:
    """Run the flow in this process, on a Prefect server of its own or one that is there."""
    from hour9 import run as runs
    from hour9 import servers
    from hour9.progress import Board

    started = time.time()
    os.environ[runs.FORCE] = ",".join(force)
    last_of_all = ExitStack()
    atexit.register(last_of_all.close)  # before Prefect's own: it still sends its last logs then
    with runs.warmed():  # the libraries and the server load while we import Prefect
        serving = last_of_all.enter_context(server.started())
        pipeline = import_flow(server)
        from prefect.settings import temporary_settings

        servers.wait_for(f"{server.api}/health", by=serving)
        # On a server of our own nobody misses a heartbeat, and a flow waits up to 1 s for its last.
        alone = {"flows.heartbeat_frequency": None} if server.port else {}
        with (
            temporary_settings(alone),
            (STATE / "tools.log").open("w") as chatter,
            redirect_stderr(chatter),  # the tools' own bars would tear the board
            Board(total, on_first=lambda: runs.note("prefect", started)),
        ):
            state = pipeline(**parameters, return_state=True)
    if not state.is_completed():
        raise RunFailed(str(state.result(raise_on_failure=False)))


def show_times(seconds: dict[str, float], total: float) -> None:
    """Where the wall time went."""
    from rich.table import Table

    work = sum(seconds.get(kind, 0.0) for kind in ("training", "evaluation"))
    table = Table("where the time went", "seconds", box=None, pad_edge=False)
    for kind, value in sorted(seconds.items(), key=lambda item: -item[1]):
        table.add_row(kind, f"{value:7.1f}")
    table.add_row("neither training nor evaluation", f"{total - work:7.1f}")
    table.add_row("all", f"{total:7.1f}")
    show(table)
