"""Others' weights in these layers: torch's own, Hugging Face's BertModel and GPT2LMHeadModel.

The outputs are the same, so this is BERT, and this is GPT-2.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from hour9.transformers.layers import (
    Activation,
    DecoderLayer,
    EncoderLayer,
    LayerShape,
    Transformer,
    TransformerShape,
)

Weights = Mapping[str, Tensor]
Model = TypeVar("Model", bound=nn.Module)

TORCH_LAYER = {
    "self_attn.in_proj_": "attention.query_key_value.",
    "self_attn.out_proj.": "attention.output.",
    "multihead_attn.in_proj_": "cross_attention.query_key_value.",
    "multihead_attn.out_proj.": "cross_attention.output.",
    "linear1.": "feed_forward.widen.",
    "linear2.": "feed_forward.narrow.",
}
TORCH_ENCODER = TORCH_LAYER | {
    "norm1.": "around_attention.norm.",
    "norm2.": "around_feed_forward.norm.",
}
TORCH_DECODER = TORCH_LAYER | {
    "norm1.": "around_attention.norm.",
    "norm2.": "around_cross_attention.norm.",
    "norm3.": "around_feed_forward.norm.",
}
BERT = {
    "embeddings.word_embeddings.": "words.",
    "embeddings.position_embeddings.": "positions.",
    "embeddings.token_type_embeddings.": "segments.",
    "embeddings.LayerNorm.": "norm.",
}
BERT_LAYER = {
    "attention.self.query_key_value.": "attention.query_key_value.",
    "attention.output.dense.": "attention.output.",
    "attention.output.LayerNorm.": "around_attention.norm.",
    "intermediate.dense.": "feed_forward.widen.",
    "output.dense.": "feed_forward.narrow.",
    "output.LayerNorm.": "around_feed_forward.norm.",
}
GPT2 = {"wte.": "words.", "wpe.": "positions.", "ln_f.": "norm."}
GPT2_LAYER = {
    "attn.c_attn.": "attention.query_key_value.",
    "attn.c_proj.": "attention.output.",
    "ln_1.": "around_attention.norm.",
    "mlp.c_fc.": "feed_forward.widen.",
    "mlp.c_proj.": "feed_forward.narrow.",
    "ln_2.": "around_feed_forward.norm.",
}
NO_WEIGHTS = ("position_ids", ".attn.bias", ".attn.masked_bias")  # constants that were once saved
HEADS = ("pooler.", "cls.", "classifier.", "qa_outputs.")  # what stood on BERT, no part of it
ACTIVATIONS: dict[str, Activation] = {
    "relu": "relu",
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
}


def encoder_layer(layer: nn.TransformerEncoderLayer) -> EncoderLayer:
    """The same function as torch's layer, for batch-first input."""
    ours = EncoderLayer(shape_of(layer))
    return filled(ours, renamed(layer.state_dict(), TORCH_ENCODER))


def decoder_layer(layer: nn.TransformerDecoderLayer) -> DecoderLayer:
    """The same function as torch's layer under a causal mask, for batch-first input."""
    return filled(DecoderLayer(shape_of(layer)), renamed(layer.state_dict(), TORCH_DECODER))


def bert(config: Mapping[str, Any], weights: Weights) -> Transformer:
    """BertModel, from what stands in config.json and model.safetensors; its heads stay behind."""
    demand(
        config,
        model_type=("bert", None),  # RoBERTa, for one, counts positions from elsewhere
        position_embedding_type=("absolute", None),
        is_decoder=(False, None),
    )
    shape = TransformerShape(
        words=config["vocab_size"],
        context=config["max_position_embeddings"],
        layers=config["num_hidden_layers"],
        layer=LayerShape(
            channels=config["hidden_size"],
            heads=config["num_attention_heads"],
            hidden=config["intermediate_size"],
            norm_first=False,
            activation=known_activation(config.get("hidden_act", "gelu")),
            dropout=config.get("hidden_dropout_prob", 0.1),
            attention_dropout=config.get("attention_probs_dropout_prob", 0.1),
            epsilon=config.get("layer_norm_eps", 1e-12),
        ),
        causal=False,
        segments=config.get("type_vocab_size", 2),
    )
    found = {modern(name): weight for name, weight in weights.items()}
    kept = {name: weight for name, weight in found.items() if not name.startswith(HEADS)}
    for i in range(shape.layers):
        fuse(kept, f"encoder.layer.{i}.attention.self.")
    names = BERT | in_layers("encoder.layer.", BERT_LAYER, shape.layers)
    return filled(Transformer(shape), renamed(kept, names))


def gpt2(config: Mapping[str, Any], weights: Weights) -> Transformer:
    """GPT2LMHeadModel; `logits` of its hidden states are those of the words' own vectors."""
    demand(
        config,
        model_type=("gpt2", None),
        scale_attn_weights=(True, None),
        scale_attn_by_inverse_layer_idx=(False, None),
        add_cross_attention=(False, None),
        tie_word_embeddings=(True, None),
    )
    channels = config["n_embd"]
    shape = TransformerShape(
        words=config["vocab_size"],
        context=config["n_positions"],
        layers=config["n_layer"],
        layer=LayerShape(
            channels=channels,
            heads=config["n_head"],
            hidden=config.get("n_inner") or 4 * channels,
            activation=known_activation(config.get("activation_function", "gelu_new")),
            dropout=config.get("resid_pdrop", 0.1),
            attention_dropout=config.get("attn_pdrop", 0.1),
            epsilon=config.get("layer_norm_epsilon", 1e-5),
        ),
        causal=True,
    )
    found = {name.removeprefix("transformer."): weight for name, weight in weights.items()}
    head = found.pop("lm_head.weight", found["wte.weight"])  # where saved, it is a second copy
    if not torch.equal(head, found["wte.weight"]):
        raise ValueError("lm_head.weight must be the words' own vectors, wte.weight; it differs")
    turned = {  # Hugging Face keeps GPT-2's linear maps as (in, out)
        name: w.T if ".c_" in name and name.endswith("weight") else w for name, w in found.items()
    }
    names = GPT2 | in_layers("h.", GPT2_LAYER, shape.layers)
    return filled(Transformer(shape), renamed(turned, names))


def shape_of(layer: nn.TransformerEncoderLayer | nn.TransformerDecoderLayer) -> LayerShape:
    """What torch's layer was built with."""
    epsilons = {part.eps for part in layer.children() if isinstance(part, nn.LayerNorm)}
    if len(epsilons) > 1:
        raise ValueError(f"the norms of a layer must have the same eps, got {sorted(epsilons)}")
    return LayerShape(
        channels=layer.linear1.in_features,
        heads=layer.self_attn.num_heads,
        hidden=layer.linear1.out_features,
        norm_first=layer.norm_first,
        activation=known_activation(name_of(layer.activation)),
        dropout=layer.dropout.p,
        attention_dropout=layer.self_attn.dropout,
        epsilon=layer.norm1.eps,
    )


def name_of(activation: object) -> str:
    """Of a function, or of a module such as nn.GELU()."""
    if getattr(activation, "approximate", "none") == "tanh":
        return "gelu_pytorch_tanh"
    return getattr(activation, "__name__", type(activation).__name__.lower())


def demand(config: Mapping[str, Any], **allowed: tuple[Any, ...]) -> None:
    """Refuse what these layers do not compute, every such setting at once."""
    wrong = [
        f"{name} must be {values[0]}, got {config.get(name)}"
        for name, values in allowed.items()
        if config.get(name) not in values
    ]
    if wrong:
        raise ValueError(f"config.json asks for another model: {'; '.join(wrong)}")


def known_activation(name: str) -> Activation:
    if name not in ACTIVATIONS:
        raise ValueError(f"no activation '{name}'; there are {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]


def modern(name: str) -> str:
    """'bert.….LayerNorm.gamma' -> '….LayerNorm.weight'."""
    name = name.removeprefix("bert.").replace("LayerNorm.gamma", "LayerNorm.weight")
    return name.replace("LayerNorm.beta", "LayerNorm.bias")


def fuse(weights: dict[str, Tensor], prefix: str) -> None:
    """Three linear maps of the same input are one with three times the outputs."""
    for kind in ("weight", "bias"):
        parts = [f"{prefix}{part}.{kind}" for part in ("query", "key", "value")]
        if all(part in weights for part in parts):
            fused = torch.cat([weights.pop(part) for part in parts])  # (3 C, …)
            weights[f"{prefix}query_key_value.{kind}"] = fused


def in_layers(prefix: str, names: Mapping[str, str], layers: int) -> dict[str, str]:
    return {
        f"{prefix}{i}.{theirs}": f"layers.{i}.{ours}"
        for i in range(layers)
        for theirs, ours in names.items()
    }


def renamed(weights: Weights, names: Mapping[str, str]) -> dict[str, Tensor]:
    """Each tensor under our name; one that no name covers keeps its own, and `filled` objects."""
    result = {}
    for name, weight in weights.items():
        if not name.endswith(NO_WEIGHTS):
            theirs = next((start for start in names if name.startswith(start)), "")
            result[names.get(theirs, "") + name.removeprefix(theirs)] = weight
    return result


def filled(model: Model, weights: Weights) -> Model:
    """The model with these weights, all of them and no others, in their format."""
    wanted = model.state_dict()
    wrong = [f"lacks {name}" for name in sorted(wanted.keys() - weights.keys())]
    wrong += [f"has {name}, which is unknown" for name in sorted(weights.keys() - wanted.keys())]
    wrong += [
        f"has {name} of shape {tuple(weights[name].shape)}, not {tuple(wanted[name].shape)}"
        for name in sorted(wanted.keys() & weights.keys())
        if weights[name].shape != wanted[name].shape
    ]
    if wrong:
        raise ValueError(f"the file {'; it '.join(wrong[:5])}; {len(wrong)} such in all")
    model.to(next(iter(weights.values())).dtype).load_state_dict(weights)
    return model
