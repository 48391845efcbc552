"""A process that has imported the heavy libraries once and forks a child for each stage.

Importing costs 5 to 30 seconds a stage, forking some milliseconds. The parent holds third-party
code only, so a child always runs hour9's code as it stands. It is started by `hour9 run` and dies
with it.

Protocol, over a Unix socket that only the user can open: the client sends one JSON line with its
arguments, folder and environment, and its standard streams as file descriptors; it gets the exit
status back as text. A client that hangs up has its child's whole process group killed.
"""

import contextlib
import gc
import hashlib
import importlib
import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from ctypes import CDLL
from dataclasses import dataclass
from pathlib import Path

LIBRARIES = (
    "numpy",
    "pandas",
    "pyarrow.parquet",
    "scipy.sparse",
    "torch",
    "torch._dynamo",  # which an optimiser imports when it is first made
    "safetensors.torch",
    "accelerate",
    "gymnasium",
    "great_expectations",
    "great_expectations.expectations",
    "datasketch",
    "sklearn.linear_model",
    "sklearn.feature_extraction.text",
    "sklearn.datasets",
    "sklearn.svm",
    "networkx.generators.atlas",
    "sklearn.manifold",
    "sklearn.metrics",
    "sklearn.neighbors",
    "sklearn.neural_network",
    "tokenizers",
    "onnxruntime",
    "onnxruntime.quantization",
    "captum.attr",
    "mlflow.pyfunc",
    "mlflow.tracking",
    "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.store.model_registry.sqlalchemy_store",
    "matplotlib.figure",
    "ruamel.yaml",
    "jinja2",
)
OWNER_SECONDS = 60  # how often it looks for its owner where the kernel doesn't tell
LONGEST_REQUEST = 1 << 20  # bytes
KILLED = 137  # exit status where the warm process died under a stage


def key(environment: dict[str, str]) -> str:
    """Names what a warm process is good for: this Python, these packages, this environment."""
    lock = Path("requirements.lock")
    parts = [sys.prefix, sys.version, lock.read_text() if lock.exists() else ""]
    parts += [f"{name}={value}" for name, value in sorted(environment.items())]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


class WarmProcess:
    """Context manager: a warm process for as long as the block lasts; `.socket` is its address."""

    def __enter__(self) -> "WarmProcess":
        from hour9.stage import ENVIRONMENT

        self.folder = Path(tempfile.mkdtemp(prefix="hour9-"))  # mode 0700
        self.socket = self.folder / key(ENVIRONMENT)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "hour9.warm", str(self.socket), str(os.getpid())],
            env={**os.environ, **ENVIRONMENT},
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C in the terminal reaches the clients, not this one
        )
        while not self.socket.exists() and self.process.poll() is None:
            time.sleep(0.01)  # it binds at once, and imports after that
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def request(path: str, arguments: list[str]) -> int | None:
    """Have a stage forked and wait for it: its exit status, or None where nobody is there."""
    payload = {"arguments": arguments, "folder": os.getcwd(), "environment": dict(os.environ)}
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(path)
        except OSError:
            return None
        try:
            socket.send_fds(client, [json.dumps(payload).encode() + b"\n"], [0, 1, 2])
            return int(client.recv(16) or KILLED)
        except OSError:
            return KILLED


@dataclass
class Child:
    pid: int
    client: socket.socket


def serve(path: Path, owner: int) -> None:
    """Import, then fork on request for as long as the owner lives."""
    with socket.socket(socket.AF_UNIX) as listener:
        mask = os.umask(0o177)
        listener.bind(str(path))
        os.umask(mask)
        listener.listen(64)  # early clients wait here while we import
        started = time.time()
        gc.disable()  # a quarter of the time: imports make objects, and hardly any garbage
        for library in LIBRARIES:
            importlib.import_module(library)
        Path(".hour9").mkdir(exist_ok=True)
        with Path(".hour9/timeline.jsonl").open("a") as file:
            span = {"kind": "imports", "name": "", "start": started, "end": time.time()}
            file.write(json.dumps(span) + "\n")
        gc.collect()
        gc.freeze()  # children share these pages
        gc.enable()
        loop(listener, owner)


def loop(listener: socket.socket, owner: int) -> None:
    """One thread waits for requests, for children that end and for clients that hang up."""
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    while os.getppid() == owner:
        for event, _ in selector.select(OWNER_SECONDS):
            if event.fileobj is listener:
                client, _ = listener.accept()
                if child := start(client, selector):
                    end_of_child = os.pidfd_open(child.pid)
                    selector.register(end_of_child, selectors.EVENT_READ, (child, "ended"))
                    selector.register(client, selectors.EVENT_READ, (child, "hung up"))
                continue
            child, what = event.data
            if what == "hung up":  # whatever it started dies with it
                selector.unregister(child.client)
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                continue
            _, status = os.waitpid(child.pid, 0)
            selector.unregister(event.fileobj)
            os.close(event.fd)
            with contextlib.suppress(KeyError):
                selector.unregister(child.client)
            with contextlib.suppress(OSError):
                code = os.waitstatus_to_exitcode(status)
                child.client.sendall(str(code if code >= 0 else 128 - code).encode())
            child.client.close()


def start(client: socket.socket, selector: selectors.BaseSelector) -> Child | None:
    """Read one request and fork its child."""
    try:
        message, files, _, _ = socket.recv_fds(client, LONGEST_REQUEST, 3)
        while message and not message.endswith(b"\n"):
            message += client.recv(LONGEST_REQUEST)
        asked = json.loads(message)
    except (OSError, ValueError):
        client.close()
        return None
    pid = os.fork()
    if pid == 0:
        selector.close()
        become(asked["arguments"], asked["folder"], asked["environment"], files)
    for file in files:
        os.close(file)
    with contextlib.suppress(OSError):
        os.setpgid(pid, pid)  # here too: the group exists whoever is first
    return Child(pid, client)


def become(
    arguments: Sequence[str], folder: str, environment: dict[str, str], files: Sequence[int]
) -> None:
    """In the child: take the client's place, run the stage, never return."""
    status = 70
    try:
        os.setpgid(0, 0)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        gc.unfreeze()
        for target, file in enumerate(files):
            os.dup2(file, target)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)

        from hour9.stage import ENVIRONMENT, die_with_parent, perform

        os.environ.update(ENVIRONMENT)
        die_with_parent()
        status = perform(*arguments)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def leave_with(owner: int, path: Path) -> None:
    """End with the process that started this one, and leave no folder behind."""

    def leave(*_: object) -> None:
        shutil.rmtree(path.parent, ignore_errors=True)
        os._exit(0)

    signal.signal(signal.SIGTERM, leave)
    if sys.platform == "linux":
        CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
    if os.getppid() != owner:
        leave()


if __name__ == "__main__":
    path, owner = Path(sys.argv[1]), int(sys.argv[2])
    leave_with(owner, path)
    serve(path, owner)
