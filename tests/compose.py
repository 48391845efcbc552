"""docker-compose.yml without Docker: its services' commands and environment, on this machine."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from hour9.servers import PATIENCE, free_port

ROOT = Path(__file__).parent.parent
POSTGRES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1:]
PORTS = ("4200", "4300", "5000", "5432", "8080", "8333")
HOSTS = r"\b(?:postgres|mlflow|prefect|s3|localhost)(?=:\d)"  # all of them are this machine here


def settings(*uncommented: str) -> dict[str, str]:
    """.env.example with a value where it wants one, and those commented lines that are named."""
    lines = (ROOT / ".env.example").read_text().splitlines()
    plain = [line for line in lines if re.match(r"[A-Z]", line)]
    named = [line[2:] for line in lines if line[2:].partition("=")[0] in uncommented]
    given = dict(line.split("=", 1) for line in [*plain, *named])
    return {name: value or f"{name.replace('_', '')}0123456789" for name, value in given.items()}


def interpolate(text: str, values: dict[str, str]) -> str:
    """Compose's ${NAME}, ${NAME:-default} and ${NAME:?message}."""

    def value(found: re.Match[str]) -> str:
        name, sign, word = found.groups()
        if values.get(name):
            return values[name]
        assert sign == "-", f"{name}: {word}"
        return word

    return re.sub(r"\$\{(\w+)(?::([-?])([^}]*))?\}", value, text)


class Stack:
    """The services of the file, with free ports and a folder for what containers have as volumes.

    `moved` says where a container's path is here.
    """

    def __init__(self, folder: Path, values: dict[str, str], moved: dict[str, Path]):
        text = interpolate((ROOT / "docker-compose.yml").read_text(), values)
        self.file: dict[str, Any] = yaml.safe_load(text)
        self.folder = folder
        self.moved = moved
        self.ports = {port: str(free_port()) for port in PORTS}
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def here(self, text: str) -> str:
        """A command, address or path of a container, as it is on this machine."""
        text = re.sub(HOSTS, "127.0.0.1", str(text).replace("0.0.0.0", "127.0.0.1"))
        text = re.sub(rf"\b({'|'.join(PORTS)})\b", lambda found: self.ports[found[1]], text)
        for path, place in self.moved.items():
            text = re.sub(rf"(?<![\w/]){path}\b", str(place), text)
        return text

    def environment(self, service: str) -> dict[str, str]:
        """What the file gives the service, and what any process needs."""
        given = self.file["services"][service]["environment"]
        known = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        known["PATH"] = f"{sys.prefix}/bin:{known['PATH']}"
        return {**known, **{name: self.here(value) for name, value in given.items()}}

    def command(self, service: str) -> list[str]:
        return [self.here(word) for word in self.file["services"][service]["command"]]

    def start(self, service: str, program: str = "", cwd: Path | None = None, **more: str) -> None:
        """Run the service's command, after the `program` that is its image's entrypoint."""
        words = [*([program] if program else []), *self.command(service)]
        with (self.folder / f"{service}.log").open("w") as log:
            process = subprocess.Popen(
                words,
                cwd=cwd or self.folder,
                env={**self.environment(service), **more},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.running[service] = process

    def wait(self, service: str, port: str, path: str) -> None:
        """Return when the service answers; one that ended first says why."""
        deadline = time.monotonic() + PATIENCE
        url = f"http://127.0.0.1:{self.ports[port]}{path}"
        while time.monotonic() < deadline and self.running[service].poll() is None:
            with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):
                return
            time.sleep(0.2)
        raise AssertionError(f"{service} does not answer at {url}\n{self.log(service)}")

    def log(self, service: str) -> str:
        return (self.folder / f"{service}.log").read_text()[-4000:]

    def stop(self) -> None:
        """End every service, the last one first."""
        for process in reversed(self.running.values()):
            for signal in (15, 9):
                try:
                    os.killpg(process.pid, signal)
                    process.wait(timeout=15)
                except (ProcessLookupError, subprocess.TimeoutExpired):
                    continue
                break

    @contextmanager
    def postgres(self) -> Iterator[None]:
        """PostgreSQL's own binaries, with the file's user, password and databases."""
        given = self.environment("postgres")
        (binaries,) = POSTGRES
        # It refuses to be root, and pytest's folders are closed to other users.
        with tempfile.TemporaryDirectory(prefix="hour9-pg-", ignore_cleanup_errors=True) as name:
            folder = Path(name)
            (folder / "password").write_text(given["POSTGRES_PASSWORD"])
            as_user: list[str] = []
            if os.getuid() == 0:
                as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
                for path in (folder, folder / "password"):
                    shutil.chown(path, "postgres", "postgres")
            data = str(folder / "data")
            run = [*as_user, str(binaries / "initdb"), "-D", data, "-U", given["POSTGRES_USER"]]
            run += ["--auth=scram-sha-256", f"--pwfile={folder}/password", "--no-sync"]
            subprocess.run(run, check=True, capture_output=True, cwd="/")
            serve = [*as_user, str(binaries / "postgres"), "-D", data, "-h", "127.0.0.1"]
            serve += ["-p", self.ports["5432"], "-k", name, "-c", "fsync=off"]
            with (self.folder / "postgres.log").open("w") as log:
                server = subprocess.Popen(serve, stdout=log, stderr=log, cwd="/")
            try:
                first = f"CREATE DATABASE {given['POSTGRES_DB']};"
                self.sql(binaries, first + self.file["configs"]["databases"]["content"])
                yield
            finally:
                server.send_signal(2)  # fast shutdown: it ends its sessions
                server.wait(timeout=30)

    def sql(self, binaries: Path, statements: str) -> None:
        """Run them as the file's user, once the server answers."""
        given = self.environment("postgres")
        env = {**os.environ, "PGPASSWORD": given["POSTGRES_PASSWORD"]}
        ask = [str(binaries / "psql"), "-h", "127.0.0.1", "-p", self.ports["5432"]]
        ask += ["-U", given["POSTGRES_USER"], "-d", "postgres", "-v", "ON_ERROR_STOP=1"]
        for _ in range(100):
            done = subprocess.run([*ask, "-c", "SELECT 1"], env=env, capture_output=True)
            if done.returncode == 0:
                break
            time.sleep(0.2)
        for statement in filter(str.strip, statements.split(";")):
            subprocess.run([*ask, "-c", statement], env=env, check=True, capture_output=True)
