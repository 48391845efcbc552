"""A pre-trained BERT, fine-tuned to classify texts (Devlin et al. 2019).

The encoder is the project's own (layers.py); load_weights.py brings the published weights in.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from tokenizers import Regex, Tokenizer, normalizers
from torch import nn

from hour9.engine.device import prepare_threads
from hour9.engine.randomness import seed_all
from hour9.engine.run import Run
from hour9.params import Refused
from hour9.transformers.adversarial import adversarial
from hour9.transformers.attention import MultiHeadAttention
from hour9.transformers.batches import read_tokenizer
from hour9.transformers.classifier import (
    EncoderClassifier,
    EncoderHead,
    cross_entropy,
    train_classifier,
)
from hour9.transformers.dropout import Dropout
from hour9.transformers.layers import Transformer
from hour9.transformers.load_weights import bert
from hour9.transformers.settings import BertSettings

# As BERT was trained. On a CPU it costs the fused kernel and 7 % of the speed; without it, a
# point and a half of accuracy on SST-2 (docs/sentiment.md).
ATTENTION_DROPOUT = 0.1

TREEBANK = {
    r" n't\b": "n't",
    r"(?i)(?<!\S)-?lrb-?(?!\S)": "(",
    r"(?i)(?<!\S)-?rrb-?(?!\S)": ")",
}


def fine_tune(run: Run, labels: Sequence[str]) -> None:
    """Train on the tables `sentences` and `cases`; write a model folder that needs nothing else."""
    settings: BertSettings = run.settings
    seed_all(settings.seed)
    prepare_threads(settings.threads)
    model = trainable_bert(run.parent, len(labels), settings.frozen)
    if settings.max_tokens > (context := model.encoder.shape.context):
        raise Refused(
            f"max_tokens must be at most {context}, what the BERT in {run.parent} reads; "
            f"got {settings.max_tokens}"
        )
    tokenizer = rejoined(read_tokenizer(run.parent, settings.max_tokens))
    classifier = EncoderClassifier(model, tokenizer, tuple(labels))
    loss = adversarial(model, settings.adversarial) if settings.adversarial else cross_entropy
    train_classifier(run, classifier, loss, parameter_groups(model, settings))


def rejoined(tokenizer: Tokenizer) -> Tokenizer:
    """It undoes what the Penn Treebank did to a text: "wo n't" is read as "won't", -LRB- as "(".

    That is how BERT met these words. SST-2 is written so: 7 % of its sentences deny something with
    "n't".
    """
    undone = [normalizers.Replace(Regex(told), plain) for told, plain in TREEBANK.items()]
    own = [tokenizer.normalizer] if tokenizer.normalizer else []
    tokenizer.normalizer = normalizers.Sequence([*own, *undone])
    return tokenizer


def trainable_bert(folder: Path, classes: int, frozen: int = 0) -> EncoderHead:
    """Published weights under a new head. The words' vectors, half of a small BERT, stay.

    So do all embeddings and the `frozen` lowest layers (Lee et al. 2019), where there are any.
    What does not learn drops nothing either: attention keeps its fused kernel there.
    """
    model = EncoderHead(read_bert(folder), classes)
    encoder = model.encoder
    if frozen > len(encoder.layers):
        raise Refused(f"frozen must be at most {len(encoder.layers)}, the layers; got {frozen}")
    encoder.words.requires_grad_(False)
    if frozen:
        for name, part in encoder.named_children():
            if name != "layers":
                freeze(part)
        for layer in encoder.layers[:frozen]:
            freeze(layer)
    return model


def freeze(part: nn.Module) -> None:
    """It stays as it is, and computes in training what it computes afterwards."""
    part.requires_grad_(False)
    for module in part.modules():
        if isinstance(module, Dropout):
            module.share = 0.0
        elif isinstance(module, MultiHeadAttention):
            module.dropout = 0.0


def read_bert(folder: Path, attention_dropout: float = ATTENTION_DROPOUT) -> Transformer:
    """The encoder of a folder with published weights."""
    try:
        config = json.loads((folder / "config.json").read_text())
        return bert(
            config | {"attention_probs_dropout_prob": attention_dropout},
            load_file(folder / "model.safetensors"),
        ).float()  # published ones may be halves
    except (KeyError, ValueError, OSError, SafetensorError) as error:
        raise Refused(
            f"{folder} holds no BERT: {error}; set the candidate's parent to weights of a BERT"
        ) from None


def parameter_groups(model: EncoderHead, settings: BertSettings) -> list[dict[str, Any]]:
    """Discriminative fine-tuning (Howard & Ruder 2018, section 3.2): η_{l-1} = d η_l.

    The head has the full step size η, the top layer d η, and so on down to the embeddings.
    Biases and the gains of normalisations are not decayed.
    """
    layers = model.encoder.shape.layers
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
    if name.startswith("encoder.layers."):
        return layers - int(name.split(".")[2])
    return layers + 1 if name.startswith("encoder.") else 0
