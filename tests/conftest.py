"""Real projects to test on: a copy of this one, cut down, in a folder of its own."""

import fcntl
import gc
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest

from hour9.servers import HOST, free_port, process, wait_for
from hour9.stage import ENVIRONMENT, LOGS, WARM
from hour9.warm import WarmProcess

if TYPE_CHECKING:
    from mlflow import MlflowClient

gc.disable()  # until all is imported: imports make objects, and hardly any garbage

ROOT = Path(__file__).parent.parent
FILES = (
    ".dvc/config",
    ".dvcignore",
    "dvc.yaml",
    "params.yaml",
    "prefect.yaml",
    "requirements.lock",
)
TREE = ("src", "flows", *FILES)

QUICK = [
    *("tasks.taxi.thresholds.floor=-1000.0", "tasks.taxi.thresholds.overfitting=1000.0"),
    *("tasks.taxi.thresholds.robustness=1000.0", "tasks.taxi.thresholds.seeds=-1000.0"),
    *("tasks.taxi.thresholds.overestimation=1000.0", "tasks.taxi.thresholds.group_gap=1000.0"),
    "tasks.taxi.thresholds.latency=1000.0",  # other tests run beside it
    "candidates.taxi-qlearning.steps=200000",
]
"""Settings of a taxi that is trained in a second and passes its gates."""

# The tests compute what the stages compute, so they stand on the same ground.
os.environ.update({k: v for k, v in ENVIRONMENT.items() if k != "PYTHONHASHSEED"})


FIRST = (
    "tests/test_ui.py",
    "tests/test_stack.py",
    "tests/registry/test_promotion.py",
    "tests/test_habits.py",
    "tests/test_pipeline.py::test_the_road",
    "tests/test_remote.py",
    "tests/registry/",
    "tests/benchmarks/",
    "tests/test_studies.py",
)
"""What takes longest, and no two processes can share: begun first, so that none waits for it."""
SPREAD = {
    "tests/test_pipeline.py",
    "tests/test_resume.py",
    "tests/test_stage.py",
}
"""Files of long tests that share nothing: dealt out one by one, last, so that no process waits."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def rank(item: pytest.Item) -> int:
        first = (n for n, start in enumerate(FIRST) if item.nodeid.startswith(start))
        last = item.nodeid.partition("::")[0] in SPREAD
        return next(first, len(FIRST) + last)

    items.sort(key=rank)
    gc.freeze()
    gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Where several processes test, a file's tests share fixtures and stay in one of them.

    Not by xdist's own groups: xdist 3.8 writes them where pytest 9 no longer reads them.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return nodeid if file in SPREAD else file

    config.option.loadscopereorder = False  # the order is ours
    return ByFile(config, log)


WARM_FOR_ALL, MADE_FOR_ALL = "HOUR9_TEST_WARM", "HOUR9_TEST_MADE"


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Where several processes test, they share one warm process: it imports while they collect.

    They share a folder too, for what is made once (`made_once`).
    """
    if "PYTEST_XDIST_WORKER" in os.environ:
        return
    made = TemporaryDirectory(prefix="hour9-")
    session.config.add_cleanup(made.cleanup)
    os.environ[MADE_FOR_ALL] = made.name
    if getattr(session.config.option, "numprocesses", None):
        process = WarmProcess().__enter__()
        session.config.add_cleanup(lambda: process.__exit__())
        os.environ[WARM_FOR_ALL] = str(process.socket)


@pytest.fixture(scope="session")
def warm() -> Iterator[str]:
    """The address of a warm process for all tests."""
    if shared := os.environ.get(WARM_FOR_ALL):
        yield shared
        return
    with WarmProcess() as process:
        yield str(process.socket)


def made_once(name: str, make: Callable[[Path], object]) -> Path:
    """The file that the first test to need it makes, while the others that do wait for it."""
    path = Path(os.environ[MADE_FOR_ALL]) / name
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            make(path)
    return path


# Databases that hold nothing yet. To make one takes seconds, and every project needs its own.


def empty_mlflow(database: Path) -> None:
    from mlflow import MlflowClient

    MlflowClient(f"sqlite:///{database}").search_experiments(max_results=1)


def empty_prefect(database: Path) -> None:
    upgrade = [str(Path(sys.executable).parent / "prefect"), "server", "database", "upgrade", "-y"]
    env = {**os.environ, "PREFECT_HOME": str(database.parent)}
    subprocess.run(upgrade, env=env, check=True, capture_output=True)


def prepare_prefect(project: Path) -> Path:
    """For a project whose Prefect server is going to be started: its home."""
    home = project / ".hour9/prefect"
    if not home.exists():
        home.mkdir(parents=True)
        shutil.copy(made_once("prefect.db", empty_prefect), home)
    return home


@contextmanager
def prefect_server(project: Path, patch: pytest.MonkeyPatch) -> Iterator[None]:
    """The project's, for all that is run inside the block."""
    port = str(free_port())
    patch.setenv("PREFECT_HOME", str(prepare_prefect(project)))
    with process("prefect", "server", "start", "--no-services", "--host", HOST, "--port", port):
        patch.setenv("PREFECT_API_URL", f"http://{HOST}:{port}/api")
        wait_for(f"http://{HOST}:{port}/api/health")
        yield
    patch.delenv("PREFECT_API_URL", raising=False)


def copy_project(folder: Path) -> Path:
    """A copy of the tree without git, with an empty registry."""
    for name in TREE:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, target)
    (folder / ".dvc/config.local").write_text("[core]\n    no_scm = true\n")
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / "mlruns").mkdir()
    shutil.copy(made_once("mlflow.db", empty_mlflow), folder / "mlruns")
    return folder


def stay_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make it the working directory, with nothing set that leads elsewhere."""
    monkeypatch.chdir(folder)
    for name in (WARM, LOGS, "MLFLOW_TRACKING_URI", "PREFECT_API_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of the test's own, and the working directory in it."""
    folder = copy_project(tmp_path / "project")
    stay_in(folder, monkeypatch)
    return folder


@pytest.fixture
def client(project: Path, monkeypatch: pytest.MonkeyPatch) -> "Iterator[MlflowClient]":
    """A client of the project's store; `connect` keeps one for the life of a process."""
    from hour9.registry import tracking

    # Absolute: MLflow keeps an engine for each address, and the next test's folder is another.
    monkeypatch.setattr(tracking, "STORE", f"sqlite:///{project}/mlruns/mlflow.db")
    tracking.connect.cache_clear()
    yield tracking.connect()
    tracking.connect.cache_clear()


StageRunner = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def stage(project: Path, warm: str) -> StageRunner:
    """Run stages of the project as DVC would: stage("train", "nodes-gcn")."""
    return stages_of(project, warm)


def stages_of(project: Path, warm: str) -> StageRunner:
    """A function that runs a stage of this project."""

    def run(
        kind: str, name: str, check: bool = True, **env: str
    ) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            [sys.executable, "-m", "hour9.stage", kind, name],
            cwd=project,
            env={**os.environ, WARM: warm, **env},
            capture_output=True,
            text=True,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    return run
