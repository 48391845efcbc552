"""`hour9 reproduce` of every candidate's newest version: identical, or where not.

python benchmarks/reproduce_all.py [CANDIDATE …]

Each is trained again from its own commit, beside this tree; the tree is hashed before and after.
"""

import argparse
import os
import sys
import time

from hour9.params import DATA, MODELS, read_params
from hour9.registry.examination import newest
from hour9.registry.lineage import dvc_md5, git_state
from hour9.registry.reproduce import reproduce
from hour9.stage import ENVIRONMENT


def main() -> int:
    """One line for each; 1 where one of them is not identical, or the tree has changed."""
    os.environ.update(ENVIRONMENT)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("candidates", nargs="*", metavar="CANDIDATE", help="all, if not given")
    sections = read_params()["candidates"]
    found = []
    for candidate in parser.parse_args().candidates or sections:
        task = sections[candidate]["task"]
        before, started = state(task), time.monotonic()
        outcome, where = reproduce(f"{task}/{newest(task, candidate)}", say=lambda _: None)
        seconds = time.monotonic() - started
        print(f"{candidate:22} {outcome} in {seconds:.0f} s", *where, sep="\n  ", flush=True)
        if state(task) != before:
            outcome = "changed the tree"
            print(f"  {outcome}", flush=True)
        found.append(outcome)
    return 0 if set(found) == {"identical"} else 1


def state(task: str) -> tuple[str, ...]:
    """What a reproduction must leave as it is: sources, data and models."""
    return (*git_state().values(), dvc_md5(DATA / task), dvc_md5(MODELS / task))


if __name__ == "__main__":
    sys.exit(main())
