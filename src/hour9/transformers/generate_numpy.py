"""A GPT that reads one text, in NumPy: the layers of layers.py, a few positions at a time.

For one text and one token a step is a few products of a matrix and a vector. PyTorch spends more
time on getting ready for each of them than on the arithmetic. So what is the same for every token
is done once: a norm's parameters go into the map behind it, as does the scale of the scores, and
the mean that each norm takes away is taken from all that is ever added to x, which then has none
(Jiang et al. 2023, section 3.1).

Shapes: T new tokens, S tokens seen, C channels, H heads, D = C / H, V words.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from hour9.transformers.attention_numpy import Array
from hour9.transformers.encoder_numpy import ACTIVATIONS
from hour9.transformers.layers import EncoderLayer, Transformer, TransformerShape
from hour9.transformers.positions import RotaryPositions

Linear = tuple[Array, Array]
"""Weights (F_in, F_out) and biases (F_out)."""


def readable(shape: TransformerShape) -> bool:
    """Whether NumpyReader knows all that such a model computes."""
    known = shape.layer.norm_first and shape.layer.activation in ACTIVATIONS
    return shape.causal and known and not shape.segments


class NumpyReader:
    """Reads on from what it has read, and says what may follow."""

    @torch.inference_mode()
    def __init__(self, model: Transformer):
        assert readable(model.shape)
        self.context, self.room = model.shape.context, room(model.norm)
        self.words = centred(model.words.weight).numpy()  # (V, C)
        self.positions = None
        if model.positions is not None:
            places = model.positions(torch.arange(self.context))  # (context, C)
            self.positions = centred(places).numpy()
        self.layers = [
            LayerReader(layer, model.shape)
            for layer in model.layers
            if isinstance(layer, EncoderLayer)
        ]
        self.logits = after_norm(model.norm, model.words.weight, torch.zeros(len(self.words)))
        self.length = 0

    def read(self, tokens: NDArray[np.int64]) -> Array:  # (1, T) -> (1, V)
        """The logits of what may follow the last token."""
        start, self.length = self.length, self.length + tokens.shape[1]
        if self.length > self.context:
            raise ValueError(f"the model reads {self.context} tokens, got {self.length}")
        x = self.words[tokens[0]]  # (T, C)
        if self.positions is not None:
            x = x + self.positions[start : self.length]
        for layer in self.layers:
            x = layer.read(x, start)
        return linear(self.logits, unit(x[-1:], self.room))

    def keep(self, rows: NDArray[np.int64]) -> None:
        """There is one text: it goes on, or all is over."""


class LayerReader:
    """A pre-norm layer, and the keys and values that it has seen."""

    def __init__(self, layer: EncoderLayer, shape: TransformerShape):
        attention, network = layer.attention, layer.feed_forward
        self.heads, channels = shape.layer.heads, shape.layer.channels
        scale = torch.ones(3 * channels)  # queries alone: q/√D · k (Vaswani et al. 2017, eq. 1)
        scale[:channels] = 1 / math.sqrt(channels // self.heads)
        look, widen = attention.query_key_value, network.widen
        norm = layer.around_attention.norm
        self.look = after_norm(norm, scale[:, None] * look.weight, scale * look.bias)
        self.mix = before_norm(attention.output)
        self.widen = after_norm(layer.around_feed_forward.norm, widen.weight, widen.bias)
        self.narrow = before_norm(network.narrow)
        self.activation, _ = ACTIVATIONS[shape.layer.activation]  # type: ignore[index]
        self.room = room(norm)
        self.turn = None if attention.rotary is None else angles(attention.rotary, shape.context)
        seen = (2, self.heads, shape.context, channels // self.heads)
        self.seen = np.empty(seen, self.mix[0].dtype)

    def read(self, x: Array, start: int) -> Array:  # (T, C) -> (T, C)
        x = x + linear(self.mix, self.attend(unit(x, self.room), start))
        hidden = self.activation(linear(self.widen, unit(x, self.room)))
        return x + linear(self.narrow, hidden)

    def attend(self, x: Array, start: int) -> Array:  # (T, C) -> (T, C)
        T, C = x.shape
        end = start + T
        q, k, v = linear(self.look, x).reshape(T, 3, self.heads, -1).transpose(1, 2, 0, 3)
        if self.turn is not None:
            q, k = (turned(side, *self.turn[:, start:end]) for side in (q, k))  # (H, T, D)
        self.seen[0, :, start:end], self.seen[1, :, start:end] = k, v
        keys, values = self.seen[:, :, :end]  # (H, S, D) each
        scores = q @ keys.swapaxes(1, 2)  # (H, T, S)
        if T > 1:
            scores[:, ~np.tri(T, end, start, dtype=bool)] = -np.inf
        scores -= scores.max(axis=-1, keepdims=True)  # a number: a token sees itself at least
        np.exp(scores, out=scores)
        total = scores.sum(axis=-1, keepdims=True)  # (H, T, 1)
        return (scores @ values / total).swapaxes(0, 1).reshape(T, C)


def linear(parameters: Linear, x: Array) -> Array:  # (T, F_in) -> (T, F_out)
    weight, bias = parameters
    return x @ weight + bias


def before_norm(layer: nn.Linear) -> Linear:
    return centred(layer.weight.T).contiguous().numpy(), centred(layer.bias).numpy()


def after_norm(norm: nn.LayerNorm, weight: torch.Tensor, bias: torch.Tensor) -> Linear:
    """W (γ x̂ + β) + b = (√C W γ) x̂/√C + (W β + b); x̂/√C is what `unit` gives."""
    scale = norm.weight * math.sqrt(len(norm.weight))
    return (weight * scale).T.contiguous().numpy(), (weight @ norm.bias + bias).numpy()


def centred(x: torch.Tensor) -> torch.Tensor:  # (…, C) -> (…, C)
    return x - x.mean(dim=-1, keepdim=True)


def room(norm: nn.LayerNorm) -> float:
    """C ε."""
    return len(norm.weight) * norm.eps


def unit(x: Array, room: float) -> Array:  # (T, C) -> (T, C)
    """x / √(Σ x² + C ε): of x whose mean is 0, the layer norm (Ba et al. 2016, eq. 4) over √C."""
    return x / np.sqrt(np.vecdot(x, x) + room)[:, None]


def angles(rotary: RotaryPositions, context: int) -> Array:  # -> (2, context, D/2)
    """Cosines and sines of how far each position turns."""
    turn = torch.arange(context)[:, None] * rotary.frequencies  # (context, D/2)
    return torch.stack([turn.cos(), turn.sin()]).numpy()


def turned(x: Array, cosine: Array, sine: Array) -> Array:  # (H, T, D) -> (H, T, D)
    first, second = np.split(x, 2, axis=-1)  # (H, T, D/2) each
    return np.concatenate([first * cosine - second * sine, second * cosine + first * sine], axis=-1)
