"""scikit-learn's digits: 1,797 real images of 8 by 8 pixels, installed with the library."""

import numpy as np
from numpy.typing import NDArray

from hour9.engine.settings import Source
from hour9.params import Refused

SIDE = 8
BRIGHTEST = 16


def load_images() -> tuple[NDArray[np.int64], NDArray[np.int64]]:  # (1797, 64), (1797,)
    """Pixels from 0 to 16, and which digit it is."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    return digits.data.astype(np.int64), digits.target.astype(np.int64)


def choose_images(source: Source, available: int) -> NDArray[np.int64]:
    """The numbers of `source.size` images, drawn by `source.seed`, in order."""
    if source.size > available:
        raise Refused(
            f"source.size is {source.size}, but digits has {available:,} images; "
            f"set it to at most {available}"
        )
    order = np.random.default_rng(source.seed).permutation(available)
    return np.sort(order[: source.size])
