"""Where a token stands: three ways to tell a Transformer.

Shapes: B batch, T tokens, C channels, H heads, D = C / H channels per head. Positions are whole
numbers of any shape (…).
"""

from typing import Literal

import torch
from torch import Tensor, nn

from hour9.params import Refused

PositionKind = Literal["learned", "sinusoidal", "rotary"]

BASE = 10_000.0  # the longest wave has about 2π × 10,000 positions


def position_vectors(kind: PositionKind, context: int, channels: int) -> nn.Module | None:
    """What is added to the words: (…) -> (…, C). Nothing where attention itself turns them.

    Learned positions (Devlin et al. 2019, section 3) are vectors like those of the words.
    """
    if kind == "learned":
        return nn.Embedding(context, channels)
    return SinusoidalPositions(channels) if kind == "sinusoidal" else None


class SinusoidalPositions(nn.Module):
    """Waves of growing length (Vaswani et al. 2017, section 3.5).

    PE(p, 2i) = sin(p / 10000^(2i/C)),  PE(p, 2i+1) = cos(p / 10000^(2i/C))
    """

    frequencies: Tensor  # (C/2,)

    def __init__(self, channels: int):
        super().__init__()
        require_even(channels)
        self.register_buffer("frequencies", frequencies(channels), persistent=False)

    def forward(self, positions: Tensor) -> Tensor:  # (…) -> (…, C)
        angles = positions[..., None] * self.frequencies  # (…, C/2)
        return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2)


class RotaryPositions(nn.Module):
    """Turn queries and keys by angles that grow with the position (Su et al. 2021, eq. 34).

    Channels i and i + D/2 are the two coordinates of a point, turned by p / 10000^(2i/D). What a
    query at p finds at a key at r then depends on p - r alone.
    """

    frequencies: Tensor  # (D/2,)

    def __init__(self, channels_per_head: int):
        super().__init__()
        require_even(channels_per_head)
        self.register_buffer("frequencies", frequencies(channels_per_head), persistent=False)

    def forward(self, x: Tensor, start: int = 0) -> Tensor:  # (B, H, T, D) -> (B, H, T, D)
        positions = torch.arange(start, start + x.shape[-2], device=x.device)  # (T,)
        angles = positions[:, None] * self.frequencies  # (T, D/2)
        cosine, sine = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
        first, second = x.chunk(2, dim=-1)  # (B, H, T, D/2) each
        return torch.cat([first * cosine - second * sine, second * cosine + first * sine], dim=-1)


def frequencies(channels: int) -> Tensor:  # -> (C/2,)
    """1 / 10000^(2i/C)."""
    return BASE ** (-torch.arange(0, channels, 2) / channels)


def require_even(channels: int) -> None:
    if channels % 2:
        raise Refused(f"sine and cosine share the channels: an even number, got {channels=}")
