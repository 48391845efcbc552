"""Which device and which number format. The only place that asks what machine this is."""

import os

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from hour9.engine.settings import Settings


class NoSuchDevice(RuntimeError):  # noqa: N818 - reads as a sentence where it is raised
    """The settings ask for a device that this machine has not."""


def pick_device(device: str) -> torch.device:
    """`auto` is the GPU where there is one."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise NoSuchDevice("device=cuda, but Torch sees no GPU here; set device to auto or cpu")
    return torch.device(device)


def answering_device(device: str) -> torch.device:
    """Where a model answers that this setting trained: one trained on a GPU can do without."""
    return pick_device("cpu" if device == "cpu" else "auto")


def pick_precision(precision: str, device: torch.device) -> str:
    """Accelerate's name of it. `auto` is bf16 where the GPU computes in it, else fp32.

    Never on a CPU: most emulate bf16, and a version's bytes should not ask for one that does not.
    """
    if precision == "auto":
        fast = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        precision = "bf16" if fast else "fp32"
    if precision == "fp16" and device.type == "cpu":
        raise NoSuchDevice("precision=fp16 needs a GPU; set precision to auto, fp32 or bf16")
    return "no" if precision == "fp32" else precision


def prepare_threads(threads: int) -> None:
    """Cap Torch's pool; `stage.py` caps the others before they are loaded.

    Results depend on the number, so it comes from the candidate.
    """
    torch.set_num_threads(threads)


def accelerator(settings: Settings) -> Accelerator:
    """Accelerate for one training; on a CPU, everything it does is deterministic."""
    device = pick_device(settings.device)
    prepare_threads(settings.threads)
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cuda.matmul.allow_tf32 = True
    AcceleratorState._reset_state(reset_partial_state=True)  # one process may train twice
    return Accelerator(
        cpu=device.type == "cpu", mixed_precision=pick_precision(settings.precision, device)
    )
