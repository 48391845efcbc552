"""How much of a text stands, word for word, in what was learned from (Carlini et al. 2023)."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

SPAN = 6  # words in a row: fewer are common property


def copied(texts: Sequence[str], learned: Iterable[str]) -> NDArray[np.float64]:  # -> (N,)
    """The share of each text's spans that stand in a learned one too; NaN where it has none."""
    known = {span for text in learned for span in spans(text)}
    found = [[span in known for span in spans(text)] for text in texts]
    return np.array([np.mean(row) if row else np.nan for row in found])


def spans(text: str) -> list[str]:
    """Every SPAN words that stand next to each other."""
    words = text.split()
    return [" ".join(words[i : i + SPAN]) for i in range(len(words) - SPAN + 1)]
