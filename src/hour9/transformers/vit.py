"""A Transformer that reads an image as a row of patches (Dosovitskiy et al. 2021).

Shapes: B images, X by Y pixels, K colours, P pixels a side of a patch, N = (X / P) (Y / P) patches,
C channels, V classes, H heads, L layers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hour9.engine.device import answering_device, prepare_threads
from hour9.engine.fit import Batch, fit
from hour9.engine.randomness import seed_all
from hour9.engine.run import Run
from hour9.engine.weights import load_model, save_model
from hour9.params import Refused
from hour9.transformers.attention import attention_maps
from hour9.transformers.layers import EncoderLayer, LayerShape
from hour9.transformers.settings import VitSettings

SCORING_BATCH = 256
WIDENING = 2  # features of the feed-forward network for each channel
PLACED = 0.5  # standard deviation of the first positions: about as long as the patches' vectors
TURN, STRETCH = 0.2, 0.2  # radians, and share of the size: the most that a training image is bent


class VisionTransformer(nn.Module):
    """Patches, a class token before them, learned positions, encoder layers, a linear head.

    Positions start long: from vectors near zero the model takes twice the time to find out where
    its patches lie.
    """

    def __init__(self, image: Sequence[int], classes: int, settings: VitSettings):
        super().__init__()
        height, width, colours = image
        self.patch = settings.patch
        if height % self.patch or width % self.patch:
            raise Refused(
                f"patches of {self.patch} pixels do not tile an image of {height} by {width}; "
                "set the candidate's patch to a divisor of both"
            )
        C = settings.channels
        self.grid = height // self.patch, width // self.patch
        self.patches = nn.Linear(self.patch**2 * colours, C)
        self.class_token = nn.Parameter(PLACED * torch.randn(1, 1, C))
        self.positions = nn.Parameter(PLACED * torch.randn(1, 1 + self.grid[0] * self.grid[1], C))
        shape = LayerShape(C, settings.heads, WIDENING * C, dropout=settings.dropout)
        self.layers = nn.ModuleList(EncoderLayer(shape) for _ in range(settings.layers))
        self.norm = nn.LayerNorm(C)
        self.head = nn.Linear(C, classes)

    def forward(self, images: Tensor) -> Tensor:  # (B, K, X, Y) -> (B, V)
        """Of brightness from 0 to 1."""
        patches = self.patches(cut(images - 0.5, self.patch))  # (B, N, C)
        x = torch.cat([self.class_token.expand(len(images), 1, -1), patches], dim=1)
        x = x + self.positions  # (B, 1 + N, C)
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x)[:, 0])


def cut(images: Tensor, patch: int) -> Tensor:  # (B, K, X, Y) -> (B, N, K P²)
    """Patches in reading order."""
    return F.unfold(images, kernel_size=patch, stride=patch).transpose(1, 2)


def train_vit(run: Run, cases: pd.DataFrame, pixels: np.ndarray) -> None:
    """Train on the images (X, Y, K) of these cases; write a model folder."""
    settings: VitSettings = run.settings
    seed_all(settings.seed)
    prepare_threads(settings.threads)
    is_train = (cases["split"] == "train").to_numpy()
    labels = sorted(cases.loc[is_train, "target"].unique())
    images = as_images(pixels)
    targets = torch.from_numpy(pd.Categorical(cases["target"], labels).codes.astype(np.int64))
    train, held = np.flatnonzero(is_train), np.flatnonzero(cases["split"] == "validation")
    model = VisionTransformer(pixels.shape[1:], len(labels), settings)

    def batches(epoch: int) -> list[Batch]:
        chance = np.random.default_rng((settings.seed, epoch))
        order = torch.from_numpy(chance.permutation(train))
        moves = movements(chance, len(train), images.shape, settings.shift)
        starts = range(0, len(train), settings.batch_size)
        rows = [(order[i : i + settings.batch_size], i) for i in starts]
        return [
            {"images": images[r], "labels": targets[r], "moves": moves[i : i + len(r)]}
            for r, i in rows
        ]

    def validate(model: nn.Module) -> float:
        return (
            (probabilities(model, images[held]).argmax(dim=1) == targets[held])
            .float()
            .mean()
            .item()
        )

    fit(run, model, batches, cross_entropy, validate)
    config = {"settings": settings.model_dump(), "labels": labels, "image": pixels.shape[1:]}
    save_model(run.folder, model.state_dict(), config)


def cross_entropy(model: nn.Module, batch: Batch) -> Tensor:
    """-log p(class) of images that were moved a little, the mean over the batch."""
    return F.cross_entropy(model(moved(batch["images"], batch["moves"])), batch["labels"])


def movements(
    chance: np.random.Generator, count: int, shape: torch.Size, shift: float
) -> Tensor:  # -> (B, 2, 3)
    """Random affine maps: a small turn, a stretch each way, at most `shift` pixels each way."""
    angle, wide, high, right, down = chance.uniform(-1, 1, (5, count))
    cosine, sine = np.cos(TURN * angle), np.sin(TURN * angle)
    rows = [
        [(1 + STRETCH * wide) * cosine, -sine, 2 * shift / shape[3] * right],
        [sine, (1 + STRETCH * high) * cosine, 2 * shift / shape[2] * down],
    ]
    return torch.from_numpy(np.array(rows, dtype=np.float32)).permute(2, 0, 1)


def moved(images: Tensor, moves: Tensor) -> Tensor:  # (B, K, X, Y) bytes -> (B, K, X, Y)
    """Each image under its map, black beyond its edges."""
    grid = F.affine_grid(moves, list(images.shape), align_corners=False)
    return F.grid_sample(images / 255, grid, align_corners=False)


@torch.inference_mode()
def probabilities(model: nn.Module, images: Tensor) -> Tensor:  # (B, K, X, Y) bytes -> (B, V)
    device = next(model.parameters()).device
    model.eval()
    parts = [model(part.to(device) / 255) for part in images.split(SCORING_BATCH)]
    return torch.cat(parts).softmax(dim=1).cpu()


@dataclass(frozen=True)
class ImageClassifier:
    """What a model folder holds."""

    model: VisionTransformer
    labels: np.ndarray
    image: tuple[int, int, int]
    """height, width, colours"""

    def answer(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Images (B, X, Y, K) -> the likeliest class of each, and its probability."""
        if pixels.shape[1:] != self.image:
            raise ValueError(f"the model reads images of {self.image}, got {pixels.shape[1:]}")
        if not len(pixels):
            return self.labels[:0], np.zeros(0)
        confidence, found = probabilities(self.model, as_images(pixels)).double().max(dim=1)
        return self.labels[found.numpy()], confidence.numpy()


def as_images(pixels: np.ndarray) -> Tensor:  # (B, X, Y, K) -> (B, K, X, Y) bytes
    return torch.from_numpy(np.moveaxis(pixels, 3, 1).copy())


def load_vit(folder: Path) -> ImageClassifier:
    """What `train_vit` wrote, on the device that its settings allow here."""
    weights, config = load_model(folder)
    settings = VitSettings(**config["settings"])
    prepare_threads(settings.threads)
    model = VisionTransformer(config["image"], len(config["labels"]), settings)
    model.load_state_dict(weights)
    model.to(answering_device(settings.device)).eval()
    return ImageClassifier(model, np.array(config["labels"], dtype=object), tuple(config["image"]))


# What it looks at


def class_attention(model: VisionTransformer, images: Tensor) -> Tensor:  # -> (B, L, H, X/P, Y/P)
    """How much the class token looks at each patch, by layer and head."""
    maps = torch.stack(looks(model, images), dim=1)  # (B, L, H, T, T)
    return maps[:, :, :, 0, 1:].unflatten(-1, model.grid)


def rollout(model: VisionTransformer, images: Tensor) -> Tensor:  # -> (B, X/P, Y/P)
    """How much of each patch reaches the class token (Abnar & Zuidema 2020, section 3).

    Ã_l = (A_l + I) / 2, the mean over heads and half for the residual path, then Ã_L … Ã_1.
    """
    maps = looks(model, images)
    identity = torch.eye(maps[0].shape[-1], device=maps[0].device)
    reached = identity
    for weights in maps:
        reached = (weights.mean(dim=1) + identity) / 2 @ reached
    return reached[:, 0, 1:].unflatten(-1, model.grid)


def looks(model: VisionTransformer, images: Tensor) -> list[Tensor]:  # (B, H, T, T) of each layer
    """The attention of each layer, the first one first, on the model's device."""
    return list(attention_maps(model, images.to(next(model.parameters()).device)).values())
