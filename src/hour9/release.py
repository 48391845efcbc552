"""Releasing a version: `hour9 promote`, `rollback`, `journal`, `trace` and `reproduce`."""

from __future__ import annotations

import argparse
import json
import sys


def promote(asked: argparse.Namespace) -> int:
    """Move `champion`, or say what speaks against it."""
    from hour9.config import check_task
    from hour9.registry import promotion

    print(promotion.promote(check_task(asked.task), asked.version, asked.reason))
    return 0


def rollback(asked: argparse.Namespace) -> int:
    """Go back to the champion before."""
    from hour9.config import check_task
    from hour9.registry import promotion

    print(promotion.rollback(check_task(asked.task), asked.reason))
    return 0


def journal(asked: argparse.Namespace) -> int:
    """Print the journal, oldest first, and where its chain is broken: then the status is 1."""
    from dataclasses import asdict

    from hour9.config import check_task
    from hour9.params import read_params
    from hour9.registry.journal import breaks, entries

    tasks = [check_task(asked.task)] if asked.task else list(read_params()["tasks"])
    every = [entry for task in tasks for entry in entries(task)]
    if asked.json:
        print(json.dumps([asdict(entry) for entry in every], indent=2))
    else:
        print("\n".join(f"{entry.task} {entry}" for entry in every) or "nothing was promoted yet")
    broken = [line for task in tasks for line in breaks(task)]
    for line in broken:
        print(f"the journal is broken: {line}", file=sys.stderr)
    return 1 if broken else 0


def trace(asked: argparse.Namespace) -> int:
    """Print the chain, the version first."""
    from hour9.registry.reproduce import trace as chain

    for what, value in chain(asked.version):
        print(f"{what:<12} {value}")
    return 0


def register(asked: argparse.Namespace) -> int:
    """Make the registry agree with the outs that lie here; with --rebuild, also where it lost
    some, or answers by code that has changed since."""
    from hour9.config import check_task
    from hour9.params import DATA, Refused
    from hour9.register import register as again
    from hour9.run import one_run

    task = check_task(asked.task)
    if not (DATA / task).exists():
        raise Refused(f"{DATA / task} is not here; hour9 run --task {task}, or dvc pull")
    with one_run():
        again(task, asked.rebuild)
    return 0


def restore(asked: argparse.Namespace) -> int:
    """Put into DVC's cache what it lost and a version still has."""
    from hour9.registry.restore import restore as put_back

    put, command = put_back(asked.version)
    if put:
        print(f"put {len(put)} objects back into the cache; {command}")
    else:
        print("the cache lacks nothing of that version")
    return 0


def reproduce(asked: argparse.Namespace) -> int:
    """Say whether the same model comes out again; status 1 where it differs by more than it may."""
    from hour9.registry.reproduce import DIFFERENT
    from hour9.registry.reproduce import reproduce as again

    outcome, differences = again(asked.version)
    print("\n".join([f"{asked.version}: {outcome}", *differences]))
    return 1 if outcome == DIFFERENT else 0
