"""The knobs of the Transformers, an architecture a class, and of the weights they start from."""

from typing import Literal

from pydantic import BaseModel, Field

from hour9.engine.settings import Supervised


class WeightsConfig(BaseModel, frozen=True, extra="forbid"):
    """Where pre-trained weights come from. They are used only if their SHA-256 is the one here."""

    kind: Literal["package", "path", "hub"] = Field(
        "package",
        description="package: files of the installed package `name`, none of its code; "
        "path: the local folder `root`; hub: downloaded from Hugging Face by `name`",
    )
    name: str = Field("", description="a package, or a hub id: 'owner/model' or '…@revision'")
    root: str = Field(description="relative file or folder that the weights depend on")
    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="of model.safetensors, lower case")


class BertSettings(Supervised, frozen=True, extra="forbid"):
    """A pre-trained BERT, fine-tuned to classify texts."""

    architecture: Literal["bert"] = Field("bert", description="which model of the topic")
    max_tokens: int = Field(
        128, ge=8, le=512, description="tokens of a text that are read; the rest is cut off"
    )
    layer_decay: float = Field(
        1.0, gt=0, le=1, description="step size of a layer, as a share of that of the one above"
    )


class VitSettings(Supervised, frozen=True, extra="forbid"):
    """A vision Transformer, trained from scratch."""

    architecture: Literal["vit"] = Field("vit", description="which model of the topic")
    patch: int = Field(2, ge=1, le=64, description="pixels a side of a patch; must tile the image")
    channels: int = Field(64, ge=4, le=1024, description="features of a patch inside the model")
    layers: int = Field(4, ge=1, le=24, description="encoder layers")
    heads: int = Field(4, ge=1, le=32, description="attention heads; a divisor of channels")
    dropout: float = Field(0.0, ge=0, lt=1, description="share of features set to zero")
    shift: float = Field(1.0, ge=0, description="pixels that a training image is moved at most")


class Seq2SeqSettings(Supervised, frozen=True, extra="forbid"):
    """An encoder and a decoder, trained from scratch to translate."""

    architecture: Literal["seq2seq"] = Field("seq2seq", description="which model of the topic")
    pieces: int = Field(
        0, ge=0, le=100_000, description="word pieces to learn from the training texts; 0: letters"
    )
    channels: int = Field(64, ge=4, le=1024, description="features of a token inside the model")
    layers: int = Field(2, ge=1, le=24, description="layers of the encoder, and of the decoder")
    heads: int = Field(4, ge=1, le=32, description="attention heads; a divisor of channels")
    dropout: float = Field(0.0, ge=0, lt=1, description="share of features set to zero")
    smoothing: float = Field(
        0.0, ge=0, lt=1, description="share of the probability that the loss gives to all tokens"
    )
    max_tokens: int = Field(64, ge=8, le=1024, description="tokens of the longest text")
    beam: int = Field(1, ge=1, le=64, description="translations kept in the search; 1: greedy")
