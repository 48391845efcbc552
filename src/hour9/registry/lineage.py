"""Which bytes and which code: DVC's hashes, computed here, and git's commit."""

import hashlib
import json
import os
import subprocess
import tempfile
from pathlib import Path

SOURCES = ("src", "params.yaml", "dvc.yaml", "requirements.lock")
"""What a result depends on. Not dvc.lock: the very run that registers writes it."""


def dvc_md5(path: Path) -> str:
    """The hash that DVC gives a file or a folder, from the bytes on disk and no cache."""
    if path.is_file():
        return file_md5(path)
    files = sorted((p.relative_to(path).as_posix(), p) for p in path.rglob("*") if p.is_file())
    listing = [{"md5": file_md5(file), "relpath": name} for name, file in files]
    return hashlib.md5(json.dumps(listing, sort_keys=True).encode()).hexdigest() + ".dir"


def file_md5(path: Path) -> str:
    """MD5 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


PLAIN = ("--no-ext-diff", "--no-textconv", "--no-color", "--src-prefix=a/", "--dst-prefix=b/")
"""A patch that `git apply` reads, whatever the settings of who makes it say."""


def git(*arguments: str, **env: str) -> str | None:
    """What git prints; None where it fails, or where this is no checkout."""
    try:
        done = subprocess.run(
            ["git", *arguments],
            env={**os.environ, **env},
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout


def git_state() -> dict[str, str]:
    """Commit, and whether what results depend on differs from it; `unknown` outside git."""
    commit = git("rev-parse", "HEAD")
    if commit is None:
        return {"git_commit": "unknown", "git_dirty": "unknown"}
    changed = git("status", "--porcelain", "--untracked-files=normal", "--", *SOURCES)
    dirty = "unknown" if changed is None else "true" if changed else "false"
    return {"git_commit": commit.strip(), "git_dirty": dirty}


def patch() -> str:
    """How the sources differ from the commit, new files included, for `git apply`."""
    with tempfile.TemporaryDirectory() as scratch:
        index = {"GIT_INDEX_FILE": f"{scratch}/index"}  # the person's own is left alone
        git("read-tree", "HEAD", **index)
        git("add", "--all", "--", *SOURCES, **index)
        return git("diff", *PLAIN, "--cached", "--binary", "HEAD", **index) or ""
