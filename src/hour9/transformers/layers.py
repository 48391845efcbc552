"""Encoder and decoder layers in PyTorch, and the stack that is BERT or GPT-2.

Shapes: B batch, T tokens, S tokens of a source, C channels, H heads, V words.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hour9.params import Refused
from hour9.transformers.attention import KeyValueCache, MultiHeadAttention
from hour9.transformers.dropout import Dropout
from hour9.transformers.positions import PositionKind, position_vectors

Activation = Literal["gelu", "gelu_tanh", "relu"]

INITIAL = 0.02
"""Standard deviation of first weights, as BERT and GPT-2 have it. (GPT-2 divides those that end in
a residual sum by √(2 L): L is small here.)"""


@dataclass(frozen=True)
class LayerShape:
    """What the layers of one stack have in common."""

    channels: int
    heads: int
    hidden: int
    """features between the two linear maps of the feed-forward network"""
    norm_first: bool = True
    activation: Activation = "gelu"
    dropout: float = 0.0
    attention_dropout: float = 0.0
    """share of the weights; on CPUs, anything but 0 does without the fused kernel"""
    epsilon: float = 1e-5
    """added to a variance before it divides"""
    rotary: bool = False


class EncoderLayer(nn.Module):
    """Self-attention, then a feed-forward network (Vaswani et al. 2017, section 3.1).

    `mask` is true where a query may look and broadcasts to (B, H, T, S): for padding it is
    (B, 1, 1, S). With `causal`, it is a layer of GPT (Radford et al. 2019).
    """

    def __init__(self, shape: LayerShape, causal: bool = False):
        super().__init__()
        self.attention = self_attention(shape, causal)
        self.around_attention = Residual(shape)
        self.feed_forward = FeedForward(shape)
        self.around_feed_forward = Residual(shape)

    def forward(
        self, x: Tensor, mask: Tensor | None = None, cache: KeyValueCache | None = None
    ) -> Tensor:  # (B, T, C) -> (B, T, C)
        x = self.around_attention(x, lambda x: self.attention(x, mask=mask, cache=cache))
        return self.around_feed_forward(x, self.feed_forward)

    def ask_once(self, x: Tensor, mask: Tensor | None = None) -> Tensor:  # (B, T, C) -> (B, C)
        """One query, the tokens' mean, attends to all of them (Dai et al. 2020, section 2.2).

        Of the layer's products only those of keys and values are made in full: a sixth of all.
        `mask` is (B, 1, 1, T).
        """
        around = self.around_attention
        source = around.norm(x) if around.norm_first else x
        asking = mean_of_tokens(x, mask)  # (B, 1, C)
        asking = around(asking, lambda query: self.attention(query, source, mask=mask))
        return self.around_feed_forward(asking, self.feed_forward)[:, 0]


@dataclass(frozen=True)
class DecoderCache:
    """What a decoder layer has seen: of its own output, and of the source."""

    own: KeyValueCache
    source: KeyValueCache


class DecoderLayer(nn.Module):
    """Self-attention over the past, attention to a source, a feed-forward network (ibid.).

    Masks as in EncoderLayer; `source_mask` is of the source's positions.
    """

    def __init__(self, shape: LayerShape):
        super().__init__()
        self.attention = self_attention(shape, causal=True)
        self.around_attention = Residual(shape)
        self.cross_attention = MultiHeadAttention(
            shape.channels, shape.heads, dropout=shape.attention_dropout
        )
        self.around_cross_attention = Residual(shape)
        self.feed_forward = FeedForward(shape)
        self.around_feed_forward = Residual(shape)

    def forward(
        self,
        x: Tensor,
        source: Tensor,
        mask: Tensor | None = None,
        source_mask: Tensor | None = None,
        cache: DecoderCache | None = None,
    ) -> Tensor:  # (B, T, C), (B, S, C) -> (B, T, C)
        own, seen = (cache.own, cache.source) if cache else (None, None)
        x = self.around_attention(x, lambda x: self.attention(x, mask=mask, cache=own))
        x = self.around_cross_attention(
            x, lambda x: self.cross_attention(x, source, mask=source_mask, cache=seen)
        )
        return self.around_feed_forward(x, self.feed_forward)


def self_attention(shape: LayerShape, causal: bool) -> MultiHeadAttention:
    return MultiHeadAttention(
        shape.channels, shape.heads, causal, shape.attention_dropout, shape.rotary
    )


class Residual(nn.Module):
    """x + f(norm(x)) if `norm_first` (Xiong et al. 2020), else norm(x + f(x)) (Vaswani 2017)."""

    def __init__(self, shape: LayerShape):
        super().__init__()
        self.norm_first = shape.norm_first
        self.norm = nn.LayerNorm(shape.channels, eps=shape.epsilon)
        self.dropout = Dropout(shape.dropout)

    def forward(self, x: Tensor, f: Callable[[Tensor], Tensor]) -> Tensor:  # (B, T, C)
        if self.norm_first:
            return x + self.dropout(f(self.norm(x)))
        return self.norm(x + self.dropout(f(x)))


class FeedForward(nn.Module):
    """The same two-layer network at each position (Vaswani et al. 2017, eq. 2)."""

    def __init__(self, shape: LayerShape):
        super().__init__()
        self.widen = nn.Linear(shape.channels, shape.hidden)
        self.narrow = nn.Linear(shape.hidden, shape.channels)
        self.activation: nn.Module = {
            "relu": nn.ReLU(),
            "gelu": nn.GELU(),
            "gelu_tanh": nn.GELU(approximate="tanh"),
        }[shape.activation]

    def forward(self, x: Tensor) -> Tensor:  # (B, T, C) -> (B, T, C)
        return self.narrow(self.activation(self.widen(x)))


@dataclass(frozen=True)
class TransformerShape:
    """A stack of layers over words."""

    words: int
    context: int
    """the longest text, in tokens"""
    layers: int
    layer: LayerShape
    causal: bool
    positions: PositionKind = "learned"
    segments: int = 0
    """how many texts may stand in one row, told apart by a vector each; 0: no such vector"""


class Transformer(nn.Module):
    """BERT (Devlin et al. 2019): post-norm, segments, sees both ways.

    GPT-2 (Radford et al. 2019): pre-norm and causal. The one norm outside the layers stands where
    the layers have none: before post-norm layers, after pre-norm ones.
    """

    def __init__(self, shape: TransformerShape):
        super().__init__()
        if shape.layer.rotary != (shape.positions == "rotary"):
            raise Refused(
                f"positions must be 'rotary' where the layers' rotary is true, and only there; "
                f"got '{shape.positions}' and {shape.layer.rotary}"
            )
        channels = shape.layer.channels
        self.shape = shape
        self.words = nn.Embedding(shape.words, channels)
        self.positions = position_vectors(shape.positions, shape.context, channels)
        self.segments = nn.Embedding(shape.segments, channels) if shape.segments else None
        self.dropout = Dropout(shape.layer.dropout)
        self.norm = nn.LayerNorm(channels, eps=shape.layer.epsilon)
        self.layers = nn.ModuleList(
            EncoderLayer(shape.layer, shape.causal) for _ in range(shape.layers)
        )
        self.apply(start_small)

    def forward(
        self,
        tokens: Tensor,
        mask: Tensor | None = None,
        segments: Tensor | None = None,
        caches: Sequence[KeyValueCache] | None = None,
    ) -> Tensor:  # (B, T) whole numbers -> (B, T, C)
        """Last hidden states. `mask` (B, S) is true, or 1, where a key is no padding."""
        x = self.embed(tokens, segments, caches[0].length if caches else 0)
        return self.read(x, mask, caches)

    def read(
        self, x: Tensor, mask: Tensor | None = None, caches: Sequence[KeyValueCache] | None = None
    ) -> Tensor:  # (B, T, C) -> (B, T, C)
        """The same, of words that `embed` has made vectors of."""
        visible = keys(mask)
        for i, layer in enumerate(self.layers):
            x = layer(x, visible, caches[i] if caches else None)
        return self.finish(x)

    def below(self, x: Tensor, mask: Tensor | None = None) -> Tensor:  # (B, T, C) -> (B, T, C)
        """`read` up to the last layer."""
        visible = keys(mask)
        for layer in self.layers[:-1]:
            x = layer(x, visible)
        return x

    def summary(self, x: Tensor, mask: Tensor | None = None) -> Tensor:  # (B, T, C) -> (B, C)
        """What the last layer says of a text as a whole, where `x` is what it has `below`.

        Raises ValueError where tokens do not see the whole text, or places are turned.
        """
        if self.shape.causal or self.shape.layer.rotary:
            raise ValueError(f"only an encoder sums a text up, got {self.shape}")
        last = self.layers[-1]
        assert isinstance(last, EncoderLayer)
        return self.finish(last.ask_once(x, keys(mask)))

    def finish(self, x: Tensor) -> Tensor:  # (…, C)
        return self.norm(x) if self.shape.layer.norm_first else x

    def embed(
        self, tokens: Tensor, segments: Tensor | None = None, start: int = 0
    ) -> Tensor:  # (B, T) -> (B, T, C)
        """Words, their places and their segments, added; the first word's place is `start`."""
        end = start + tokens.shape[1]
        if end > self.shape.context:
            raise ValueError(f"the model reads {self.shape.context} tokens, got {end}")
        x = self.words(tokens)
        if self.positions is not None:
            x = x + self.positions(torch.arange(start, end, device=tokens.device))
        if self.segments is not None:
            x = x + self.segments(torch.zeros_like(tokens) if segments is None else segments)
        return self.dropout(x if self.shape.layer.norm_first else self.norm(x))

    def logits(self, hidden: Tensor) -> Tensor:  # (…, C) -> (…, V)
        """Of the next word, by the words' own vectors (Press & Wolf 2017)."""
        return F.linear(hidden, self.words.weight)

    def caches(self) -> list[KeyValueCache]:
        """Empty ones, to generate a text of the longest length."""
        return [KeyValueCache(self.shape.context) for _ in self.layers]


def keys(mask: Tensor | None) -> Tensor | None:  # (B, S) -> (B, 1, 1, S)
    """What is no padding, for every head and query."""
    return None if mask is None else mask.bool()[:, None, None, :]


def mean_of_tokens(
    x: Tensor, mask: Tensor | None
) -> Tensor:  # (B, T, C), (B, 1, 1, T) -> (B, 1, C)
    """Without padding."""
    if mask is None:
        return x.mean(dim=1, keepdim=True)
    kept = mask[:, 0].to(x.dtype)  # (B, 1, T)
    return kept @ x / kept.sum(dim=2, keepdim=True).clamp(min=1)  # of padding alone: zeros


def start_small(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=INITIAL)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
