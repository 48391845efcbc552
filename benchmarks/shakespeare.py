"""Tiny Shakespeare, character by character: the loss of a GPT of at most 11 million parameters.

    python benchmarks/shakespeare.py --minutes 15       # the same command goes on from there
    python benchmarks/shakespeare.py --slice --steps 200    # to choose settings: see below
    python benchmarks/shakespeare.py --short            # seconds, another text: shows that it runs

The text's last tenth is for validation, as nanoGPT has it. It chooses nothing: settings are chosen
with `--slice`, where the training part's own last twentieth takes its place, and the weights are
those of the last step. The loss is the mean over all of the held-out text, in nats a character, in
windows that go on where the one before ended and look back over half of the context.

A letter is read together with the few before it, each through an embedding of its own place: what
an n-gram knows needs no attention, and is learned in a fraction of the time.

The layers' matrices are trained by Muon (Jordan et al. 2024): the momentum, made orthogonal, so
that every direction of a matrix moves alike. All else is trained by AdamW. The step size is level,
then falls to zero. What was reached goes to benchmarks/results.json, beside the target.
"""

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import AdamW, Muon, Optimizer

from hour9.engine.checkpoint import State
from hour9.engine.randomness import random_state, seed_all, set_random_state
from hour9.engine.run import Run
from hour9.engine.settings import Supervised
from hour9.transformers.gpt import cut, negative_log_likelihoods
from hour9.transformers.layers import LayerShape, Transformer, TransformerShape, start_small
from limited import finished, limited, options
from record import compare, record

TEXT = Path("../shared/data/text/tinyshakespeare/input.txt")
TARGET = 1.50  # nats a character
MOST_PARAMETERS = 11_000_000
WARMUP, LEVEL = 0.02, 0.4  # shares of the steps: until the peak, and until the fall
SLICE = 20  # with --slice, one part in so many of the training text is held out


@dataclass(frozen=True)
class Size:
    """A model and how it is trained."""

    channels: int
    heads: int
    layers: int
    context: int
    batch: int
    steps: int
    dropout: float = 0.0
    earlier: int = 4
    """letters that are read together with each"""
    matrices: float = 0.02
    """Muon's step size"""
    others: float = 3e-3
    """AdamW's"""
    precision: str = "bf16"


SIZES = {
    "full": Size(384, 6, 6, 256, batch=64, steps=3000, dropout=0.2),
    "cpu": Size(192, 4, 4, 128, batch=32, steps=1500),
    "short": Size(16, 2, 1, 32, batch=16, steps=12),
}


def main() -> None:
    """Train for some minutes, and say what was reached."""
    asked = parser().parse_args()
    name = "short" if asked.short else asked.size
    size = SIZES[name]
    steps = asked.steps or size.steps
    train, held_out, words = characters(
        "To be, or not to be: " * 400 if asked.short else asked.text.read_text(), asked.slice
    )
    model = gpt(size, words)
    parameters = sum(p.numel() for p in model.parameters())
    assert parameters <= MOST_PARAMETERS
    print(f"{parameters:,} parameters, {len(train):,} characters to train on", flush=True)
    settings = Supervised(
        task=f"shakespeare-{name}{'-slice' * asked.slice}",
        topic="transformers",
        parent=str(asked.text),
        architecture=repr(size),
        epochs=steps,
        precision=size.precision,
    )
    if asked.short:
        asked.state = Path(tempfile.mkdtemp())
    run = limited(asked, settings, {}, asked.text)
    Training(run, model, size, steps).learn(train)
    (nats,) = negative_log_likelihoods(model, [held_out.tolist()])
    reached = float(nats) / (len(held_out) - 1)
    print(f"{reached:.4f} nats a character on {len(held_out):,} held-out ones (target {TARGET})")
    if not (asked.short or asked.slice):
        name = f"Tiny Shakespeare, {name}"
        record([compare(name, [reached], [TARGET], "target", "nats", less_is_better=True)])
    finished(run)


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0], parents=[options()]
    )
    parser.add_argument("--text", type=Path, default=TEXT)
    parser.add_argument("--size", choices=["full", "cpu"], default="full")
    parser.add_argument("--steps", type=int, help="other than the size's")
    parser.add_argument("--slice", action="store_true", help="hold out a part of train instead")
    parser.add_argument("--short", action="store_true", help="seconds; records nothing")
    return parser


def characters(text: str, sliced: bool) -> tuple[np.ndarray, np.ndarray, int]:
    """The text as numbers, a part to train on and one to validate; how many characters."""
    known = {character: i for i, character in enumerate(sorted(set(text)))}
    stream = np.array([known[character] for character in text])
    end = 9 * len(stream) // 10
    if sliced:
        stream = stream[:end]
        end -= end // SLICE
    return stream[:end], stream[end:], len(known)


class Gpt(Transformer):
    """x_t = Σ_i E_i[letter t - i]: a letter's vector is the sum of its own and of those before."""

    def __init__(self, shape: TransformerShape, earlier: int):
        super().__init__(shape)
        self.earlier = nn.ModuleList(
            nn.Embedding(shape.words, shape.layer.channels) for _ in range(earlier)
        )
        self.earlier.apply(start_small)

    def embed(self, tokens: Tensor, segments: Tensor | None, start: int) -> Tensor:  # -> (B, T, C)
        assert segments is None
        assert start == 0  # a text is read from its beginning
        x = self.words(tokens)
        for i, embedding in enumerate(self.earlier, start=1):
            x = x + F.pad(embedding(tokens[:, :-i]), (0, 0, i, 0))
        return self.dropout(x)


def gpt(size: Size, words: int) -> Gpt:
    """First weights by chance."""
    seed_all(0)
    torch.set_num_threads(1)
    layer = LayerShape(
        size.channels,
        size.heads,
        4 * size.channels,
        activation="gelu_tanh",
        dropout=size.dropout,
        rotary=True,
    )
    shape = TransformerShape(
        words, size.context, size.layers, layer, causal=True, positions="rotary"
    )
    return Gpt(shape, size.earlier)


class Training:
    """A model with its two optimizers and how many steps are done."""

    def __init__(self, run: Run, model: Gpt, size: Size, steps: int):
        self.run, self.model, self.size, self.steps, self.done = run, model, size, steps, 0
        layers = [p for p in model.layers.parameters() if p.dim() == 2]
        others = [p for p in model.parameters() if all(p is not q for q in layers)]
        self.peaks: list[tuple[Optimizer, float]] = [
            (Muon(layers, lr=size.matrices, weight_decay=0.1), size.matrices),
            (AdamW(others, lr=size.others, betas=(0.9, 0.99), weight_decay=0.0), size.others),
        ]

    def learn(self, text: np.ndarray) -> None:
        """Go on from the last checkpoint to the last step."""
        if saved := self.run.resume():
            self.restore(saved)
        losses = []
        self.model.train()
        for tokens in batches(text, self.size, self.done, self.steps):
            losses.append(self.step(tokens))
            self.done += 1
            if self.done % (self.steps // 10 or 1) == 0:
                said = f"steps, loss {np.mean(losses):.3f}"
                self.run.progress(self.done, self.steps, said)
                losses.clear()
            self.run.save_if_due(self.state)
        self.run.save(self.state())
        self.model.eval()

    def step(self, tokens: Tensor) -> float:  # (B, T + 1) -> nats
        share = rate(self.done, self.steps)
        for optimizer, peak in self.peaks:
            optimizer.param_groups[0]["lr"] = share * peak
        with torch.autocast("cpu", torch.bfloat16, enabled=self.size.precision == "bf16"):
            logits = self.model.logits(self.model(tokens[:, :-1]))  # (B, T, V)
        loss = F.cross_entropy(logits.float().flatten(0, 1), tokens[:, 1:].flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer, _ in self.peaks:
            optimizer.step()
            optimizer.zero_grad()
        return loss.item()

    def state(self) -> State:
        """All that it takes to go on."""
        states = [optimizer.state_dict()["state"] for optimizer, _ in self.peaks]
        return {
            "done": self.done,
            "weights": self.model.state_dict(),
            "optimizers": [{str(k): v for k, v in state.items()} for state in states],
            "random": random_state(),
        }

    def restore(self, saved: State) -> None:
        """The inverse of `state`."""
        self.done = saved["done"]
        self.model.load_state_dict(saved["weights"])
        for (optimizer, _), state in zip(self.peaks, saved["optimizers"], strict=True):
            moments = {int(number): moment for number, moment in state.items()}
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": moments, "param_groups": groups})
        set_random_state(saved["random"])


def batches(text: np.ndarray, size: Size, done: int, steps: int) -> Iterator[Tensor]:
    """Those of the steps not yet done: (B, T + 1) each, cut elsewhere in every epoch."""
    length = (len(text) // size.context - 2) // size.batch  # batches of an epoch
    for epoch in range(done // length, -(-steps // length)):
        rows = torch.from_numpy(cut(text, size.context + 1, (0, epoch)))
        first, last = (min(max(n - epoch * length, 0), length) for n in (done, steps))
        yield from rows.split(size.batch)[first:last]


def rate(step: int, steps: int) -> float:
    """Share of the peak step size: up, level, down to zero."""
    return min(1.0, (step + 1) / (WARMUP * steps + 1), (steps - step) / (steps - LEVEL * steps))


if __name__ == "__main__":
    main()
