"""Stages on other machines: a worker needs the git commit and DVC's remote, and nothing else.

The run that sends a stage says which commit and what dvc.lock holds of the stages before it:
names and hashes. A worker checks the commit out in a clone of its own, fetches those outs, runs
the stage as DVC would, and pushes its outs and its run-cache; the sender then restores the stage
from the run-cache. So dvc.lock is written in one place only, with the entries that a run here
would have written. Sources and the registry stay with the sender: see docs/machines.md. This is the
side that works; dispatch.py sends.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hour9 import dag
from hour9.params import STATE
from hour9.registry.lineage import dvc_md5, git
from hour9.run import gpu_turn, warmed
from hour9.servers import PrefectServer
from hour9.stage import die_with_parent

WORKER = "HOUR9_WORKER"  # the name of the worker that a flow run belongs to
PACKAGES = "HOUR9_PACKAGES"  # hash of the lock file that its .venv was made from
CLONE = STATE / "worker"
STEPS = "prefect.deployments.steps"
ENGINE = {"working_dir": ".", "command": ".venv/bin/python -m prefect.engine"}
"""How a worker runs a flow, as in prefect.yaml."""


class NotTaken(RuntimeError):  # noqa: N818 - reads as a sentence where it is raised
    """This worker cannot run that commit."""


def work(
    name: str,
    commit: str,
    inputs: dict[str, Any],
    trial: dict[str, Any] | None,
    say: Callable[[str], None],
) -> None:
    """Run one stage here. The commit's own code does it, in a process of its own."""
    die_with_parent()  # with the worker's process: whoever sent the stage sees that it is gone
    with at(commit):
        running = subprocess.Popen(
            [sys.executable, "-m", "hour9.remote", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=die_with_parent,
        )
        assert running.stdin
        assert running.stdout
        running.stdin.write(json.dumps([inputs, trial]))
        running.stdin.close()
        lines = []
        for line in running.stdout:
            lines.append(line.rstrip())
            say(lines[-1])
        if running.wait():
            raise dag.StageFailed("\n".join(lines[-12:]) or f"exit status {running.returncode}")


def work_here(name: str) -> None:
    """What that process does: fetch, run, push. Inputs and trial come as JSON on standard input."""
    inputs, trial = json.load(sys.stdin)
    dag.adopt(inputs)
    if trial:
        from hour9.sweep import run_here

        if failed := run_here(name.partition("@")[2], trial):
            raise dag.StageFailed(failed)
        return
    with gpu_turn(name):
        dag.reproduce(name, say=lambda line: print(line, flush=True), pull=True)
    dag.push([name], runs=True)


@contextmanager
def at(commit: str) -> Iterator[None]:
    """The clone at this commit for as long as the block lasts; stages of one commit share it."""
    STATE.mkdir(exist_ok=True)
    with (STATE / "commit.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        while (git("rev-parse", "HEAD") or "").strip() != commit:
            fcntl.flock(file, fcntl.LOCK_EX)
            check_out(commit)
            fcntl.flock(file, fcntl.LOCK_SH)  # another may come between; so we look again
        if dvc_md5(Path("requirements.lock")) != os.environ[PACKAGES]:
            raise NotTaken(
                f"commit {commit[:12]} wants other packages than this worker has: "
                "in its checkout, git pull && make install, and start it again"
            )
        yield


def check_out(commit: str) -> None:
    """Put the clone at the commit, fetched if need be. The clone is a worker's: nothing is kept."""
    if git("cat-file", "-e", f"{commit}^{{commit}}") is None:
        git("fetch", "--quiet", "--all")
    if git("checkout", "--quiet", "--force", "--detach", commit) is None:
        url = (git("remote", "get-url", "origin") or "nowhere").strip()
        raise NotTaken(f"no commit {commit[:12]} in {url}: push it there, then run again")


def serve(pool: str, limit: int) -> int:
    """Take stages from the pool until stopped, in a clone beside this checkout's own files."""
    PrefectServer.shared()
    clone = prepare_clone()
    name = f"{socket.gethostname()}-{os.getpid()}"
    os.environ |= {
        WORKER: name,
        PACKAGES: dvc_md5(Path("requirements.lock")),
        "HOUR9_ROOT": str(clone),  # for what `deploy` wrote
        "PYTHONPATH": str(clone / "src"),
    }
    deploy(pool)
    os.chdir(clone)
    prefect = str(Path(sys.executable).with_name("prefect"))
    with warmed():
        return subprocess.run(
            [prefect, "worker", "start", "--pool", pool, "--name", name, "--limit", str(limit)],
            preexec_fn=die_with_parent,
        ).returncode


def prepare_clone() -> Path:
    """This checkout's own clone for a worker: a person's tree is never checked out elsewhere."""
    clone = CLONE.absolute()
    if not (clone / ".git").exists():  # git would take the repository around it
        url = (git("remote", "get-url", "origin") or str(Path.cwd())).strip()
        part = clone.with_name("worker.part")  # a clone that is cut off is no clone
        shutil.rmtree(part, ignore_errors=True)
        if git("clone", "--quiet", url, str(part)) is None:
            raise NotTaken(f"git clone {url} failed; the worker needs a repository to fetch from")
        (part / ".venv").symlink_to(sys.prefix)
        shutil.rmtree(clone, ignore_errors=True)
        part.rename(clone)
    local = Path(".dvc/config.local")  # where the remote and its credentials may stand
    if local.exists():
        shutil.copy(local, clone / local)
    return clone


def deploy(pool: str, kind: str = "process") -> None:
    """The pool and the deployment that stages are sent to, made where they are new."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists
    from prefect.utilities.callables import parameter_schema

    sys.path.insert(0, str(Path.cwd()))
    from flows.stage import stage

    with get_client(sync_client=True) as client:
        with contextlib.suppress(ObjectAlreadyExists):
            client.create_work_pool(WorkPoolCreate(name=pool, type=kind))
        client.create_deployment(
            flow_id=client.create_flow(stage),
            name=pool,
            work_pool_name=pool,
            entrypoint="flows/stage.py:stage",
            description=stage.description,
            parameter_openapi_schema=parameter_schema(stage).model_dump_for_openapi(),
            job_variables=ENGINE if kind == "process" else None,
            pull_steps=[
                # Read where the worker is, not here.
                {f"{STEPS}.set_working_directory": {"directory": "{{ $HOUR9_ROOT }}"}}
            ],
        )


if __name__ == "__main__":
    try:
        work_here(sys.argv[1])
    except Exception as error:
        if not type(error).__module__.startswith("hour9"):
            raise
        sys.exit(str(error))
