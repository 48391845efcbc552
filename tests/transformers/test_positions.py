import numpy as np
import pytest
import torch

from hour9.transformers.encoder_numpy import sinusoidal_positions
from hour9.transformers.positions import RotaryPositions, SinusoidalPositions, position_vectors

D = 8


def test_sinusoidal_positions_are_those_in_numpy():
    found = SinusoidalPositions(D)(torch.arange(50).view(5, 10))
    np.testing.assert_allclose(found.view(50, D), sinusoidal_positions(50, D), atol=1e-5)


def test_rotary_positions_are_those_of_llama():
    from transformers import LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb

    q, k = torch.randn(2, 2, 3, 5, D)
    config = LlamaConfig(hidden_size=3 * D, num_attention_heads=3)
    cosine, sine = LlamaRotaryEmbedding(config)(q, torch.arange(7, 12)[None])
    rotary = RotaryPositions(D)
    for found, expected in zip(
        (rotary(q, 7), rotary(k, 7)), apply_rotary_pos_emb(q, k, cosine, sine), strict=True
    ):
        torch.testing.assert_close(found, expected)


def test_what_a_query_finds_depends_on_the_distance_alone():
    q, k = torch.randn(2, 1, 1, 1, D)
    rotary = RotaryPositions(D)
    near = rotary(q, 5) @ rotary(k, 3).mT
    torch.testing.assert_close(rotary(q, 105) @ rotary(k, 103).mT, near, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(rotary(q, 5) @ rotary(k, 4).mT, near)


def test_rotary_positions_keep_lengths_and_leave_the_first_alone():
    x, rotary = torch.randn(2, 3, 5, D), RotaryPositions(D)
    torch.testing.assert_close(rotary(x).norm(dim=-1), x.norm(dim=-1))
    torch.testing.assert_close(rotary(x)[:, :, 0], x[:, :, 0])


def test_learned_positions_are_a_vector_each_and_rotary_ones_add_nothing():
    learned = position_vectors("learned", context=4, channels=D)
    assert learned(torch.tensor([3, 0])).shape == (2, D)
    assert [p.shape for p in learned.parameters()] == [(4, D)]
    assert position_vectors("rotary", context=4, channels=D) is None
    assert not list(position_vectors("sinusoidal", context=4, channels=D).parameters())


@pytest.mark.parametrize("kind", [SinusoidalPositions, RotaryPositions])
def test_sine_and_cosine_need_an_even_number_of_channels(kind):
    with pytest.raises(ValueError, match="channels=5"):
        kind(5)
