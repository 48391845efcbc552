"""What a vision Transformer looks at, drawn."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from hour9.transformers.vit import ImageClassifier, as_images, class_attention, rollout

DPI = 110
SHOWN = 10  # classes, or mistakes
HEAT = "inferno"


def draw_vit(
    classifier: ImageClassifier, cases: pd.DataFrame, pixels: np.ndarray, pictures: Path
) -> None:
    """Rollout and heads on test images of the first classes, and the surest of the mistakes."""
    test = np.flatnonzero(cases["split"] == "test")
    rows = cases.iloc[test].drop_duplicates("target").sort_values("target")["case"][:SHOWN]
    chosen = np.flatnonzero(cases["case"].isin(rows))
    chosen = chosen[np.argsort(cases["target"].to_numpy()[chosen])]
    figures = {
        "Which patches reach the class token by attention rollout": rollout_figure(
            classifier, pixels[chosen], cases["target"].to_numpy()[chosen]
        ),
        "Where the class token looks in each layer and head": head_figure(
            classifier, pixels[chosen[-1]]
        ),
        "The worst mistakes on test": mistakes_figure(
            classifier, pixels[test], cases["target"].to_numpy()[test]
        ),
    }
    for title, figure in figures.items():
        figure.savefig(pictures / f"{title.replace(' ', '_')}.png", dpi=DPI)


def rollout_figure(classifier: ImageClassifier, pixels: np.ndarray, targets: np.ndarray) -> Figure:
    """Each image, and below it how much of each of its patches the answer is made of."""
    heat = rollout(classifier.model, as_images(pixels) / 255).detach().cpu().numpy()
    figure = Figure(figsize=(1.1 * len(pixels), 2.9), layout="constrained")
    figure.suptitle("Attention rollout: the patches that the answer is made of")
    axes = figure.subplots(2, len(pixels), squeeze=False)
    for column, (image, target) in enumerate(zip(pixels, targets, strict=True)):
        show(axes[0, column], image)
        axes[0, column].set_title(target)
        drawn = outlined(axes[1, column], image, heat[column], heat.max())
    figure.colorbar(drawn, ax=axes, label="share of the answer")
    return figure


def head_figure(classifier: ImageClassifier, pixels: np.ndarray) -> Figure:
    """One image, seen by every head."""
    maps = (
        class_attention(classifier.model, as_images(pixels[None]) / 255)[0].detach().cpu().numpy()
    )
    layers, heads = maps.shape[:2]
    figure = Figure(figsize=(1.4 * heads + 2.2, 1.4 * layers + 0.7), layout="constrained")
    figure.suptitle("Where the class token looks")
    grid = figure.add_gridspec(layers, heads + 1, width_ratios=[1.5, *[1] * heads])
    whole = figure.add_subplot(grid[:, 0])
    show(whole, pixels)
    whole.set_title("the image")
    for layer in range(layers):
        for head in range(heads):
            axes = figure.add_subplot(grid[layer, head + 1])
            drawn = outlined(axes, pixels, maps[layer, head], maps.max())
            if layer == 0:
                axes.set_title(f"head {head + 1}", fontsize=10)
            if head == 0:
                axes.set_ylabel(f"layer {layer + 1}")
    figure.colorbar(drawn, ax=figure.axes, label="share of the attention")
    return figure


def mistakes_figure(classifier: ImageClassifier, pixels: np.ndarray, targets: np.ndarray) -> Figure:
    """Wrong answers, the surest first."""
    found, confidence = classifier.answer(pixels)
    wrong = np.flatnonzero(found != targets)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:SHOWN]
    columns = max(3, min(5, len(worst)))
    rows = max(1, -(-len(worst) // columns))
    figure = Figure(figsize=(1.7 * columns, 2.1 * rows + 0.5), layout="constrained")
    figure.suptitle(f"{len(wrong)} of {len(targets)} test images are read wrongly")
    for axes in figure.subplots(rows, columns, squeeze=False).flat:
        axes.set_axis_off()
    for axes, case in zip(figure.axes, worst, strict=False):
        show(axes, pixels[case])
        axes.set_title(
            f"is {targets[case]}, read as {found[case]}\nwith {confidence[case]:.0%}", fontsize=9
        )
    return figure


def show(axes: Axes, image: np.ndarray) -> None:  # (X, Y, K)
    height, width = image.shape[:2]
    extent = (0, width, height, 0)
    axes.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=255, extent=extent)
    axes.set_xticks([])
    axes.set_yticks([])


def outlined(axes: Axes, image: np.ndarray, heat: np.ndarray, most: float) -> AxesImage:
    """The heat of each patch, and over it the outline of what the image shows."""
    height, width = image.shape[:2]
    grey = image.mean(axis=2)  # (X, Y)
    drawn = axes.imshow(heat, cmap=HEAT, vmin=0, vmax=most, extent=(0, width, height, 0))
    if grey.min() < grey.max():
        middle = (grey.min() + grey.max()) / 2
        at = np.arange(width) + 0.5, np.arange(height) + 0.5
        axes.contour(*at, grey, levels=[middle], colors="white", linewidths=0.9)
    axes.set_xticks([])
    axes.set_yticks([])
    return drawn
