"""Pictures of graph models. The same numbers give the same bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWN = 2000
"""Nodes in a picture of embeddings; of a larger graph a fixed choice."""

UNKNOWN = -1
COLOURS = ("#1f6feb", "#d1571b", "#1a7f37", "#8250df", "#9a6700")


def draw_ranking(scores: dict[str, NDArray[np.float64]], target: NDArray[np.int64]) -> Figure:
    """ROC and precision-recall curves of several ways to score the same cases."""
    from matplotlib.figure import Figure
    from sklearn.metrics import (
        average_precision_score,
        precision_recall_curve,
        roc_auc_score,
        roc_curve,
    )

    figure = Figure(figsize=(9.5, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for (name, found), colour in zip(scores.items(), COLOURS, strict=False):
        false, true, _ = roc_curve(target, found)
        area = roc_auc_score(target, found)
        left.plot(false, true, color=colour, label=f"{name}: {area:.3f}")
        precision, recall, _ = precision_recall_curve(target, found)
        area = average_precision_score(target, found)
        right.plot(recall, precision, color=colour, label=f"{name}: {area:.3f}")
    left.plot([0, 1], [0, 1], ":", color="grey", linewidth=1)
    left.set(xlabel="pairs without an edge taken for edges", ylabel="edges found")
    right.set(
        xlabel="edges found", ylabel="edges among the pairs taken for edges", ylim=(0.45, 1.02)
    )
    for axis, title in ((left, "ROC: area"), (right, "precision and recall: average precision")):
        axis.set_title(title)
        axis.legend(frameon=False, loc="lower right" if axis is left else "lower left")
        axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle("Held-out edges against as many pairs without one")
    return figure


def draw_embeddings(
    vectors: NDArray[np.float32],
    labels: NDArray[np.int64],
    answered: NDArray[np.int64] | None = None,
    title: str = "Nodes by their embeddings (t-SNE): like classes gather",
) -> Figure:
    """t-SNE (van der Maaten & Hinton 2008) of the nodes' vectors, a colour for each class.

    Where what was answered is not the label, a large point has a ring in the answer's colour.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure
    from sklearn.manifold import TSNE

    chosen = np.sort(np.random.default_rng(0).permutation(len(vectors))[:SHOWN])
    vectors, labels = vectors[chosen], labels[chosen]
    answered = labels if answered is None else answered[chosen]
    at = np.zeros((len(vectors), 2))
    if (vectors != vectors[:1]).any():
        unlike = min(30, (len(vectors) - 1) / 3)  # nodes that one looks at: t-SNE's perplexity
        find = TSNE(perplexity=unlike, init="pca", random_state=0, max_iter=500, n_jobs=1)
        at = find.fit_transform(vectors)
    classes = [label for label in np.unique([labels, answered]).tolist() if label != UNKNOWN]
    colour = {label: colormaps["tab10"](place % 10) for place, label in enumerate(classes)}
    colour[UNKNOWN] = (0.8, 0.8, 0.8, 1.0)
    figure = Figure(figsize=(7.5, 6.5), layout="constrained")
    axis = figure.subplots()
    for label in np.unique(labels).tolist():
        mine = labels == label
        name = str(label) if label != UNKNOWN else "unknown"
        axis.scatter(at[mine, 0], at[mine, 1], s=9, color=colour[label], label=name, linewidths=0)
    wrong = answered != labels
    axis.scatter(
        at[wrong, 0],
        at[wrong, 1],
        s=60,
        c=[colour[label] for label in labels[wrong].tolist()],
        edgecolors=[colour[label] for label in answered[wrong].tolist()],
        linewidths=2.5,
    )
    axis.set(xticks=[], yticks=[], title=title)
    axis.legend(
        title="class", frameon=False, loc="center left", bbox_to_anchor=(1, 0.5), markerscale=2
    )
    clear(axis)
    return figure


def clear(axis: Axes) -> None:
    axis.spines[:].set_visible(False)
