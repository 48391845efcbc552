"""A BERT that is small enough to train in a test: random weights, and a vocabulary of the films."""

import json
from pathlib import Path

import pytest
import torch

from hour9.engine.checkpoint import Checkpoint
from hour9.engine.run import Run
from hour9.engine.settings import Source
from hour9.task import without_test
from hour9.transformers import sentiment
from hour9.transformers.settings import BertSettings

SHAPE = {
    "model_type": "bert",
    "vocab_size": 1000,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 64,
}


@pytest.fixture(scope="session")
def tables():
    """A hundred reviews."""
    return sentiment.ingest(Source(root="src/hour9/transformers/reviews.py", size=100))


@pytest.fixture(scope="session")
def tiny_bert(tables, tmp_path_factory) -> Path:
    """A folder of pre-trained weights, as `weights` brings them."""
    from safetensors.torch import save_file
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("tiny")
    torch.manual_seed(0)
    save_file(BertModel(BertConfig.from_dict(SHAPE)).state_dict(), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(SHAPE))
    words = {word for text in tables["sentences"]["text"].str.lower() for word in text.split()}
    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *",.;:"]
    vocabulary = [*marks, *sorted({word.strip(",.;:") for word in words})]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    return folder


@pytest.fixture(scope="session")
def settings() -> BertSettings:
    """Two short epochs."""
    return BertSettings(
        task="sentiment",
        topic="transformers",
        parent="tiny",
        device="cpu",
        epochs=2,
        batch_size=8,
        learning_rate=1e-3,
        max_tokens=32,
        layer_decay=0.8,
    )


@pytest.fixture(scope="session")
def make_run(tables, tiny_bert, settings):
    """A run in a folder of its own, whose checkpoint is due after every batch."""

    def make(folder: Path) -> Run:
        checkpoint = Checkpoint(folder / "checkpoint", seconds=0)
        return Run(settings, without_test(tables), tiny_bert, folder / "model", checkpoint)

    return make


@pytest.fixture(scope="session")
def model_folder(make_run, tmp_path_factory) -> Path:
    """A trained model."""
    run = make_run(tmp_path_factory.mktemp("trained"))
    sentiment.train(run)
    return run.folder
