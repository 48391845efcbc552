"""Settings from the command line: `--set epochs=3 --set precision=bf16`, as in params.yaml."""

from collections.abc import Iterable
from typing import Any

from ruamel.yaml import YAML


def read_changes(said: Iterable[str]) -> dict[str, Any]:
    """`key=value`, each value read as params.yaml's are."""
    pairs = (change.partition("=") for change in said)
    return {key: YAML(typ="safe").load(value) for key, _, value in pairs}
