"""Why attention? Because what it needs is one look away, however long ago it was.

A sequence is pairs of a key and its value, then keys alone: which value did each have? A network
that reads one after the other must carry every pair along until it is asked; attention looks back.
An LSTM (Hochreiter & Schmidhuber 1997) and a Transformer with as many parameters learn from the
same 600 batches, and are asked for a pair that stood a given number of pairs ago.

Shapes: B sequences, T tokens, P pairs, C channels.
"""

import math

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor, nn

from hour9.transformers.layers import LayerShape, Transformer, TransformerShape
from study import COLOURS, asked, interval

KEYS, VALUES = 16, 8
DISTANCES = (1, 2, 4, 8, 16)  # pairs since the one that is asked for; the last: all of them
CHANNELS = 32
BATCH, LEARNING_RATE, WARMUP = 32, 3e-3, 50
TESTED = 512  # sequences at each distance


class Lstm(nn.Module):
    """One layer, as wide as makes its parameters as many as the Transformer's."""

    def __init__(self, parameters: int):
        super().__init__()
        words = KEYS + VALUES
        # words C + 8 C² + 8 C = parameters, with as many channels in as out
        self.channels = round((math.sqrt((words + 8) ** 2 + 32 * parameters) - words - 8) / 16)
        self.words = nn.Embedding(words, self.channels)
        self.memory = nn.LSTM(self.channels, self.channels, batch_first=True)

    def forward(self, tokens: Tensor) -> Tensor:  # (B, T) -> (B, T, C)
        return self.memory(self.words(tokens))[0]

    def logits(self, hidden: Tensor) -> Tensor:  # (B, C) -> (B, V)
        return F.linear(hidden, self.words.weight)


def main() -> None:
    """Draw accuracy against distance, one line a network, with intervals over seeds."""
    options = asked(__doc__)
    seeds, updates = (range(2), 5) if options.short else (range(5), 600)
    found: dict[tuple[str, int], list[float]] = {}
    for seed in seeds:
        for name, model in networks(seed).items():
            learn(model, seed, updates)
            for distance in DISTANCES:
                found.setdefault((name, distance), []).append(accuracy(model, distance, seed))
    points = []
    for (name, distance), values in found.items():
        mean, low, high = interval(values)
        points.append(
            {"network": name, "distance": distance, "mean": mean, "low": low, "high": high}
            | {"seeds": len(values), "parameters": size(networks(0)[name])}
        )
    options.save("recall", draw(points), points)


def networks(seed: int) -> dict[str, nn.Module]:
    """Two of the same size."""
    torch.manual_seed(seed)
    layer = LayerShape(CHANNELS, heads=1, hidden=2 * CHANNELS, rotary=True)
    shape = TransformerShape(
        KEYS + VALUES, 3 * DISTANCES[-1], 2, layer, causal=True, positions="rotary"
    )
    transformer = Transformer(shape)
    return {
        name: model.apply(start_large)
        for name, model in {"Transformer": transformer, "LSTM": Lstm(size(transformer))}.items()
    }


def start_large(module: nn.Module) -> None:
    """First weights as Glorot & Bengio 2010 have them: so small a Transformer, begun as a large one
    is, finds out late that looking back pays."""
    if isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=0.5)
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)


def size(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def learn(model: nn.Module, seed: int, updates: int) -> None:
    """Sequences of all lengths, each asked for any of its pairs; both networks see the same."""
    chance = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.01)
    for update in range(updates):
        share = min((update + 1) / WARMUP, 1 - update / updates)
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * share
        pairs = DISTANCES[int(torch.randint(len(DISTANCES), (), generator=chance))]
        tokens, target = sequences(BATCH, pairs, chance)
        logits = model.logits(model(tokens)[:, -pairs:])  # type: ignore[operator]
        loss = F.cross_entropy(logits.mT, target)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()


def sequences(
    number: int, pairs: int, chance: torch.Generator
) -> tuple[Tensor, Tensor]:  # -> (B, 3 P), (B, P)
    """Pairs of different keys with any values, then the keys in another order; their values."""
    keys = torch.rand(number, KEYS, generator=chance).argsort(dim=1)[:, :pairs]  # (B, P)
    values = KEYS + torch.randint(VALUES, (number, pairs), generator=chance)
    order = torch.rand(number, pairs, generator=chance).argsort(dim=1)
    body = torch.stack([keys, values], dim=2).flatten(1)  # (B, 2 P)
    return torch.cat([body, keys.gather(1, order)], dim=1), values.gather(1, order)


@torch.inference_mode()
def accuracy(model: nn.Module, distance: int, seed: int) -> float:
    """Share of right values among those possible, for the first key asked after all the pairs."""
    chance = torch.Generator().manual_seed(1000 + seed)
    pairs = DISTANCES[-1]
    tokens, _ = sequences(TESTED, pairs, chance)
    place = 2 * (pairs - distance)
    tokens = torch.cat([tokens[:, : 2 * pairs], tokens[:, [place]]], dim=1)  # (B, 2 P + 1)
    logits = model.logits(model(tokens)[:, -1])  # type: ignore[operator]
    found = logits[:, KEYS:].argmax(dim=1) + KEYS
    return (found == tokens[:, place + 1]).float().mean().item()


def draw(points: list[dict]) -> Figure:
    """Accuracy against distance."""
    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axis = figure.subplots()
    for colour, name in zip(COLOURS, ("Transformer", "LSTM"), strict=False):
        line = [p for p in points if p["network"] == name]
        distances = [p["distance"] for p in line]
        label = f"{name}, {line[0]['parameters']:,} parameters"
        axis.plot(distances, [p["mean"] for p in line], "o-", color=colour, label=label)
        low, high = [p["low"] for p in line], [p["high"] for p in line]
        axis.fill_between(distances, low, high, color=colour, alpha=0.2, linewidth=0)
    axis.axhline(1 / VALUES, color="grey", linestyle=":", linewidth=1, label="by chance")
    axis.set(
        title=f"Which value did this key have? One of {DISTANCES[-1]} pairs seen",
        xlabel="pairs since then",
        ylabel="right answers",
        xscale="log",
        ylim=(0, 1.03),
    )
    axis.set_xticks(DISTANCES, [str(d) for d in DISTANCES])
    axis.minorticks_off()
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False)
    return figure


if __name__ == "__main__":
    main()
