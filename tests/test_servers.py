"""What a tool started never outlives the process that started the tool."""

import os
import subprocess
import sys


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
