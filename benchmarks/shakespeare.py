"""Tiny Shakespeare, character by character: the loss of a GPT of at most 11 million parameters.

    python benchmarks/shakespeare.py --minutes 60       # goes on where it was stopped
    python benchmarks/shakespeare.py --short            # seconds, another text: shows that it runs

The text's last tenth is for validation, as nanoGPT has it. The loss is the mean over all of it, in
nats a character, in windows that go on where the one before ended and look back over half of the
context. Training continues from `--state`, whatever stopped it, until all epochs are done or the
time is up; then it says how far it came. `--size` takes a smaller model, for a CPU. What was
reached goes to benchmarks/results.json, beside the target.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hour9.engine.checkpoint import Checkpoint
from hour9.engine.fit import Batch, fit
from hour9.engine.randomness import seed_all
from hour9.engine.run import Run
from hour9.engine.settings import Supervised
from hour9.transformers.gpt import cut, negative_log_likelihoods
from hour9.transformers.layers import LayerShape, Transformer, TransformerShape
from record import compare, record

TEXT = Path("../shared/data/text/tinyshakespeare/input.txt")
TARGET = 1.50  # nats a character
MOST_PARAMETERS = 11_000_000
SIZES = {  # channels, heads, layers, context, epochs, batch, dropout, step size
    "full": (384, 6, 6, 256, 50, 64, 0.2, 1e-3),
    "cpu": (128, 4, 4, 64, 5, 12, 0.0, 2e-3),
    "short": (16, 2, 1, 32, 2, 16, 0.0, 1e-2),
}


class TimeIsUp(Exception):  # noqa: N818 - reads as a sentence where it is raised
    """The minutes are over; the checkpoint is there."""


def main() -> None:
    """Train for some minutes, and say what was reached."""
    asked = parser().parse_args()
    size = "short" if asked.short else asked.size
    text = "To be, or not to be: " * 400 if asked.short else asked.text.read_text()
    train, held_out, words = characters(text)
    channels, heads, layers, context, epochs, batch, dropout, rate = SIZES[size]
    settings = Supervised(
        task="shakespeare",
        topic="transformers",
        parent=str(asked.text),
        architecture="gpt",
        epochs=epochs,
        batch_size=batch,
        learning_rate=rate,
        weight_decay=0.1,
        warmup=0.05,
        patience=epochs,
    )
    seed_all(settings.seed)
    layer = LayerShape(
        channels, heads, 4 * channels, activation="gelu_tanh", dropout=dropout, rotary=True
    )
    shape = TransformerShape(words, context, layers, layer, causal=True, positions="rotary")
    model = Transformer(shape)
    parameters = sum(p.numel() for p in model.parameters())
    assert parameters <= MOST_PARAMETERS
    print(f"{parameters:,} parameters, {len(train):,} characters to train on", flush=True)
    state = Path(tempfile.mkdtemp()) if asked.short else asked.state / size
    run = LimitedRun(settings, {}, asked.text, state, Checkpoint(state), asked.minutes)
    reached = learn(run, model, train, held_out)
    print(f"{reached:.4f} nats a character on {len(held_out):,} held-out ones (target {TARGET})")
    if not asked.short:
        row = compare(f"Tiny Shakespeare, {size}", [reached], [TARGET], "target", "nats, lower")
        record([row | {"ratio": round(TARGET / reached, 3)}])


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--text", type=Path, default=TEXT)
    parser.add_argument("--size", choices=["full", "cpu"], default="full")
    parser.add_argument("--minutes", type=float, default=60.0, help="wall time of this start")
    parser.add_argument("--state", type=Path, default=Path(".hour9/shakespeare"))
    parser.add_argument("--short", action="store_true", help="seconds; records nothing")
    return parser


def characters(text: str) -> tuple[np.ndarray, np.ndarray, int]:
    """The text as numbers, nine tenths to train on and one to validate; how many characters."""
    known = {character: i for i, character in enumerate(sorted(set(text)))}
    stream = np.array([known[character] for character in text])
    end = 9 * len(stream) // 10
    return stream[:end], stream[end:], len(known)


class LimitedRun(Run):
    """A run that ends with its time, after a last checkpoint."""

    def __init__(self, settings, tables, parent, folder, checkpoint, minutes: float):
        super().__init__(settings, tables, parent, folder, checkpoint)
        self.ends = time.monotonic() + 60 * minutes

    def save_if_due(self, state) -> None:
        if time.monotonic() > self.ends:
            self.save(state())
            raise TimeIsUp
        super().save_if_due(state)


def learn(run: LimitedRun, model: Transformer, train: np.ndarray, held_out: np.ndarray) -> float:
    """Train as far as the time goes; the loss on the held-out text."""
    settings, width = run.settings, model.shape.context + 1

    def batches(epoch: int) -> list[Batch]:
        rows = torch.from_numpy(cut(train, width, (settings.seed, epoch)))
        return [{"tokens": rows} for rows in rows.split(settings.batch_size)]

    def loss(wrapped: nn.Module, batch: Batch) -> Tensor:
        tokens = batch["tokens"]
        logits = model.logits(wrapped(tokens[:, :-1]))
        return F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())

    def validate(_: nn.Module) -> float:
        (nats,) = negative_log_likelihoods(model, [held_out.tolist()])
        return -float(nats) / (len(held_out) - 1)

    try:
        fit(run, model, batches, loss, validate)
    except TimeIsUp:
        print("the time is up; run again to go on")
    return -validate(model)


if __name__ == "__main__":
    main()
