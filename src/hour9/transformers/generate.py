"""Writing on from a prompt, a token at a time (Radford et al. 2019).

Shapes: B texts, T tokens, V words.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from hour9.transformers.generate_numpy import NumpyReader, readable
from hour9.transformers.layers import Transformer, TransformerShape

Logits = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn."""

    tokens: int = 40
    """at most so many new ones"""
    temperature: float = 0.0
    """divides the logits before the softmax; 0 takes the likeliest token, always"""
    top_k: int = 0
    """draw among the k likeliest; 0: among all"""
    top_p: float = 1.0
    """draw among the fewest tokens that together have this probability (Holtzman et al. 2020)"""
    stop: frozenset[int] = frozenset()
    """tokens that end a text; they are no part of it"""
    seed: int = 0

    def __post_init__(self) -> None:
        finite = 0 <= self.temperature < math.inf
        if self.tokens < 1 or not finite or self.top_k < 0 or not 0 < self.top_p <= 1:
            raise ValueError(
                "tokens must be at least 1, temperature finite and at least 0, top_k at least 0, "
                "and top_p above 0 and at most 1; got "
                f"{self.tokens}, {self.temperature}, {self.top_k}, {self.top_p}"
            )


class Reader(Protocol):
    """A model that remembers what it has read."""

    def read(self, tokens: NDArray[np.int64]) -> Logits:  # (B, T) -> (B, V)
        """Read on; the logits of what may follow."""

    def keep(self, rows: NDArray[np.int64]) -> None:
        """Go on with these rows alone."""


class TorchReader:
    """Our PyTorch layers with their caches."""

    def __init__(self, model: Transformer):
        self.model = model
        self.caches = model.caches()
        self.device = model.words.weight.device

    @torch.inference_mode()
    def read(self, tokens: NDArray[np.int64]) -> Logits:  # (B, T) -> (B, V)
        hidden = self.model(torch.from_numpy(tokens).to(self.device), caches=self.caches)
        return self.model.logits(hidden[:, -1]).float().cpu().numpy()

    def keep(self, rows: NDArray[np.int64]) -> None:
        for cache in self.caches:
            cache.choose(torch.from_numpy(rows).to(self.device))


def reader_of(model: Transformer, texts: int) -> Reader:
    """NumPy for one text on a CPU, where calling PyTorch costs more than its arithmetic."""
    alone = texts == 1 and model.words.weight.device.type == "cpu"
    return NumpyReader(model) if alone and readable(model.shape) else TorchReader(model)


def generate(
    model: Transformer, prompts: Sequence[Sequence[int]], sampling: Sequence[Sampling]
) -> list[list[int]]:
    """What follows each prompt; each text is what it would be if it were written alone.

    All texts stand at the same position: reading begins with as many tokens as the shortest
    prompt has, and a text whose prompt is longer takes its next token from there. So nothing is
    padded, and nothing has to be masked.
    """
    check(prompts, sampling, model.shape)
    reader = reader_of(model, len(prompts))
    chances = [np.random.default_rng(one.seed) for one in sampling]
    texts = [list(prompt) for prompt in prompts]
    open_ = np.arange(len(prompts))  # the texts that are still written
    position = min(map(len, prompts), default=0)
    unread = np.array([text[:position] for text in texts])  # (B, T)
    while len(open_):
        logits = reader.read(unread)  # (B, V)
        goes_on = np.ones(len(open_), dtype=bool)
        for row, i in enumerate(open_.tolist()):
            if position < len(prompts[i]):
                continue
            token = draw(logits[row], sampling[i], chances[i])
            if token in sampling[i].stop:
                goes_on[row] = False
                continue
            texts[i].append(token)
            goes_on[row] = len(texts[i]) < min(
                len(prompts[i]) + sampling[i].tokens, model.shape.context
            )
        if not goes_on.all():
            reader.keep(np.flatnonzero(goes_on))
            open_ = open_[goes_on]
        unread = np.array([[texts[i][position]] for i in open_.tolist()])  # (B, 1)
        position += 1
    return [text[len(prompt) :] for text, prompt in zip(texts, prompts, strict=True)]


def check(
    prompts: Sequence[Sequence[int]], sampling: Sequence[Sampling], shape: TransformerShape
) -> None:
    """A prompt must say something in the model's words, and leave room."""
    if len(prompts) != len(sampling):
        raise ValueError(
            f"each prompt needs its sampling; got {len(prompts)} prompts, {len(sampling)} samplings"
        )
    context, words = shape.context, shape.words
    wrong = {row: len(p) for row, p in enumerate(prompts) if not 0 < len(p) < context}
    if wrong:
        row, length = next(iter(wrong.items()))
        raise ValueError(
            f"a prompt must have 1 to {context - 1} tokens, for the model reads {context}; "
            f"got {length} in row {row}{f' and {len(wrong) - 1} more such' * (len(wrong) > 1)}"
        )
    strange = [(row, t) for row, p in enumerate(prompts) for t in p if not 0 <= t < words]
    if strange:
        row, token = strange[0]
        raise ValueError(f"the model's tokens are 0 to {words - 1}, got {token} in row {row}")


def draw(logits: Logits, sampling: Sampling, chance: np.random.Generator) -> int:
    """The next token, by temperature, top-k and top-p, in this order."""
    if sampling.temperature == 0:
        return int(logits.argmax())
    order = np.argsort(-logits, kind="stable")[: sampling.top_k or None]  # the likeliest first
    chosen = logits[order].astype(np.float64)
    with np.errstate(over="ignore"):  # a tiny temperature makes -inf of all but the likeliest
        share = np.exp((chosen - chosen[0]) / sampling.temperature)
    share = np.cumsum(share / share.sum())
    within = int(np.searchsorted(share, sampling.top_p)) + 1  # the one that reaches it too
    share = share[:within]
    return int(order[np.searchsorted(share, chance.random() * share[-1], side="right")])
