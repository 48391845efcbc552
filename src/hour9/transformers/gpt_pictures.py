"""What a GPT looks at, and what it writes and how sure it is of each token.

Shapes: T tokens, H heads, V words.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from hour9.transformers.attention import attention_maps
from hour9.transformers.generate import Sampling, generate
from hour9.transformers.gpt import Gpt

DPI = 110
MOST_TOKENS = 24  # of a map that can still be read
COLUMNS = 100  # characters of a written line
WAYS = (
    ("the likeliest token each time", Sampling()),
    ("temperature 0.8, top-p 0.95", Sampling(temperature=0.8, top_p=0.95, seed=1)),
    ("temperature 1.3", Sampling(temperature=1.3, seed=2)),
)


@torch.inference_mode()
def draw_attention(gpt: Gpt, text: str, path: Path) -> None:
    """A map for each head of each layer: how much a token (row) looks at each earlier one."""
    tokens = gpt.encode(text)[:MOST_TOKENS]
    maps = attention_maps(gpt.model, torch.tensor([tokens], device=gpt.model.words.weight.device))
    words = labels(gpt, tokens)
    heads = gpt.model.shape.layer.heads
    figure = Figure(figsize=(2.6 * heads + 1, 2.7 * len(maps) + 0.6), layout="constrained")
    grid = figure.subplots(len(maps), heads, squeeze=False, sharex=True, sharey=True)
    for layer, weights in enumerate(maps.values()):  # (1, H, T, T)
        for head, axis in enumerate(grid[layer]):
            image = axis.imshow(
                weights[0, head].float().cpu().numpy(), cmap="Blues", vmin=0, vmax=1
            )
            axis.set_title(f"layer {layer + 1}, head {head + 1}", fontsize=9)
            axis.set_xticks(range(len(words)), words, fontsize=6, rotation=90)
            axis.set_yticks(range(len(words)), words, fontsize=6)
    figure.colorbar(image, ax=grid, shrink=0.5, label="weight")
    figure.suptitle("How much a token (row) looks at each one before it (column)")
    figure.savefig(path, dpi=DPI)


def draw_samples(gpt: Gpt, beginnings: Sequence[str], path: Path) -> None:
    """Each beginning, written on in several ways; a dark token was hardly expected."""
    figure = Figure(figsize=(9, 1))
    axis = figure.add_axes((0.02, 0.0, 0.96, 0.93))
    axis.set_axis_off()
    line = 0.0
    for way, sampling in WAYS:
        line += 1
        axis.text(0, line, way, fontsize=10, weight="bold")
        stop = Sampling(**vars(sampling) | {"stop": frozenset([gpt.end])})
        for beginning in beginnings:
            prompt = gpt.prompt(beginning)
            (written,) = generate(gpt.model, [prompt], [stop])
            line = write(axis, gpt, [*prompt, *written], len(prompt), line + 1.4)
        line += 1
    axis.set(xlim=(0, COLUMNS), ylim=(line + 0.5, 0))
    figure.set_figheight(0.55 + 0.2 * line)
    figure.suptitle("What it writes after the grey words; dark: the token was a surprise", y=0.985)
    figure.savefig(path, dpi=DPI)


def write(axis, gpt: Gpt, tokens: list[int], given: int, line: float) -> float:
    """One text, token by token; the last line used."""
    from matplotlib import colormaps

    colour = Normalize(0, 8)
    bits = [0.0, *surprise(gpt, tokens)]
    column = 0
    for i, (word, cost) in enumerate(zip(pieces(gpt, tokens), bits, strict=True)):
        if column + len(word) > COLUMNS:
            line, column = line + 1.2, 0
        face = "#e8e8e8" if i < given else colormaps["Oranges"](0.8 * colour(min(cost, 8)))
        axis.text(
            column, line, word, family="monospace", fontsize=10, va="center",
            bbox={"facecolor": face, "edgecolor": "none", "pad": 1.2},
        )  # fmt: skip
        column += len(word)
    return line


@torch.inference_mode()
def surprise(gpt: Gpt, tokens: Sequence[int]) -> list[float]:
    """-log2 P of each token but the first, given those before it."""
    row = torch.tensor([tokens], device=gpt.model.words.weight.device)
    logits = gpt.model.logits(gpt.model(row[:, :-1]))  # (1, T, V)
    chosen = logits.log_softmax(dim=2).gather(2, row[:, 1:, None])
    return (-chosen.flatten() / np.log(2)).tolist()


def pieces(gpt: Gpt, tokens: Sequence[int]) -> list[str]:
    """What each token adds to the text, as it can be shown; the mark between texts adds nothing."""
    texts = (gpt.tokenizer.decode([token]).replace("\n", "⏎") for token in tokens)
    return ["".join(c if c.isprintable() else "·" for c in text) for text in texts]


def labels(gpt: Gpt, tokens: Sequence[int]) -> list[str]:
    return [piece or "start" for piece in pieces(gpt, tokens)]
