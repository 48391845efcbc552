"""An encoder with its head as an ONNX graph, of the operations that ONNX Runtime has fused.

Written node by node, so that the same weights give the same bytes and a reader sees the whole
model. Shapes: T tokens of one text, C channels, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hour9.params import Refused
from hour9.transformers.classifier import EncoderHead
from hour9.transformers.layers import EncoderLayer, Transformer

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

TOKENS, PROBABILITIES = "tokens", "probabilities"
OPERATIONS = {"": 18, "com.microsoft": 1}  # ONNX's own, and ONNX Runtime's
FILE_VERSION = 9  # not the newest, so that older runtimes read it


@dataclass
class Graph:
    """Nodes in the order in which they run, each named after its output, and the weights."""

    nodes: list[NodeProto] = field(default_factory=list)
    weights: list[TensorProto] = field(default_factory=list)

    def add(self, name: str, operation: str, *inputs: str, domain: str = "", **options: Any) -> str:
        """One operation; the name of its output."""
        from onnx import helper

        node = helper.make_node(operation, inputs, [name], name=name, domain=domain, **options)
        self.nodes.append(node)
        return name

    def numbers(self, name: str, *values: int) -> str:
        """Constants that say where, not how much."""
        return self.weight(name, torch.tensor(values))

    def weight(self, name: str, tensor: Tensor) -> str:
        """One constant; its name."""
        from onnx import numpy_helper

        array = tensor.detach().cpu().contiguous().numpy()
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def linear(self, name: str, layer: nn.Linear, x: str) -> str:
        """x Wᵀ; its bias is left to the operation that follows, which adds it on the way."""
        return self.add(name, "MatMul", x, self.weight(f"{name}.weight", layer.weight.T))

    def add_and_norm(self, name: str, x: str, y: str, norm: nn.LayerNorm, bias: Tensor) -> str:
        """norm(x + y + bias)."""
        weights = {"gain": norm.weight, "shift": norm.bias, "bias": bias}
        named = [self.weight(f"{name}.{part}", tensor) for part, tensor in weights.items()]
        kind = "SkipLayerNormalization"
        return self.add(name, kind, x, y, *named, domain="com.microsoft", epsilon=norm.eps)


def as_onnx(model: EncoderHead, context: int) -> ModelProto:
    """The same function of one text of at most `context` tokens: (1, T) -> (1, K).

    Written for encoders as BERT is. Raises Refused for others.
    """
    from onnx import TensorProto, helper

    encoder = model.encoder
    shape = encoder.shape
    if shape.layer.norm_first or shape.layer.activation != "gelu" or shape.positions != "learned":
        raise Refused(
            "only an encoder like BERT's can be written as ONNX: norms behind each part, gelu, "
            "learned positions; set the candidate's parent to one that was a BERT"
        )
    graph = Graph()
    x = embedded(graph, encoder, context)
    for i, layer in enumerate(encoder.layers):
        assert isinstance(layer, EncoderLayer)
        write = encoder_layer if i < shape.layers - 1 else last_layer
        x = write(graph, f"layers.{i}", layer, x, shape.layer.heads)
    answer = graph.add("summary", "Squeeze", x, graph.numbers("over", 1))  # (1, C)
    head = [graph.weight(f"head.{part}", getattr(model.head, part)) for part in ("weight", "bias")]
    graph.add("logits", "Gemm", answer, *head, transB=1)  # (1, K)
    graph.add(PROBABILITIES, "Softmax", "logits")
    return helper.make_model(
        helper.make_graph(
            graph.nodes,
            "classifier",
            [helper.make_tensor_value_info(TOKENS, TensorProto.INT64, [1, "T"])],
            [helper.make_tensor_value_info(PROBABILITIES, TensorProto.FLOAT, [1, "K"])],
            graph.weights,
        ),
        opset_imports=[helper.make_opsetid(*pair) for pair in OPERATIONS.items()],
        ir_version=FILE_VERSION,
    )


def embedded(graph: Graph, encoder: Transformer, context: int) -> str:  # (1, T) -> (1, T, C)
    """The words' vectors plus the positions', to which those of the first segment are added."""
    assert isinstance(encoder.positions, nn.Embedding)
    added = encoder.positions.weight[:context]  # (context, C)
    if encoder.segments is not None:
        added = added + encoder.segments.weight[0]
    words = graph.add("words", "Gather", graph.weight("words.weight", encoder.words.weight), TOKENS)
    length = graph.add("length", "Shape", TOKENS, start=1)
    table = graph.weight("positions.weight", added)
    positions = graph.add("positions", "Slice", table, graph.numbers("first", 0), length)  # (T, C)
    x = graph.add("embedded", "Add", words, positions)
    gain, shift = (graph.weight(f"norm.{p}", getattr(encoder.norm, p)) for p in ("weight", "bias"))
    return graph.add("norm", "LayerNormalization", x, gain, shift, epsilon=encoder.norm.eps)


def encoder_layer(graph: Graph, name: str, layer: EncoderLayer, x: str, heads: int) -> str:
    """Attention and the feed-forward network, each added to what came in: (1, T, C), twice."""
    weights = layer.attention.query_key_value
    mixed = graph.add(
        f"{name}.attention",
        "Attention",
        x,
        graph.weight(f"{name}.attention.weight", weights.weight.T),
        graph.weight(f"{name}.attention.bias", weights.bias),
        domain="com.microsoft",
        num_heads=heads,
    )
    return rest_of_layer(graph, name, layer, x, mixed)


def last_layer(graph: Graph, name: str, layer: EncoderLayer, x: str, heads: int) -> str:
    """The same, where only the tokens' mean asks: (1, T, C) -> (1, 1, C)."""
    asking = graph.add(f"{name}.mean", "ReduceMean", x, graph.numbers(f"{name}.tokens", 1))
    weights = layer.attention.query_key_value
    asked = [
        graph.add(f"{name}.{part}", "MatMul", seen, graph.weight(f"{name}.{part}.weight", weight.T))
        for part, seen, weight in zip(
            ("query", "key", "value"), (asking, x, x), weights.weight.chunk(3), strict=True
        )
    ]
    mixed = graph.add(
        f"{name}.attention",
        "MultiHeadAttention",
        *asked,
        graph.weight(f"{name}.attention.bias", weights.bias),
        domain="com.microsoft",
        num_heads=heads,
    )
    return rest_of_layer(graph, name, layer, asking, mixed)


def rest_of_layer(graph: Graph, name: str, layer: EncoderLayer, x: str, mixed: str) -> str:
    """What follows the attention's mixture of values."""
    attention, network = layer.attention, layer.feed_forward
    y = graph.linear(f"{name}.output", attention.output, mixed)
    x = graph.add_and_norm(
        f"{name}.attended", x, y, layer.around_attention.norm, attention.output.bias
    )
    wide = graph.linear(f"{name}.widen", network.widen, x)
    bias = graph.weight(f"{name}.widen.bias", network.widen.bias)
    wide = graph.add(f"{name}.gelu", "BiasGelu", wide, bias, domain="com.microsoft")
    y = graph.linear(f"{name}.narrow", network.narrow, wide)
    return graph.add_and_norm(name, x, y, layer.around_feed_forward.norm, network.narrow.bias)
