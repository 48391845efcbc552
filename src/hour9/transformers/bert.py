"""A pre-trained BERT, fine-tuned to classify texts (Devlin et al. 2019).

Shapes: B texts in a batch, T tokens, C channels, K classes.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tokenizers import BertWordPieceTokenizer, Tokenizer
from torch import Tensor, nn

from hour9.engine.device import pick_device, prepare_threads
from hour9.engine.fit import Batch, fit
from hour9.engine.randomness import seed_all
from hour9.engine.run import Run
from hour9.engine.weights import load_model, save_model
from hour9.transformers.settings import BertSettings

SCORING_BATCH = 32


class BertClassifier(nn.Module):
    """BERT, the mean over a text's tokens (Reimers & Gurevych 2019, section 3), one linear map.

    The table of word embeddings, half of a small BERT, stays as it was pre-trained.
    """

    def __init__(self, config: dict[str, Any], classes: int):
        from transformers import BertConfig, BertModel

        super().__init__()
        shape = BertConfig.from_dict(config)
        self.bert = BertModel(shape, add_pooling_layer=False)
        self.bert.embeddings.word_embeddings.weight.requires_grad_(False)
        self.dropout = nn.Dropout(shape.hidden_dropout_prob)
        self.head = nn.Linear(shape.hidden_size, classes)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:  # (B, T), (B, T) -> (B, K)
        hidden = self.bert(tokens, attention_mask=mask).last_hidden_state  # (B, T, C)
        kept = mask[:, :, None].to(hidden.dtype)  # (B, T, 1), 0 on padding
        mean = (hidden * kept).sum(dim=1) / kept.sum(dim=1)  # (B, C)
        return self.head(self.dropout(mean))


@dataclass(frozen=True)
class Classifier:
    """All that it takes to classify texts: what a model folder holds."""

    model: BertClassifier
    tokenizer: Tokenizer
    labels: tuple[str, ...]

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:  # -> (N, K)
        """A row for each text."""
        return predict(self.model, encode(self.tokenizer, texts))


def fine_tune(run: Run, labels: Sequence[str]) -> None:
    """Train on the tables `sentences` and `cases`; write a model folder that needs nothing else."""
    settings: BertSettings = run.settings
    seed_all(settings.seed)
    prepare_threads(settings.threads)
    tokenizer = read_tokenizer(run.parent, settings.max_tokens)
    bert = json.loads((run.parent / "config.json").read_text())
    model = BertClassifier(bert, len(labels))
    put_pretrained(model.bert, run.parent)
    data = run.tables["cases"].merge(run.tables["sentences"], on="case", validate="1:1")
    tokens = encode(tokenizer, data["text"].tolist())
    targets = data["target"].map({label: k for k, label in enumerate(labels)}).to_numpy()
    train, held = (np.flatnonzero(data["split"] == split) for split in ("train", "validation"))

    def batches(epoch: int) -> list[Batch]:
        chosen = buckets(
            [len(tokens[i]) for i in train], settings.batch_size, (settings.seed, epoch)
        )
        return [collate([tokens[i] for i in train[b]], targets[train[b]]) for b in chosen]

    def validate(_: nn.Module) -> float:
        found = predict(model, [tokens[i] for i in held]).argmax(axis=1)
        return float((found == targets[held]).mean())

    fit(run, model, batches, cross_entropy, validate, parameter_groups(model, settings))
    config = {"settings": settings.model_dump(), "labels": list(labels), "bert": bert}
    save_model(run.folder, model.state_dict(), config)
    tokenizer.save(str(run.folder / "tokenizer.json"))


def load_classifier(folder: Path) -> Classifier:
    """What `fine_tune` wrote, on the device that its settings allow here."""
    weights, config = load_model(folder)
    settings = BertSettings(**config["settings"])
    prepare_threads(settings.threads)
    model = BertClassifier(config["bert"], len(config["labels"]))
    model.load_state_dict(weights)
    model.to(pick_device("cpu" if settings.device == "cpu" else "auto")).eval()
    tokenizer = read_tokenizer(folder, settings.max_tokens)
    return Classifier(model, tokenizer, tuple(config["labels"]))


def cross_entropy(model: nn.Module, batch: Batch) -> Tensor:
    """-log p(label), the mean over the batch."""
    return F.cross_entropy(model(batch["tokens"], batch["mask"]), batch["labels"])


@torch.inference_mode()
def predict(model: BertClassifier, tokens: Sequence[Sequence[int]]) -> np.ndarray:  # -> (N, K)
    """Class probabilities of each text, computed in batches of similar length."""
    model.eval()
    device = next(model.parameters()).device
    order = np.argsort([len(ids) for ids in tokens], kind="stable")
    rows = [np.zeros((0, model.head.out_features), dtype=np.float32)]
    for start in range(0, len(order), SCORING_BATCH):
        batch = collate([tokens[i] for i in order[start : start + SCORING_BATCH]])
        logits = model(batch["tokens"].to(device), batch["mask"].to(device))  # (B, K)
        rows.append(logits.float().softmax(dim=1).cpu().numpy())
    sorted_rows = np.concatenate(rows)
    result = np.empty_like(sorted_rows)
    result[order] = sorted_rows
    return result


# Texts to batches


def read_tokenizer(folder: Path, max_tokens: int) -> Tokenizer:
    """The folder's own tokenizer; it cuts a text after `max_tokens`."""
    if (folder / "tokenizer.json").exists():
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    else:
        config = folder / "tokenizer_config.json"
        known = json.loads(config.read_text()) if config.exists() else {}
        tokenizer = BertWordPieceTokenizer(
            str(folder / "vocab.txt"), lowercase=known.get("do_lower_case", True)
        )._tokenizer
    tokenizer.enable_truncation(max_tokens)
    tokenizer.no_padding()
    return tokenizer


def encode(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of each text, [CLS] and [SEP] included."""
    return [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]


def buckets(lengths: Sequence[int], batch_size: int, seed: tuple[int, int]) -> list[np.ndarray]:
    """Indices of each batch: texts of similar length together, in an order drawn from `seed`.

    Equally long texts meet by chance, and so do the batches: the same seed, the same batches.
    """
    chance = np.random.default_rng(seed)
    shuffled = chance.permutation(len(lengths))
    order = shuffled[np.argsort(np.asarray(lengths)[shuffled], kind="stable")]
    chunks = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
    return [chunks[i] for i in chance.permutation(len(chunks))]


def collate(tokens: Sequence[Sequence[int]], labels: np.ndarray | None = None) -> dict[str, Tensor]:
    """Pad to the longest text of the batch."""
    longest = max(len(ids) for ids in tokens)
    padded = np.zeros((len(tokens), longest), dtype=np.int64)
    mask = np.zeros_like(padded)
    for row, ids in enumerate(tokens):
        padded[row, : len(ids)] = ids
        mask[row, : len(ids)] = 1
    batch = {"tokens": torch.from_numpy(padded), "mask": torch.from_numpy(mask)}  # (B, T) each
    return batch if labels is None else batch | {"labels": torch.from_numpy(labels.copy())}


# Pre-trained weights and how fast each layer leaves them


def put_pretrained(bert: nn.Module, folder: Path) -> None:
    """Load published weights, under the names that BERT had over the years."""
    wanted = bert.state_dict().keys()
    found = {
        modern(name): tensor for name, tensor in load_file(folder / "model.safetensors").items()
    }
    if missing := sorted(wanted - found.keys()):
        raise ValueError(
            f"{folder}/model.safetensors is no BERT: it lacks {len(missing)} tensors, e.g. "
            f"{missing[0]}; set the candidate's parent to weights of a BERT"
        )
    bert.load_state_dict({name: found[name] for name in wanted})


def modern(name: str) -> str:
    """'bert.….LayerNorm.gamma' -> '….LayerNorm.weight'."""
    name = name.removeprefix("bert.")
    return name.replace("LayerNorm.gamma", "LayerNorm.weight").replace(
        "LayerNorm.beta", "LayerNorm.bias"
    )


def parameter_groups(model: BertClassifier, settings: BertSettings) -> list[dict[str, Any]]:
    """Discriminative fine-tuning (Howard & Ruder 2018, section 3.2): η_{l-1} = d η_l.

    The head has the full step size η, the top layer d η, and so on down to the embeddings.
    Biases and the gains of normalisations are not decayed.
    """
    layers = len(model.bert.encoder.layer)
    groups: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            key = (depth(name, layers), parameter.dim() > 1)
            groups.setdefault(key, []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": settings.learning_rate * settings.layer_decay**below,
            "weight_decay": settings.weight_decay if decayed else 0.0,
        }
        for (below, decayed), parameters in groups.items()
    ]


def depth(name: str, layers: int) -> int:
    """How many layers a parameter lies below the head."""
    if name.startswith("bert.encoder.layer."):
        return layers - int(name.split(".")[3])
    return layers + 1 if name.startswith("bert.embeddings.") else 0
