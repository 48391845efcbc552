"""Texts to batches: tokens, buckets of similar length, padding.

Shapes: B texts in a batch, T tokens.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tokenizers import BertWordPieceTokenizer, Tokenizer
from torch import Tensor

MARKS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def read_tokenizer(folder: Path, max_tokens: int | None = None) -> Tokenizer:
    """The folder's own; it cuts a text after `max_tokens`, or where it did when it was saved."""
    if (folder / "tokenizer.json").exists():
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    else:
        config = folder / "tokenizer_config.json"
        known = json.loads(config.read_text()) if config.exists() else {}
        tokenizer = BertWordPieceTokenizer(
            str(folder / "vocab.txt"), lowercase=known.get("do_lower_case", True)
        )._tokenizer
    if max_tokens is not None:
        tokenizer.enable_truncation(max_tokens)
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True  # a text that says "[MASK]" is read as it is written
    return tokenizer


def train_tokenizer(texts: Sequence[str], words: int, max_tokens: int) -> Tokenizer:
    """So many word pieces (Wu et al. 2016, section 4.1), learned from these texts; more where the
    letters alone are more.

    Each letter, at the start of a word and within one, is a piece from the beginning, in a fixed
    order: the trainer numbers new letters by chance, and breaks ties by their numbers.
    """
    trained = BertWordPieceTokenizer(lowercase=True)
    normal = trained._tokenizer.normalizer.normalize_str
    letters = sorted({letter for text in texts for letter in normal(text)} - {" "})
    trained.train_from_iterator(
        texts,
        vocab_size=words,
        show_progress=False,
        special_tokens=[*MARKS, *letters, *(f"##{letter}" for letter in letters)],
    )
    tokenizer = BertWordPieceTokenizer(trained.get_vocab(), lowercase=True)._tokenizer
    tokenizer.enable_truncation(max_tokens)
    tokenizer.encode_special_tokens = True
    return tokenizer


def encode(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of each text, [CLS] and [SEP] included."""
    return [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]


def share_cut(tokenizer: Tokenizer, texts: Sequence[str]) -> float:
    """How many of the texts, as a share, are longer than what the tokenizer reads of one."""
    found = tokenizer.encode_batch(list(texts))
    return float(np.mean([bool(encoding.overflowing) for encoding in found]))


def buckets(lengths: Sequence[int], batch_size: int, seed: tuple[int, int]) -> list[np.ndarray]:
    """Indices of each batch: texts of similar length together, in an order drawn from `seed`.

    Equally long texts meet by chance, and so do the batches: the same seed, the same batches.
    """
    chance = np.random.default_rng(seed)
    shuffled = chance.permutation(len(lengths))
    order = shuffled[np.argsort(np.asarray(lengths)[shuffled], kind="stable")]
    chunks = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
    return [chunks[i] for i in chance.permutation(len(chunks))]


def in_order_of_length(lengths: Sequence[int], batch_size: int) -> list[np.ndarray]:
    """Indices of each batch where nothing is learned: the shortest texts first."""
    order = np.argsort(lengths, kind="stable")
    return [order[i : i + batch_size] for i in range(0, len(order), batch_size)]


def collate(tokens: Sequence[Sequence[int]]) -> dict[str, Tensor]:
    """Pad to the longest text of the batch."""
    longest = max(len(ids) for ids in tokens)
    padded = np.zeros((len(tokens), longest), dtype=np.int64)
    mask = np.zeros_like(padded)
    for row, ids in enumerate(tokens):
        padded[row, : len(ids)] = ids
        mask[row, : len(ids)] = 1
    return {"tokens": torch.from_numpy(padded), "mask": torch.from_numpy(mask)}  # (B, T) each
