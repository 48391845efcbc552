"""Message passing from scratch: every graph layer is one form with three blanks to fill.

    x'_i = update(x_i, aggregate over edges j → i of message(x_i, x_j, e_ji))

(Gilmer et al. 2017, eq. 1 and 2.) A graph convolution, graph attention and the edge-conditioned
network differ in what they fill in, and in nothing else. Here in NumPy, to be read and to be
checked against; `gcn`, `gat` and `mpnn` compute the same as products of sparse matrices.

Shapes: N nodes, E edges, F features in, G features out, H heads, D edge features, M message width.
`edges` is (2, E): row 0 the sources j, row 1 the targets i.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hour9.graphs.representations import Floats, Ints

SLOPE = 0.2
"""Of the leaky ReLU on attention scores (Veličković et al. 2018, section 2.1)."""

Message = Callable[[Floats, Floats, Floats], Floats]
"""(E, F) targets, (E, F) sources, (E, D) -> (E, M)."""

Aggregate = Callable[[Floats, Ints, int], Floats]
"""(E, M) messages, (E,) targets, N -> (N, M); a node that hears nothing gets 0."""

Update = Callable[[Floats, Floats], Floats]
"""(N, F), (N, M) -> (N, G)."""


def propagate(
    x: Floats, edges: Ints, edge_x: Floats, message: Message, aggregate: Aggregate, update: Update
) -> Floats:  # (N, F), (2, E), (E, D) -> (N, G)
    """The one form."""
    source, target = edges
    heard = aggregate(message(x[target], x[source], edge_x), target, len(x))  # (N, M)
    return update(x, heard)


def total(messages: Floats, target: Ints, n: int) -> Floats:
    """Σ: tells multisets of neighbours apart, as the mean and the maximum do not."""
    out = np.zeros((n, *messages.shape[1:]))
    np.add.at(out, target, messages)
    return out


def mean(messages: Floats, target: Ints, n: int) -> Floats:
    """The share of each kind of neighbour, whatever their number."""
    count = np.maximum(np.bincount(target, minlength=n), 1)  # (N,)
    return total(messages, target, n) / count.reshape(n, *[1] * (messages.ndim - 1))


def maximum(messages: Floats, target: Ints, n: int) -> Floats:
    """Which kinds of neighbours there are at all."""
    out = np.full((n, *messages.shape[1:]), -np.inf)
    np.maximum.at(out, target, messages)
    return np.where(np.isneginf(out), 0.0, out)


def attention(messages: Floats, target: Ints, n: int) -> Floats:  # (E, H, 1 + G) -> (N, H, G)
    """A mean with learnt weights: column 0 of a message is its score, the rest its value.

    Σ_j α_ij v_j with α_ij = exp(s_ij) / Σ_k exp(s_ik), over the edges into i. A score of -∞ is
    an edge unheard.
    """
    score, value = messages[..., :1], messages[..., 1:]
    weight = np.exp(score - maximum(score, target, n)[target])  # the largest is 1: no overflow
    whole = np.maximum(total(weight, target, n), 1)  # (N, H, 1), less only where nothing is heard
    share = weight / whole[target]  # (E, H, 1)
    return total(share * value, target, n)


def with_self_loops(edges: Ints, n: int) -> Ints:  # (2, E) -> (2, E')
    """Every node its own neighbour, once."""
    loops = np.tile(np.arange(n), (2, 1))
    return np.concatenate([edges[:, edges[0] != edges[1]], loops], axis=1)


def gcn(x: Floats, edges: Ints, weight: Floats, bias: Floats) -> Floats:  # (N, F) -> (N, G)
    """Graph convolution (Kipf & Welling 2017, eq. 2): x'_i = b + Σ_j W x_j / √(d_i d_j)."""
    edges = with_self_loops(edges, len(x))
    degree = np.bincount(edges[1], minlength=len(x))  # (N,), edges into a node, at least 1
    norm = 1 / np.sqrt(degree[edges[0]] * degree[edges[1]])  # (E',)
    return propagate(
        x @ weight,
        edges,
        norm[:, None],
        message=lambda target, source, norm: norm * source,
        aggregate=total,
        update=lambda _, heard: heard + bias,
    )


def gat(
    x: Floats, edges: Ints, weight: Floats, to: Floats, of: Floats, bias: Floats
) -> Floats:  # (N, F), weight (F, H G), to and of (H, G) -> (N, H G)
    """Graph attention (Veličković et al. 2018, eq. 1 to 5), heads side by side.

    s_ij = LeakyReLU(to · W x_i + of · W x_j): the paper's a is `to` and `of`, one after the other.
    """
    edges = with_self_loops(edges, len(x))

    def message(target: Floats, source: Floats, _: Floats) -> Floats:  # (E', H, 1 + G)
        score = leaky_relu((to * target + of * source).sum(-1, keepdims=True))
        return np.concatenate([score, source], axis=-1)

    h = (x @ weight).reshape(len(x), *of.shape)  # (N, H, G)
    return propagate(
        h,
        edges,
        none(edges),
        message,
        attention,
        lambda _, heard: heard.reshape(len(x), bias.size) + bias,
    )


def gatv2(
    x: Floats, edges: Ints, to_weight: Floats, of_weight: Floats, score: Floats, bias: Floats
) -> Floats:  # (N, F), weights (F, H G), score (H, G) -> (N, H G)
    """Attention whose ranking may differ from node to node (Brody et al. 2022, eq. 7).

    s_ij = score · LeakyReLU(W_to x_i + W_of x_j), and the values are W_of x_j.
    """
    n = len(x)
    edges = with_self_loops(edges, n)

    def message(target: Floats, source: Floats, _: Floats) -> Floats:  # (E', H, 1 + G)
        at, heard = target[:, 0], source[:, 1]  # (E', H, G) each
        rank = (score * leaky_relu(at + heard)).sum(-1, keepdims=True)
        return np.concatenate([rank, heard], axis=-1)

    h = np.stack([x @ to_weight, x @ of_weight], axis=1).reshape(n, 2, *score.shape)
    return propagate(
        h,
        edges,
        none(edges),
        message,
        attention,
        lambda _, heard: heard.reshape(n, bias.size) + bias,
    )


def mpnn(
    x: Floats,
    edges: Ints,
    edge_x: Floats,
    network: Callable[[Floats], Floats],
    root: Floats,
    bias: Floats,
    aggregate: Aggregate = total,
) -> Floats:  # (N, F), root (F, G), network (E, D) -> (E, F G); gives (N, G)
    """The edge network (Gilmer et al. 2017, section 5): x'_i = b + W x_i + Σ_j A(e_ji) x_j.

    What an edge carries decides how the neighbour is heard: A(e) is a matrix, made by a network.
    """

    def message(target: Floats, source: Floats, edge_x: Floats) -> Floats:  # (E, G)
        matrices = network(edge_x).reshape(len(source), *root.shape)  # (E, F, G)
        return np.einsum("ef,efg->eg", source, matrices)

    return propagate(
        x, edges, edge_x, message, aggregate, update=lambda x, heard: x @ root + heard + bias
    )


def leaky_relu(x: Floats) -> Floats:
    return np.where(x > 0, x, SLOPE * x)


def none(edges: Ints) -> Floats:  # (E, 0)
    """No edge features."""
    return np.zeros((edges.shape[1], 0))
