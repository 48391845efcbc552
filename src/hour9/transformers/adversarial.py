"""Adversarial training: a text has to keep its label where its vectors are moved against it.

Words are no numbers that a small step could change, but their vectors are. Moved a little, the way
that the loss grows fastest, they make a case that is hard and that no text had to be written for.

Shapes: B texts in a batch, T tokens, C channels, K classes.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hour9.engine.fit import Batch, Loss
from hour9.transformers.classifier import EncoderHead


def adversarial(model: EncoderHead, size: float) -> Loss:
    """½ L(x) + ½ L(x + r), r = size ‖x‖ g / ‖g‖, g = ∇ₓ L(x) (Miyato et al. 2017, section 3).

    x are the vectors of one text's tokens, (T, C); L is the cross-entropy. It costs a second way
    there and back, and one way back to x: more than twice an update without it (docs/sentiment.md).
    """

    def loss(_: nn.Module, batch: Batch) -> Tensor:
        mask, labels = batch["mask"], batch["labels"]

        def lost(x: Tensor) -> Tensor:  # (B, T, C) -> ()
            return F.cross_entropy(model.classify(x, mask), labels)

        x = model.encoder.embed(batch["tokens"]).requires_grad_()  # (B, T, C), frozen or not
        plain = lost(x)
        (gradient,) = torch.autograd.grad(plain, x, retain_graph=True)
        return (plain + lost(x + against(x.detach(), gradient, mask, size))) / 2

    return loss


def against(
    x: Tensor, gradient: Tensor, mask: Tensor, size: float
) -> Tensor:  # (B, T, C) twice, (B, T) -> (B, T, C)
    """Along the gradient, `size` times as long as each text. Padding is no part of a text."""
    known = mask[:, :, None].to(x.dtype)  # (B, T, 1)
    direction = F.normalize((gradient * known).flatten(1), dim=1)  # (B, T C)
    length = size * (x * known).flatten(1).norm(dim=1, keepdim=True)  # (B, 1)
    return (length * direction).view_as(x)
