"""The DAG, read from DVC, and one stage of it run. Every use of DVC's inner API is in this file.

DVC's `repro` runs stages one after another. Here each stage is reproduced on its own, so that
Prefect can run topics side by side; DVC still decides what is stale, and its lock, its caches and
its files are the same.
"""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hour9 import lockfile
from hour9.lockfile import DVC_LOCK
from hour9.params import STATE, Refused, UnknownName, read_params
from hour9.registry.lineage import file_md5, git

if TYPE_CHECKING:
    from dvc.repo import Repo

DVC_YAML = "dvc.yaml"
SITE_CACHE = STATE / "dvc"
LOGS = STATE / "logs"
FOLLOW_SECONDS = 0.3


class StageFailed(RuntimeError):  # noqa: N818 - reads as a sentence where it is raised
    """A stage ended with an error; the message is what the stage said."""


class NoRemote(RuntimeError):  # noqa: N818 - reads as a sentence where it is raised
    """DVC's remote does not take what other machines need."""


class Busy(RuntimeError):  # noqa: N818 - reads as a sentence where it is raised
    """DVC cannot say what is stale, as a stage is at work."""


@dataclass(frozen=True)
class Stage:
    """A node of the DAG: `train@nodes-gcn` has kind train and subject nodes-gcn."""

    name: str
    needs: tuple[str, ...]

    @property
    def kind(self) -> str:
        return self.name.partition("@")[0]

    @property
    def subject(self) -> str:
        return self.name.partition("@")[2]


def open_repo() -> Repo:
    """This project's DVC repository, waiting where another process holds its lock."""
    SITE_CACHE.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.environ.setdefault("DVC_SITE_CACHE_DIR", str(SITE_CACHE))
    os.environ.setdefault("DVC_NO_ANALYTICS", "1")
    os.environ["SHELL"] = "/bin/sh"  # DVC runs the commands in the user's own, whatever it is
    from dvc import dvcfile
    from dvc.repo import Repo
    from dvc.utils import strictyaml
    from dvc.utils.serialize import _yaml

    dvcfile.modify_yaml = lockfile.modify
    strictyaml.parse_yaml = _yaml.parse_yaml = lockfile.parse_yaml
    logging.getLogger("dvc").setLevel(logging.CRITICAL)  # no bars, no chatter: stages speak
    repo = Repo(_wait_for_lock=True)
    drop_half_written(repo)
    repo.lock = InTurn(repo.lock)
    return repo


def drop_half_written(repo: Repo) -> None:
    """Remove DVC's note of who reads and writes what, where its writer was killed in the middle.

    Under DVC's own guard, so that nobody who is writing it now is robbed.
    """
    from dvc.lock import make_lock
    from dvc.rwlock import RWLOCK_FILE, RWLOCK_LOCK

    tmp = repo.tmp_dir
    note = Path(tmp, RWLOCK_FILE)
    if is_whole(note):
        return
    hardlink = repo.config["core"].get("hardlink_lock", False)
    with make_lock(os.path.join(tmp, RWLOCK_LOCK), tmp_dir=tmp, hardlink_lock=hardlink):
        if not is_whole(note):
            note.unlink()


def is_whole(note: Path) -> bool:
    """Whether a file can be read as JSON, or is not there."""
    try:
        json.loads(note.read_text())
    except FileNotFoundError:
        return True
    except ValueError:
        return False
    return True


class InTurn:
    """DVC's lock, which asks the disk twice a second whether it is free: the threads of this
    process wait for each other without."""

    threads = threading.Lock()

    def __init__(self, lock: Any):
        self.disk = lock

    def lock(self) -> None:
        self.threads.acquire()
        try:
            self.disk.lock()
        except BaseException:
            self.threads.release()
            raise

    def unlock(self) -> None:
        held = self.disk.is_locked
        try:
            self.disk.unlock()
        finally:
            if held:
                self.threads.release()

    @property
    def is_locked(self) -> bool:
        return self.disk.is_locked

    def __enter__(self) -> None:
        self.lock()

    def __exit__(self, *_: object) -> None:
        self.unlock()


def stages() -> list[Stage]:
    """All stages in the order in which `dvc repro` would run them."""
    with open_repo() as repo:
        return stages_of(repo)


def stages_of(repo: Repo) -> list[Stage]:
    """The same, of a repository that is open."""
    from dvc.repo.reproduce import get_active_graph, plan_repro

    graph = get_active_graph(repo.index.graph)
    plan = plan_repro(graph, [stage for stage in repo.index.stages if stage.relpath == DVC_YAML])
    order = [stage.addressing for stage in plan]
    return [
        Stage(
            stage.addressing,
            tuple(sorted((n.addressing for n in graph.successors(stage)), key=order.index)),
        )
        for stage in plan
    ]


def survey() -> tuple[list[Stage], dict[str, Any]]:
    """All stages, and what is stale, from one look at the repository."""
    with open_repo() as repo:
        return stages_of(repo), stale_of(repo)


def to_json() -> str:
    """The survey: `python -m hour9.dag` prints it."""
    every, stale = survey()
    return json.dumps({"stages": [[stage.name, stage.needs] for stage in every], "stale": stale})


def from_json(said: str) -> tuple[list[Stage], dict[str, Any]]:
    """The survey, as `to_json` wrote it."""
    known = json.loads(said)
    return [Stage(name, tuple(needs)) for name, needs in known["stages"]], known["stale"]


def select(
    every: Iterable[Stage], topic: str = "", task: str = "", candidate: str = ""
) -> list[Stage]:
    """The stages of a topic, a task or a candidate, with all they need; everything by default."""
    every = list(every)
    candidates = wanted(topic, task, candidate)
    if not (topic or task or candidate):
        return every
    subjects = {*candidates, *candidates.values()}
    # A task's registration needs all its candidates, but a run of one leaves the others out.
    chosen = {stage.name for stage in every if stage.subject in subjects or stage.kind == "report"}
    for stage in reversed(every):  # what a parent needs, its parent's parent too
        if stage.name in chosen and stage.kind not in ("register", "report"):
            chosen |= set(stage.needs)
    return [stage for stage in every if stage.name in chosen]


def wanted(topic: str = "", task: str = "", candidate: str = "") -> dict[str, str]:
    """The candidates of a topic, a task or a name, each with its task: all of them by default."""
    params = read_params()
    tasks, candidates = params["tasks"], params["candidates"]
    check_known("topic", topic, sorted({section["topic"] for section in tasks.values()}))
    check_known("task", task, list(tasks))
    check_known("candidate", candidate, list(candidates))
    chosen = {
        name: section["task"]
        for name, section in candidates.items()
        if candidate in ("", name)
        and task in ("", section["task"])
        and topic in ("", section["topic"])
    }
    if not chosen:
        raise UnknownName(f"no candidate is {candidate or task} of {task or topic} at once")
    return chosen


def check_known(what: str, name: str, known: list[str]) -> None:
    """Refuse a name that params.yaml does not have."""
    if name and name not in known:
        raise UnknownName(f"no {what} '{name}' in params.yaml; there are {', '.join(known)}")


def stale(stages: Sequence[str] = (DVC_YAML,)) -> dict[str, Any]:
    """What DVC would run again of these stages and of those before them, and why.

    Raises Busy while a stage runs: what it writes cannot be read meanwhile.
    """
    with open_repo() as repo:
        return stale_of(repo, stages)


def stale_of(repo: Repo, stages: Sequence[str] = (DVC_YAML,)) -> dict[str, Any]:
    """The same, of a repository that is open."""
    from dvc.lock import LockError

    try:
        found = repo.status([*stages], with_deps=True)
        return {name: reasons for name, reasons in found.items() if reasons}
    except LockError:
        raise Busy("a stage is running; ask again when it has ended") from None


def reproduce(
    name: str,
    say: Callable[[str], None] = print,
    force: bool = False,
    pull: bool = False,
) -> bool:
    """Bring one stage up to date; False where DVC found nothing to do.

    What the stage prints is passed to `say`, line by line, while it runs. With `pull`, a run that
    the remote knows counts as one made here. Raises StageFailed with the stage's last words, after
    the stage's outs of the last good run are back in place.
    """
    from dvc.exceptions import DvcException

    log = LOGS / f"{name}.log"
    log.unlink(missing_ok=True)
    with open_repo() as repo, follow(log, say):
        try:
            return bool(repo.reproduce(targets=[name], single_item=True, force=force, pull=pull))
        except DvcException as error:
            said = log.read_text().strip().splitlines() if log.exists() else []
            restore(name)
            why = str(error.__cause__ or error)
            raise StageFailed("\n".join([*said[-12:], *death(why)]) or why) from None


def death(why: str) -> list[str]:
    """Of DVC's "exited with -9", or the 137 of a shell: what no stage could say itself."""
    found = re.search(r"exited with (-?\d+)$", why)
    number = abs(int(found[1])) % 128 if found and not 0 <= int(found[1]) <= 128 else 0
    if not number:
        return []
    like = {int(signal.SIGKILL): ", as where memory runs out", int(signal.SIGINT): ", as by Ctrl-C"}
    return [f"its process was ended by signal {number}{like.get(number, '')}"]


def restore(name: str) -> None:
    """Bring back a stage's outs as dvc.lock has them; DVC deleted them before it ran the stage."""
    from dvc.exceptions import DvcException

    with open_repo() as repo:
        try:
            repo.checkout(targets=[name], force=True, allow_missing=True)
        except DvcException:
            logging.getLogger(__name__).debug("no earlier outs of %s", name)


def would_run(name: str) -> bool:
    """Whether reproducing the stage would run it: it is stale, and neither this machine's
    run-cache nor the remote's has its result."""
    from dvc.repo.reproduce import collect_stages

    with open_repo() as repo, repo.lock:
        repo.stage_cache.pull(None)
        (stage,) = collect_stages(repo, [name])
        if not stage.changed():
            return False
        stage.save_deps()
        return repo.stage_cache._load(stage) is None


def adopt(known: dict[str, Any]) -> None:
    """Make another machine's entries of dvc.lock this one's, and fetch the outs they name."""
    with open_repo() as repo, repo.lock, lockfile.modify(DVC_LOCK) as lock:
        lock.setdefault("schema", "2.0")
        lock["stages"] = lock.get("stages", {}) | known
    if known:
        with open_repo() as repo:
            repo.pull(targets=list(known), force=True)


def push(names: Iterable[str], runs: bool = False) -> None:
    """Send the stages' outs to the remote; with `runs`, the run-cache too."""
    from dvc.exceptions import DvcException

    with open_repo() as repo:
        try:
            repo.push(targets=list(names), run_cache=runs)
        except DvcException as error:
            raise NoRemote(f"dvc push: {error}") from None


@contextmanager
def follow(log: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Pass on each line that a file gains while the block runs."""
    ended = threading.Event()

    def read() -> None:
        place = 0
        while True:
            last = ended.wait(FOLLOW_SECONDS)
            if log.exists():
                with log.open() as file:
                    file.seek(place)
                    text = file.read()
                whole = text if last else text[: text.rfind("\n") + 1]
                place += len(whole.encode())
                for line in whole.splitlines():
                    say(line)
            if last:
                return

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        yield
    finally:
        ended.set()
        reader.join()


def cache_folder() -> Path:
    """Where DVC keeps objects: in this checkout, or where `dvc cache dir` says."""
    with open_repo() as repo:
        return Path(repo.cache.local.path).resolve()


def unreferenced(known: Iterable[str]) -> list[Path]:
    """Files of the cache that nothing names: no dvc.lock or *.dvc, here or in any commit, and none
    of the `known` hashes. Raises Refused where git does not tell what commits name."""
    with open_repo() as repo:
        cache = repo.cache.local
        places = {oid: Path(cache.oid_to_path(oid)) for oid in cache.all()}
    here = "".join(path.read_text() for path in tracking_files())
    # All stashes, of which --all knows the last one; each is a merge, hence -m.
    # As text, whatever a person's attributes and settings make of a patch.
    plain = ("--text", "--no-textconv", "--no-ext-diff", "--no-color")
    every = ("log", "--all", "--reflog", "--patch", "-m", "--format=", *plain)
    history = git(*every, "--", DVC_LOCK, f"*/{DVC_LOCK}", "*.dvc")
    if history is None and Path(".git").exists():
        raise Refused("`git log` fails, so what older commits name is unknown: it says why")
    queue = [*re.findall(r"md5: ([0-9a-f]{32}(?:\.dir)?)", here + (history or "")), *known]
    while queue:  # what a folder's list names is used, too
        place = places.pop(queue.pop(), None)
        if place is not None and place.suffix == ".dir":
            queue += [entry["md5"] for entry in json.loads(place.read_text())]
    return sorted(places.values())


def tracking_files() -> Iterator[Path]:
    """Every dvc.lock and *.dvc below, as DVC finds them; none in hidden folders."""
    for folder, below, files in os.walk("."):
        below[:] = [name for name in below if not name.startswith(".")]
        for name in files:
            if name == DVC_LOCK or name.endswith(".dvc"):
                yield Path(folder, name)


def put_in_cache(objects: dict[str, bytes]) -> list[str]:
    """Store what the cache lacks, or has with other bytes; by DVC's hash. The hashes it lacked."""
    put = []
    with open_repo() as repo:
        for md5, content in objects.items():
            place = Path(repo.cache.local.oid_to_path(md5))
            if place.exists() and file_md5(place) == md5.removesuffix(".dir"):
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            part = place.with_suffix(".part")
            part.write_bytes(content)
            part.chmod(0o444)
            part.replace(place)
            put.append(md5)
    return put


def sort_lock(order: Iterable[str]) -> None:
    """Put dvc.lock in the order of a serial `dvc repro`: DVC appends in order of completion."""
    rank = {name: place for place, name in enumerate(order)}

    def place(name: str) -> int:
        return rank.get(name, len(rank))

    names = lockfile.names()
    if names == sorted(names, key=place):
        return
    with open_repo() as repo, repo.lock, lockfile.modify(DVC_LOCK) as lock:
        lock["stages"] = {name: lock["stages"][name] for name in sorted(lock["stages"], key=place)}


if __name__ == "__main__":
    print(to_json())
