"""The `hour9` command."""

from __future__ import annotations

import argparse
import atexit
import json
import os
import sys
import time
from contextlib import ExitStack, redirect_stderr
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hour9 import ask, release
from hour9.params import PARAMS, STATE
from hour9.stage import ENVIRONMENT

if TYPE_CHECKING:
    from rich.table import Table

WAY_OUT = {  # what to do where a tool stopped on its own files
    "dvc": "if dvc.lock is damaged: git checkout dvc.lock; without git, first: "
    ".venv/bin/dvc config --local core.no_scm true",
    "mlflow": "if the store in mlruns/ is damaged: move mlruns/ away and run again; "
    "the registry is rebuilt from the outs",
    "sqlalchemy": "if the store in mlruns/ is damaged: move mlruns/ away and run again; "
    "the registry is rebuilt from the outs",
}


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and do what it says; a person's mistake is one or two lines."""
    asked = parser().parse_args(arguments)
    if not PARAMS.exists():
        print(f"no {PARAMS} here: run hour9 in the project's own folder", file=sys.stderr)
        return 2
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        return asked.command(asked)
    except KeyboardInterrupt:
        print("stopped; what was finished stays, run again to go on", file=sys.stderr)
        return 130
    except Exception as error:
        owner = type(error).__module__.split(".")[0]
        if owner not in ("hour9", "flows", *WAY_OUT):
            raise
        words = str(error).strip().splitlines() or [type(error).__name__]
        print("\n".join(words) if owner in ("hour9", "flows") else words[0], file=sys.stderr)
        if owner in WAY_OUT:
            print(WAY_OUT[owner], file=sys.stderr)
        return 1


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    top = argparse.ArgumentParser(prog="hour9", description=__doc__)
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    add = commands.add_parser("run", help="bring the pipeline, or a part of it, up to date")
    add.add_argument("--topic", default="", help="only the tasks of this topic")
    add.add_argument("--task", default="", help="only this task")
    add.add_argument("--candidate", default="", help="only this candidate")
    add.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="settings",
        help="change params.yaml first, e.g. candidates.nodes-gcn.seed=1",
    )
    add.add_argument("--pool", default="", help="train and evaluate on its workers; see `worker`")
    add.set_defaults(command=run)

    add = commands.add_parser("worker", help="lend this machine: take stages of `run --pool`")
    add.add_argument("--pool", default="workers")
    add.add_argument("--limit", type=int, default=1, help="stages at once")
    add.set_defaults(command=worker)

    add = commands.add_parser("sweep", help="search a candidate's settings, by validation alone")
    add.add_argument("task")
    add.add_argument("--candidate", default="", help="the task's first that can be searched")
    add.add_argument("--trials", type=int, default=20)
    add.add_argument("--seed", type=int, default=0)
    add.add_argument(
        "--at-once", type=int, default=0, help="trials side by side; 0: a processor each"
    )
    add.add_argument("--pool", default="", help="on its workers; see `worker`")
    add.add_argument("--accept", action="store_true", help="write the last sweep's best down")
    add.set_defaults(command=sweep)

    add = commands.add_parser("status", help="where every candidate stands")
    add.add_argument("--json", action="store_true", help="for programs")
    add.set_defaults(command=status)

    add = commands.add_parser("report", help="draw reports/index.html again")
    add.set_defaults(command=report)

    add = commands.add_parser("predict", help="ask a task's champion, or else its challenger")
    add.add_argument("task")
    add.add_argument("request", help='JSON rows, e.g. \'{"text": "a fine film"}\', or plain text')
    add.add_argument("--alias", default="", help="which version answers")
    add.add_argument("--explain", action="store_true", help="what each word of a text added")
    add.set_defaults(command=ask.predict)

    add = commands.add_parser("serve", help="answer for a task over HTTP, on loopback")
    add.add_argument("task")
    add.add_argument("--alias", default="", help="the champion, or else the challenger")
    add.add_argument("--port", type=int, default=8000)
    add.set_defaults(command=ask.serve)

    add = commands.add_parser("promote", help="make a version the champion, if the gates let it")
    add.add_argument("task")
    add.add_argument("--version", default="", help="the challenger, if not given")
    add.add_argument("--reason", default="", help="promote against the gates; it is kept for ever")
    add.set_defaults(command=release.promote)

    add = commands.add_parser("rollback", help="make the previous champion the champion again")
    add.add_argument("task")
    add.add_argument("--reason", default="", help="why; it goes into the journal")
    add.set_defaults(command=release.rollback)

    add = commands.add_parser("journal", help="who promoted what, when and why")
    add.add_argument("task", nargs="?", default="")
    add.add_argument("--json", action="store_true", help="for programs")
    add.set_defaults(command=release.journal)

    add = commands.add_parser("trace", help="from a version back to the raw bytes")
    add.add_argument("version", metavar="TASK@ALIAS", help="or TASK/NUMBER")
    add.set_defaults(command=release.trace)

    add = commands.add_parser("reproduce", help="train a version again, from its own commit")
    add.add_argument("version", metavar="TASK@ALIAS", help="or TASK/NUMBER")
    add.set_defaults(command=release.reproduce)

    add = commands.add_parser("monitor", help="are the requests of late like the training data?")
    add.add_argument("task")
    add.add_argument("file", help="requests: a JSON object a line, CSV or Parquet")
    add.add_argument("--alias", default="", help="the champion, or else the challenger")
    add.add_argument("--json", action="store_true", help="for programs")
    add.set_defaults(command=ask.monitor)

    add = commands.add_parser("docs", help="draw Great Expectations' pages about a task's data")
    add.add_argument("task")
    add.set_defaults(command=docs)

    add = commands.add_parser("clean", help="say what nothing asks for any more, and delete it")
    add.add_argument("--yes", action="store_true", help="delete without asking")
    add.set_defaults(command=clean)

    add = commands.add_parser("watch", help="see a task's challenger play, where there is a screen")
    add.add_argument("task")
    add.set_defaults(command=ask.watch)

    add = commands.add_parser("ui", help="serve both UIs and the report on loopback, with workers")
    add.add_argument("--prefect-port", type=int, default=4200)
    add.add_argument("--mlflow-port", type=int, default=5000)
    add.add_argument("--report-port", type=int, default=4300)
    add.set_defaults(command=ui)
    return top


def run(asked: argparse.Namespace) -> int:
    """Do what is stale, through Prefect; where nothing is, say so without starting it."""
    from hour9 import config, remote
    from hour9 import run as runs

    if asked.pool:
        remote.commit_to_send(asked.settings)
    with runs.one_run():
        for line in config.set_params(asked.settings):
            print(line)
        return run_stale(asked.topic, asked.task, asked.candidate, asked.pool)


def worker(asked: argparse.Namespace) -> int:
    """Take stages that others send, until stopped."""
    from hour9 import remote

    return remote.serve(asked.pool, asked.limit)


def sweep(asked: argparse.Namespace) -> int:
    """Search, and offer the best; or write down what the last search offered."""
    from hour9 import sweep as sweeps
    from hour9.config import check_task

    check_task(asked.task)
    if asked.accept:
        print("\n".join(sweeps.accept(asked.task)) or "the last sweep found nothing better")
    else:
        sweeps.sweep(
            asked.task, asked.candidate, asked.trials, asked.seed, asked.at_once, asked.pool
        )
    return 0


def run_stale(topic: str, task: str, candidate: str, pool: str = "") -> int:
    """The run itself, when it is this process's turn."""
    from hour9 import dag
    from hour9 import run as runs
    from hour9.report import PAGE

    started = time.time()
    runs.TIMELINE.write_text("")
    every = dag.stages()
    chosen = dag.select(every, topic, task, candidate)
    tasks = [stage.subject for stage in chosen if stage.kind == "register"]
    check = runs.RegistryCheck(tasks)
    stale = dag.stale()
    todo = [stage.name for stage in chosen if stage.name in stale]
    agrees = check.agrees()
    runs.note("status", started)
    if not todo and agrees and PAGE.exists():
        dag.sort_lock(stage.name for stage in every)
        print(f"Nothing to do: {len(chosen)} stages are up to date and the registry agrees.")
        show_table(tasks)
        return 0
    behind = [] if agrees else [f"register@{name}" for name in tasks]
    print(f"changed: {', '.join(todo or behind or ['no page'])}; starting Prefect")
    names = {"topic": topic, "task": task, "candidate": candidate}
    parameters = {name: value or "all" for name, value in names.items()} | {"pool": pool}
    run_flow(parameters, len(chosen), [*behind, "report"])
    ended = time.time()
    show_table(tasks)
    show_times(runs.where_time_went(started, ended), ended - started)
    print("\nreport  reports/index.html\nUIs     make ui")
    return 0


def run_flow(parameters: dict[str, str], total: int, force: list[str]) -> None:
    """Run the flow in this process, on a Prefect server of its own or the one that `ui` serves."""
    from hour9 import run as runs
    from hour9 import servers
    from hour9.progress import Board

    started = time.time()
    last_of_all = ExitStack()
    atexit.register(last_of_all.close)  # before Prefect's own: it still sends its last logs then
    with runs.warmed():  # the libraries and the server load while we import Prefect
        api = last_of_all.enter_context(servers.prefect_server())
        os.environ |= {
            "HOUR9_FORCE": ",".join(force),
            "PREFECT_API_URL": api,
            "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",  # the board shows the logs
        }
        sys.path.insert(0, str(Path.cwd()))
        from flows.pipeline import pipeline

        servers.wait_for(f"{api}/health")
        with (
            (STATE / "tools.log").open("w") as chatter,
            redirect_stderr(chatter),  # the tools' own bars would tear the board
            Board(total, on_first=lambda: runs.note("prefect", started)),
        ):
            state = pipeline(**parameters, return_state=True)
    if not state.is_completed():
        raise RunFailed(str(state.result(raise_on_failure=False)))


class RunFailed(RuntimeError):  # noqa: N818 - reads as a sentence where it is raised
    """The flow ended with an error; the message is what its stages said."""


def show_table(tasks: list[str], rows: list[dict[str, Any]] | None = None) -> None:
    """The candidates of these tasks: score with interval, baseline, verdict, version, alias."""
    from rich.table import Table

    colours = {"pass": "green", "hold": "yellow", "reject": "red"}
    table = Table(box=None, pad_edge=False)
    for heading in ("candidate", "metric on test", "baseline", "verdict", "version", "alias"):
        table.add_column(heading, no_wrap=True)
    for row in read_standing() if rows is None else rows:
        if row["task"] not in tasks:
            continue
        score = "–"
        if row["score"] is not None:
            low, high = row["interval"]
            score = f"{row['metric']} {row['score']:.4g} [{low:.4g}, {high:.4g}]"
        verdict = row["verdict"] or "not judged"
        table.add_row(
            row["candidate"],
            score.replace("[", r"\["),
            "–" if row["baseline"] is None else f"{row['baseline']:.4g}",
            f"[{colours.get(verdict, 'default')}]{verdict}[/]",
            str(row["version"] or "–"),
            ", ".join(row["aliases"]) or "–",
        )
    show(table)


def show(table: Table) -> None:
    """Print a table, whole even where the output is no terminal and has no width."""
    from rich.console import Console

    console = Console()
    wide = Console(width=max(console.width, 130)) if not console.is_terminal else console
    wide.print()
    wide.print(table)


def read_standing() -> list[dict[str, Any]]:
    """The candidates' standing as the report last had it."""
    from hour9.report import STANDING, standing

    return json.loads(STANDING.read_text()) if STANDING.exists() else standing()


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


def status(asked: argparse.Namespace) -> int:
    """Print every candidate's standing, and what is stale."""
    from hour9 import dag
    from hour9.report import standing

    try:
        stale = dag.stale()
    except dag.Busy as busy:
        print(busy, file=sys.stderr)
        stale = {}
    rows = [{**row, **hashes(row), "stale": is_stale(row, stale)} for row in standing()]
    if asked.json:
        print(json.dumps(rows, indent=2))
        return 0
    from hour9.params import read_params
    from hour9.run import RegistryCheck

    show_table(list(read_params()["tasks"]), rows)
    if stale:
        print(f"\n{len(stale)} stages are stale: {', '.join(stale)}\nhour9 run brings them up")
    if not RegistryCheck(read_params()["tasks"]).agrees():
        print("the registry is behind the outs: hour9 run registers them")
    return 0


def is_stale(row: dict[str, Any], stale: dict[str, Any]) -> bool:
    """Whether some stage that the candidate stands on would run again."""
    of_task = {f"{kind}@{row['task']}" for kind in ("ingest", "validate", "register")}
    of_candidate = {f"{kind}@{row['candidate']}" for kind in ("train", "evaluate", "judge")}
    return bool((of_task | of_candidate) & stale.keys())


def hashes(row: dict[str, Any]) -> dict[str, str | None]:
    """DVC's hashes of the candidate's model and data, as they lie on disk."""
    from hour9.params import DATA, MODELS
    from hour9.registry.lineage import dvc_md5

    folders = {"model_md5": MODELS / row["task"] / row["candidate"], "data_md5": DATA / row["task"]}
    return {name: dvc_md5(path) if path.exists() else None for name, path in folders.items()}


def docs(asked: argparse.Namespace) -> int:
    """Draw the Data Docs of a task, and say where they are and what they ask of a network."""
    from hour9.config import check_task
    from hour9.params import DATA

    task = check_task(asked.task)
    if not (DATA / task).exists():
        print(f"there is no data/{task} yet; hour9 run --task {task}", file=sys.stderr)
        return 2
    from hour9 import data_docs

    print(data_docs.build(task))
    print("a browser that opens it loads scripts from other hosts; `make ui` serves it, too")
    return 0


def clean(asked: argparse.Namespace) -> int:
    """Name what may go; delete it where a person, or --yes, says so."""
    from hour9 import clean as cleaning
    from hour9.run import one_run

    with one_run():  # a training goes on from its checkpoint
        freed = cleaning.everything()
        print("\n".join(cleaning.lines(freed)) or "there is nothing to clean")
        if not freed:
            return 0
        if not (asked.yes or (sys.stdin.isatty() and input("delete it? [y/N] ") == "y")):
            print("nothing was deleted; hour9 clean --yes deletes it")
            return 0
        for one in freed:
            one.remove()
    print(f"freed {sum(one.size for one in freed) / 1e6:.1f} MB")
    return 0


def report(asked: argparse.Namespace) -> int:
    """Draw the page."""
    from hour9.report import PAGE
    from hour9.report import report as draw

    draw()
    print(PAGE)
    return 0


def ui(asked: argparse.Namespace) -> int:
    """Serve both UIs and the report until stopped."""
    from hour9.ui import serve

    return serve(asked.prefect_port, asked.mlflow_port, asked.report_port)


if __name__ == "__main__":
    sys.exit(main())
