"""Why a classifier answers as it does: what each word added, and where each head looks.

Shapes: B texts in a batch, T tokens, H heads, K classes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from hour9.task import Tables
from hour9.transformers.attention import attention_maps
from hour9.transformers.classifier import Classifier, EncoderClassifier

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STEPS = 50  # points on the way from no words to the text
SENTENCES = 4  # in the pictures
LONGEST = 16  # words of such a sentence
DPI = 110
FOR, AGAINST = (0.10, 0.60, 0.25), (0.85, 0.15, 0.15)  # green, red
LINE = 118  # letters of such a line that fit

Word = tuple[str, float]


class NoExplanation(ValueError):  # noqa: N818 - reads as a sentence where it is raised
    """The candidate has no gradients to follow."""


def explained_words(classifier: Classifier, text: str) -> list[Word]:
    """Integrated gradients (Sundararajan et al. 2017, eq. 1), summed over each word's pieces.

    What a word adds to the log-odds of the answer, on the way from a text in which every word is
    masked. Together they are the difference that the words make, up to the integral's error. NaN
    for a word that was not read, as the text is longer than what the model reads.
    """
    from captum.attr import LayerIntegratedGradients

    if not isinstance(classifier, EncoderClassifier):
        raise NoExplanation(
            "whole numbers have no gradients, so int8 explains nothing; ask a version of bert, "
            "encoder or student, e.g. the parent that was rounded"
        )
    encoding = classifier.tokenizer.encode(text)
    device = classifier.model.head.weight.device
    tokens = torch.tensor([encoding.ids], device=device)  # (1, T)
    model = classifier.model.eval()
    with torch.no_grad():
        answer = int(model(tokens, torch.ones_like(tokens)).argmax())

    def log_odds(tokens: Tensor) -> Tensor:  # (B, T) -> (B,)
        logits = model(tokens, torch.ones_like(tokens))  # (B, K)
        others = [k for k in range(logits.shape[1]) if k != answer]
        return logits[:, answer] - logits[:, others].logsumexp(dim=1)

    gradients = LayerIntegratedGradients(log_odds, model.encoder.words)
    added = gradients.attribute(tokens, masked(classifier, tokens), n_steps=STEPS)  # (1, T, C)
    return by_word(text, encoding.offsets, added.sum(dim=2)[0].tolist())


def masked(classifier: EncoderClassifier, tokens: Tensor) -> Tensor:  # (1, T) -> (1, T)
    """The text with [MASK] for each token but the frame, [CLS] and [SEP]."""
    mask = classifier.tokenizer.token_to_id("[MASK]")
    assert mask is not None  # as in every tokenizer of this kind
    result = torch.full_like(tokens, mask)
    result[:, [0, -1]] = tokens[:, [0, -1]]
    return result


def by_word(text: str, places: Sequence[tuple[int, int]], added: Sequence[float]) -> list[Word]:
    """Sum what the tokens at these places of the text added, word by word; NaN without a token."""
    words = list(re.finditer(r"\S+", text))
    total = [math.nan] * len(words)
    number = 0
    for (start, end), value in zip(places, added, strict=True):
        if end > start:  # [CLS] and [SEP] stand nowhere
            while words[number].end() <= start:
                number += 1
            total[number] = value + (0.0 if math.isnan(total[number]) else total[number])
    return [(word.group(), value) for word, value in zip(words, total, strict=True)]


# Pictures


def draw_classifier(classifier: Classifier, tables: Tables, pictures: Path) -> None:
    """What the words of some test sentences add, and where the heads look in the first of them."""
    if not isinstance(classifier, EncoderClassifier):
        return
    cases = tables["cases"].merge(tables["sentences"], on="case")
    texts = cases.loc[cases["split"] == "test", "text"]
    short = texts[texts.str.split().str.len() <= LONGEST].tolist()
    chosen = short[:: max(1, len(short) // SENTENCES)][:SENTENCES]
    if not chosen:
        return
    save(contributions_picture(classifier, chosen), pictures / "What_each_word_adds.png")
    save(attention_picture(classifier, chosen[0]), pictures / "Where_each_head_looks.png")


def save(figure: Figure, path: Path) -> None:
    """The same figure, the same bytes."""
    figure.savefig(path, dpi=DPI, metadata={"Software": None})


def contributions_picture(classifier: EncoderClassifier, texts: Sequence[str]) -> Figure:
    """Each sentence with its words on coloured ground, and the answer above."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 0.5 + 0.7 * len(texts)), layout="constrained")
    axis = figure.subplots()
    axis.axis("off")
    axis.set(xlim=(0, LINE), ylim=(3 * len(texts), 0))
    axis.set_title("Integrated gradients: green speaks for the answer, red against", loc="left")
    probabilities = classifier.probabilities(texts)
    for row, (text, chances) in enumerate(zip(texts, probabilities, strict=True)):
        label = classifier.labels[chances.argmax()]
        axis.text(0, 3 * row + 0.8, f"{label}, {chances.max():.0%}", weight="bold", va="center")
        write_words(axis, explained_words(classifier, text), 3 * row + 1.9)
    return figure


def write_words(axis: Axes, words: Sequence[Word], height: float) -> None:
    """One line of words in letters of equal width, a colour behind each."""
    words = [(word, 0.0 if math.isnan(value) else value) for word, value in words]
    most = max((abs(value) for _, value in words), default=1.0) or 1.0
    place = 0.0
    for word, value in words:
        colour = (*(FOR if value > 0 else AGAINST), 0.75 * abs(value) / most)
        axis.text(
            place,
            height,
            word,
            family="monospace",
            fontsize=9,
            va="center",
            bbox={"facecolor": colour, "edgecolor": "none", "pad": 1.5},
        )
        place += len(word) + 1


def attention_picture(classifier: EncoderClassifier, text: str) -> Figure:
    """A map for each layer and head: row the token that looks, column where it looks.

    The last layer is asked once, by the tokens' mean, so its maps are a row high.
    """
    from matplotlib.figure import Figure

    encoding = classifier.tokenizer.encode(text)
    tokens = torch.tensor([encoding.ids], device=classifier.model.head.weight.device)
    with torch.no_grad():
        maps = attention_maps(classifier.model.eval(), tokens, torch.ones_like(tokens))
    weights = [layer[0].cpu() for layer in maps.values()]  # (H, T, T), of the last layer (H, 1, T)
    heads, _, T = weights[0].shape
    bands = [F.pad(layer, (0, 1, 0, 1), value=torch.nan) for layer in weights]  # a gap after each
    rows = [band.shape[1] for band in bands]
    starts = [sum(rows[:i]) for i in range(len(rows))]
    sheet = torch.cat([band.permute(1, 0, 2).flatten(1) for band in bands])  # (rows, H (T + 1))
    inch = max(1.1, 0.085 * T) / T  # of one token
    size = (1.2 + inch * sheet.shape[1], 1.4 + inch * sheet.shape[0])
    figure = Figure(figsize=size, layout="constrained")
    axis = figure.subplots()
    drawn = axis.imshow(sheet.numpy(), cmap="Blues", vmin=0, vmax=1)
    figure.suptitle(
        f"Attention: each row is a token, dark is where it looks; the last row is all of them\n"
        f"“{text}”"
    )
    figure.colorbar(drawn, ax=axis, label="share of a row", shrink=0.4, aspect=30)
    looking = [*encoding.tokens * (len(rows) - 1), "mean"]
    places = [
        start + t for start, height in zip(starts, rows, strict=True) for t in range(height - 1)
    ]
    axis.set_yticks(places, looking, fontsize=5.5)
    columns = [(T + 1) * h + t for h in range(heads) for t in range(T)]
    axis.set_xticks(columns, encoding.tokens * heads, fontsize=5.5)
    axis.tick_params(axis="x", rotation=90)
    top, right = axis.secondary_xaxis("top"), axis.secondary_yaxis("right")
    top.set_xticks([(T + 1) * (h + 0.5) - 1 for h in range(heads)], numbered(heads))
    top.set_xlabel("head")
    middles = [start + height / 2 - 1 for start, height in zip(starts, rows, strict=True)]
    right.set_yticks(middles, numbered(len(rows)))
    right.set_ylabel("layer")
    for side in (axis, top, right):
        side.tick_params(length=0)
        side.spines[:].set_visible(False)
    return figure


def numbered(count: int) -> list[str]:
    return [str(number) for number in range(1, count + 1)]
