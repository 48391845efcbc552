"""The `hour9` command."""

from __future__ import annotations

import argparse
import atexit
import gc
import getpass
import locale
import os
import select
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hour9 import ask, bring_up, release, standing
from hour9.params import PARAMS, STATE, UnknownName
from hour9.stage import ENVIRONMENT

NO, MISTAKE = 1, 2
TASK = "one of params.yaml, e.g. nodes"
DEFAULT = "default: %(default)s"
STATUS = """exit status: 0 done, or it is so; 1 the answer is no: a run failed, a promotion was
refused, a new training is asked for, another model came out, the journal is broken; 2 it could
not be asked: a name, a file or a setting is wrong"""
COLLECT_AFTER = 500_000  # objects made and not freed
WAY_OUT = {  # what to do where a tool stopped on its own files
    "dvc.lock": "if dvc.lock is damaged: git checkout dvc.lock",
    "not a git repository": "without git: .venv/bin/dvc config --local core.no_scm true",
    "rwlock": "if no other DVC is at work: rm .dvc/tmp/rwlock",
    "sqlalchemy": "if the store in mlruns/ is damaged: move mlruns/ away and run again; the "
    "registry is rebuilt from the outs, but not its journal: who promoted what, and why",
}
TOOLS = ("dvc", "sqlalchemy", "mlflow")


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and do what it says; a person's mistake is one or two lines."""
    if arguments is None:
        speak_utf8()
    asked = parser().parse_args(arguments)
    if not PARAMS.exists():
        print(f"no {PARAMS} here: run hour9 in the project's own folder", file=sys.stderr)
        return MISTAKE
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    name_the_user()
    gc.set_threshold(COLLECT_AFTER)  # a fifth of what importing DVC and Prefect takes
    atexit.register(gc.freeze)  # nor is anything collected at the end, where the process goes
    try:
        status = asked.command(asked)
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        if not unread():
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        print("stopped; what was finished stays, run again to go on", file=sys.stderr)
        return 130
    except Exception as error:
        owner = type(error).__module__.split(".")[0]
        if owner not in ("hour9", "flows", *TOOLS):
            traceback.print_exc()
            return MISTAKE  # Python's own would be 1
        words = str(error).strip().splitlines() or [type(error).__name__]
        print("\n".join(words) if owner in ("hour9", "flows") else words[0], file=sys.stderr)
        if owner == "mlflow" and "sqlite3" in words[0]:  # it passes on what the store says
            owner = "sqlalchemy"
        for cause, way in WAY_OUT.items():
            if cause == owner or (owner == "dvc" and cause in words[0]):
                print(way, file=sys.stderr)
        from hour9.registry.examination import Refused
        from hour9.registry.journal import Overtaken

        no = isinstance(error, Refused | Overtaken | bring_up.RunFailed)
        return NO if no and not isinstance(error, UnknownName) else MISTAKE


def speak_utf8() -> None:
    """Start again in Python's UTF-8 mode where the locale says otherwise: files are UTF-8."""
    name = "PYTHONUTF8"  # who set it to 0 knows why
    if locale.getpreferredencoding(False).lower() != "utf-8" and name not in os.environ:
        os.execve(sys.executable, sys.orig_argv, {**os.environ, name: ENVIRONMENT[name]})


def name_the_user() -> None:
    """DVC and the journal ask for a name, and libraries for a home: a uid that has neither, as in a
    container, is its own, and at home in the checkout's state."""
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["USER"] = str(os.getuid())
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = str(STATE.absolute())


def unread() -> bool:
    """Whether nobody reads what is printed any more: `head` has seen enough."""
    printed = select.poll()
    printed.register(sys.stdout, 0)
    return any(event & select.POLLERR for _, event in printed.poll(0))


class Once(argparse.Action):
    """An option of which the last would win, and the others be forgotten without a word."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option: str | None = None,
    ) -> None:
        if getattr(namespace, self.dest):
            parser.error(f"{option} takes one name; run them one after the other, or all")
        setattr(namespace, self.dest, values)


def at_least(lowest: int) -> Callable[[str], int]:
    """The type of an option that is a whole number from here on."""

    def number(given: str) -> int:
        if (found := int(given)) < lowest:
            raise argparse.ArgumentTypeError(f"invalid value: {found} (at least {lowest})")
        return found

    return number


def port(given: str) -> int:
    """The type of an option that is a TCP port."""
    if not 1 <= (found := int(given)) <= 65535:
        raise argparse.ArgumentTypeError(f"invalid value: {found} (1 to 65535)")
    return found


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    top = argparse.ArgumentParser(prog="hour9", description=__doc__, epilog=STATUS)
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, does: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=does, description=does)

    add = command("run", "bring the pipeline, or a part of it, up to date")
    add.add_argument("--topic", default="", action=Once, help="only the tasks of this topic")
    add.add_argument("--task", default="", action=Once, help="only this task")
    add.add_argument("--candidate", default="", action=Once, help="only this candidate")
    add.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="settings",
        help="change params.yaml first, e.g. candidates.nodes-gcn.seed=1",
    )
    add.add_argument("--pool", default="", help="train and evaluate on its workers; see `worker`")
    add.set_defaults(command=bring_up.run)

    add = command("worker", "lend this machine: take stages of `run --pool`")
    add.add_argument("--pool", default="workers", help=f"the one to join; {DEFAULT}")
    add.add_argument("--limit", type=at_least(1), default=1, help=f"stages at once; {DEFAULT}")
    add.set_defaults(command=worker)

    add = command("sweep", "search a candidate's settings, by validation alone")
    add.add_argument("task", help=TASK)
    add.add_argument(
        "--candidate", default="", action=Once, help="the task's first that can be searched"
    )
    add.add_argument("--trials", type=at_least(1), default=20, help=f"how many; {DEFAULT}")
    add.add_argument("--seed", type=at_least(0), default=0, help=f"of what is tried; {DEFAULT}")
    add.add_argument(
        "--at-once",
        type=at_least(0),
        default=0,
        help=f"trials side by side; 0: a processor each; {DEFAULT}",
    )
    add.add_argument("--pool", default="", help="on its workers; see `worker`")
    add.add_argument("--accept", action="store_true", help="write the last sweep's best down")
    add.set_defaults(command=sweep)

    add = command("status", "where every candidate stands")
    add.add_argument("--json", action="store_true", help="for programs")
    add.set_defaults(command=standing.status)

    add = command("report", "draw reports/index.html again")
    add.set_defaults(command=report)

    add = command("predict", "ask a task's champion, or else its challenger")
    add.add_argument("task", help=TASK)
    add.add_argument("request", help='JSON rows, e.g. \'{"text": "a fine film"}\', or plain text')
    add.add_argument("--alias", default="", help="which version answers")
    add.add_argument("--explain", action="store_true", help="what each word of a text added")
    add.set_defaults(command=ask.predict)

    add = command("serve", "answer for a task over HTTP, on loopback")
    add.add_argument("task", help=TASK)
    add.add_argument("--alias", default="", help="the champion, or else the challenger")
    add.add_argument("--port", type=port, default=8000, help=DEFAULT)
    add.set_defaults(command=ask.serve)

    add = command("promote", "make a version the champion, if the gates let it")
    add.add_argument("task", help=TASK)
    add.add_argument("--version", default="", help="the challenger, if not given")
    add.add_argument("--reason", default="", help="promote against the gates; it is kept for ever")
    add.set_defaults(command=release.promote)

    add = command("rollback", "make the previous champion the champion again")
    add.add_argument("task", help=TASK)
    add.add_argument("--reason", default="", help="why; it goes into the journal")
    add.set_defaults(command=release.rollback)

    add = command("journal", "who promoted what, when and why")
    add.add_argument("task", nargs="?", default="", help=f"{TASK}; all by default")
    add.add_argument("--json", action="store_true", help="for programs")
    add.set_defaults(command=release.journal)

    add = command("trace", "from a version back to the raw bytes")
    add.add_argument("version", metavar="TASK@ALIAS", help="or TASK/NUMBER")
    add.set_defaults(command=release.trace)

    add = command("reproduce", "train a version again, from its own commit")
    add.add_argument("version", metavar="TASK@ALIAS", help="or TASK/NUMBER")
    add.set_defaults(command=release.reproduce)

    add = command("register", "make the registry agree with the outs here")
    add.add_argument("task", help=TASK)
    add.add_argument(
        "--rebuild",
        action="store_true",
        help="versions that lost run or package, or answer by old code, too",
    )
    add.set_defaults(command=release.register)

    add = command("restore", "put what DVC's cache lost back from a version")
    add.add_argument("version", metavar="TASK@ALIAS", help="or TASK/NUMBER")
    add.set_defaults(command=release.restore)

    add = command("monitor", "are the requests of late like the training data?")
    add.add_argument("task", help=TASK)
    add.add_argument("file", help="requests: a JSON object a line, CSV or Parquet")
    add.add_argument("--alias", default="", help="the champion, or else the challenger")
    add.add_argument("--json", action="store_true", help="for programs")
    add.set_defaults(command=ask.monitor)

    add = command("docs", "draw Great Expectations' pages about a task's data")
    add.add_argument("task", help=TASK)
    add.set_defaults(command=docs)

    add = command("clean", "say what nothing asks for any more, and delete it")
    add.add_argument("--yes", action="store_true", help="delete without asking")
    add.set_defaults(command=clean)

    add = command("watch", "see a task's challenger play, where there is a screen")
    add.add_argument("task", help=TASK)
    add.set_defaults(command=ask.watch)

    add = command("ui", "serve both UIs and the report on loopback, with workers")
    add.add_argument("--prefect-port", type=port, default=4200, help=DEFAULT)
    add.add_argument("--mlflow-port", type=port, default=5000, help=DEFAULT)
    add.add_argument("--report-port", type=port, default=4300, help=DEFAULT)
    add.set_defaults(command=ui)
    return top


def worker(asked: argparse.Namespace) -> int:
    """Take stages that others send, until stopped."""
    from hour9 import remote

    return remote.serve(asked.pool, asked.limit)


def sweep(asked: argparse.Namespace) -> int:
    """Search, and offer the best; or write down what the last search offered."""
    from hour9 import sweep as sweeps
    from hour9.config import check_task
    from hour9.run import one_run

    check_task(asked.task)
    if asked.accept:
        with one_run():  # what is being trained is registered with the settings it began with
            changes = sweeps.accept(asked.task, asked.candidate)
        print("\n".join(changes) or "the last sweep found nothing better")
    else:
        sweeps.sweep(
            asked.task, asked.candidate, asked.trials, asked.seed, asked.at_once, asked.pool
        )
    return 0


def docs(asked: argparse.Namespace) -> int:
    """Draw the Data Docs of a task, and say where they are and what they ask of a network."""
    from hour9.config import check_task
    from hour9.params import DATA

    task = check_task(asked.task)
    if not (DATA / task).exists():
        print(f"there is no data/{task} yet; hour9 run --task {task}", file=sys.stderr)
        return 2
    from hour9.data_docs import data_docs

    print(data_docs(task))
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
        if not (asked.yes or (sys.stdin.isatty() and says_yes("delete it? [y/N] "))):
            print("nothing was deleted; hour9 clean --yes deletes it")
            return 0
        for one in freed:
            one.remove()
    print(f"freed {sum(one.size for one in freed) / 1e6:.1f} MB")
    return 0


def says_yes(question: str) -> bool:
    """Ctrl-D is a no."""
    try:
        return input(question) == "y"
    except EOFError:
        print()
        return False


def report(asked: argparse.Namespace) -> int:
    """Draw the page."""
    from hour9.params import PAGE
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
