"""Run one stage of the DAG: `python -m hour9.stage train nodes-gcn`. DVC calls this.

Where `hour9 run` holds a warm process (see warm.py), the stage is forked from it and this process
only waits; alone it does the work itself, with the same threads, the same hash seed and so the
same bytes. It imports nothing heavy, because it starts once for every stage.
"""

import ctypes
import fcntl
import importlib
import json
import os
import signal
import sys
import time
import traceback
from contextlib import contextmanager
from pathlib import Path

STATE = Path(".hour9")  # as in params.py, which would import YAML here
LOGS = "HOUR9_LOGS"  # folder that takes what a stage prints, instead of the terminal
WARM = "HOUR9_WARM"  # socket of a warm process

ENVIRONMENT = {
    # The number of threads and the hash seed are part of a result.
    "PYTHONHASHSEED": "0",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    "PYTHONUTF8": "1",  # whatever the locale
    # Nothing is sent anywhere, nothing fetched unless a source says `hub`.
    "DO_NOT_TRACK": "true",
    "GX_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "GIT_PYTHON_REFRESH": "quiet",
    # A log is read by people: no bars, no chatter.
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "TQDM_DISABLE": "1",
    "PYGAME_HIDE_SUPPORT_PROMPT": "1",
}


class AlreadyRunning(RuntimeError):  # noqa: N818 - reads as a sentence where it is raised
    """Another process is at this very stage."""


def main() -> int:
    """Run the stage named on the command line; its exit status."""
    if len(sys.argv) != 3:
        print("usage: python -m hour9.stage STAGE NAME", file=sys.stderr)
        return 2
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it, without a traceback
    if folder := os.environ.get(LOGS):
        stage = os.environ.get("DVC_STAGE", "@".join(sys.argv[1:]))
        print_to(Path(folder) / f"{stage}.log")
    if path := os.environ.get(WARM):
        from hour9.warm import request

        status = request(path, sys.argv[1:])
        if status is not None:
            return status
    if any(os.environ.get(name) != value for name, value in ENVIRONMENT.items()):
        os.execve(
            sys.executable,
            [sys.executable, "-m", "hour9.stage", *sys.argv[1:]],
            {**os.environ, **ENVIRONMENT},
        )
    return perform(*sys.argv[1:])


def perform(kind: str, name: str) -> int:
    """Do the work here. A person's mistake is told in its own words, ours with a traceback."""
    started, lock = time.time(), f"{kind}@{name}"
    if (number := os.environ.get("LOCAL_RANK", "0")) != "0":
        lock += f".{number}"  # torchrun starts it several times, for one model
    try:
        with only_one(lock):
            getattr(importlib.import_module(f"hour9.{kind}"), kind)(name)
    except Exception as error:
        sys.stdout.flush()
        if not type(error).__module__.startswith("hour9"):
            traceback.print_exc()
        print(f"{kind}@{name}: {error}", file=sys.stderr, flush=True)
        if "DVC_STAGE" in os.environ and LOGS not in os.environ:  # `hour9 run` does it itself
            back = f"dvc checkout --force {os.environ['DVC_STAGE']}"
            print(f"its outs of the last good run come back with: {back}", file=sys.stderr)
        return 1
    finally:
        note_time(kind, name, started)
    return 0


@contextmanager
def only_one(stage: str):
    """Hold the stage's own lock: DVC's is released while a stage runs, and dies with DVC."""
    folder = STATE / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{stage}.lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise AlreadyRunning(
                f"already running as process {file.read() or 'unknown'}; "
                "wait for it to end, or stop it"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def die_with_parent() -> None:
    """Be killed when the process that started this one dies (Linux)."""
    parent = os.getppid()
    if sys.platform == "linux":
        PR_SET_PDEATHSIG = 1
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the call
            os._exit(1)


def print_to(path: Path) -> None:
    """Send what is printed to a file of the stage's own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)


def note_time(kind: str, name: str, started: float) -> None:
    """Append when this stage worked: `hour9 run` sums up where the time went."""
    line = {"kind": kind, "name": name, "start": started, "end": time.time()}
    with (STATE / "timeline.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    sys.exit(main())
