"""params.yaml as it stands, and where the stages put things. `config.py` is the typed view."""

import os
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

PARAMS = Path("params.yaml")
LOCK = Path("requirements.lock")
RAW = Path("data/raw")
DATA = Path("data")
WEIGHTS = Path("data/weights")
MODELS = Path("models")
REPORTS = Path("reports")
PAGE = REPORTS / "index.html"
STANDING = REPORTS / "standing.json"  # the page's table, for programs
RECEIPTS = Path("mlruns/receipts")
STATE = Path(".hour9")


def read_params(path: Path = PARAMS) -> dict[str, Any]:
    """Read with YAML 1.2, as DVC does, so that 1e-3 is a number for both."""
    try:
        found = deepcopy(parse(path.read_text(encoding="utf-8")))  # no other reader's changes
    except YAMLError as error:
        where = " ".join(str(error).split())[:200]
        raise BadSetting(f"{path} is no YAML: {where}") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise BadSetting(f"{path} is no UTF-8: line {line}") from None
    except RecursionError:
        raise BadSetting(f"{path} is nested too deeply") from None
    back = f"; git checkout {path} brings back the last ones"
    if not isinstance(found, dict):
        raise BadSetting(f"{path} holds no settings{back}")
    for place in ("tasks", "candidates"):  # what every command asks for
        if not isinstance(found.get(place), dict):
            raise BadSetting(f"{path}: {place} holds no settings{back}")
        for name, section in found[place].items():
            if not isinstance(section, dict):
                raise BadSetting(f"{path}: {place}.{name} holds no settings{back}")
    return found


@lru_cache(maxsize=1)
def parse(text: str) -> Any:
    """Kept: it takes a tenth of a second, and the text seldom changes while a process runs."""
    return YAML(typ="safe", pure=True).load(text)


def write_whole(path: Path, text: str) -> None:
    """All of it or, where the process dies meanwhile, what stood there before."""
    scratch = path.with_name(f"{path.name}.part")
    scratch.write_text(text, encoding="utf-8")
    scratch.replace(path)


def check_relative(place: str) -> None:
    """An absolute path would make dvc.lock differ from machine to machine."""
    if not place:
        raise NotRelative("an empty path; write one relative to the project")
    if Path(place).is_absolute():
        raise NotRelative(
            f"the absolute path {place}; write it relative to the project: {os.path.relpath(place)}"
        )


class BadSetting(ValueError):  # noqa: N818 - reads as a sentence where it is raised
    """A key that does not exist, or a value that does not fit; every one of them is named."""


class NotRelative(ValueError):  # noqa: N818 - reads as a sentence where it is raised
    """A path that would write this machine's folders into dvc.lock, or none at all."""


class Refused(ValueError):  # noqa: N818 - reads as a sentence where it is raised
    """What a person asked for cannot be done; the message says what can."""


class UnknownName(ValueError):  # noqa: N818 - reads as a sentence where it is raised
    """A name that nobody defined; the message lists those that exist."""
