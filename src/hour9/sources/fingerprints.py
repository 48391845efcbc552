"""When are two cases the same, or nearly? By a fingerprint that they have in common."""

import hashlib
import re
from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd

SHINGLE = 3  # words
ALIKE = 0.8  # Jaccard similarity from which on two texts are nearly the same
PERMUTATIONS = 128


def of_texts(cases: Iterable[str], texts: Iterable[str]) -> pd.DataFrame:
    """Columns case, fingerprint. Two texts share one where 0.8 of their word triples are the same.

    Estimated by MinHash (Broder 1997): the share of random orders in which the first triple of
    both is the same one.
    """
    from datasketch import MinHash, MinHashLSH

    named = dict(zip(cases, map(shingles, texts), strict=True))
    different = sorted(set(named.values()))
    hashed = MinHash.bulk(
        [[s.encode() for s in triples] for triples in different], num_perm=PERMUTATIONS
    )
    index = MinHashLSH(threshold=ALIKE, num_perm=PERMUTATIONS)
    for number, minhash in enumerate(hashed):
        index.insert(number, minhash, check_duplication=False)
    near = [
        [other for other in sorted(index.query(one)) if one.jaccard(hashed[other]) >= ALIKE]
        for one in hashed
    ]
    place = {triples: number for number, triples in enumerate(different)}
    rows = [(case, f"text-{n}") for case, triples in named.items() for n in near[place[triples]]]
    return pd.DataFrame(rows, columns=["case", "fingerprint"])


def shingles(text: str) -> tuple[str, ...]:
    """The word triples of a text, in small letters and without punctuation."""
    words = re.findall(r"\w+", text.lower())
    triples = {" ".join(words[i : i + SHINGLE]) for i in range(max(1, len(words) - SHINGLE + 1))}
    return tuple(sorted(triples))


def of_arrays(cases: Iterable[str], arrays: Iterable[np.ndarray]) -> pd.DataFrame:
    """Columns case, fingerprint: the same numbers in the same places, as of two equal images."""
    return pd.DataFrame({"case": list(cases), "fingerprint": list(digests(arrays))})


def digests(arrays: Iterable[np.ndarray]) -> Iterator[str]:
    for array in arrays:
        shape = f"{array.dtype}{array.shape}".encode()
        yield hashlib.sha256(shape + np.ascontiguousarray(array).tobytes()).hexdigest()
