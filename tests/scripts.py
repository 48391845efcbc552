"""Scripts that are run one after another in one process, which imports the libraries once."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

RUN = """
import contextlib, io, json, os, runpy, sys, traceback

sys.path.insert(0, sys.argv[1])
for name, *arguments in json.loads(sys.argv[2]):
    script = os.path.join(sys.argv[1], f"{name}.py")
    failed, said, errors = False, io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(errors):
        try:
            before, sys.argv = sys.argv, [script, *arguments]
            runpy.run_path(script, run_name="__main__")
        except BaseException:
            failed = True
            traceback.print_exc()
        finally:
            sys.argv = before
    print(json.dumps([name, failed, said.getvalue(), errors.getvalue()]), flush=True)
"""


class Done(NamedTuple):
    """What became of a script: what it printed, and what it complained of."""

    failed: bool
    said: str
    errors: str


def run_scripts(folder: Path, commands: Sequence[Sequence[str]], cwd: Path) -> dict[str, Done]:
    """Run the folder's `name.py` with the arguments of each command; what became of each, by name.

    One that fails does not keep the next from running; one that kills the process does.
    """
    command = [sys.executable, "-c", RUN, str(folder), json.dumps(commands)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    found = {name: Done(*what) for name, *what in lines}
    return {name: found.get(name, Done(True, "", done.stderr)) for name, *_ in commands}
