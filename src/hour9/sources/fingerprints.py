"""When are two cases the same, or nearly? By a fingerprint that they have in common."""

import hashlib
import re
from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd

SHINGLE = 3  # words
ALIKE = 0.8  # Jaccard similarity from which on two texts are nearly the same
PROPOSED = 0.5  # at 0.8, a half is what the index finds of the pairs that are so alike
PERMUTATIONS = 128
ROUNDS = 4  # of hearing the neighbours
LONGEST_WALK = 8


def of_texts(cases: Iterable[str], texts: Iterable[str]) -> pd.DataFrame:
    """Columns case, fingerprint. Two texts share one where 0.8 of their word triples are the same.

    MinHash (Broder 1997) proposes pairs, by the share of random orders in which the first triple
    of both is the same one; their triples decide.
    """
    from datasketch import MinHash, MinHashLSH

    named = dict(zip(cases, map(shingles, texts), strict=True))
    different = sorted(set(named.values()))
    hashed = MinHash.bulk(
        [[s.encode() for s in triples] for triples in different], num_perm=PERMUTATIONS
    )
    index = MinHashLSH(threshold=PROPOSED, num_perm=PERMUTATIONS)
    for number, minhash in enumerate(hashed):
        index.insert(number, minhash, check_duplication=False)
    sets = [frozenset(triples) for triples in different]
    near = [
        [other for other in sorted(index.query(minhash)) if jaccard(one, sets[other]) >= ALIKE]
        for one, minhash in zip(sets, hashed, strict=True)
    ]
    place = {triples: number for number, triples in enumerate(different)}
    rows = [(case, f"text-{n}") for case, triples in named.items() for n in near[place[triples]]]
    return pd.DataFrame(rows, columns=["case", "fingerprint"])


def jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / len(one | other)


def shingles(text: str) -> tuple[str, ...]:
    """The word triples of a text, in small letters and without punctuation, where it has words."""
    words = re.findall(r"\w+", text.lower()) or text.split()
    triples = {" ".join(words[i : i + SHINGLE]) for i in range(max(1, len(words) - SHINGLE + 1))}
    return tuple(sorted(triples))


def of_images(cases: Iterable[str], images: np.ndarray) -> pd.DataFrame:  # (N, X, Y, K)
    """Columns case, fingerprint: the same picture, wherever it stands in the image and however
    bright it is. Brightness counts in 16 steps from the darkest to the brightest."""
    return of_arrays(cases, map(canonical, images))


def canonical(image: np.ndarray) -> np.ndarray:  # (X, Y, K) -> (x, y, K)
    """The image without its plain borders, as bright as can be."""
    low, high = float(image.min()), float(image.max())
    level = np.round((image - low) * (15 / max(high - low, 1.0))).astype(np.uint8)
    drawn = (level != level[0, 0]).any(axis=-1)
    rows, columns = (np.flatnonzero(drawn.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return level[:1, :1]
    return level[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def of_graphs(
    cases: Iterable[str], graphs: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]]
) -> pd.DataFrame:
    """Columns case, fingerprint: the same graph, whatever its nodes are called.

    A graph is its nodes' features (N, F), its edges (2, E), each once, and theirs (E, K).
    """
    return pd.DataFrame([(c, canonical_hash(*g)) for c, g in zip(cases, graphs, strict=True)],
                        columns=["case", "fingerprint"])  # fmt: skip


def canonical_hash(nodes: np.ndarray, edges: np.ndarray, edge_features: np.ndarray) -> str:
    """Colours of the nodes, refined by their neighbours' (Weisfeiler & Leman 1968), and how many
    closed walks there are of each length, which tells regular graphs apart.

    Not complete, as no fast hash is: some graphs that differ have the same one.
    """
    colour = [digest(row) for row in np.asarray(nodes, float).tolist()]
    heard = [digest(row) for row in np.asarray(edge_features, float).tolist()]
    for _ in range(ROUNDS):
        around: list[list[str]] = [[] for _ in colour]
        for (one, other), kind in zip(np.asarray(edges).T.tolist(), heard, strict=True):
            around[one].append(kind + colour[other])
            around[other].append(kind + colour[one])
        colour = [digest([own, sorted(near)]) for own, near in zip(colour, around, strict=True)]
    return digest([sorted(colour), closed_walks(len(colour), np.asarray(edges))])


def closed_walks(size: int, edges: np.ndarray) -> list[int]:
    """The traces of the powers of the adjacency matrix, exactly, as long as they fit 64 bits.

    Half the powers do: tr(A^(m+n)) is the sum over A^m ∘ A^n, A being symmetric.
    """
    from scipy.sparse import csr_array

    both = np.concatenate([edges, edges[::-1]], axis=1)
    joined = csr_array((np.ones(both.shape[1], np.uint64), tuple(both)), shape=(size, size))
    joined.data[:] = 1  # an edge that stands twice is one
    powers, found = [joined], []
    for length in range(2, LONGEST_WALK + 1):
        m, n = length // 2, length - length // 2
        if n > len(powers):
            powers.append(powers[-1] @ joined)  # wraps around, the same way for the same graph
        found.append(int(powers[m - 1].multiply(powers[n - 1]).data.sum()))
    return found


def digest(what: object) -> str:
    return hashlib.sha256(repr(what).encode()).hexdigest()[:16]


def of_arrays(cases: Iterable[str], arrays: Iterable[np.ndarray]) -> pd.DataFrame:
    """Columns case, fingerprint: the same numbers in the same places, as of two equal images."""
    return pd.DataFrame({"case": list(cases), "fingerprint": list(digests(arrays))})


def digests(arrays: Iterable[np.ndarray]) -> Iterator[str]:
    for array in arrays:
        shape = f"{array.dtype}{array.shape}".encode()
        yield hashlib.sha256(shape + np.ascontiguousarray(array).tobytes()).hexdigest()
