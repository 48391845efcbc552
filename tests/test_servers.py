"""What a tool started never outlives the process that started the tool."""

import os
import subprocess
import sys

import pytest

from hour9.servers import NotServed, free_port, process, wait_for


def test_what_a_tool_started_ends_with_us_even_if_we_are_killed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("alive")
    tool = "import subprocess; subprocess.run('(sleep 60; echo outlived us) > alive', shell=True)"
    code = f"from hour9.servers import process\nwith process('python', '-c', {tool!r}): input()"
    us = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
    with open("alive") as alive:  # opens as soon as the tool's child has it open
        us.kill()
        us.communicate()
        assert alive.read() == ""


def test_nobody_waits_for_a_server_that_has_ended(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    url = f"http://127.0.0.1:{free_port()}/health"
    with (
        process("python", "-c", "raise SystemExit(3)") as server,
        pytest.raises(NotServed, match=rf"what serves {url} ended with status 3; see "),
    ):
        wait_for(url, by=server)
