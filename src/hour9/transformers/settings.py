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
