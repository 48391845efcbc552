"""The embedded graph: scikit-learn's digits, each image joined to those that look most like it.

It depends on nothing but scikit-learn and the seed. Distances are sums of whole numbers and ties go
to the lower image, so that the graph is the same on every machine.

Shapes: N nodes (images), P pixels, E edges.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hour9.sources.digits import BRIGHTEST, choose_images, load_images
from hour9.task import Source, Tables

NEIGHBOURS = 6
"""Edges that each image draws; it may receive more. Chosen on validation among 4, 6, 8, 10."""

LABELLED = 20
"""Training images of each class, as in the citation graphs."""

VALIDATION = 500


def read_digits(source: Source) -> Tables:
    """The tables of `source.size` images, split by `source.seed`."""
    pixels, labels = load_images()
    images = choose_images(source, len(labels))
    pixels, labels = pixels[images], labels[images]
    return {
        "nodes": pd.DataFrame({"node": images}),
        "features": pixel_table(images, pixels),
        "edges": edge_table(images, squared_distances(pixels)),
        "cases": case_table(images, labels, source.seed),
    }


def pixel_table(images: NDArray[np.int64], pixels: NDArray[np.int64]) -> pd.DataFrame:
    """A row for each pixel that is not black, its brightness between 0 and 1."""
    row, column = np.nonzero(pixels)
    value = pixels[row, column] / BRIGHTEST
    return pd.DataFrame({"node": images[row], "feature": column, "value": value})


def squared_distances(pixels: NDArray[np.int64]) -> NDArray[np.int64]:  # (N, P) -> (N, N)
    """Squared Euclidean distances |a|² + |b|² - 2 a·b, exact because all numbers are whole."""
    length = (pixels**2).sum(axis=1)  # (N,)
    return length[:, None] + length[None, :] - 2 * pixels @ pixels.T


def edge_table(images: NDArray[np.int64], squared: NDArray[np.int64]) -> pd.DataFrame:
    """Each image and its nearest. An edge has no direction and stands once: source < target."""
    np.fill_diagonal(squared, np.iinfo(np.int64).max)  # no image is its own neighbour
    nearest = squared.argsort(axis=1, kind="stable")[:, :NEIGHBOURS]  # stable: ties to the lower
    one = np.repeat(np.arange(len(images)), nearest.shape[1])
    other = nearest.ravel()
    pairs = np.unique(np.stack([np.minimum(one, other), np.maximum(one, other)]), axis=1)  # (2, E)
    source, target = pairs
    return pd.DataFrame(
        {
            "source": images[source],
            "target": images[target],
            "distance": np.sqrt(squared[source, target]) / BRIGHTEST,
        }
    )


def case_table(images: NDArray[np.int64], labels: NDArray[np.int64], seed: int) -> pd.DataFrame:
    """LABELLED images of each class to train, up to VALIDATION to validate, the rest to test."""
    order = np.random.default_rng([seed, 1]).permutation(len(images))
    place = pd.Series(labels[order], index=order).groupby(labels[order]).cumcount()
    place = place.sort_index().to_numpy()  # how many of its class come before it in `order`
    held_out = order[place[order] >= LABELLED]
    split = np.full(len(images), "train", dtype=object)
    split[held_out] = "test"
    split[held_out[: min(VALIDATION, len(held_out) // 3)]] = "validation"
    return pd.DataFrame(
        {"case": images.astype(str), "node": images, "split": split, "target": labels}
    )
