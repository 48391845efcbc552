"""Writing a translation token by token: the likeliest each time, or the best of several beams.

Shapes: B texts, S tokens of a source, T tokens written, K beams a text, C channels, V pieces.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from hour9.transformers.seq2seq import Seq2Seq

PAD, UNKNOWN, START, END = range(4)  # the first pieces of every vocabulary
LENGTH_POWER = 0.6


@torch.inference_mode()
def greedy(model: "Seq2Seq", source: Tensor, longest: int) -> Tensor:  # (B, S) -> (B, T)
    """The likeliest next token each time; END and then PAD where a text has ended."""
    memory, mask = model.encode(source), source != PAD
    caches = model.caches(longest, source.shape[1])
    last = source.new_full((len(source), 1), START)
    written = last[:, :0]
    ended = torch.zeros_like(last, dtype=torch.bool)
    while written.shape[1] < longest and not ended.all():
        logits = model.decode(last, memory, mask, caches)[:, -1:]  # (B, 1, V)
        last = allowed(logits).argmax(dim=2).masked_fill(ended, PAD)  # (B, 1)
        ended |= last == END
        written = torch.cat([written, last], dim=1)
    return written


@torch.inference_mode()
def beam_search(
    model: "Seq2Seq", source: Tensor, longest: int, beams: int
) -> Tensor:  # (B, S) -> (B, T)
    """The text whose log-probability, divided by its length penalty, is the highest found.

    lp(n) = ((5 + n) / 6)^0.6 for n tokens (Wu et al. 2016, eq. 14). A finished text stays
    among the K until K longer ones score higher.
    """
    B, K = len(source), beams
    memory = model.encode(source).repeat_interleave(K, dim=0)  # (B K, S, C)
    mask = (source != PAD).repeat_interleave(K, dim=0)
    caches = model.caches(longest, source.shape[1])
    written = source.new_full((B * K, 1), START)
    total = torch.full((B, K), -torch.inf, device=source.device)
    total[:, 0] = 0.0  # all beams begin alike: only the first counts
    ended = torch.zeros(B, K, dtype=torch.bool, device=source.device)
    length = torch.zeros(B, K, device=source.device)
    first = K * torch.arange(B, device=source.device)[:, None]  # (B, 1), row of each text's first
    while written.shape[1] <= longest and not ended.all():
        logits = allowed(model.decode(written[:, -1:], memory, mask, caches)[:, -1])
        step = logits.log_softmax(dim=1).view(B, K, -1)  # (B, K, V)
        step = step.masked_fill(ended[:, :, None], -torch.inf)
        step[:, :, PAD] = step[:, :, PAD].masked_fill(ended, 0.0)  # what has ended, stays
        longer = length + ~ended
        sums = total[:, :, None] + step
        worth = (sums / penalty(longer)[:, :, None]).flatten(1)  # (B, K V)
        chosen = worth.topk(K, dim=1).indices  # (B, K)
        total, token = sums.flatten(1).gather(1, chosen), chosen % step.shape[2]
        beam = chosen // step.shape[2]
        rows = (first + beam).flatten()
        length, ended = longer.gather(1, beam), ended.gather(1, beam) | (token == END)
        written = torch.cat([written[rows], token.view(-1, 1)], dim=1)
        for cache in caches:
            cache.own.choose(rows)  # the source is the same for all beams of a text
    return written[first.flatten(), 1:]  # topk has put the best first


def penalty(length: Tensor) -> Tensor:
    return ((5 + length) / 6) ** LENGTH_POWER


def allowed(logits: Tensor) -> Tensor:  # (…, V) -> (…, V)
    """A translation holds no padding, no second start and nothing unknown."""
    return logits.index_fill(
        -1, logits.new_tensor([PAD, UNKNOWN, START], dtype=torch.long), -torch.inf
    )
