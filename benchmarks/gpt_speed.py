"""How fast a small GPT trains and writes, beside Hugging Face's of the same shape: one thread.

    python benchmarks/gpt_speed.py
    python benchmarks/gpt_speed.py --only writing --rounds 10
    python benchmarks/gpt_speed.py --short          # seconds: shows that it runs, measures nothing

Both start from the same weights. A training step is a forward, a backward and an update with fused
AdamW. Both read the same tokens, 128 of a text at once as `textgen` does: without dropout, where
the losses must agree, and with GPT-2's own, a tenth of the words' features, of what each layer adds
and of the attention; each in bf16 too, where the processor multiplies such numbers itself. Writing
is greedy, one text, with a cache; the tokens must be the same. Times are CPU milliseconds, medians
of the rounds. The products alone, in fp32, printed and not recorded, bound what training can gain:
no step does without.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # read by torch and its libraries when they are loaded
os.environ["OPENBLAS_NUM_THREADS"] = "1"  # by NumPy

import argparse
import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import GPT2Config, GPT2LMHeadModel

from hour9.transformers.generate import Sampling, generate
from hour9.transformers.layers import Transformer
from hour9.transformers.load_weights import gpt2
from record import Call, Pair, measure, multiplies_bf16, record

WORDS, LAYERS, HEADS, CONTEXT = 1024, 4, 4, 256
WIDTHS = (128, 256)
DROPOUT = 0.1  # GPT-2's
BATCH, LENGTH = 8, 128  # of a training step
PROMPT = [5, 7, 11, 13, 17, 19, 23, 29]


def main() -> None:
    """Measure the pairs, print a line each, and record them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", help="pairs whose name contains this")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--short", action="store_true", help="once, few tokens, nothing recorded")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    tokens, batch = (10, 1) if asked.short else (200, BATCH)
    training = training_pairs(batch)
    pairs = [*training, *writing_pairs(tokens)]
    chosen = [pair for pair in pairs if asked.only in pair.name]
    if not chosen:
        parser.error(f"no pair '{asked.only}'; there are {', '.join(p.name for p in pairs)}")
    rounds = 1 if asked.short else asked.rounds
    rows = [measure(pair, rounds) for pair in chosen]
    for bound in product_pairs(training, batch):
        if asked.only in bound.name:
            measure(bound, rounds)
    if not asked.short:
        record(rows)


def models(width: int, dropout: float = 0.0) -> tuple[Transformer, GPT2LMHeadModel]:
    """Ours and theirs, with the same weights: large enough that the text does not just repeat."""
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=WORDS,
        n_embd=width,
        n_layer=LAYERS,
        n_head=HEADS,
        n_positions=CONTEXT,
        resid_pdrop=dropout,
        embd_pdrop=dropout,
        attn_pdrop=dropout,
        bos_token_id=0,
        eos_token_id=0,
    )
    theirs = GPT2LMHeadModel(config)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    return gpt2(config.to_dict(), theirs.state_dict()), theirs


def training_pairs(batch: int) -> list[Pair]:
    """A training step of ours, and of Hugging Face's model with its own loss."""
    pairs = []
    for width, dropout in itertools.product(WIDTHS, (0.0, DROPOUT)):
        tokens = torch.randint(WORDS, (batch, LENGTH + 1))
        check_equal(*models(width, dropout), tokens)
        name = f"GPT training, width {width}" + (f", dropout {dropout}" if dropout else "")
        for bf16 in (False, True) if multiplies_bf16() else (False,):
            ours, theirs = models(width, dropout)
            steps = step(ours, our_loss, tokens, bf16), step(theirs, their_loss, tokens, bf16)
            ending = ", bf16" if bf16 else ""
            pairs.append(Pair(name + ending, *steps, "GPT2LMHeadModel" + ending))
    return pairs


def our_loss(model: Transformer, tokens: Tensor) -> Tensor:  # (B, T + 1) -> ()
    logits = model.logits(model(tokens[:, :-1]))
    return F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())


def their_loss(model: GPT2LMHeadModel, tokens: Tensor) -> Tensor:  # (B, T + 1) -> ()
    """What follows the last token that it reads, it cannot be told."""
    read = tokens[:, :-1]
    return model(read, labels=read, use_cache=False).loss


def check_equal(ours: Transformer, theirs: GPT2LMHeadModel, tokens: Tensor) -> None:
    """Without dropout, both have the same loss."""
    losses = our_loss(ours.eval(), tokens[:, :-1]), their_loss(theirs.eval(), tokens)
    torch.testing.assert_close(*losses, rtol=1e-4, atol=1e-4)


def product_pairs(training: Sequence[Pair], batch: int) -> list[Pair]:
    """Instead of our step without dropout, only its products: the ratio is the most it can be."""
    steps = [pair for pair in training if pair.name in {f"GPT training, width {w}" for w in WIDTHS}]
    return [
        replace(pair, name=f"{pair.name}, products", ours=products(models(width)[0], batch))
        for pair, width in zip(steps, WIDTHS, strict=True)
    ]


def products(model: Transformer, batch: int) -> Call:
    """Each linear map's three products, one forward and two backward, and the fused attention."""
    rows, heads = batch * LENGTH, model.shape.layer.heads
    maps = [module.weight for module in model.layers.modules() if isinstance(module, nn.Linear)]
    attention = partial(F.scaled_dot_product_attention, is_causal=True)
    qkv = torch.randn(3, batch, heads, LENGTH, model.shape.layer.channels // heads)
    work: list[tuple[Callable[..., Tensor], Sequence[Tensor]]] = [
        *((F.linear, (torch.randn(rows, w.shape[1]), w)) for w in (*maps, model.words.weight)),
        *((attention, qkv.unbind()) for _ in model.layers),
    ]
    for _, inputs in work:
        for tensor in inputs:
            tensor.requires_grad_()
    gradients = [torch.randn_like(f(*inputs)) for f, inputs in work]

    def call() -> None:
        for (f, inputs), gradient in zip(work, gradients, strict=True):
            torch.autograd.grad(f(*inputs), inputs, gradient)

    return call


def step(model: nn.Module, loss: Callable[..., Tensor], tokens: Tensor, bf16: bool) -> Call:
    """One update; with `bf16`, products in that format and weights in fp32, as both train."""
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def call() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            lost = loss(model, tokens)
        lost.backward()
        optimizer.step()
        optimizer.zero_grad()

    return call


def writing_pairs(tokens: int) -> list[Pair]:
    """Our `generate` against Hugging Face's, both with a cache."""
    pairs = []
    for width in WIDTHS:
        ours, theirs = models(width)
        ours.eval(), theirs.eval()
        prompt = torch.tensor([PROMPT])

        def write(ours: Transformer = ours) -> list[int]:
            return generate(ours, [PROMPT], [Sampling(tokens=tokens)])[0]

        @torch.inference_mode()
        def they_write(theirs: GPT2LMHeadModel = theirs, prompt: Tensor = prompt) -> list[int]:
            text = theirs.generate(
                prompt,
                attention_mask=torch.ones_like(prompt),
                max_new_tokens=tokens,
                min_new_tokens=tokens,
                do_sample=False,
                pad_token_id=0,
            )
            return text[0, len(PROMPT) :].tolist()

        assert write() == they_write()
        pairs.append(
            Pair(f"GPT writing, width {width}", write, they_write, "transformers generate")
        )
    return pairs


if __name__ == "__main__":
    main()
