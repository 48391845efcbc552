"""More texts for a student than there are: other endings, and words exchanged for near words.

Shapes: V words, C channels of a word's vector.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor

SHARE = 0.4  # of the words are exchanged
SPLICED = 0.5  # of the texts end as another does
NEAR = 12  # words to choose from
AT_ONCE = 1000  # words whose neighbours are searched together; bounds the memory


def reworded(
    tokens: Sequence[Sequence[int]], vectors: Tensor, tokenizer: Tokenizer, seed: int
) -> list[list[int]]:
    """Each text once more, spliced and reworded (Jiao et al. 2020, algorithm 1, without a masked
    model).

    Only whole words are exchanged, for whole words. Some are opposites, which are near too: the
    teacher says what the new text means.
    """
    chance = np.random.default_rng(seed)
    tokens = spliced(tokens, chance)
    near = neighbours(sorted({token for text in tokens for token in text}), vectors, tokenizer)
    return [
        [
            int(chance.choice(near[token])) if token in near and chance.random() < SHARE else token
            for token in text
        ]
        for text in tokens
    ]


def spliced(tokens: Sequence[Sequence[int]], chance: np.random.Generator) -> list[Sequence[int]]:
    """Half of the texts begin as they do and end as another does, so that a "but" or a "not" meets
    more than it did; none is longer than the longest was."""
    longest = max(map(len, tokens), default=0)
    texts: list[Sequence[int]] = []
    for text in tokens:
        other = tokens[int(chance.integers(len(tokens)))]
        cut, place = int(chance.integers(1, len(text))), int(chance.integers(1, len(other)))
        mixed = [*text[:cut], *other[place:]]  # [CLS] of the one, [SEP] of the other
        whole = chance.random() >= SPLICED or len(mixed) > longest
        texts.append(text if whole else mixed)
    return texts


def neighbours(
    tokens: Sequence[int], vectors: Tensor, tokenizer: Tokenizer
) -> dict[int, np.ndarray]:  # vectors (V, C)
    """The nearest words of each of these tokens that is a word, by the angle of their vectors."""
    pieces = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    words = torch.tensor([number for piece, number in pieces if piece.isalpha()], dtype=torch.long)
    if len(words) <= NEAR:
        return {}
    wanted = torch.tensor(sorted(set(tokens) & set(words.tolist())), dtype=torch.long)
    directions = F.normalize(vectors.detach().cpu(), dim=1)
    found: dict[int, np.ndarray] = {}
    for some in wanted.split(AT_ONCE):
        likeness = directions[some] @ directions[words].T  # (some, words)
        likeness[some[:, None] == words] = -torch.inf  # a word is no neighbour of itself
        nearest = words[likeness.topk(NEAR, dim=1).indices].numpy()  # (some, NEAR)
        found |= dict(zip(some.tolist(), nearest, strict=True))
    return found
