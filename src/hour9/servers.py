"""Starting the tools' servers: on loopback, with their files in the checkout, never left behind."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hour9.params import STATE
from hour9.stage import die_with_parent

HOST = "127.0.0.1"
LEASES = "prefect.server.concurrency.lease_storage.filesystem"
PATIENCE = 180  # seconds until a server must answer
UI_NOTE = STATE / "ui.json"
"""Where `hour9 ui` serves Prefect, MLflow and the report, for a `hour9 run` beside it."""
LINKS = {"HOUR9_MLFLOW_URL": "mlflow", "HOUR9_REPORT_URL": "report"}
"""What a flow's artifacts link to, and what the note calls it."""


class NotServed(RuntimeError):  # noqa: N818 - reads as a sentence where it is raised
    """A server did not come up."""


def prefect_environment() -> None:
    """Prefect's own files stay in the checkout, and nothing is sent anywhere."""
    defaults = {
        "PREFECT_HOME": str(Path.cwd() / STATE / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
        "DO_NOT_TRACK": "true",
        # A run that dies is missed, and the slot it held is free again, whoever else died with it.
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": LEASES,
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)


def mlflow_environment() -> None:
    """What MLflow's server is told: no jobs, and a connection for each of its forty threads.

    With fewer, some of many requests at once wait for 30 s and are refused ("QueuePool limit").
    """
    os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
    os.environ.setdefault("MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW", "35")  # beside a pool of 5


@dataclass(frozen=True)
class PrefectServer:
    """Where Prefect's API is, and whether a server has to be started there.

    Not Prefect's ephemeral server: that one outlives a parent that is killed.
    """

    api: str
    port: int = 0  # of a server that has to be started

    @classmethod
    def find(cls) -> "PrefectServer":
        """The server that PREFECT_API_URL names, the one that `ui` runs, or one of our own."""
        prefect_environment()
        ui = running_ui()
        if served := os.environ.get("PREFECT_API_URL") or ui.get("prefect"):
            if served == ui.get("prefect"):
                link_as(ui)
            return cls(served)
        port = free_port()
        return cls(f"http://{HOST}:{port}/api", port)

    @classmethod
    def shared(cls) -> "PrefectServer":
        """The one where senders and workers meet, which whatever this process starts asks too."""
        served = os.environ.get("PREFECT_API_URL") or running_ui().get("prefect")
        if not served:
            raise NotServed(
                "workers and those who send to them meet at one Prefect server, and none is named: "
                "export PREFECT_API_URL=http://HOST:4200/api, or start hour9 ui here"
            )
        prefect_environment()
        os.environ["PREFECT_API_URL"] = served
        return cls(served)

    @contextmanager
    def started(self) -> Iterator[subprocess.Popen[bytes] | None]:
        """It is served inside the block, or will be soon: `wait_for` it, by this process if any."""
        if not self.port:
            yield None
            return
        at = ("--host", HOST, "--port", str(self.port))
        with process("prefect", "server", "start", "--no-services", *at) as server:
            yield server


def running_ui() -> dict[str, Any]:
    """What `hour9 ui` noted, where it is running and its Prefect answers; else nothing."""
    try:
        note = json.loads(UI_NOTE.read_text())
        os.kill(note["pid"], 0)
        with urllib.request.urlopen(f"{note['prefect']}/health", timeout=10):
            return note
    except OSError:  # none, or nobody there any more
        return {}


def link_as(ui: dict[str, Any]) -> None:
    """Let a run on the UI's own Prefect link to its MLflow and report, as its other runs do."""
    for name, what in LINKS.items():
        if what in ui:
            os.environ.setdefault(name, ui[what])


@contextmanager
def process(tool: str, *arguments: str, name: str = "") -> Iterator[subprocess.Popen[bytes]]:
    """A tool of this environment in a process group of its own, ended with the block."""
    log = log_of(tool, name or arguments[0])
    log.parent.mkdir(exist_ok=True)
    if log.exists():  # what the last one said may be why this one is started
        log.replace(log.with_suffix(".log.1"))
    with log.open("w") as file:
        running = subprocess.Popen(
            [str(Path(sys.executable).with_name(tool)), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
    with killed_with_us(running.pid):
        try:
            yield running
        finally:
            try:
                os.killpg(running.pid, signal.SIGTERM)
                running.wait(timeout=10)
            except subprocess.TimeoutExpired:
                os.killpg(running.pid, signal.SIGKILL)
                running.wait()
            except ProcessLookupError:
                running.wait()


@contextmanager
def killed_with_us(group: int) -> Iterator[None]:
    """What is left of the process group is killed after the block, or when this process dies in it.

    `die_with_parent` reaches the tool alone, not what it started. Here a shell waits at a pipe,
    which the kernel closes when this process is gone, by SIGKILL too.
    """
    with subprocess.Popen(
        ["sh", "-c", 'read _; kill -9 "-$1"', "sh", str(group)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ):
        yield


def log_of(tool: str, name: str) -> Path:
    """Where `process` has a tool print."""
    return STATE / f"{tool}-{name}.log"


def free_port() -> int:
    """A port that nobody serves now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def check_free(port: int, instead: str) -> None:
    """Refuse a port that somebody else serves: its answers would pass for ours.

    `instead` is how to name another, up to its number.
    """
    with socket.socket() as probe:
        if probe.connect_ex((HOST, port)) == 0:
            raise NotServed(f"port {port} is taken; choose another: {instead}N")


def wait_for(
    url: str,
    ready: Callable[[bytes], bool] = lambda answer: True,
    by: subprocess.Popen[bytes] | None = None,
) -> None:
    """Return when the address answers, and what it answers is ready.

    Raises NotServed where it does not in time, or where the process that it waits for has ended.
    """
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if by and (status := by.poll()) is not None:
            raise NotServed(f"what serves {url} ended with status {status}; see .hour9/*.log")
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                if ready(answer.read()):
                    return
        except (urllib.error.URLError, OSError):
            pass
        time.sleep(0.2)
    raise NotServed(f"{url} did not answer in {PATIENCE} s; see .hour9/*-server.log")
