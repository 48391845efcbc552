"""Whether training on the GPU is the training on the CPU, and how fast it is.

python benchmarks/gpu_check.py [--device cuda|cpu] [--updates 5] [--candidate NAME]

Of every candidate, the loss of the first updates on the device, in fp32 and in bf16, against those
on the CPU in fp32, from the same weights and batches, without dropout (each device draws its masks
in a way of its own); then updates a second, and of a GPT of GPT-2's size tokens a second and the
share of the device's arithmetic that the model uses. The data and the models that candidates start
from are those of the last `make run`. With --device cpu the same code runs where no GPU is.
"""

import argparse
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F

from hour9.engine.device import pick_precision
from hour9.engine.run import Run
from hour9.engine.settings import Settings, Supervised, load_settings
from hour9.params import DATA, read_params
from hour9.transformers.layers import LayerShape, Transformer, TransformerShape
from hour9.trial import Enough, rehearse

TOLERANCE = {"fp32": 5e-3, "bf16": 5e-2}
"""Relative, of a loss. fp32 multiplies in TF32 on a GPU: ten bits behind the point."""

PEAK = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L4": 121e12, "T4": 65e12}
"""Dense bf16 (T4: fp16) operations a second, as their data sheets say."""

NO_GPU = (
    "no GPU here (torch {version} sees none), so nothing was checked on one.\n"
    "The same code on the CPU: python benchmarks/gpu_check.py --device cpu"
)


def main() -> int:
    """Check every candidate; 1 where one differs, 0 otherwise, also where there is no GPU."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--updates", type=int, default=5)
    parser.add_argument("--candidate", default="", help="one alone, without the GPT")
    asked = parser.parse_args()
    if asked.device == "cuda" and not torch.cuda.is_available():
        print(NO_GPU.format(version=torch.__version__))
        return 0
    names = [asked.candidate] if asked.candidate else list(read_params()["candidates"])
    wrong = [name for name in names if not agrees(name, asked.device, asked.updates)]
    if not asked.candidate:
        utilisation(torch.device(asked.device))
    if wrong:
        print(f"not the training of the CPU: {', '.join(wrong)}")
    return int(bool(wrong))


@dataclass
class Steps(Run):
    """A training that ends after some updates, with the loss and the time of each."""

    wanted: int = field(default=5, kw_only=True)
    losses: list[float] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    def save_if_due(self, state) -> None:
        """Called after each update: its place knows the sum of the losses since the last point."""
        self.losses.append(state.__self__.place.loss)
        self.times.append(time.perf_counter())
        if len(self.losses) == self.wanted:
            raise Enough

    def progress(self, done: int, total: int, what: str = "") -> None:
        """Nobody waits for it."""


def agrees(name: str, device: str, updates: int) -> bool:
    """Print a line for each number format; whether all are near the CPU's."""
    settings = load_settings(name)
    choices = type(settings).model_fields["device"].annotation.__args__
    if not isinstance(settings, Supervised) and "cuda" not in choices:
        print(f"{name:24} computes on the CPU alone")
        return True
    if not (DATA / settings.task).exists() or not Path(settings.parent).exists():
        print(f"{name:24} not checked: no data or no {settings.parent} here; make run first")
        return True
    expected = first_updates(settings, "cpu", "fp32", updates)
    if not expected.losses:
        print(f"{name:24} learns without updates")
        return True
    near = True
    for precision in precisions(settings, device):
        found = first_updates(settings, device, precision, updates)
        worst = max(
            abs(a - b) / max(abs(b), 1e-6)
            for a, b in zip(found.losses, expected.losses, strict=True)
        )
        good = worst <= TOLERANCE[precision]
        near = near and good
        spent = found.times[-1] - found.times[0]
        print(
            f"{name:24} {device} {precision}: loss within {worst:.1e} of the CPU's "
            f"({'agrees' if good else 'DIFFERS'}), {(updates - 1) / spent:.1f} updates/s",
            flush=True,
        )
    return near


def precisions(settings: Settings, device: str) -> list[str]:
    """The formats that the candidate may be trained in on this device."""
    allowed = type(settings).model_fields["precision"].annotation.__args__
    return [name for name in TOLERANCE if name in allowed]


def first_updates(settings: Settings, device: str, precision: str, updates: int) -> Steps:
    """Train for some updates and throw the rest away."""
    quiet = {name: 0.0 for name in type(settings).model_fields if name.endswith("dropout")}
    changed = settings.model_copy(update=quiet | {"device": device, "precision": precision})
    return rehearse(Steps, changed, wanted=updates)


# A GPT large enough to fill a GPU


def utilisation(device: torch.device) -> None:
    """Tokens a second, and the share of the device's peak that the model's own operations are.

    A token costs 6 N + 12 L C T operations, forward and back (Chowdhery et al. 2022, appendix B):
    N parameters, L layers, C channels, T tokens of context; what is computed twice counts once.
    """
    gpu = device.type == "cuda"
    layers, channels, context, rows = (12, 768, 1024, 16) if gpu else (2, 64, 64, 4)
    layer = LayerShape(channels, channels // 64, 4 * channels, activation="gelu_tanh")
    model = Transformer(TransformerShape(50304, context, layers, layer, causal=True)).to(device)
    tokens = torch.randint(50304, (rows, context + 1), device=device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    parameters = sum(p.numel() for p in model.parameters())
    operations = 6 * parameters + 12 * layers * channels * context
    format = pick_precision("auto", device)
    for how in ("eager", "compiled"):
        forward = torch.compile(model) if how == "compiled" else model
        try:
            rate = tokens_a_second(forward, model, tokens, optimizer, gpu, format)
        except Exception as error:  # no compiler here
            print(f"GPT {how}: {type(error).__name__}: {str(error).splitlines()[0]}")
            continue
        print(f"GPT, {parameters / 1e6:.0f} million parameters, {how}, {format}: "
              f"{rate:,.0f} tokens/s, {share(rate * operations, device)}")  # fmt: skip


def tokens_a_second(forward, model, tokens, optimizer, gpu: bool, format: str) -> float:
    """Over some updates, after as many that are not counted."""
    updates = 10 if gpu else 2
    for counted in (False, True):
        started = time.perf_counter()
        for _ in range(updates):
            with torch.autocast(tokens.device.type, torch.bfloat16, enabled=format == "bf16"):
                logits = model.logits(forward(tokens[:, :-1]))  # (B, T, V)
                loss = F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        if gpu:
            torch.cuda.synchronize()
        if counted:
            return updates * tokens[:, 1:].numel() / (time.perf_counter() - started)
    raise AssertionError("unreachable")


def share(operations: float, device: torch.device) -> str:
    """Of the data sheet's peak where we know it, and always of a large matrix product here."""
    reached = matrix_product(device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    known = [
        f"{operations / peak:.1%} of {key}'s peak" for key, peak in PEAK.items() if key in name
    ]
    return ", ".join(
        [
            f"{operations / 1e12:.3f} TFLOP/s",
            *known[:1],
            f"{operations / reached:.1%} of a matrix product's {reached / 1e12:.3f}",
        ]
    )


def matrix_product(device: torch.device) -> float:
    """Operations a second of a large product, in the format that training takes here."""
    n = 8192 if device.type == "cuda" else 1024
    kind = torch.bfloat16 if pick_precision("auto", device) == "bf16" else torch.float32
    a = torch.randn(n, n, device=device, dtype=kind)
    for _ in range(3):
        a @ a
    if device.type == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(10):
        a @ a
    if device.type == "cuda":
        torch.cuda.synchronize()
    return 10 * 2 * n**3 / (time.perf_counter() - started)


if __name__ == "__main__":
    sys.exit(main())
