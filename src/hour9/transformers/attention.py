"""Multi-head attention in PyTorch, with a cache for generation; attention_numpy.py is its twin.

Shapes: B batch, T queries, S keys, C channels, H heads, D = C / H channels per head.
"""

import math
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hour9.params import Refused
from hour9.transformers.dropout import dropout
from hour9.transformers.positions import RotaryPositions


class KeyValueCache:
    """Keys and values of the positions already seen, so that generation computes each once."""

    def __init__(self, capacity: int):
        self.capacity = capacity
        self.length = 0
        self._store: Tensor | None = None  # (2, B, H, capacity, D), known at the first `extend`

    def extend(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:  # (B, H, T, D) each
        """Append, and return all that is known: (B, H, S, D) each."""
        end = self.length + k.shape[2]
        if end > self.capacity:
            raise ValueError(f"the cache holds {self.capacity} positions, got {end}")
        if self._store is None:
            B, H, _, D = k.shape
            self._store = k.new_empty(2, B, H, self.capacity, D)
        self._store[0, :, :, self.length : end] = k
        self._store[1, :, :, self.length : end] = v
        self.length = end
        return self.known()

    def known(self) -> tuple[Tensor, Tensor]:  # -> (B, H, S, D) each
        assert self._store is not None
        k, v = self._store[:, :, :, : self.length]
        return k, v

    def choose(self, rows: Tensor) -> None:  # (B',)
        """Go on with these rows of the batch, in this order: the surviving beams of a search."""
        if self._store is not None:
            self._store = self._store[:, rows]


class MultiHeadAttention(nn.Module):
    """softmax(Q Kᵀ / √D) V in each of H heads, side by side (Vaswani et al. 2017, section 3.2).

    Queries come from `x`; keys and values from `x` too or, in cross-attention, from `source`.
    `mask` is true where a query may look and broadcasts to (B, H, T, S). `causal` hides the
    future: the queries are the last T of the S positions. A query that may look nowhere gets
    zeros. With `return_weights` the softmax (B, H, T, S) comes back too, without the fused kernel
    and so slower.
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        causal: bool = False,
        dropout: float = 0.0,
        rotary: bool = False,
    ):
        super().__init__()
        if channels % heads:
            raise Refused(f"heads must divide channels, got {channels=} and {heads=}")
        if rotary and channels // heads % 2:
            raise Refused(
                "rotary positions turn pairs: each head needs an even number of channels, got "
                f"{channels=} and {heads=}"
            )
        self.heads = heads
        self.causal = causal
        self.dropout = dropout
        self.rotary = RotaryPositions(channels // heads) if rotary else None
        self.query_key_value = nn.Linear(channels, 3 * channels)
        self.output = nn.Linear(channels, channels)

    def forward(
        self,
        x: Tensor,
        source: Tensor | None = None,
        mask: Tensor | None = None,
        cache: KeyValueCache | None = None,
        return_weights: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:  # (B, T, C), (B, S, C) -> (B, T, C)
        if source is None:
            q, k, v = self.attend_to_itself(x, cache)
        else:
            q, k, v = self.attend_to(source, x, cache)
        share = self.dropout if self.training else 0.0
        # A CPU has no fused kernel with dropout, and one for bf16 that is slower than the products.
        if return_weights or (q.is_cpu and (share or q.dtype == torch.bfloat16)):
            weights = attention_weights(q, k, self.visible(q, k, mask))  # (B, H, T, S)
            mixed = self.join(dropout(weights, share) @ v)
            return (mixed, weights) if return_weights else mixed
        fused = self.causal and mask is None and q.shape[2] == k.shape[2]
        visible = None if fused else self.visible(q, k, mask)
        return self.join(F.scaled_dot_product_attention(q, k, v, visible, share, fused))

    def attend_to_itself(
        self, x: Tensor, cache: KeyValueCache | None
    ) -> tuple[Tensor, Tensor, Tensor]:  # (B, T, C) -> (B, H, T, D), (B, H, S, D) twice
        q, k, v = self.split(self.query_key_value(x))
        if self.rotary is not None:
            start = cache.length if cache else 0
            q, k = self.rotary(q, start), self.rotary(k, start)
        return (q, k, v) if cache is None else (q, *cache.extend(k, v))

    def attend_to(
        self, source: Tensor, x: Tensor, cache: KeyValueCache | None
    ) -> tuple[Tensor, Tensor, Tensor]:  # (B, S, C), (B, T, C) -> (B, H, T, D), (B, H, S, D) twice
        """The source does not grow while its translation does: a filled cache stands for it."""
        C = x.shape[2]
        weight, bias = self.query_key_value.weight, self.query_key_value.bias
        (q,) = self.split(F.linear(x, weight[:C], bias[:C]))
        if cache is not None and cache.length:
            return q, *cache.known()
        k, v = self.split(F.linear(source, weight[C:], bias[C:]))
        return (q, k, v) if cache is None else (q, *cache.extend(k, v))

    def split(self, x: Tensor) -> Tensor:  # (B, T, n C) -> (n, B, H, T, D)
        B, T, width = x.shape
        D = self.output.in_features // self.heads
        return x.view(B, T, width // (self.heads * D), self.heads, D).permute(2, 0, 3, 1, 4)

    def join(self, mixed: Tensor) -> Tensor:  # (B, H, T, D) -> (B, T, C)
        return self.output(mixed.transpose(1, 2).flatten(2))

    def visible(self, q: Tensor, k: Tensor, mask: Tensor | None) -> Tensor | None:
        """Where queries may look, to broadcast to (B, H, T, S); None: everywhere."""
        T, S = q.shape[2], k.shape[2]
        if not self.causal or T == 1:  # the last position has no future
            return mask
        past = torch.ones(T, S, dtype=torch.bool, device=q.device).tril(S - T)
        return past if mask is None else mask & past


def attention_weights(q: Tensor, k: Tensor, visible: Tensor | None) -> Tensor:  # -> (B, H, T, S)
    """softmax(Q Kᵀ / √D) over the visible keys, and zero elsewhere."""
    scores = (q / math.sqrt(q.shape[-1])) @ k.mT
    if visible is None:
        return scores.softmax(dim=-1)
    hidden = torch.zeros_like(visible, dtype=scores.dtype)
    hidden.masked_fill_(~visible, torch.finfo(scores.dtype).min / 2)  # with a score still finite
    weights = (scores + hidden).softmax(dim=-1)
    looking = visible.any(dim=-1, keepdim=True)
    return weights if looking.all() else weights * looking


def attention_maps(model: nn.Module, *inputs: Any, **named: Any) -> dict[str, Tensor]:
    """The weights (B, H, T, S) of every attention inside the model, by name, for one input."""
    maps: dict[str, Tensor] = {}

    def ask(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return args, kwargs | {"return_weights": True}

    def keep(name: str, module: nn.Module, args: Any, output: tuple[Tensor, Tensor]) -> Tensor:
        maps[name] = output[1]
        return output[0]

    hooks = []
    for name, module in model.named_modules():
        if isinstance(module, MultiHeadAttention):
            hooks.append(module.register_forward_pre_hook(ask, with_kwargs=True))
            hooks.append(module.register_forward_hook(partial(keep, name)))
    try:
        model(*inputs, **named)
    finally:
        for hook in hooks:
            hook.remove()
    return maps
