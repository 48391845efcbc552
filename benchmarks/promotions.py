"""Many promotions of one task at once, on a real MLflow server: one winner, the others are told.

python benchmarks/promotions.py [--store sqlite|postgres] [--attempts 1000] [--rounds 1]

A small project trains two versions of taxi, whose latency is not asked: it is timed alone or not
at all. The models' own folder is gone, as on a colleague's machine: nobody asks DVC what is stale.
Then four processes with an equal share of threads each call `promote`, with a reason, all at once.
Every thread examines its version for itself, and none writes its entry before all have read the
same end of the journal: nobody is late and so told by chance. What must hold after each round is
asked of the registry, not of the threads: the journal has grown by one entry, whose chain holds,
and the aliases are what it says. PostgreSQL's own binaries serve the second store; their server
refuses to be root, so root lends it a user.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import chdir, contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from hour9.config import set_params
from hour9.servers import HOST, free_port, mlflow_environment, process, wait_for
from hour9.stage import ENVIRONMENT
from hour9.warm import WarmProcess

ROOT = Path(__file__).parents[1]
FILES = (".dvc/config", ".dvcignore", "dvc.yaml", "params.yaml", "requirements.lock")
POSTGRES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1:]
PROCESSES = 4
PATIENCE = 3600  # seconds until all have read
TASK, CANDIDATE = "taxi", "taxi-qlearning"
WON, OVERTAKEN = "won", "overtaken"


def main() -> int:
    """Make the versions, let the threads loose, and say what they left; 1 where it is not right."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", choices=["sqlite", "postgres"], default="sqlite")
    parser.add_argument("--attempts", type=int, default=1000, help="in all rounds together")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--short", action="store_true", help="sixteen attempts in two rounds")
    asked = parser.parse_args()
    attempts, rounds = (16, 2) if asked.short else (asked.attempts, asked.rounds)
    with tempfile.TemporaryDirectory() as scratch, chdir(scratch):
        copy_project(Path(scratch))
        os.environ |= {"PYTHONPATH": f"{scratch}/src", **ENVIRONMENT}
        with mlflow_server(asked.store):
            two_versions()
            started = time.monotonic()
            good = all([one_round(n, attempts // rounds) for n in range(rounds)])
            print(f"{attempts} attempts on {asked.store} in {time.monotonic() - started:.0f} s")
    return 0 if good else 1


def copy_project(folder: Path) -> None:
    """The project without git, in a folder of its own."""
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    (folder / ".dvc/config.local").write_text("[core]\n    no_scm = true\n")
    (folder / ".venv").symlink_to(sys.prefix)


@contextmanager
def mlflow_server(store: str) -> Iterator[None]:
    """MLflow's server over one of the stores; it is what the environment names in the block."""
    port = str(free_port())
    address = f"http://{HOST}:{port}"
    with postgres() if store == "postgres" else embedded() as backend:
        mlflow_environment()
        options = ["--backend-store-uri", backend, "--artifacts-destination", "artifacts"]
        with process(
            "mlflow", "server", "--host", HOST, "--port", port, "--workers", "2", *options
        ):
            wait_for(f"{address}/health")
            os.environ["MLFLOW_TRACKING_URI"] = address
            yield


@contextmanager
def embedded() -> Iterator[str]:
    """SQLite in a file."""
    yield "sqlite:///mlflow.db"


@contextmanager
def postgres() -> Iterator[str]:
    """A PostgreSQL of its own, in a folder that its user can reach."""
    if not POSTGRES:
        sys.exit("no PostgreSQL in /usr/lib/postgresql: apt-get install postgresql")
    lent = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    as_user = lent if os.getuid() == 0 else []
    port = str(free_port())
    with tempfile.TemporaryDirectory(prefix="hour9-pg-", ignore_cleanup_errors=True) as folder:
        if as_user:
            shutil.chown(folder, "postgres", "postgres")
        data, (binaries,) = f"{folder}/data", POSTGRES
        make = [str(binaries / "initdb"), "-D", data, "-U", "hour9", "--auth=trust", "--no-sync"]
        subprocess.run([*as_user, *make], check=True, capture_output=True, cwd="/")
        serve = [str(binaries / "postgres"), "-D", data, "-h", HOST, "-p", port, "-k", folder]
        with Path("postgres.log").open("w") as log:
            server = subprocess.Popen([*as_user, *serve], stdout=log, stderr=log, cwd="/")
        try:
            ready = [str(binaries / "pg_isready"), "-q", "-h", HOST, "-p", port]
            while subprocess.run(ready).returncode:
                time.sleep(0.1)
            yield f"postgresql+psycopg2://hour9@{HOST}:{port}/postgres"
        finally:
            server.send_signal(signal.SIGINT)  # a fast shutdown: it ends its sessions
            server.wait()


def two_versions() -> None:
    """Two taxis that learned for different times, registered."""
    Path(".hour9").mkdir(exist_ok=True)
    with WarmProcess() as warm:
        os.environ["HOUR9_WARM"] = str(warm.socket)
        set_params([f"tasks.{TASK}.thresholds.latency=null"])
        for kind in ("ingest", "validate"):
            stage(kind, TASK)
        for steps in (20_000, 40_000):
            set_params([f"candidates.{CANDIDATE}.steps={steps}"])
            for kind in ("train", "evaluate", "judge"):
                stage(kind, CANDIDATE)
            stage("register", TASK)
        del os.environ["HOUR9_WARM"]
    shutil.rmtree("models")


def stage(kind: str, name: str) -> None:
    """Run a stage as DVC would."""
    command = [sys.executable, "-m", "hour9.stage", kind, name]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)


def one_round(number: int, attempts: int) -> bool:
    """All threads of all processes at once; whether journal and aliases are right afterwards."""
    from hour9.registry import journal, promotion

    version = str(1 + number % 2)
    share = [attempts // PROCESSES + (n < attempts % PROCESSES) for n in range(PROCESSES)]
    context = get_context("spawn")
    together = context.Barrier(PROCESSES, timeout=PATIENCE)
    answers = context.Queue()
    workers = [
        context.Process(target=attempt, args=(version, count, f"p{n}", together, answers))
        for n, count in enumerate(share)
    ]
    for worker in workers:
        worker.start()
    said = Counter(answers.get() for _ in range(attempts))
    for worker in workers:
        worker.join()
    entries = journal.entries(TASK)
    last, aliases = entries[-1], promotion.aliases_of(entries[-1])
    right = {
        "one winner": said[WON] == 1,
        "all others told": said[OVERTAKEN] == attempts - 1,
        "one entry more": len(entries) == number + 1 and last.champion == version,
        "chain unbroken": journal.breaks(TASK) == [],
        "applied": journal.read(TASK)[-1][1],
        "aliases as the journal says": all(
            promotion.alias(TASK, name) == wanted for name, wanted in aliases.items()
        ),
    }
    print(f"round {number + 1}: {json.dumps(dict(said))}; {json.dumps(right)}", flush=True)
    return all(right.values())


def attempt(version: str, threads: int, name: str, together: Any, answers: Any) -> None:
    """In one process: so many threads promote at once, and say how it went for them."""
    from hour9.registry import journal, promotion

    read, write = threading.Barrier(threads, together.wait, PATIENCE), journal.append

    def when_all_have_read(entry: journal.Entry, last: journal.Entry | None) -> journal.Entry:
        read.wait()
        return write(entry, last)

    journal.append = when_all_have_read

    def promote(number: int) -> None:
        try:
            promotion.promote(TASK, version, reason="all at once", who=f"{name}-{number}")
            answers.put(WON)
        except journal.Overtaken:
            answers.put(OVERTAKEN)
        except Exception as error:
            read.abort()
            together.abort()
            answers.put(f"{type(error).__name__}: {str(error)[:200]}")

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(promote, range(threads)))


if __name__ == "__main__":
    sys.exit(main())
