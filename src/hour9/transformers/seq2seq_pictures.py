"""Where the decoder looks while it writes, drawn."""

from pathlib import Path

import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from hour9.transformers.attention import attention_maps
from hour9.transformers.seq2seq import Translator, pad

DPI = 110
SHOWN = 4  # texts
MOST_TOKENS = 32  # of a text that is drawn


def draw_alignment(translator: Translator, data: pd.DataFrame, pictures: Path) -> None:
    """Cross-attention of a test text in each style, and by head for the first."""
    data = data[data["split"] == "test"].sample(frac=1, random_state=0)
    data = data[[len(ids) <= MOST_TOKENS for ids in translator.tokens(data["text"].tolist())]]
    if "group.style" in data:
        data = data.drop_duplicates("group.style")
    texts = data["text"].tolist()[:SHOWN]
    if not texts:
        return
    figures = {
        "Where the decoder looks while it writes": texts_figure(translator, texts),
        "What each head of the decoder looks at": heads_figure(translator, texts[0]),
    }
    for title, figure in figures.items():
        figure.savefig(pictures / f"{title.replace(' ', '_')}.png", dpi=DPI)


@torch.inference_mode()
def alignment(
    translator: Translator, text: str
) -> tuple[Tensor, list[str], list[str]]:  # (L, H, T, S), T written pieces, S read ones
    """The weights of every cross-attention while the model writes its own translation."""
    (source,) = translator.tokens([text])
    (target,) = translator.tokens(translator.translate([text]))
    device = translator.model.words.weight.device
    maps = attention_maps(translator.model, pad([source]).to(device), pad([target[:-1]]).to(device))
    weights = torch.stack([w[0] for name, w in maps.items() if "cross_attention" in name]).cpu()
    # Row t is what was looked at to write token t + 1; the ends are no letters.
    return weights[:, :, :-1, 1:-1], pieces(translator, target), pieces(translator, source)


def pieces(translator: Translator, tokens: list[int]) -> list[str]:
    """Each token but the ends as a reader would see it."""
    return [translator.tokenizer.decode([token]) or "?" for token in tokens[1:-1]]


def texts_figure(translator: Translator, texts: list[str]) -> Figure:
    """A map for each text: the mean over the heads of the last layer."""
    figure = Figure(figsize=(11, 7.5), layout="constrained")
    figure.suptitle("Across: what is read. Down: what is written. Dark: where the decoder looks")
    for axes, text in zip(figure.subplots(2, -(-len(texts) // 2)).flat, texts, strict=False):
        weights, written, read = alignment(translator, text)
        show(axes, weights[-1].mean(dim=0), written, read)
    for axes in figure.axes[len(texts) :]:
        axes.set_axis_off()
    return figure


def heads_figure(translator: Translator, text: str) -> Figure:
    """A map for each head of each layer."""
    weights, written, read = alignment(translator, text)
    layers, heads = weights.shape[:2]
    figure = Figure(figsize=(3.4 * heads, 2.9 * layers + 0.4), layout="constrained")
    figure.suptitle(f"“{text}” is read (across), its translation written (down)")
    for layer, row in enumerate(figure.subplots(layers, heads, squeeze=False)):
        for head, axes in enumerate(row):
            show(axes, weights[layer, head], written, read)
            axes.set_title(f"layer {layer + 1}, head {head + 1}", fontsize=10)
    return figure


def show(axes: Axes, weights: Tensor, written: list[str], read: list[str]) -> None:  # (T, S)
    axes.imshow(weights.numpy(), cmap="Blues", vmin=0, vmax=1, aspect="auto")
    turned = 90 if max(map(len, read)) > 1 else 0
    axes.set_xticks(range(len(read)), [piece.replace(" ", "␣") for piece in read], rotation=turned)
    axes.set_yticks(range(len(written)), written)
    axes.tick_params(length=0)
