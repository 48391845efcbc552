"""One run of the pipeline in this checkout: its lock, what it has to do, where its time went."""

from __future__ import annotations

import contextlib
import fcntl
import heapq
import itertools
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, TextIO

import psutil

from hour9 import dag
from hour9.params import RECEIPTS, STATE
from hour9.stage import LOGS, WARM
from hour9.warm import WarmProcess

TIMELINE = STATE / "timeline.jsonl"
RUN_LOCK = STATE / "run.lock"
HOLDER = "HOUR9_RUN"  # the process that holds it
FORCE = "HOUR9_FORCE"  # set by `hour9 run`, for its flow: stages to force, with commas between
GPU_LOCK = Path(tempfile.gettempdir()) / f"hour9-gpu-{os.getuid()}.lock"  # of all checkouts
GPU_POLL = 0.5  # seconds
TRAINS = ("train@", "trial@")

KINDS = {  # in this order an instant is attributed: what counts most of what runs then
    "train": "training",
    "evaluate": "evaluation",
    "weights": "data: weights, ingest, validate",
    "ingest": "data: weights, ingest, validate",
    "validate": "data: weights, ingest, validate",
    "judge": "judging",
    "register": "registry",
    "report": "report",
    "data_docs": "report",
    "prefect": "start: Prefect server, imports",
    "imports": "start: Prefect server, imports",
    "status": "start: what is stale (DVC, registry)",
}
REST = "DVC and waiting between stages"


class Run:
    """What DVC said of the DAG when the run began: the command and its flow both want to know."""

    current: Run
    asked: subprocess.Popen[str] | None = None

    def ask(self) -> None:
        """Have DVC asked in a process of its own, while this one has something else to do."""
        command = [sys.executable, "-m", "hour9.dag"]
        self.asked = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    @cached_property
    def known(self) -> tuple[list[dag.Stage], dict[str, Any]]:
        if self.asked is not None:
            answer, _ = self.asked.communicate()
            if self.asked.returncode == 0:
                return dag.from_json(answer)
        return dag.survey()  # what is wrong is said here, in its own words

    @property
    def stages(self) -> list[dag.Stage]:
        return self.known[0]

    @property
    def stale(self) -> dict[str, Any]:
        return self.known[1]


@contextmanager
def one_run(say: Callable[[str], None] = print) -> Iterator[Run]:
    """One run at a time in a checkout; a second waits and says for whom.

    Inside its own block it is free: the command holds it around the flow that asks for it too.
    """
    if os.environ.get(HOLDER) == str(os.getpid()):
        yield Run.current
        return
    STATE.mkdir(exist_ok=True)
    with RUN_LOCK.open("a+") as file:
        if not locked(file):
            file.seek(0)
            say(f"waits for another run of this checkout: {file.read().strip() or 'unknown'}")
            fcntl.flock(file, fcntl.LOCK_EX)
        file.truncate(0)
        file.write(f"process {os.getpid()} since {time.strftime('%H:%M:%S')}")
        file.flush()
        os.environ[HOLDER] = str(os.getpid())
        Run.current = Run()
        try:
            yield Run.current
        finally:
            del os.environ[HOLDER]
            file.truncate(0)


@contextmanager
def warmed() -> Iterator[None]:
    """Stages started in the block print to their own logs and are forked from a warm process."""
    if WARM in os.environ:
        yield
        return
    dag.LOGS.mkdir(parents=True, exist_ok=True)
    with WarmProcess() as warm:
        os.environ |= {WARM: str(warm.socket), LOGS: str(dag.LOGS)}
        try:
            yield
        finally:
            del os.environ[WARM], os.environ[LOGS]


class Stopped(RuntimeError):  # noqa: N818 - reads as a sentence where it is raised
    """Somebody stopped the run."""


class Slots:
    """So many stages at once; of those that wait, the first in the DAG's order goes first."""

    def __init__(self, number: int):
        self.free = number
        self.waiting: list[int] = []
        self.closed = False
        self.changed = threading.Condition()

    @contextmanager
    def taken(self, place: int) -> Iterator[None]:
        """Hold a slot inside the block."""
        with self.changed:
            heapq.heappush(self.waiting, place)
            self.changed.wait_for(lambda: self.closed or (self.free and self.waiting[0] == place))
            if self.closed:
                raise Stopped("the run was stopped before this stage began")
            heapq.heappop(self.waiting)
            self.free -= 1
            self.changed.notify_all()
        try:
            yield
        finally:
            with self.changed:
                self.free += 1
                self.changed.notify_all()

    def stop(self) -> None:
        """Let nothing more begin, and kill the stages that run: their trainings can go on later."""
        with self.changed:
            self.closed = True
            self.changed.notify_all()
        for child in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if "hour9.stage" in child.cmdline():
                    child.kill()


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def has_gpu() -> bool:
    """Whether this machine has an NVIDIA GPU that may be used. Asks nobody: Torch takes seconds."""
    return os.environ.get("CUDA_VISIBLE_DEVICES", "all") != "" and Path("/dev/nvidiactl").exists()


def on_gpu(stage: str) -> bool:
    """Whether the stage trains, and there is a GPU for it here."""
    return stage.startswith(TRAINS) and has_gpu()


@contextmanager
def gpu_turn(stage: str, stopped: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Hold this machine's GPU where the stage trains on one: one training at a time, whichever
    runs, sweeps and workers they belong to. Raises Stopped."""
    if not on_gpu(stage):
        yield
        return
    with GPU_LOCK.open("a") as file:
        while not locked(file):
            if stopped():
                raise Stopped("the run was stopped before this stage began")
            time.sleep(GPU_POLL)
        yield


def locked(file: TextIO) -> bool:
    """Whether nobody else holds the file's lock: then it is ours."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class RegistryCheck:
    """Asks in a process of its own, beside DVC's check, whether the registry agrees with the outs.

    Importing MLflow takes as long as DVC's whole answer, and there is a second core.
    """

    def __init__(self, tasks: Iterable[str]):
        self.receipts = [RECEIPTS / f"{task}.json" for task in tasks]
        self.process: subprocess.Popen[bytes] | None = None
        if self.receipts and all(path.exists() for path in self.receipts):
            self.process = subprocess.Popen(
                [sys.executable, "-m", "hour9.registry.check", *map(str, self.receipts)]
            )

    def behind(self) -> list[str]:
        """Wait for the answer: the stages that register what the registry lacks."""
        if self.process is not None and self.process.wait() == 0:
            return []
        return [f"register@{path.stem}" for path in self.receipts]


def note(kind: str, started: float) -> None:
    """Add to the timeline what this process itself did."""
    line = {"kind": kind, "name": "", "start": started, "end": time.time()}
    with TIMELINE.open("a") as file:
        file.write(json.dumps(line) + "\n")


def where_time_went(started: float, ended: float) -> dict[str, float]:
    """Wall seconds by kind: each instant counts for the most important stage that ran then."""
    entries = [json.loads(line) for line in TIMELINE.read_text().splitlines()]
    rank = list(KINDS)
    spans = [
        (max(e["start"], started), min(e["end"], ended), rank.index(e["kind"])) for e in entries
    ]
    cuts = sorted({started, ended, *(t for a, b, _ in spans if a < b for t in (a, b))})
    seconds: dict[str, float] = {}
    for a, b in itertools.pairwise(cuts):
        running = [kind for start, end, kind in spans if start <= a and end >= b]
        name = KINDS[rank[min(running)]] if running else REST
        seconds[name] = seconds.get(name, 0.0) + b - a
    return seconds
