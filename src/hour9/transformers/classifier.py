"""Texts to labels: an encoder with a linear map on top, how it is trained, and what it answers.

Shapes: B texts in a batch, N texts in all, T tokens, C channels, K classes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from tokenizers import Tokenizer
from torch import Tensor, nn

from hour9.engine.device import answering_device, prepare_threads
from hour9.engine.fit import Batch, Loss, fit
from hour9.engine.run import Run
from hour9.engine.weights import load_model, save_model
from hour9.params import Refused
from hour9.task import Tables
from hour9.transformers.batches import buckets, collate, encode, in_order_of_length, read_tokenizer
from hour9.transformers.dropout import Dropout
from hour9.transformers.layers import LayerShape, Transformer, TransformerShape, keys

SCORING_BATCH = 32


class Classifier(Protocol):
    """What every trained classifier can do, however it computes."""

    @property
    def labels(self) -> tuple[str, ...]: ...

    @property
    def tokenizer(self) -> Tokenizer: ...

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:  # -> (N, K)
        """A row for each text."""


def load_classifier(folder: Path) -> Classifier:
    """What a training wrote, ready to answer."""
    config = json.loads((folder / "config.json").read_text())
    prepare_threads(config["settings"]["threads"])
    if config["settings"]["architecture"] == "int8":
        from hour9.transformers.int8 import Int8Classifier

        return Int8Classifier(folder)
    return EncoderClassifier.load(folder)


class EncoderHead(nn.Module):
    """An encoder, what its last layer says of the text as a whole, a linear map."""

    def __init__(self, encoder: Transformer, classes: int):
        super().__init__()
        self.encoder = encoder
        self.dropout = Dropout(encoder.shape.layer.dropout)
        self.head = nn.Linear(encoder.shape.layer.channels, classes)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:  # (B, T), (B, T) -> (B, K)
        return self.classify(self.encoder.embed(tokens), mask)

    def classify(self, x: Tensor, mask: Tensor) -> Tensor:  # (B, T, C), (B, T) -> (B, K)
        """The same, of words that the encoder's `embed` has made vectors of."""
        return self.answer(self.encoder.below(x, mask), mask)

    def answer(self, x: Tensor, mask: Tensor) -> Tensor:  # (B, T, C), (B, T) -> (B, K)
        """The same, of what the last layer has below it."""
        return self.head(self.dropout(self.encoder.summary(x, mask)))

    def answer_and_states(
        self, tokens: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor]:  # (B, T), (B, T) -> (B, K), (B, T, C)
        """Beside the answer, what the last layer says of each token: a lesson for a student."""
        encoder = self.encoder
        x = encoder.below(encoder.embed(tokens), mask)
        return self.answer(x, mask), encoder.finish(encoder.layers[-1](x, keys(mask)))


@dataclass(frozen=True)
class EncoderClassifier:
    """All that it takes to classify texts: what a model folder holds."""

    model: EncoderHead
    tokenizer: Tokenizer
    labels: tuple[str, ...]

    @classmethod
    def load(cls, folder: Path) -> EncoderClassifier:
        """What `save` wrote, on the device that its settings allow here."""
        weights, config = load_model(folder)
        layer = LayerShape(**config["shape"]["layer"])
        shape = TransformerShape(**{**config["shape"], "layer": layer})
        model = EncoderHead(Transformer(shape), len(config["labels"]))
        model.load_state_dict(weights)
        model.to(answering_device(config["settings"]["device"])).eval()
        return cls(model, read_tokenizer(folder), tuple(config["labels"]))

    @classmethod
    def parent(cls, folder: Path) -> EncoderClassifier:
        """One that a candidate starts from. Raises Refused where the folder holds no such thing."""
        try:
            return cls.load(folder)
        except (KeyError, OSError, SafetensorError):
            raise Refused(
                f"{folder} holds no classifier with an encoder; set the candidate's parent to "
                "models/sentiment/<a bert, an encoder or a student>"
            ) from None

    def save(self, folder: Path, settings: dict[str, Any]) -> None:
        """A folder that needs nothing else."""
        shape = asdict(self.model.encoder.shape)
        config = {"settings": settings, "labels": list(self.labels), "shape": shape}
        save_model(folder, self.model.state_dict(), config)
        self.tokenizer.save(str(folder / "tokenizer.json"))

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:  # -> (N, K)
        """A row for each text."""
        return self.predict(encode(self.tokenizer, texts))

    @torch.inference_mode()
    def predict(self, tokens: Sequence[Sequence[int]]) -> np.ndarray:  # -> (N, K)
        """Class probabilities of each text, computed in batches of similar length."""
        self.model.eval()
        device = self.model.head.weight.device
        result = np.zeros((len(tokens), len(self.labels)), dtype=np.float32)
        for rows in in_order_of_length([len(ids) for ids in tokens], SCORING_BATCH):
            batch = collate([tokens[i] for i in rows])
            logits = self.model(batch["tokens"].to(device), batch["mask"].to(device))  # (B, K)
            result[rows] = logits.float().softmax(dim=1).cpu().numpy()
        return result


@dataclass(frozen=True)
class Examples:
    """Labelled texts of one split, as tokens."""

    tokens: list[list[int]]
    targets: np.ndarray  # (N,)

    @classmethod
    def of(cls, tables: Tables, split: str, classifier: EncoderClassifier) -> Examples:
        """From the tables `sentences` and `cases`."""
        cases = tables["cases"][tables["cases"]["split"] == split]
        data = cases.merge(tables["sentences"], on="case", validate="1:1")
        numbers = pd.Index(classifier.labels).get_indexer(data["target"])
        return cls(encode(classifier.tokenizer, data["text"].tolist()), numbers)

    def batches(self, size: int, seed: tuple[int, int]) -> list[Batch]:
        """Buckets of similar length; `rows` says which examples stand in a batch."""
        chosen = buckets([len(ids) for ids in self.tokens], size, seed)
        return [
            collate([self.tokens[i] for i in rows])
            | {"labels": torch.from_numpy(self.targets[rows]), "rows": torch.from_numpy(rows)}
            for rows in chosen
        ]


def cross_entropy(model: nn.Module, batch: Batch) -> Tensor:
    """-log p(label), the mean over the batch."""
    return F.cross_entropy(model(batch["tokens"], batch["mask"]), batch["labels"])


def train_classifier(
    run: Run,
    classifier: EncoderClassifier,
    loss: Loss = cross_entropy,
    groups: list[dict[str, Any]] | None = None,
    train: Examples | None = None,
) -> None:
    """Train it on `train`, choose the epoch on `validation`, and write its folder."""
    settings = run.settings
    learned = train or Examples.of(run.tables, "train", classifier)
    held = Examples.of(run.tables, "validation", classifier)

    def batches(epoch: int) -> list[Batch]:
        return learned.batches(settings.batch_size, (settings.seed, epoch))

    def validate(_: nn.Module) -> float:
        return float((classifier.predict(held.tokens).argmax(axis=1) == held.targets).mean())

    fit(run, classifier.model, batches, loss, validate, groups)
    classifier.save(run.folder, settings.model_dump())
