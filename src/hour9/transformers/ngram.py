"""How well the last few bytes foretell the next one: the competitor of every language model.

Interpolated n-grams, as in compressors: no training but counting, no vocabulary but the 256 bytes.
"""

import math
from collections import Counter
from collections.abc import Iterable

import numpy as np

BYTES = 256


class ByteNgrams:
    """P(b | c) = (n(c b) + d(c) P(b | c')) / (n(c) + d(c)) (Witten & Bell 1991, method C).

    c are the bytes before b, c' the same without the first of them; n counts, and d(c) says how
    many different bytes have followed c. Below the empty context all bytes are equally likely.
    """

    def __init__(self, texts: Iterable[str], longest: int):
        self.longest = longest
        self.counts: Counter[bytes] = Counter()
        for text in texts:
            raw = text.encode()
            for length in range(1, longest + 2):
                self.counts.update(raw[i : i + length] for i in range(len(raw) - length + 1))
        self.seen: Counter[bytes] = Counter()
        self.different: Counter[bytes] = Counter()
        for gram, count in self.counts.items():
            self.seen[gram[:-1]] += count
            self.different[gram[:-1]] += 1

    def bits_per_byte(self, text: str) -> np.ndarray:  # -> (longest + 1,)
        """Mean of -log2 P over the bytes of a text, with contexts of at most 0, 1, 2, … bytes."""
        raw = text.encode()
        bits = np.zeros(self.longest + 1)
        for i in range(len(raw)):
            p = 1 / BYTES
            for length in range(self.longest + 1):
                context = raw[i - length : i] if length <= i else b""
                if length <= i and (seen := self.seen[context]):
                    different = self.different[context]
                    count = self.counts[raw[i - length : i + 1]]
                    p = (count + different * p) / (seen + different)
                bits[length] -= math.log2(p)
        return bits / len(raw)
