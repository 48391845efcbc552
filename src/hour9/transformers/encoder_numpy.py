"""A Transformer's encoder layer in NumPy, forward and backward by hand; layers.py is its twin.

Shapes: B batch, T tokens, C channels, H heads, D = C / H channels per head, F hidden features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np

from hour9.transformers.attention_numpy import Array, Mask, attention, attention_backward

Activation = Literal["relu", "gelu_tanh"]
Function = Callable[[Array], Array]


class Layer:
    """Parameters and, after `backward`, their gradients, under the names of the PyTorch layers.

    `backward` takes the gradient by the last output, and returns that by the last input.
    """

    def __init__(self, **parameters: Array):
        self.parameters: dict[str, Array] = parameters
        self.gradients: dict[str, Array] = {}

    def walk(self, prefix: str = "") -> list[tuple[str, Layer]]:
        """This layer and all inside it, with the prefix of their parameters' names."""
        inside = [(name, part) for name, part in vars(self).items() if isinstance(part, Layer)]
        deeper = [found for name, part in inside for found in part.walk(f"{prefix}{name}.")]
        return [(prefix, self), *deeper]

    def all_gradients(self) -> dict[str, Array]:
        return {
            prefix + name: gradient
            for prefix, layer in self.walk()
            for name, gradient in layer.gradients.items()
        }

    def load(self, weights: Mapping[str, Array]) -> None:
        """Take the parameters of a PyTorch layer: {name: array}."""
        for prefix, layer in self.walk():
            for name, old in layer.parameters.items():
                new = weights.get(prefix + name)
                if new is None or new.shape != old.shape:
                    found = "nothing" if new is None else new.shape
                    raise ValueError(f"'{prefix}{name}' must be {old.shape}, got {found}")
                layer.parameters[name] = np.array(new)


class EncoderLayer(Layer):
    """Every token looks at every other, then each thinks alone (Vaswani et al. 2017, fig. 1).

    `mask` is true where a query may look and broadcasts to (B, H, T, T): for padding it is
    (B, 1, 1, T).
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        hidden: int,
        norm_first: bool = True,
        activation: Activation = "relu",
        causal: bool = False,
        epsilon: float = 1e-5,
        seed: int = 0,
    ):
        super().__init__()
        chance = np.random.default_rng(seed)
        self.attention = MultiHeadAttention(channels, heads, causal, chance)
        self.around_attention = Residual(channels, norm_first, epsilon)
        self.feed_forward = FeedForward(channels, hidden, activation, chance)
        self.around_feed_forward = Residual(channels, norm_first, epsilon)

    def forward(self, x: Array, mask: Mask | None = None) -> Array:  # (B, T, C) -> (B, T, C)
        x = self.around_attention.forward(x, lambda x: self.attention.forward(x, mask))
        return self.around_feed_forward.forward(x, self.feed_forward.forward)

    def backward(self, gradient: Array) -> Array:  # (B, T, C) -> (B, T, C)
        gradient = self.around_feed_forward.backward(gradient, self.feed_forward.backward)
        return self.around_attention.backward(gradient, self.attention.backward)


class MultiHeadAttention(Layer):
    """Attention in H subspaces side by side (Vaswani et al. 2017, section 3.2.2)."""

    def __init__(self, channels: int, heads: int, causal: bool, chance: np.random.Generator):
        super().__init__()
        if channels % heads:
            raise ValueError(f"heads must divide channels, got {channels=} and {heads=}")
        self.heads = heads
        self.causal = causal
        self.query_key_value = Linear(channels, 3 * channels, chance)
        self.output = Linear(channels, channels, chance)

    def forward(self, x: Array, mask: Mask | None = None) -> Array:  # (B, T, C) -> (B, T, C)
        B, T, C = x.shape
        heads = self.query_key_value.forward(x).reshape(B, T, 3, self.heads, C // self.heads)
        self.q, self.k, self.v = heads.transpose(2, 0, 3, 1, 4)  # (B, H, T, D) each
        mixed, self.weights = attention(self.q, self.k, self.v, mask, self.causal)
        return self.output.forward(mixed.swapaxes(1, 2).reshape(B, T, C))

    def backward(self, gradient: Array) -> Array:  # (B, T, C) -> (B, T, C)
        B, T, C = gradient.shape
        mixed = self.output.backward(gradient).reshape(B, T, self.heads, C // self.heads)
        heads = attention_backward(mixed.swapaxes(1, 2), self.q, self.k, self.v, self.weights)
        together = np.stack(heads).transpose(1, 3, 0, 2, 4)  # (B, T, 3, H, D)
        return self.query_key_value.backward(together.reshape(B, T, 3 * C))


class FeedForward(Layer):
    """The same two-layer network at each position (Vaswani et al. 2017, eq. 2)."""

    def __init__(
        self, channels: int, hidden: int, activation: Activation, chance: np.random.Generator
    ):
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"no activation '{activation}'; there are {', '.join(ACTIVATIONS)}")
        self.activation, self.slope = ACTIVATIONS[activation]
        self.widen = Linear(channels, hidden, chance)
        self.narrow = Linear(hidden, channels, chance)

    def forward(self, x: Array) -> Array:  # (B, T, C) -> (B, T, C)
        self.hidden = self.widen.forward(x)  # (B, T, F)
        return self.narrow.forward(self.activation(self.hidden))

    def backward(self, gradient: Array) -> Array:  # (B, T, C) -> (B, T, C)
        return self.widen.backward(self.narrow.backward(gradient) * self.slope(self.hidden))


class Residual(Layer):
    """x + f(norm(x)) if `norm_first` (Xiong et al. 2020), else norm(x + f(x)) (Vaswani 2017)."""

    def __init__(self, channels: int, norm_first: bool, epsilon: float):
        super().__init__()
        self.norm_first = norm_first
        self.norm = LayerNorm(channels, epsilon)

    def forward(self, x: Array, f: Function) -> Array:  # (B, T, C) -> (B, T, C)
        return x + f(self.norm.forward(x)) if self.norm_first else self.norm.forward(x + f(x))

    def backward(self, gradient: Array, f_backward: Function) -> Array:
        if self.norm_first:
            return gradient + self.norm.backward(f_backward(gradient))
        gradient = self.norm.backward(gradient)
        return gradient + f_backward(gradient)


class LayerNorm(Layer):
    """y = γ x̂ + β, with x̂ = (x - μ) / √(σ² + ε) over the channels (Ba et al. 2016, eq. 4).

    With g = γ dy:  dx = (g - mean(g) - x̂ mean(g x̂)) / √(σ² + ε)
    """

    def __init__(self, channels: int, epsilon: float):
        super().__init__(weight=np.ones(channels), bias=np.zeros(channels))
        self.epsilon = epsilon

    def forward(self, x: Array) -> Array:  # (…, C) -> (…, C)
        centred = x - x.mean(axis=-1, keepdims=True)
        variance = (centred**2).mean(axis=-1, keepdims=True)
        self.deviation = np.sqrt(variance + self.epsilon)  # (…, 1)
        self.normal = centred / self.deviation
        return self.parameters["weight"] * self.normal + self.parameters["bias"]

    def backward(self, gradient: Array) -> Array:  # (…, C) -> (…, C)
        self.gradients["weight"] = flat(gradient * self.normal).sum(axis=0)
        self.gradients["bias"] = flat(gradient).sum(axis=0)
        g = gradient * self.parameters["weight"]
        along = (g * self.normal).mean(axis=-1, keepdims=True)
        return (g - g.mean(axis=-1, keepdims=True) - self.normal * along) / self.deviation


class Linear(Layer):
    """y = x Wᵀ + b;  dx = dy W,  dW = dyᵀ x,  db = Σ dy."""

    def __init__(self, features_in: int, features_out: int, chance: np.random.Generator):
        limit = np.sqrt(6 / (features_in + features_out))  # Glorot & Bengio 2010, eq. 16
        weight = chance.uniform(-limit, limit, (features_out, features_in))
        super().__init__(weight=weight, bias=np.zeros(features_out))

    def forward(self, x: Array) -> Array:  # (…, F_in) -> (…, F_out)
        self.x = x
        return x @ self.parameters["weight"].T + self.parameters["bias"]

    def backward(self, gradient: Array) -> Array:  # (…, F_out) -> (…, F_in)
        self.gradients["weight"] = flat(gradient).T @ flat(self.x)
        self.gradients["bias"] = flat(gradient).sum(axis=0)
        return gradient @ self.parameters["weight"]


def sinusoidal_positions(length: int, channels: int) -> Array:  # -> (T, C)
    """PE(p, 2i) = sin(p / 10000^(2i/C)), PE(p, 2i+1) = cos(…) (Vaswani et al. 2017, 3.5)."""
    if channels % 2:
        raise ValueError(f"sine and cosine share the channels: an even number, got {channels=}")
    angles = np.arange(length)[:, None] * 10_000.0 ** (-np.arange(0, channels, 2) / channels)
    return np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(length, channels)


def flat(x: Array) -> Array:  # (…, C) -> (N, C)
    return x.reshape(-1, x.shape[-1])


# Activations and their slopes


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


def relu_slope(x: Array) -> Array:
    return (x > 0).astype(x.dtype)


ROOT = np.sqrt(2 / np.pi).item()


def gelu_tanh(x: Array) -> Array:
    """x (1 + tanh u) / 2, u = √(2/π) (x + 0.044715 x³) (Hendrycks & Gimpel 2016, section 2)."""
    return x * (1 + np.tanh(ROOT * (x + 0.044715 * x * x * x))) / 2


def gelu_tanh_slope(x: Array) -> Array:
    """(1 + tanh u) / 2 + x u' (1 - tanh² u) / 2."""
    curve = np.tanh(ROOT * (x + 0.044715 * x * x * x))
    inner = ROOT * (1 + 3 * 0.044715 * x**2)  # u'
    return (1 + curve + x * inner * (1 - curve**2)) / 2


ACTIVATIONS: dict[str, tuple[Function, Function]] = {
    "relu": (relu, relu_slope),
    "gelu_tanh": (gelu_tanh, gelu_tanh_slope),
}
