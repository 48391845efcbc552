"""What people write in params.yaml: where data comes from, and the knobs all candidates share.

An architecture adds its own knobs in its topic's settings.py.
"""

import importlib
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, PositiveInt, ValidationInfo, field_validator

from hour9.params import UnknownName, read_params


@dataclass(frozen=True)
class Searched:
    """Marks the type of a field that `hour9 sweep` varies: from a `factor`-th of what it is to
    `factor` times it, evenly on a logarithmic scale, or from `low` to `high`."""

    factor: float = 0.0
    low: float = 0.0
    high: float = 0.0


StepSize = Annotated[float, Searched(factor=5)]
Dropout = Annotated[float, Searched(low=0.0, high=0.8)]


class Source(BaseModel, frozen=True, extra="forbid"):
    """Where a task's raw data comes from."""

    kind: Literal["embedded", "path", "planetoid", "hub"] = Field(
        "embedded",
        description="embedded: made here; path: files at `root`; planetoid: the citation graphs' "
        "files at `root`/`name`/raw; hub: downloaded by `name`",
    )
    root: str = Field(description="relative file or folder that the data depends on")
    name: str = Field("", description="which set, e.g. 'Cora' or 'stanfordnlp/sst2'")
    env: str = Field("", description="a Gymnasium environment, e.g. 'CartPole-v1'")
    size: PositiveInt = Field(1000, description="rows to generate, or episodes to hold at most")
    seed: int = Field(
        0,
        ge=0,
        lt=2**32,
        description="seeds the generator, and a split that is drawn here; cases without one are "
        "dealt by their names, whatever the seed",
    )
    fold: int = Field(
        -1,
        ge=-1,
        lt=10,
        description="graphs of classes in files: which tenth is held out, each with the same "
        "shares of the classes; -1: dealt by the graphs' names, or as the file says",
    )
    apart: bool = Field(
        False,
        description="labelled texts: leave out of training what stands, word for word, within a "
        "text of validation or test, as phrases of GLUE's SST-2 do",
    )


class Settings(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """What any training may vary."""

    task: str = Field(description="the task that the candidate is trained for")
    topic: Literal["transformers", "graphs", "rl"]
    parent: str = Field(description="folder that training starts from: data, or older weights")
    architecture: str = Field(description="which model of the topic")
    seed: int = Field(
        0, ge=0, lt=2**32, description="seeds Python, NumPy, Torch and the environments"
    )
    threads: int = Field(1, ge=1, le=64, description="CPU threads; part of the result's identity")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where to train")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="number format of the matrix products; on a GPU, TF32 is fp32's"
    )
    tolerance: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="how far a reproduction's numbers may be away, in relation to their size; on a "
        "GPU sums come in any order",
    )


class Supervised(Settings, frozen=True, extra="forbid"):
    """What a training by gradient descent on labelled cases may vary."""

    epochs: PositiveInt = Field(10, description="passes over the training cases at most")
    batch_size: PositiveInt = Field(32, description="cases whose gradient is computed at once")
    accumulate: PositiveInt = Field(1, description="batches whose mean gradient makes one update")
    learning_rate: StepSize = Field(1e-3, gt=0, lt=1, description="AdamW's step size at its peak")
    weight_decay: Annotated[float, Searched(low=0.0, high=0.2)] = Field(
        0.0, ge=0, lt=1, description="AdamW's decoupled decay"
    )
    warmup: float = Field(0.0, ge=0, lt=1, description="share of updates until the peak")
    decay: bool = Field(True, description="fall linearly to zero after the peak, or stay there")
    patience: PositiveInt = Field(5, description="epochs without a better validation score")
    clip: float = Field(1.0, gt=0, description="largest norm of a gradient")
    processes: int = Field(
        1, ge=1, le=64, description="processes that share out the batches of an update"
    )

    @field_validator("processes")
    @classmethod
    def shares_evenly(cls, processes: int, info: ValidationInfo) -> int:
        """Processes get whole batches: an update must have some for each of them."""
        accumulate = info.data.get("accumulate", processes)
        if accumulate % processes:
            raise ValueError(
                f"processes share out the batches of an update: accumulate ({accumulate}) must be "
                "a multiple of it"
            )
        return processes


def load_settings(name: str) -> Any:
    """The candidate's section of params.yaml, checked by its architecture's class."""
    candidates = read_params()["candidates"]
    if name not in candidates:
        known = ", ".join(candidates)
        raise UnknownName(f"no candidate '{name}' in params.yaml; there are {known}")
    section = candidates[name]
    return settings_class(section["topic"], section["architecture"])(**section)


def settings_class(topic: str, architecture: str) -> type[Settings]:
    """The class in the topic's settings.py whose `architecture` is this one."""
    module = importlib.import_module(f"hour9.{topic}.settings")
    known = {
        choice: kind
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Settings)
        for choice in getattr(kind.model_fields["architecture"].annotation, "__args__", ())
    }
    if architecture not in known:
        raise UnknownName(
            f"no architecture '{architecture}' in {topic}; there are {', '.join(known)}"
        )
    return known[architecture]
