"""Serve both UIs on loopback, with the deployments ready and a worker that runs them."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from hour9.registry.tracking import STORE, connect
from hour9.servers import (
    HOST,
    UI_NOTE,
    NotServed,
    check_free,
    prefect_environment,
    process,
    wait_for,
)

POOL = "cpu"


def serve(prefect_port: int, mlflow_port: int) -> int:
    """Start servers and worker, say where they are, and stay until stopped."""
    prefect, mlflow = f"http://{HOST}:{prefect_port}", f"http://{HOST}:{mlflow_port}"
    for port, option in ((prefect_port, "--prefect-port"), (mlflow_port, "--mlflow-port")):
        check_free(port, option)
    for stop in (signal.SIGINT, signal.SIGTERM):  # a shell's background job ignores the first
        signal.signal(stop, signal.default_int_handler)
    prefect_environment()
    os.environ |= {
        "PREFECT_API_URL": f"{prefect}/api",
        "PREFECT_SERVER_UI_API_URL": f"{prefect}/api",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "HOUR9_ROOT": str(Path.cwd()),  # for prefect.yaml
    }
    connect()  # makes the database before the server looks at it
    print("starting, about half a minute", flush=True)
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
