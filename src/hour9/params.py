"""params.yaml as it stands, and where the stages put things. `config.py` is the typed view."""

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

PARAMS = Path("params.yaml")
LOCK = Path("requirements.lock")
RAW = Path("data/raw")
DATA = Path("data")
WEIGHTS = Path("data/weights")
MODELS = Path("models")
REPORTS = Path("reports")
RECEIPTS = Path("mlruns/receipts")
STATE = Path(".hour9")


def read_params(path: Path = PARAMS) -> dict[str, Any]:
    """Read with YAML 1.2, as DVC does, so that 1e-3 is a number for both."""
    return YAML(typ="safe", pure=True).load(path.read_text())


class UnknownName(ValueError):  # noqa: N818 - reads as a sentence where it is raised
    """A name that nobody defined; the message lists those that exist."""
