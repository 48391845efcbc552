"""The vision Transformer, against Hugging Face's and against what the papers say."""

import copy

import numpy as np
import pytest
import torch

from hour9.transformers.dropout import Dropout
from hour9.transformers.settings import VitSettings
from hour9.transformers.vit import (
    VisionTransformer,
    class_attention,
    cut,
    moved,
    movements,
    probabilities,
    rollout,
)

COMMON = {"task": "vision", "topic": "transformers", "parent": "data/vision"}
SETTINGS = VitSettings(**COMMON, patch=2, channels=16, layers=2, heads=2)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return VisionTransformer((8, 6, 3), 5, SETTINGS).eval()


def test_patches_come_in_reading_order():
    image = torch.arange(16.0).view(1, 1, 4, 4)
    assert cut(image, 2)[0].tolist() == [
        [0, 1, 4, 5],
        [2, 3, 6, 7],
        [8, 9, 12, 13],
        [10, 11, 14, 15],
    ]


def test_it_is_the_vision_transformer_of_hugging_face(model):
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=(8, 6),
        patch_size=2,
        num_channels=3,
        layer_norm_eps=1e-5,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        num_labels=5,
    )
    theirs = ViTForImageClassification(config).eval()
    images = torch.rand(4, 3, 8, 6)
    with torch.no_grad():
        put_into(theirs, model)
        torch.testing.assert_close(model(images), theirs(images - 0.5).logits)


def put_into(theirs, ours: VisionTransformer) -> None:
    """Our weights under their names."""
    embeddings = theirs.vit.embeddings
    embeddings.cls_token.copy_(ours.class_token)
    embeddings.position_embeddings.copy_(ours.positions)
    patches = embeddings.patch_embeddings.projection
    patches.weight.copy_(ours.patches.weight.view_as(patches.weight))
    patches.bias.copy_(ours.patches.bias)
    theirs.vit.layernorm.load_state_dict(ours.norm.state_dict())
    theirs.classifier.load_state_dict(ours.head.state_dict())
    names = {name for name, _ in theirs.named_parameters()}
    layers = (
        "vit.encoder.layer"
        if "vit.encoder.layer.0.layernorm_before.weight" in names
        else "vit.layers"
    )
    for i, layer in enumerate(ours.layers):
        found = theirs.get_submodule(f"{layers}.{i}")
        modules = dict(found.named_modules())
        linear = [m for m in modules.values() if isinstance(m, torch.nn.Linear)]
        q, k, v, output, widen, narrow = linear
        joint = layer.attention.query_key_value
        for part, weight, bias in zip(
            (q, k, v), joint.weight.chunk(3), joint.bias.chunk(3), strict=True
        ):
            part.weight.copy_(weight)
            part.bias.copy_(bias)
        output.load_state_dict(layer.attention.output.state_dict())
        widen.load_state_dict(layer.feed_forward.widen.state_dict())
        narrow.load_state_dict(layer.feed_forward.narrow.state_dict())
        modules["layernorm_before"].load_state_dict(layer.around_attention.norm.state_dict())
        modules["layernorm_after"].load_state_dict(layer.around_feed_forward.norm.state_dict())


def test_patches_that_do_not_tile_the_image_are_refused():
    with pytest.raises(ValueError, match="patches of 2 pixels do not tile an image of 8 by 7"):
        VisionTransformer((8, 7, 1), 2, SETTINGS)


def test_without_positions_the_order_of_the_patches_is_lost(model):
    """With them, it is not."""
    image = torch.rand(1, 3, 8, 6)
    shuffled = (
        image.flip(2).unflatten(2, (4, 2)).flip(3).flatten(2, 3)
    )  # rows of patches, upside down
    assert not torch.allclose(model(image), model(shuffled))
    model.positions.data.zero_()
    torch.testing.assert_close(model(image), model(shuffled))


def test_rollout_is_the_product_of_the_mixed_attentions(model):
    """The paper's recurrence, image by image in NumPy."""
    from hour9.transformers.attention import attention_maps

    images = torch.rand(3, 3, 8, 6)
    with torch.no_grad():
        maps = attention_maps(model, images)
        found = rollout(model, images)
    assert found.shape == (3, 4, 3)
    for i in range(3):
        reached = np.eye(13)
        for name in ("layers.0.attention", "layers.1.attention"):
            mixed = maps[name][i].mean(dim=0).numpy() + np.eye(13)
            reached = mixed / mixed.sum(axis=1, keepdims=True) @ reached
        np.testing.assert_allclose(found[i].flatten(), reached[0, 1:], rtol=1e-5)


def test_the_class_token_shares_one_unit_of_attention(model):
    with torch.no_grad():
        shares = class_attention(model, torch.rand(3, 3, 8, 6))
    assert shares.shape == (3, 2, 2, 4, 3)  # images, layers, heads, the grid of patches
    assert (shares.sum(dim=(3, 4)) < 1).all()  # the rest is on itself


def test_an_image_moved_by_nothing_stays_as_it_is():
    images = torch.randint(0, 256, (2, 3, 8, 6), dtype=torch.uint8)
    still = torch.eye(2, 3).expand(2, 2, 3)
    torch.testing.assert_close(moved(images, still), images / 255)


def test_an_image_moved_by_a_pixel_shows_black_behind_it():
    images = torch.full((1, 1, 4, 4), 255, dtype=torch.uint8)
    right = torch.tensor([[[1.0, 0.0, 2 / 4], [0.0, 1.0, 0.0]]])  # one of four pixels
    expected = torch.ones(1, 1, 4, 4)
    expected[..., 3] = 0
    torch.testing.assert_close(moved(images, right), expected)


def test_movements_are_small_and_the_seeds_own():
    shape = torch.Size([100, 1, 8, 8])
    moves = movements(np.random.default_rng(0), 100, shape, shift=0.5)
    assert moves.shape == (100, 2, 3)
    assert moves[:, :, 2].abs().max() <= 2 * 0.5 / 8
    assert (moves[:, :, :2] - torch.eye(2)).abs().max() < 0.25
    assert torch.equal(moves[:, 0, 1], -moves[:, 1, 0])  # a turn, no slant
    assert moves[:, 0, 1].abs().max() > 0.1
    assert torch.equal(moves, movements(np.random.default_rng(0), 100, shape, 0.5))


def test_what_is_drawn_is_computed_where_the_model_is(model):
    elsewhere, images = copy.deepcopy(model).to("meta"), torch.rand(2, 3, 8, 6)
    assert rollout(elsewhere, images).device.type == "meta"
    assert class_attention(elsewhere, images).device.type == "meta"


def test_the_dropout_of_the_settings_reaches_every_layer():
    model = VisionTransformer((8, 6, 3), 5, SETTINGS.model_copy(update={"dropout": 0.3}))
    assert {part.share for part in model.modules() if isinstance(part, Dropout)} == {0.3}


def test_bytes_are_read_as_brightness_from_0_to_1(model):
    images = torch.randint(0, 256, (4, 3, 8, 6), dtype=torch.uint8)
    with torch.no_grad():
        expected = model(images.float() / 255).softmax(dim=1)
    torch.testing.assert_close(probabilities(model, images), expected)
