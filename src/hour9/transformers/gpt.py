"""A GPT that learns to continue texts (Radford et al. 2019), from nothing or from older weights.

Shapes: B rows, T tokens, V words.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn

from hour9.engine.device import answering_device, prepare_threads
from hour9.engine.fit import Batch, fit
from hour9.engine.randomness import seed_all
from hour9.engine.run import Run
from hour9.engine.weights import load_model, save_model
from hour9.params import Refused
from hour9.transformers import load_weights
from hour9.transformers.layers import LayerShape, Transformer, TransformerShape
from hour9.transformers.settings import GptSettings, NewGptSettings

END = "<|endoftext|>"  # GPT-2's mark between two texts
SCORED_AT_ONCE = 32  # rows
CURE = "set the candidate's parent to weights of a GPT, or its architecture to new-gpt"

Tokens = NDArray[np.int64]


@dataclass(frozen=True)
class Gpt:
    """All that it takes to judge and to continue texts: what a model folder holds."""

    model: Transformer
    tokenizer: Tokenizer

    @property
    def end(self) -> int:
        """The token that stands between texts."""
        token = self.tokenizer.token_to_id(END)
        assert token is not None  # `read_gpt` refuses a tokenizer without it
        return token

    def encode(self, text: str) -> list[int]:
        """The text as the model reads it, after the end of another one."""
        return [self.end, *self.tokenizer.encode(text).ids]

    def prompt(self, text: str) -> list[int]:
        """What is read before writing on: the text or, of one that leaves no room, its end, half as
        long as the context."""
        tokens, context = self.encode(text), self.model.shape.context
        return tokens if len(tokens) < context else tokens[-(context // 2) :]

    def bits_per_byte(self, texts: Sequence[str]) -> NDArray[np.float64]:  # -> (N,)
        """-log2 P(text) / bytes: whatever the tokens are, and so comparable between models.

        Raises ValueError for a text without a byte.
        """
        if empty := [row for row, text in enumerate(texts) if not text]:
            raise ValueError(f"an empty text has no bits per byte; got one in row {empty[0]}")
        nats = negative_log_likelihoods(self.model, [self.encode(text) for text in texts])
        return nats / np.log(2) / [len(text.encode()) for text in texts]


def train_gpt(run: Run, documents: Sequence[str], held_out: Sequence[str]) -> None:
    """Go on from the parent's weights, or begin anew where it has none; write a model folder.

    The epoch is the one that describes the held-out texts in the fewest bits.
    """
    settings: GptSettings | NewGptSettings = run.settings
    seed_all(settings.seed)
    prepare_threads(settings.threads)
    if isinstance(settings, NewGptSettings):
        gpt = new_gpt(settings, all_training_texts(run))
    else:
        gpt = read_gpt(run.parent, settings.dropout)
    model, width = gpt.model, settings.context + 1
    if settings.context > model.shape.context:
        raise Refused(
            f"context is {settings.context}, but the model in {run.parent} reads "
            f"{model.shape.context} tokens; set it to at most that"
        )
    stream = np.array([token for text in documents for token in gpt.encode(text)])

    def batches(epoch: int) -> list[Batch]:
        rows = cut(stream, width, (settings.seed, epoch))
        return [
            {"tokens": torch.from_numpy(rows[i : i + settings.batch_size])}
            for i in range(0, len(rows), settings.batch_size)
        ]

    def loss(wrapped: nn.Module, batch: Batch) -> Tensor:
        """-log P of each token given those before it, the mean over all."""
        tokens = batch["tokens"]  # (B, T + 1)
        logits = model.logits(wrapped(tokens[:, :-1]))  # (B, T, V)
        return F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())

    def validate(_: nn.Module) -> float:
        sizes = [len(text.encode()) for text in held_out]
        return -float(np.average(gpt.bits_per_byte(held_out), weights=sizes))

    fit(run, model, batches, loss, validate)
    config = {"settings": settings.model_dump(), "shape": asdict(model.shape)}
    save_model(run.folder, model.state_dict(), config)
    gpt.tokenizer.save(str(run.folder / "tokenizer.json"))


def cut(stream: Tokens, width: int, seed: tuple[int, int]) -> Tokens:  # (N,) -> (rows, width)
    """The stream in rows that share one token with the next, from a start and in an order drawn
    from `seed`: every epoch cuts elsewhere. A stream shorter than two rows is repeated."""
    chance = np.random.default_rng(seed)
    if len(stream) < 2 * width:
        stream = np.tile(stream, -(-2 * width // len(stream)))
    start = chance.integers(width - 1)
    rows = np.lib.stride_tricks.sliding_window_view(stream[start:], width)[:: width - 1]
    return rows[chance.permutation(len(rows))]


@torch.inference_mode()
def negative_log_likelihoods(
    model: Transformer, texts: Sequence[Sequence[int]]
) -> NDArray[np.float64]:  # -> (N,)
    """-log P of each text given its first token, in nats.

    A text longer than the model reads is judged in windows: each goes on where the one before
    ended, and looks back over half of what it can read.
    """
    model.eval()
    context = model.shape.context
    windows = [(i, *w) for i, text in enumerate(texts) for w in windows_of(len(text), context)]
    windows.sort(key=lambda window: window[3] - window[1])
    result = np.zeros(len(texts))
    for at in range(0, len(windows), SCORED_AT_ONCE):
        chunk = windows[at : at + SCORED_AT_ONCE]
        rows = [torch.tensor(texts[i][start:stop]) for i, start, _, stop in chunk]
        tokens = nn.utils.rnn.pad_sequence(rows, batch_first=True).to(model.words.weight.device)
        logits = model.logits(model(tokens[:, :-1])).float()  # (B, T, V)
        nats = F.cross_entropy(logits.mT, tokens[:, 1:], reduction="none").double().cpu()  # (B, T)
        for row, (i, start, fresh, stop) in zip(nats, chunk, strict=True):
            result[i] += row[fresh - start - 1 : stop - start - 1].sum().item()
    return result


def windows_of(length: int, context: int) -> list[tuple[int, int, int]]:
    """(start, fresh, stop) of each window: it reads from `start` and is judged from `fresh` on."""
    windows, fresh = [], 1
    while fresh < length:
        start = max(0, fresh - 1 - context // 2) if fresh > 1 else 0
        stop = min(length, start + context + 1)
        windows.append((start, fresh, stop))
        fresh = stop
    return windows


# A model from nothing


def new_gpt(settings: NewGptSettings, texts: Sequence[str]) -> Gpt:
    """First weights by chance, and a tokenizer of the texts."""
    tokenizer = learn_tokenizer(texts, settings.vocabulary)
    layer = LayerShape(
        channels=settings.channels,
        heads=settings.heads,
        hidden=4 * settings.channels,
        activation="gelu_tanh",
        dropout=settings.dropout,
        rotary=settings.positions == "rotary",
    )
    shape = TransformerShape(
        words=tokenizer.get_vocab_size(),
        context=settings.context,
        layers=settings.layers,
        layer=layer,
        causal=True,
        positions=settings.positions,
    )
    return Gpt(Transformer(shape), tokenizer)


def learn_tokenizer(texts: Sequence[str], words: int) -> Tokenizer:
    """Byte pairs merged by frequency (Sennrich et al. 2016): any text can be written in them."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=words,
        special_tokens=[END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.encode_special_tokens = True  # a text that spells END does not end there
    return tokenizer


def all_training_texts(run: Run) -> list[str]:
    """Of the reference and of the passages: what every model's tokenizer learns from."""
    reference, cases = run.tables["reference"], run.tables["cases"]
    return [
        *reference.loc[reference["split"] == "train", "text"],
        *cases.loc[cases["split"] == "train", "target"],
    ]


# A model from a folder


def load_gpt(folder: Path) -> Gpt:
    """What `train_gpt` wrote, on the device that its settings allow here."""
    _, config = load_model(folder)
    prepare_threads(config["settings"]["threads"])
    gpt = read_gpt(folder, dropout=0.0)
    gpt.model.to(answering_device(config["settings"]["device"])).eval()
    return gpt


def read_gpt(folder: Path, dropout: float) -> Gpt:
    """A model folder of ours, or of Hugging Face's GPT2LMHeadModel."""
    lacks = [n for n in ("config.json", "model.safetensors", "tokenizer.json")
             if not (folder / n).exists()]  # fmt: skip
    if lacks:
        raise Refused(f"{folder} holds no GPT: it lacks {', '.join(lacks)}; {CURE}")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    if tokenizer.token_to_id(END) is None:
        raise Refused(f"the tokenizer in {folder} lacks {END}, which stands between two texts")
    tokenizer.no_truncation()  # a file may ask for both
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    try:
        model = read_model(folder, dropout)
    except (KeyError, ValueError) as error:
        raise Refused(f"{folder} holds no GPT: {error}; {CURE}") from None
    largest, words = max(tokenizer.get_vocab().values()), model.shape.words
    if largest >= words:
        raise Refused(
            f"the tokenizer in {folder} has tokens up to {largest}, but the model knows those "
            f"below {words}; take both from the same model"
        )
    return Gpt(model, tokenizer)


def read_model(folder: Path, dropout: float) -> Transformer:
    config = json.loads((folder / "config.json").read_text())
    weights = load_file(folder / "model.safetensors")
    if "shape" not in config:  # Hugging Face's
        dropouts = {"resid_pdrop": dropout, "attn_pdrop": 0.0}
        return load_weights.gpt2(config | dropouts, weights).float()
    layer = LayerShape(**config["shape"]["layer"] | {"dropout": dropout})
    model = Transformer(TransformerShape(**config["shape"] | {"layer": layer}))
    model.load_state_dict(weights)
    return model
