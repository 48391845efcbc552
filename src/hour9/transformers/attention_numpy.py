"""Attention in NumPy, forward and backward by hand; encoder_numpy.py makes layers of it.

Shapes: T queries, S keys, D channels per head; '…' is whatever stands before, as batch and heads.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]

QUERIES_AT_ONCE = 128  # whose scores against a thousand keys stay in a core's cache


def attention(
    q: Array, k: Array, v: Array, mask: Mask | None = None, causal: bool = False
) -> tuple[Array, Array]:  # (…, T, D), (…, S, D), (…, S, D) -> (…, T, D), (…, T, S)
    """softmax(Q Kᵀ / √D) V (Vaswani et al. 2017, eq. 1), and the weights, which are the softmax.

    `mask` is true where a query may look. `causal` hides the future: the queries are the last T
    of the S positions. A query that may look nowhere gets zeros.
    """
    T, S = check_lengths(q, k, causal)
    scores = q @ k.swapaxes(-1, -2) / math.sqrt(q.shape[-1])  # (…, T, S)
    if causal:
        scores = np.where(np.tri(T, S, S - T, dtype=bool), scores, -np.inf)
    if mask is not None:
        scores = np.where(mask, scores, -np.inf)
    total = exponentiate(scores)  # (…, T, 1)
    weights = scores / total
    return weights @ v, weights


def blocked_attention(
    q: Array,
    k: Array,
    v: Array,
    mask: Mask | None = None,
    causal: bool = False,
    block: int = QUERIES_AT_ONCE,
) -> Array:  # (…, T, D), (…, S, D), (…, S, D) -> (…, T, D)
    """The output of `attention`, a few queries at a time (the idea of Dao et al. 2022).

    One small buffer of scores is written over and over and never leaves the cache, dividing by
    the softmax's sum is left for the shorter rows of the output, the future is not computed, and
    the rows' largest scores are looked for only where e^s might not be a number.
    """
    T, S = check_lengths(q, k, causal)
    wanted = np.result_type(q, k, v, 0.0)
    q, k, v = (x.astype(np.result_type(x, np.float32), copy=False) for x in (q, k, v))
    # In half precision, sums of e^s would overflow.
    given = (q, k, v) if mask is None else (q, k, v, mask)
    lead, scale = np.broadcast_shapes(*(x.shape[:-2] for x in given)), 1 / math.sqrt(q.shape[-1])
    q, k, v = (np.broadcast_to(x, (*lead, *x.shape[-2:])) for x in (q, k, v))
    visible = None if mask is None else np.broadcast_to(mask, (*lead, T, S))
    buffer = np.empty(block * S, dtype=np.result_type(q, k, 0.0))
    bounded = largest(q) * largest(k) * scale < math.log(np.finfo(buffer.dtype).max) / 2
    output = np.empty((*lead, T, v.shape[-1]), dtype=np.result_type(buffer, v))
    for index in np.ndindex(*lead):
        for start in range(0, T, block):
            rows = slice(start, min(start + block, T))
            n = rows.stop - start
            seen = S - T + rows.stop if causal else S
            scores = buffer[: n * seen].reshape(n, seen)
            np.matmul(q[index][rows] * scale, k[index][:seen].T, out=scores)
            if causal:  # only the last n keys are the future of any of these n queries
                np.copyto(scores[:, seen - n :], -np.inf, where=~np.tri(n, dtype=bool))
            if visible is not None:
                np.copyto(scores, -np.inf, where=np.logical_not(visible[index][rows, :seen]))
            total = exponentiate(scores, bounded)  # (n, 1)
            mixed = np.matmul(scores, v[index][:seen], out=output[index][rows])  # (n, D)
            mixed /= total
    return output.astype(wanted, copy=False)


def attention_backward(
    gradient: Array, q: Array, k: Array, v: Array, weights: Array
) -> tuple[Array, Array, Array]:  # (…, T, D) -> (…, T, D), (…, S, D), (…, S, D)
    """Gradients by q, k and v, from that by the output O = P V, where P is the softmax of S.

    dV = Pᵀ dO,  dP = dO Vᵀ,  dS = P ∘ (dP - rowsum(dP ∘ P)),  dQ = dS K / √D,  dK = dSᵀ Q / √D
    """
    dv = weights.swapaxes(-1, -2) @ gradient
    dp = gradient @ v.swapaxes(-1, -2)  # (…, T, S)
    ds = weights * (dp - (dp * weights).sum(axis=-1, keepdims=True)) / math.sqrt(q.shape[-1])
    return ds @ k, ds.swapaxes(-1, -2) @ q, dv


def check_lengths(q: Array, k: Array, causal: bool) -> tuple[int, int]:
    """T and S; without its own key, a causal query would see nothing."""
    T, S = q.shape[-2], k.shape[-2]
    if causal and T > S:
        raise ValueError(f"causal attention needs a key for each query, got {T} and {S} keys")
    return T, S


def largest(x: Array) -> float:  # (…, T, D) -> ()
    """The length of the longest vector: no q · k is more than the product of two such."""
    return float(np.linalg.norm(x, axis=-1).max(initial=0.0))


def exponentiate(scores: Array, bounded: bool = False) -> Array:  # (…, S) -> (…, 1)
    """Write e^(s - max) in place of s; the sums of the rows, 1 for a row that sees nothing.

    Where scores are bounded, e^s is a number without taking away the max, which changes nothing.
    """
    if not bounded:
        peak = scores.max(axis=-1, keepdims=True, initial=-np.inf)  # there may be no keys
        scores -= np.maximum(peak, np.finfo(scores.dtype).min)  # -inf less -inf would be NaN
    np.exp(scores, out=scores)
    total = scores @ np.ones((scores.shape[-1], 1), scores.dtype)  # twice as fast as sum()
    return total + (total == 0)
