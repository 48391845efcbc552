"""Which bytes and which code: DVC's hashes, computed here, and git's commit."""

import hashlib
import json
import subprocess
from pathlib import Path


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


def git_state() -> dict[str, str]:
    """Commit and whether tracked files differ from it; `unknown` outside a git checkout."""

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            return None
        return done.stdout.strip()

    commit = git("rev-parse", "HEAD")
    if commit is None:
        return {"git_commit": "unknown", "git_dirty": "unknown"}
    # dvc.lock is written by the very run that registers, so it says nothing of the code.
    changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!dvc.lock")
    return {"git_commit": commit, "git_dirty": "true" if changed else "false"}
