import fcntl
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from ruamel.yaml import YAML
from tests.conftest import QUICK

from hour9.config import set_params
from hour9.registry.lineage import dvc_md5
from hour9.stage import WARM, AlreadyRunning, only_one, perform
from hour9.warm import WarmProcess, key, loop

SECONDS = 60  # patience with a busy machine; nothing sleeps it out


def start(project: Path, kind: str, name: str, **env: str) -> "subprocess.Popen[str]":
    """A stage in the background, as DVC starts it."""
    return subprocess.Popen(
        [sys.executable, "-m", "hour9.stage", kind, name],
        cwd=project,
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_until_working(process: "subprocess.Popen[str]") -> None:
    """Return when the training has printed its first progress."""
    assert process.stdout
    for line in process.stdout:
        if "steps" in line:
            return
    raise AssertionError("ended before it said anything")


def processes_in(folder: Path) -> list[psutil.Process]:
    """Processes whose working directory is this one."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and Path(process.cwd()) == folder:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


@pytest.fixture
def taxi(stage):
    stage("ingest", "taxi")
    stage("validate", "taxi")
    return stage


def test_a_stage_alone_gives_the_bytes_of_a_forked_one(taxi, project):
    set_params(QUICK)
    taxi("train", "taxi-qlearning")
    forked = dvc_md5(project / "models/taxi/taxi-qlearning")
    alone = start(project, "train", "taxi-qlearning")
    said = alone.communicate()[0]
    assert alone.returncode == 0, said
    assert dvc_md5(project / "models/taxi/taxi-qlearning") == forked


def test_a_second_copy_of_a_stage_is_refused_with_the_number_of_the_first(project):
    with only_one("train@x"):
        with (project / ".hour9/locks/train@x.lock").open() as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with pytest.raises(AlreadyRunning, match=str(os.getpid())), only_one("train@x"):
            pass
    with only_one("train@x"):
        pass


def test_what_torchrun_starts_beside_the_first_is_no_second_copy(project, monkeypatch):
    with only_one("ingest@taxi"):
        assert perform("ingest", "taxi") == 1
        monkeypatch.setenv("LOCAL_RANK", "1")
        assert perform("ingest", "taxi") == 0


def test_a_killed_client_takes_the_forked_stage_with_it(taxi, project, warm):
    client = start(project, "train", "taxi-qlearning", **{WARM: warm})
    wait_until_working(client)
    workers = [p for p in processes_in(project) if p.pid != client.pid]
    assert workers
    client.kill()
    client.communicate()
    assert not psutil.wait_procs(workers, timeout=SECONDS)[1]


def test_a_stage_dies_with_the_process_that_started_it(taxi, project):
    """By the command that DVC gives to a shell, which itself would outlive it."""
    set_params(["candidates.taxi-qlearning.steps=900000000"])  # too long to end by itself
    stages = YAML(typ="safe").load(project / "dvc.yaml")["stages"]
    command = stages["train"]["do"]["cmd"].replace("${key}", "taxi-qlearning")
    code = f"import subprocess; subprocess.run({command!r}, shell=True, executable='/bin/sh')"
    parent = subprocess.Popen(
        [sys.executable, "-c", code], cwd=project, stdout=subprocess.PIPE, text=True
    )
    wait_until_working(parent)
    (child,) = psutil.Process(parent.pid).children()
    parent.kill()
    assert not psutil.wait_procs([child], timeout=SECONDS)[1]
    parent.communicate()


def test_a_training_is_not_kept_where_its_settings_or_data_changed_meanwhile(taxi, project, warm):
    set_params(["candidates.taxi-qlearning.steps=400000"])

    def edited(edit: Callable[[], object]) -> tuple[int, str]:
        client = start(project, "train", "taxi-qlearning", **{WARM: warm})
        wait_until_working(client)
        (worker,) = [p for p in processes_in(project) if p.pid != client.pid]
        worker.suspend()
        edit()
        worker.resume()
        said, _ = client.communicate()
        return client.returncode, said

    status, said = edited(lambda: set_params(["candidates.taxi-qlearning.discount=0.9"]))
    assert "in params.yaml discount changed while it trained" in said
    assert status == 1
    set_params(["candidates.taxi-qlearning.discount=0.99"])
    more = project / "data/taxi/more.json"
    status, said = edited(lambda: more.write_text("{}"))
    assert "its data, its code or requirements.lock changed while it trained" in said
    assert status == 1
    more.unlink()
    taxi("train", "taxi-qlearning")


def test_a_failing_stage_says_what_was_wrong_and_returns_one(stage):
    done = stage("train", "nodes-gnc", check=False)
    assert done.returncode == 1
    assert "no candidate 'nodes-gnc' in params.yaml; there are sentiment-bert" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_socket_of_a_warm_process_is_the_users_alone(warm):
    assert stat.S_IMODE(os.stat(warm).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(Path(warm).parent).st_mode) == 0o700


def test_a_warm_process_is_for_one_environment():
    assert key({"OMP_NUM_THREADS": "1"}) != key({"OMP_NUM_THREADS": "2"})


def test_a_warm_process_holds_none_of_our_code():
    code = (
        "import importlib, runpy, sys\n"
        "from importlib.util import find_spec\n"
        "warm = runpy.run_path(find_spec('hour9.warm').origin, run_name='warm')\n"
        "for library in warm['LIBRARIES']: importlib.import_module(library)\n"
        "print([name for name in sys.modules if name.startswith('hour9.')])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


def test_a_warm_process_answers_nonsense_by_hanging_up(warm):
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(warm)
        client.sendall(b"nonsense\n")
        client.settimeout(SECONDS)
        assert client.recv(1) == b""


def test_a_warm_process_dies_with_its_owner():
    code = (
        "import os, signal\n"
        "from hour9.warm import WarmProcess\n"
        "with WarmProcess() as warm:\n"
        "    print(warm.process.pid, flush=True)\n"
        "    signal.pause()\n"
    )
    owner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert owner.stdout
    process = psutil.Process(int(owner.stdout.readline()))
    owner.send_signal(signal.SIGKILL)
    owner.communicate()
    assert not psutil.wait_procs([process], timeout=SECONDS)[1]


def test_a_warm_process_stays_through_silence_and_leaves_with_its_owner(tmp_path, monkeypatch):
    parents = iter([7, 7, 7, 1])  # asked once for each silence
    monkeypatch.setattr("hour9.warm.OWNER_SECONDS", 0)
    monkeypatch.setattr("os.getppid", lambda: next(parents))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "warm"))
        listener.listen()
        loop(listener, owner=7)
    assert next(parents, None) is None


def test_a_warm_process_is_gone_after_the_block():
    with WarmProcess() as warm:
        folder = warm.folder
    assert warm.process.poll() is not None
    assert not folder.exists()
