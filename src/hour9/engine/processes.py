"""Several processes for one model: they share out the batches of an update and add up gradients.

An update goes along the mean gradient of `accumulate` batches, whoever computes them, so that two
processes take the steps of one, to rounding. Each batch of such an update draws its random
numbers from a seed of its own; what is saved is the first process's, and the same in all.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

LOOPBACK = "127.0.0.1"
Item = TypeVar("Item")


class ProcessFailed(RuntimeError):  # noqa: N818 - reads as a sentence where it is raised
    """One of a training's processes ended with an error, and so all did."""


class CannotShare(RuntimeError):  # noqa: N818 - reads as a sentence where it is raised
    """There is nothing that several processes could do at the same time."""


def launch(train: Callable[[str], None], name: str, count: int, device: torch.device) -> None:
    """Call `train(name)` in so many processes, as torchrun does; return when all have ended."""
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, record
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id=name,
        rdzv_backend="c10d",
        rdzv_endpoint=f"{LOOPBACK}:0",
        local_addr=LOOPBACK,
        max_restarts=0,
        start_method="spawn" if device.type == "cuda" else "fork",  # a GPU survives no fork
    )
    if sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # we say it
    try:
        elastic_launch(config, record(train))(name)
    except ChildFailedError as error:
        _, failure = error.get_first_failure()
        known: Any = failure.message  # a text, or what `record` made of an exception
        words = known if isinstance(known, str) else known["message"]
        raise ProcessFailed(f"process {failure.local_rank}: {words}") from None


def launched() -> bool:
    """Whether torchrun, or `launch`, started this process as one of several."""
    return "WORLD_SIZE" in os.environ


@contextmanager
def joined(count: int, device: torch.device) -> Iterator[None]:
    """Meet the other processes, where there are any."""
    if not launched():
        yield
        return
    from hour9.stage import die_with_parent  # not among what a packaged model carries

    die_with_parent()
    # Ended since another failed, it ends; torchrun's handler would raise where it just is.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    local = int(os.environ["LOCAL_RANK"])
    if device.type == "cuda":
        torch.cuda.set_device(local)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    for variable in ("WORLD_SIZE", "RANK", "LOCAL_RANK"):
        del os.environ[variable]  # or Accelerate would wrap the model a second time
    try:
        if world() != count:
            raise CannotShare(f"started as {world()} processes, but processes={count}")
        yield
    finally:
        dist.destroy_process_group()


def rank() -> int:
    """This process's number; 0 writes, reports and validates."""
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    """How many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def check_shares(batches: int) -> None:
    """Raise CannotShare where some processes would idle."""
    if batches < world():
        raise CannotShare(
            f"an epoch is {batches} batch{'es' * (batches > 1)}, too few for {world()} processes: "
            "lower batch_size, or set processes=1"
        )


def mine(items: Sequence[Item]) -> list[tuple[int, Item]]:
    """This process's share of the batches of an update, with their numbers."""
    return [(i, item) for i, item in enumerate(items) if i % world() == rank()]


def seed_batch(seed: int, step: int, number: int) -> None:
    """Give a batch random numbers that do not depend on who computes it."""
    state = np.random.SeedSequence((seed, step, number)).generate_state(1, np.uint64)
    torch.manual_seed(int(state[0] >> 1))


def total(number: float) -> float:
    """The sum over the processes."""
    if world() == 1:
        return number
    return float(all_reduced(torch.tensor([number], dtype=torch.float64)))


def agreed(number: Callable[[], float]) -> float:
    """What the first process computes; the others wait for it."""
    return total(number() if rank() == 0 else 0.0)


def wait_for_all() -> None:
    """Return when every process is here."""
    total(0.0)


def add_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Make each gradient the sum over the processes; one that nobody has stays None."""
    if world() == 1:
        return
    parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    known = torch.tensor([float(p.grad is not None) for p in parameters], device=parts[0].device)
    flat = all_reduced(torch.cat([known, *(part.flatten() for part in parts)]))
    known, *parts = flat.split([len(parameters), *(p.numel() for p in parameters)])
    for parameter, part, count in zip(parameters, parts, known.tolist(), strict=True):
        parameter.grad = part.view_as(parameter).clone() if count else None


def all_reduced(tensor: Tensor) -> Tensor:
    """The sum over the processes, where their backend computes it."""
    where = torch.device("cuda") if dist.get_backend() == "nccl" else torch.device("cpu")
    found = tensor.to(where)
    dist.all_reduce(found)
    return found.to(tensor.device)
