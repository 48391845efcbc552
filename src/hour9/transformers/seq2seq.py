"""An encoder that reads a text and a decoder that writes its translation (Vaswani et al. 2017).

Shapes: B texts, S tokens of a source, T tokens of a translation, C channels, V pieces.
"""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from hour9.engine.device import answering_device, prepare_threads
from hour9.engine.fit import Batch, fit
from hour9.engine.randomness import seed_all
from hour9.engine.run import Run
from hour9.engine.weights import load_model, save_model
from hour9.params import Refused
from hour9.transformers.attention import KeyValueCache
from hour9.transformers.batches import buckets
from hour9.transformers.beam import END, PAD, START, UNKNOWN, beam_search, greedy
from hour9.transformers.dropout import Dropout
from hour9.transformers.layers import DecoderCache, DecoderLayer, EncoderLayer, LayerShape
from hour9.transformers.positions import SinusoidalPositions
from hour9.transformers.settings import Seq2SeqSettings

MARKS = ("[PAD]", "[UNK]", "[START]", "[END]")  # PAD, UNKNOWN, START, END
WIDENING = 2  # features of the feed-forward network for each channel
SCORING_BATCH = 256


class Seq2Seq(nn.Module):
    """Encoder and decoder layers, pre-norm; one table of vectors for all words, in and out
    (Press & Wolf 2017). Sinusoidal positions say where a token stands, rotary ones which token
    stands next to it."""

    def __init__(self, words: int, settings: Seq2SeqSettings):
        super().__init__()
        C = settings.channels
        shape = LayerShape(C, settings.heads, WIDENING * C, dropout=settings.dropout, rotary=True)
        self.words = nn.Embedding(words, C)
        self.positions = SinusoidalPositions(C)
        self.dropout = Dropout(settings.dropout)
        self.encoder = nn.ModuleList(EncoderLayer(shape) for _ in range(settings.layers))
        self.decoder = nn.ModuleList(DecoderLayer(shape) for _ in range(settings.layers))
        self.read, self.written = nn.LayerNorm(C), nn.LayerNorm(C)
        nn.init.normal_(self.words.weight, std=C**-0.5)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:  # (B, S), (B, T) -> (B, T, V)
        """Of each next token, given those before it."""
        return self.decode(target, self.encode(source), source != PAD)

    def encode(self, source: Tensor) -> Tensor:  # (B, S) -> (B, S, C)
        x, mask = self.embed(source), (source != PAD)[:, None, None, :]
        for layer in self.encoder:
            x = layer(x, mask)
        return self.read(x)

    def decode(
        self,
        target: Tensor,
        memory: Tensor,
        mask: Tensor,
        caches: Sequence[DecoderCache] | None = None,
    ) -> Tensor:  # (B, T), (B, S, C), (B, S) -> (B, T, V)
        """With caches, `target` is what came since they were filled."""
        seen = mask[:, None, None, :]  # (B, 1, 1, S), where the source has a token
        x = self.embed(target, caches[0].own.length if caches else 0)
        for i, layer in enumerate(self.decoder):
            x = layer(x, memory, source_mask=seen, cache=caches[i] if caches else None)
        return F.linear(self.written(x), self.words.weight)

    def embed(self, tokens: Tensor, start: int = 0) -> Tensor:  # (B, T) -> (B, T, C)
        """√C w + PE (Vaswani et al. 2017, section 3.4), so that both count alike."""
        positions = torch.arange(start, start + tokens.shape[1], device=tokens.device)
        words = self.words(tokens) * math.sqrt(self.words.embedding_dim)
        return self.dropout(words + self.positions(positions))

    def caches(self, written: int, read: int) -> list[DecoderCache]:
        """Empty ones, for a translation and a source of so many tokens at most."""
        return [DecoderCache(KeyValueCache(written), KeyValueCache(read)) for _ in self.decoder]


def train_seq2seq(run: Run) -> None:
    """Train on the tables `sentences` and `cases`; write a model folder."""
    settings: Seq2SeqSettings = run.settings
    seed_all(settings.seed)
    prepare_threads(settings.threads)
    data = run.tables["cases"].merge(run.tables["sentences"], on="case", validate="1:1")
    is_train = (data["split"] == "train").to_numpy()
    tokenizer = learn_pieces([*data["text"][is_train], *data["target"][is_train]], settings.pieces)
    sources, targets = (encode(tokenizer, data[column]) for column in ("text", "target"))
    lengths = np.array([max(map(len, pair)) for pair in zip(sources, targets, strict=True)])
    train = np.flatnonzero(is_train & (lengths <= settings.max_tokens))
    held = np.flatnonzero((data["split"] == "validation") & (lengths <= settings.max_tokens))
    if left_out := int(is_train.sum()) - len(train):
        print(f"{left_out} pairs of more than {settings.max_tokens} tokens are left out")
    if empty := [s for s, rows in (("train", train), ("validation", held)) if not len(rows)]:
        raise Refused(
            f"no pair of at most {settings.max_tokens} tokens in {' or '.join(empty)}; raise "
            "max_tokens or set pieces"
        )
    model = Seq2Seq(tokenizer.get_vocab_size(), settings)

    def pairs(rows: np.ndarray) -> Batch:
        return {
            "source": pad([sources[i] for i in rows]),
            "target": pad([targets[i] for i in rows]),
        }

    def batches(epoch: int) -> list[Batch]:
        chosen = buckets(lengths[train].tolist(), settings.batch_size, (settings.seed, epoch))
        return [pairs(train[rows]) for rows in chosen]

    def loss(model: nn.Module, batch: Batch) -> Tensor:
        return cross_entropy(model, batch, settings.smoothing)

    def validate(model: nn.Module) -> float:
        return -mean_loss(model, [pairs(rows) for rows in chunks(lengths, held)])

    fit(run, model, batches, loss, validate)
    save_model(run.folder, model.state_dict(), {"settings": settings.model_dump()})
    tokenizer.save(str(run.folder / "tokenizer.json"))


def cross_entropy(model: nn.Module, batch: Batch, smoothing: float = 0.0) -> Tensor:
    """-log p(next token), the mean over all tokens but the padding."""
    target = batch["target"]
    logits = model(batch["source"], target[:, :-1])  # (B, T - 1, V)
    return F.cross_entropy(
        logits.flatten(0, 1), target[:, 1:].flatten(), ignore_index=PAD, label_smoothing=smoothing
    )


@torch.inference_mode()
def mean_loss(model: nn.Module, batches: Sequence[Batch]) -> float:
    """The mean over the tokens of all batches."""
    device = next(model.parameters()).device
    total, tokens = 0.0, 0
    for batch in batches:
        count = int((batch["target"][:, 1:] != PAD).sum())
        on_device = {name: tensor.to(device) for name, tensor in batch.items()}
        total += count * cross_entropy(model, on_device).item()
        tokens += count
    return total / tokens


# Texts to tokens and back


def learn_pieces(texts: Sequence[str], pieces: int) -> Tokenizer:
    """One vocabulary for both languages: the letters that occur or, where `pieces` says how many,
    word pieces of bytes (Sennrich et al. 2016). MARKS stand first, and in no text."""
    if pieces:
        tokenizer = Tokenizer(byte_pairs(texts, pieces))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
        tokenizer.decoder = decoders.ByteLevel()
    else:
        letters = sorted(set("".join(texts)))
        vocabulary = {piece: i for i, piece in enumerate([*MARKS, *letters])}
        tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=MARKS[UNKNOWN]))
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
        tokenizer.decoder = decoders.Fuse()
    return tokenizer


def byte_pairs(texts: Sequence[str], pieces: int) -> models.BPE:
    """Merges learned from the texts.

    The bytes are given as special tokens, so that they are numbered in a fixed order, by which
    ties are broken; only vocabulary and merges are kept, so that no text can spell a mark.
    """
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.ByteLevel()
    marks = [*MARKS, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    trainer = trainers.BpeTrainer(vocab_size=pieces, special_tokens=marks, show_progress=False)
    learner.train_from_iterator(texts, trainer)
    learned = json.loads(learner.to_str())["model"]
    return models.BPE(learned["vocab"], [tuple(pair) for pair in learned["merges"]])


def encode(tokenizer: Tokenizer, texts: Iterable[str]) -> list[list[int]]:
    """The tokens of each text, START and END around them."""
    return [[START, *found.ids, END] for found in tokenizer.encode_batch(list(texts))]


def pad(rows: Sequence[Sequence[int]]) -> Tensor:  # -> (B, T)
    """Rows of one length, filled with PAD."""
    return pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=PAD)


def chunks(lengths: np.ndarray, rows: np.ndarray) -> list[np.ndarray]:
    """The rows, those of similar length together."""
    order = rows[np.argsort(lengths[rows], kind="stable")]
    return [order[i : i + SCORING_BATCH] for i in range(0, len(order), SCORING_BATCH)]


@dataclass(frozen=True)
class Translator:
    """What a model folder holds."""

    model: Seq2Seq
    tokenizer: Tokenizer
    settings: Seq2SeqSettings

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        return encode(self.tokenizer, texts)

    def share_cut(self, texts: Sequence[str]) -> float:
        """How many of the texts, as a share, are longer than what the model reads of one."""
        longest = self.settings.max_tokens
        return float(np.mean([len(ids) > longest for ids in self.tokens(texts)]))

    def translate(self, texts: Sequence[str], beam: int | None = None) -> list[str]:
        """Each text's translation. What is longer than the model reads, is cut."""
        longest, beam = self.settings.max_tokens, beam or self.settings.beam
        rows = [ids[:-1][: longest - 1] + ids[-1:] for ids in self.tokens(texts)]
        lengths = np.array([len(ids) for ids in rows], dtype=int)
        found = [""] * len(rows)
        for chosen in chunks(lengths, np.arange(len(rows))):
            source = pad([rows[i] for i in chosen]).to(self.model.words.weight.device)
            written = (
                greedy(self.model, source, longest)
                if beam == 1
                else beam_search(self.model, source, longest, beam)
            )
            for i, ids in zip(chosen, written.tolist(), strict=True):
                found[i] = self.tokenizer.decode([token for token in ids if token > END]).strip()
        return found


def load_translator(folder: Path) -> Translator:
    """What `train_seq2seq` wrote, on the device that its settings allow here."""
    weights, config = load_model(folder)
    settings = Seq2SeqSettings(**config["settings"])
    prepare_threads(settings.threads)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    model = Seq2Seq(tokenizer.get_vocab_size(), settings)
    model.load_state_dict(weights)
    model.to(answering_device(settings.device)).eval()
    return Translator(model, tokenizer, settings)
