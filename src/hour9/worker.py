"""A worker of a team's stack: its own clone, the team's DVC remote, one of Prefect's pools.

`python -m hour9.worker cpu` makes the clone where there is none, brings it to HOUR9_REVISION of
HOUR9_REPOSITORY, and becomes a Prefect worker in it. What a run made goes to the remote when it
ends (`flows/pipeline.py`); what others made comes from there.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from hour9.operate import POOLS
from hour9.run import one_run
from hour9.servers import HOST, prefect_environment

BIN = Path(sys.prefix) / "bin"
REMOTE = "team"


class NoWorkspace(RuntimeError):  # noqa: N818 - reads as a sentence where it is raised
    """The clone could not be made; the message is git's."""


def main() -> int:
    """Make the workspace, then become the worker."""
    if len(sys.argv) != 2 or sys.argv[1] not in POOLS:
        sys.exit(f"usage: python -m hour9.worker {'|'.join(POOLS)}")
    repository, revision = os.environ.get("HOUR9_REPOSITORY"), os.environ.get("HOUR9_REVISION")
    if not repository:
        sys.exit("set HOUR9_REPOSITORY to the project's git repository")
    workspace = Path(os.environ.get("HOUR9_WORKSPACE", ".")).absolute()
    workspace.mkdir(parents=True, exist_ok=True)
    os.chdir(workspace)
    prefect_environment()
    os.environ["PYTHONPATH"] = str(workspace / "src")
    os.environ.setdefault("PREFECT_WORKER_WEBSERVER_HOST", HOST)  # says whether it still polls
    try:
        prepare(repository, revision or "HEAD", os.environ.get("HOUR9_REMOTE", ""))
    except NoWorkspace as error:
        sys.exit(str(error))
    # Prefect answers SIGTERM by SIGINT, which a shell's background job ignores.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    command = ["prefect", "worker", "start", "--pool", sys.argv[1], "--type", "process"]
    os.execv(BIN / "prefect", [*command, "--with-healthcheck"])


def prepare(repository: str, revision: str, remote: str) -> None:
    """Bring this folder to the revision. Where it is there already, what runs made stays."""
    with alone_here():  # workers of both pools start at once
        commit = fetch(repository, revision)
        new = commit != head()
        with one_run() if new else nullcontext():  # the other pool's worker may be at work here
            if new:
                check_out(commit)
            if remote:
                share(remote, pull=new)


@contextmanager
def alone_here() -> Iterator[None]:
    """Of those who prepare this folder, one after the other. The folder itself is the lock."""
    folder = os.open(".", os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def fetch(repository: str, revision: str) -> str:
    """The revision's commit, brought to this folder's repository."""
    # The checkout that a container mounts belongs to another user, which the git that sends from
    # it has to be told too.
    sender = "git -c 'safe.directory=*' upload-pack"
    told = [f"--upload-pack={sender}"] if Path(repository).is_dir() else []
    git("init", "--quiet")
    git("fetch", "--quiet", *told, repository, revision)
    return git("rev-parse", "FETCH_HEAD")


def head() -> str:
    """The commit that is checked out; nothing in a new folder."""
    try:
        return git("rev-parse", "--verify", "--quiet", "HEAD")
    except NoWorkspace:
        return ""


def check_out(commit: str) -> None:
    """Its files in this folder; what git ignores (data, models, caches) stays."""
    git("checkout", "--quiet", "--force", "--detach", commit)
    venv = Path(".venv")  # the stages' commands name it
    if not venv.exists():
        venv.unlink(missing_ok=True)  # it may lead to where an environment was
        venv.symlink_to(sys.prefix)


def git(*words: str) -> str:
    """What git says. Raises NoWorkspace."""
    command = ["git", "-c", "safe.directory=*", *words]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise NoWorkspace(f"git {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout.strip()


def share(remote: str, pull: bool) -> None:
    """Take the remote as DVC's and, with `pull`, what it has of this revision."""
    dvc = str(BIN / "dvc")
    subprocess.run([dvc, "remote", "add", "--local", "-q", "-f", "-d", REMOTE, remote], check=True)
    os.environ["HOUR9_PUSH"] = "true"
    if not pull:
        return
    done = subprocess.run([dvc, "pull", "-q", "--run-cache", "--allow-missing"], check=False)
    if done.returncode:
        print("the remote has not all of this revision yet: runs make it", flush=True)


if __name__ == "__main__":
    main()
