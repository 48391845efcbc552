"""Serve both UIs and the report on loopback, with the deployments ready and workers that run them.

A run hangs in "Late" where its pool has no worker, and in "Running" where nobody misses its
heartbeat; so there is a worker for each pool here, and `operate.py` sets up the rest.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import NoReturn

from hour9 import operate
from hour9.pages import ADDRESS, pages
from hour9.params import write_whole
from hour9.registry.tracking import address, connect
from hour9.run import has_gpu
from hour9.servers import (
    HOST,
    UI_NOTE,
    NotServed,
    check_free,
    log_of,
    mlflow_environment,
    prefect_environment,
    process,
    running_ui,
    wait_for,
)
from hour9.stage import AlreadyRunning, only_one

AGAIN = 120  # seconds in which a worker that died for the third time is not started any more


@contextmanager
def only_ui() -> Iterator[None]:
    """Raises NotServed where this checkout is served already: both would write to one database."""
    with ExitStack() as held:
        try:
            held.enter_context(only_one("ui"))
        except AlreadyRunning as error:
            at = running_ui().get("prefect", "").removesuffix("/api")  # nothing while it starts
            told = f"already running at {at}; stop it first" if at else f"hour9 ui is {error}"
            raise NotServed(told) from None
        yield


@only_ui()
def serve(prefect_port: int, mlflow_port: int, report_port: int) -> int:
    """Start servers and workers, say where they are, and stay until stopped."""
    prefect, mlflow = f"http://{HOST}:{prefect_port}", f"http://{HOST}:{mlflow_port}"
    ports = {"prefect": prefect_port, "mlflow": mlflow_port, "report": report_port}
    for name, port in ports.items():
        check_free(port, f"make ui UI=--{name}-port=")
    stop_when_told()
    prefect_environment()
    mlflow_environment()
    os.environ |= {
        "PREFECT_API_URL": f"{prefect}/api",
        "PREFECT_SERVER_UI_API_URL": f"{prefect}/api",
        # No other page in the person's browser may ask: a deployment can run a command.
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": f"{prefect},http://localhost:{prefect_port}",
        "HOUR9_MLFLOW_URL": mlflow,
        ADDRESS: f"http://{HOST}:{report_port}",
    }
    os.environ.setdefault("PREFECT_WORKER_QUERY_SECONDS", "2")  # not 10: somebody waits for it
    os.environ.setdefault("HOUR9_POOL", "gpu" if has_gpu() else "cpu")
    connect()  # makes the database before the server looks at it
    print("starting, about half a minute", flush=True)
    with ExitStack() as running:
        start = running.enter_context
        servers = {
            "prefect": start(
                process("prefect", "server", "start", "--host", HOST, "--port", str(prefect_port))
            ),
            "mlflow": start(
                process(
                    *("mlflow", "server", "--host", HOST, "--port", str(mlflow_port)),
                    *("--backend-store-uri", address()),
                    *("--workers", "1"),  # one person's; each takes 170 MB and 4 s to start
                )
            ),
        }
        start(pages(HOST, report_port))
        wait_for(f"{prefect}/api/health", by=servers["prefect"])
        wait_for(f"{mlflow}/health", by=servers["mlflow"])
        operate.set_up()
        workers = [Worker(pool) for pool in operate.POOLS]
        for worker in workers:
            running.callback(worker.stop)
        for worker in workers:  # before that, the page says "Not Ready" of every deployment
            wait_for(f"{prefect}/api/work_pools/{worker.pool}", has_worker, worker.process)
        served = {"prefect": f"{prefect}/api", "mlflow": mlflow, "report": os.environ[ADDRESS]}
        write_whole(UI_NOTE, json.dumps({"pid": os.getpid(), **served}))
        running.callback(UI_NOTE.unlink, missing_ok=True)
        print(
            f"Prefect {prefect}/deployments\nMLflow  {mlflow}/#/models\n"
            f"Report  {os.environ[ADDRESS]}\nCtrl-C stops them",
            flush=True,
        )
        try:
            watch(servers, workers)
        except KeyboardInterrupt:
            return 0


def stop_when_told() -> None:
    """Ctrl-C, SIGTERM and a terminal that closes all end it in order."""
    stops = [signal.SIGINT, signal.SIGTERM]  # a shell's background job ignores the first
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as nohup has it
        stops.append(signal.SIGHUP)
    for stop in stops:
        signal.signal(stop, signal.default_int_handler)


class Worker:
    """A worker of a pool, started anew when it dies."""

    def __init__(self, pool: str):
        self.pool, self.name = pool, f"worker-{pool}"
        self.deaths: list[float] = []
        self.start()

    def start(self) -> None:
        self.held = ExitStack()
        self.process = self.held.enter_context(
            process("prefect", "worker", "start", "--pool", self.pool, name=self.name)
        )

    def stop(self) -> None:
        self.held.close()

    def revive(self) -> None:
        """Raises NotServed where it dies again and again."""
        status, log, now = self.process.poll(), log_of("prefect", self.name), time.monotonic()
        self.deaths = [*(death for death in self.deaths if now - death < AGAIN), now]
        if len(self.deaths) == 3:
            raise NotServed(f"the worker of pool {self.pool} ended with status {status}; see {log}")
        print(
            f"the worker of pool {self.pool} died with status {status}, its log is {log}.1; "
            "another one starts",
            flush=True,
        )
        self.stop()
        self.start()


def watch(servers: dict[str, subprocess.Popen[bytes]], workers: Iterable[Worker]) -> NoReturn:
    """Revive a worker that died. Raises NotServed where a server did: all else stands on it."""
    while True:
        for name, server in servers.items():
            if server.poll() is not None:
                log = log_of(name, "server")
                raise NotServed(f"{name}'s server ended by itself; see {log}, then make ui")
        for worker in workers:
            if worker.process.poll() is not None:
                worker.revive()
        time.sleep(1)


def has_worker(pool: bytes) -> bool:
    """Whether a worker takes the pool's runs, or will once the person who paused it lets it."""
    return json.loads(pool)["status"] in ("READY", "PAUSED")
