"""How fast attention is, beside its peers: one thread, every pair in turns within one run.

    python benchmarks/attention.py                  # all pairs, 30 rounds
    python benchmarks/attention.py --only numpy --rounds 10

Times are CPU milliseconds, medians over the rounds; a ratio over 1 means that ours is faster. The
rows go to benchmarks/results.json, in place of earlier ones of the same name.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # read by torch and its libraries when they are loaded
os.environ["OPENBLAS_NUM_THREADS"] = "1"  # by NumPy

import argparse
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hour9.transformers.attention import MultiHeadAttention
from hour9.transformers.attention_numpy import attention, blocked_attention
from record import Call, Pair, measure, record

HEADS, CHANNELS_PER_HEAD = 8, 64
LENGTHS = (512, 1024, 2048)
SHAPES = {  # B, T, C, H
    "sentences": (32, 32, 384, 12),
    "paragraphs": (16, 128, 256, 4),
    "pages": (2, 1024, 256, 4),
}


def main() -> None:
    """Measure the pairs, print a line each, and record them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", help="pairs whose name contains this")
    parser.add_argument("--rounds", type=int, default=30)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    pairs = [*numpy_pairs(), *torch_pairs()]
    chosen = [pair for pair in pairs if arguments.only in pair.name]
    if not chosen:
        parser.error(f"no pair '{arguments.only}'; there are {', '.join(p.name for p in pairs)}")
    record([measure(pair, arguments.rounds) for pair in chosen])


def numpy_pairs() -> list[Pair]:
    """Blocked attention against torch's fused kernel, and against all scores at once."""
    pairs = []
    for length in LENGTHS:
        shape = (1, HEADS, length, CHANNELS_PER_HEAD)
        chance = np.random.default_rng(length)
        heads = [chance.standard_normal(shape, dtype=np.float32) for _ in range(3)]
        tensors = [torch.from_numpy(x) for x in heads]
        for causal in (False, True):
            ours = partial_call(blocked_attention, *heads, causal=causal)
            fused = partial_call(F.scaled_dot_product_attention, *tensors, is_causal=causal)
            whole = partial_call(attention, *heads, causal=causal)
            np.testing.assert_allclose(ours(), fused(), atol=1e-5)
            name = f"numpy attention{' causal' * causal} {length}"
            pairs.append(Pair(name, ours, fused, "scaled_dot_product_attention"))
            if length == LENGTHS[-1]:
                pairs.append(Pair(f"{name} blocked", ours, whole, "NumPy, all scores at once"))
    return pairs


def torch_pairs() -> list[Pair]:
    """Our multi-head attention against torch's, which is asked for no weights, its fastest way."""
    pairs = []
    for name, (B, T, C, H) in SHAPES.items():
        for causal in (False, True):
            ours = MultiHeadAttention(C, H, causal)
            theirs = nn.MultiheadAttention(C, H, batch_first=True)
            theirs.in_proj_weight.data.copy_(ours.query_key_value.weight.data)
            theirs.in_proj_bias.data.copy_(ours.query_key_value.bias.data)
            theirs.out_proj.load_state_dict(ours.output.state_dict())
            x = torch.randn(B, T, C)
            peer = torch_attention(theirs, T, causal)
            torch.testing.assert_close(ours(x), peer(x))
            for training in (False, True):
                work = "training" if training else "inference"
                pairs.append(
                    Pair(
                        f"torch attention{' causal' * causal} {name} {work}",
                        step(ours, ours, x, training),
                        step(theirs, peer, x, training),
                        "torch.nn.MultiheadAttention",
                    )
                )
    return pairs


def torch_attention(
    layer: nn.MultiheadAttention, length: int, causal: bool
) -> Callable[[Tensor], Tensor]:
    """Self-attention by torch's layer; causal as its documentation says."""
    future = torch.ones(length, length, dtype=torch.bool).triu(1) if causal else None

    def call(x: Tensor) -> Tensor:
        return layer(x, x, x, need_weights=False, attn_mask=future, is_causal=causal)[0]

    return call


def step(layer: nn.Module, call: Callable[[Tensor], Tensor], x: Tensor, training: bool) -> Call:
    """A forward, or a forward and a backward to the input and all parameters."""

    def infer() -> None:
        layer.eval()
        with torch.inference_mode():
            call(x)

    def train() -> None:
        layer.train()
        layer.zero_grad()
        call(x.detach().requires_grad_()).sum().backward()

    return train if training else infer


def partial_call(function: Callable, *inputs: object, **named: object) -> Call:
    return lambda: function(*inputs, **named)


if __name__ == "__main__":
    main()
