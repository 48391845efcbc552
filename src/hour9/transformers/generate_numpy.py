"""A GPT that reads one text, in NumPy: the layers of layers.py, a few positions at a time.

For one text and one token a step is a few products of a matrix and a vector. PyTorch spends more
time on getting ready for each of them than on the arithmetic. So what is the same for every token
is done once: a norm's parameters go into the map behind it, and the mean that each norm takes away
is taken from all that is ever added to x, which then has none (Jiang et al. 2023, section 3.1).

Shapes: T new tokens, S tokens seen, C channels, H heads, D = C / H, V words.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from hour9.transformers.attention_numpy import Array, exponentiate
from hour9.transformers.encoder_numpy import ACTIVATIONS
from hour9.transformers.layers import EncoderLayer, Transformer, TransformerShape
from hour9.transformers.positions import RotaryPositions

Linear = tuple[Array, Array]
"""Weights (F_in, F_out) and biases (F_out)."""


def readable(shape: TransformerShape) -> bool:
    """Whether NumpyReader knows all that such a model computes."""
    return shape.causal and shape.layer.norm_first and shape.layer.activation in ACTIVATIONS


class NumpyReader:
    """Reads on from what it has read, and says what may follow."""

    @torch.inference_mode()
    def __init__(self, model: Transformer):
        assert readable(model.shape)
        self.context, self.epsilon = model.shape.context, model.norm.eps
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
        return linear(self.logits, normal(x[-1:], self.epsilon))

    def keep(self, rows: NDArray[np.int64]) -> None:
        """There is one text: it goes on, or all is over."""


class LayerReader:
    """A pre-norm layer, and the keys and values that it has seen."""

    def __init__(self, layer: EncoderLayer, shape: TransformerShape):
        attention, network = layer.attention, layer.feed_forward
        look, widen = attention.query_key_value, network.widen
        self.look = after_norm(layer.around_attention.norm, look.weight, look.bias)
        self.mix = before_norm(attention.output)
        self.widen = after_norm(layer.around_feed_forward.norm, widen.weight, widen.bias)
        self.narrow = before_norm(network.narrow)
        self.activation, _ = ACTIVATIONS[shape.layer.activation]  # type: ignore[index]
        self.epsilon, self.heads = shape.layer.epsilon, shape.layer.heads
        width = shape.layer.channels // self.heads
        self.scale = 1 / math.sqrt(width)
        self.turn = None if attention.rotary is None else angles(attention.rotary, shape.context)
        self.seen = np.empty((2, self.heads, shape.context, width), self.mix[0].dtype)

    def read(self, x: Array, start: int) -> Array:  # (T, C) -> (T, C)
        x = x + linear(self.mix, self.attend(normal(x, self.epsilon), start))
        hidden = self.activation(linear(self.widen, normal(x, self.epsilon)))
        return x + linear(self.narrow, hidden)

    def attend(self, x: Array, start: int) -> Array:  # (T, C) -> (T, C)
        T, C = x.shape
        end = start + T
        q, k, v = linear(self.look, x).reshape(T, 3, self.heads, -1).transpose(1, 2, 0, 3)
        if self.turn is not None:
            q, k = (turned(side, *self.turn[:, start:end]) for side in (q, k))  # (H, T, D)
        self.seen[0, :, start:end], self.seen[1, :, start:end] = k, v
        keys, values = self.seen[:, :, :end]  # (H, S, D) each
        scores = (q * self.scale) @ keys.swapaxes(1, 2)  # (H, T, S)
        if T > 1:
            scores[:, ~np.tri(T, end, start, dtype=bool)] = -np.inf
        total = exponentiate(scores)  # (H, T, 1)
        return (scores @ values / total).swapaxes(0, 1).reshape(T, C)


def linear(parameters: Linear, x: Array) -> Array:  # (T, F_in) -> (T, F_out)
    weight, bias = parameters
    return x @ weight + bias


def before_norm(layer: nn.Linear) -> Linear:
    return centred(layer.weight.T).contiguous().numpy(), centred(layer.bias).numpy()


def after_norm(norm: nn.LayerNorm, weight: torch.Tensor, bias: torch.Tensor) -> Linear:
    """W (γ x̂ + β) + b = (W γ) x̂ + (W β + b)."""
    return (weight * norm.weight).T.contiguous().numpy(), (weight @ norm.bias + bias).numpy()


def centred(x: torch.Tensor) -> torch.Tensor:  # (…, C) -> (…, C)
    return x - x.mean(dim=-1, keepdim=True)


def normal(x: Array, epsilon: float) -> Array:  # (T, C) -> (T, C)
    """x / √(σ² + ε) of x whose mean is 0 (Ba et al. 2016, eq. 4), without γ and β."""
    variance = np.einsum("tc,tc->t", x, x) / x.shape[1]  # (T,)
    return x / np.sqrt(variance + epsilon)[:, None]


def angles(rotary: RotaryPositions, context: int) -> Array:  # -> (2, context, D/2)
    """Cosines and sines of how far each position turns."""
    turn = torch.arange(context)[:, None] * rotary.frequencies  # (context, D/2)
    return torch.stack([turn.cos(), turn.sin()]).numpy()


def turned(x: Array, cosine: Array, sine: Array) -> Array:  # (H, T, D) -> (H, T, D)
    first, second = np.split(x, 2, axis=-1)  # (H, T, D/2) each
    return np.concatenate([first * cosine - second * sine, second * cosine + first * sine], axis=-1)
