"""Serve both UIs on loopback, with the deployments ready and a worker that runs them."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hour9.cli import UI_NOTE
from hour9.registry.tracking import STORE, connect
from hour9.stage import die_with_parent

HOST = "127.0.0.1"
PATIENCE = 180  # seconds until a server must answer
POOL = "cpu"


class NotServed(RuntimeError):  # noqa: N818 - reads as a sentence where it is raised
    """A server did not come up."""


def serve(prefect_port: int, mlflow_port: int) -> int:
    """Start servers and worker, say where they are, and stay until stopped."""
    prefect, mlflow = f"http://{HOST}:{prefect_port}", f"http://{HOST}:{mlflow_port}"
    for port, option in ((prefect_port, "--prefect-port"), (mlflow_port, "--mlflow-port")):
        check_free(port, option)
    for stop in (signal.SIGINT, signal.SIGTERM):  # a shell's background job ignores the first
        signal.signal(stop, signal.default_int_handler)
    os.environ |= {
        "PREFECT_API_URL": f"{prefect}/api",
        "PREFECT_SERVER_UI_API_URL": f"{prefect}/api",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
        "HOUR9_ROOT": str(Path.cwd()),
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "INFO",
    }
    connect()  # makes the database before the server looks at it
    with (
        process("prefect", "server", "start", "--host", HOST, "--port", str(prefect_port)),
        process(
            *("mlflow", "server", "--host", HOST, "--port", str(mlflow_port)),
            *("--backend-store-uri", os.environ.get("MLFLOW_TRACKING_URI", STORE)),
        ),
    ):
        wait_for(f"{prefect}/api/health")
        wait_for(f"{mlflow}/health")
        deploy()
        with process("prefect", "worker", "start", "--pool", POOL, "--type", "process"):
            UI_NOTE.write_text(json.dumps({"pid": os.getpid(), "prefect": f"{prefect}/api"}))
            print(f"Prefect {prefect}/deployments\nMLflow  {mlflow}\nCtrl-C stops both", flush=True)
            try:
                signal.pause()
            except KeyboardInterrupt:
                return 0
            finally:
                UI_NOTE.unlink(missing_ok=True)
    return 0


@contextmanager
def process(tool: str, *arguments: str) -> Iterator[None]:
    """A tool of this environment in a process group of its own, ended with the block."""
    log = Path(".hour9") / f"{tool}-{arguments[0]}.log"
    with log.open("w") as file:
        running = subprocess.Popen(
            [str(Path(sys.executable).with_name(tool)), *arguments],
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
    try:
        yield
    finally:
        os.killpg(running.pid, signal.SIGTERM)
        try:
            running.wait(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, signal.SIGKILL)


def check_free(port: int, option: str) -> None:
    """Refuse a port that somebody else serves: its answers would pass for ours."""
    with socket.socket() as probe:
        if probe.connect_ex((HOST, port)) == 0:
            raise NotServed(f"port {port} is taken; choose another: make ui UI={option}=N")


def wait_for(url: str) -> None:
    """Return when the address answers."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    raise NotServed(f"{url} did not answer in {PATIENCE} s; see .hour9/*-server.log")


def deploy() -> None:
    """Make the work pool and every deployment of prefect.yaml."""
    prefect = str(Path(sys.executable).with_name("prefect"))
    for command in (
        ["work-pool", "create", POOL, "--type", "process", "--overwrite"],
        ["--no-prompt", "deploy", "--all"],
    ):
        done = subprocess.run([prefect, *command], capture_output=True, text=True)
        if done.returncode:
            raise NotServed(f"prefect {' '.join(command)}: {(done.stdout + done.stderr)[-600:]}")
