"""dvc.lock, read and rewritten a stage at a time.

DVC parses and writes the whole file, formatting and all, for each stage that ends, and reads
params.yaml anew for each stage's parameters: seconds for a DAG of this size, most of what a run
spends between stages. Here only what changed is read and written, and the rest is kept. The bytes
are those that DVC would have written.
"""

from __future__ import annotations

import marshal
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

DVC_LOCK = "dvc.lock"
HEAD = "schema: '2.0'\nstages:\n"
NAME = re.compile(r"^  (\S+):$", re.MULTILINE)
STAGE = re.compile(r"^  (?=\S)", re.MULTILINE)  # a stage's name is indented by two


def names() -> list[str]:
    """The stages of dvc.lock in its order, read without DVC."""
    file = Path(DVC_LOCK)
    return NAME.findall(file.read_text()) if file.exists() else []


def entries(wanted: Iterable[str]) -> dict[str, Any]:
    """What dvc.lock holds of these stages: names and hashes. KeyError for one that it lacks."""
    text, wanted = Path(DVC_LOCK).read_text(), list(wanted)
    blocks = [block for block in split(text) if block.partition(":\n")[0] in wanted]
    yaml = YAML(typ="safe", pure=True)
    known = yaml.load("".join(blocks)) if blocks else yaml.load(text)["stages"]
    return {name: known[name] for name in wanted}


def split(text: str) -> list[str]:
    """The text of each stage, without its first indent; nothing where it is no dvc.lock."""
    return STAGE.split(text.removeprefix(HEAD))[1:] if text.startswith(HEAD) else []


def parse_yaml(text: str, path: os.PathLike[str] | str, typ: str = "safe") -> Any:
    """In the place of DVC's `parse_yaml`: what it gives, and what was read once is not read again.

    A dvc.lock is remembered by its stages.
    """
    from dvc.utils import serialize

    if typ == "safe":
        try:
            blocks = split(text)
            stages = {name: entry for b in blocks for name, entry in remembered("  " + b).items()}
            if blocks and len(stages) == len(blocks):
                return {"schema": "2.0", "stages": stages}
            return remembered(text)
        except (serialize.YAMLFileCorruptedError, ValueError, AttributeError):
            pass  # said below, with the file's name and the line
    return serialize.parse_yaml(text, path, typ)


def remembered(text: str) -> Any:
    """The content of a YAML text, the caller's own. ValueError for what JSON could not hold."""
    return marshal.loads(packed(text))


@lru_cache(maxsize=4096)  # texts: about a dozen runs of every stage
def packed(text: str) -> bytes:
    from dvc.utils.serialize import parse_yaml as parse

    return marshal.dumps(parse(text, DVC_LOCK))


@contextmanager
def modify(path: os.PathLike[str] | str, fs: Any = None) -> Iterator[dict[str, Any]]:
    """In the place of DVC's `modify_yaml`: the file's content, written back after the block.

    A dvc.lock is replaced in one step, so that a process killed meanwhile leaves the old or the
    new one. Any other file, and a dvc.lock with more in it than stages, is left to DVC.
    """
    from dvc.utils.serialize import dumps_yaml, modify_yaml

    file = Path(path)
    text = file.read_text() if file.name == DVC_LOCK and file.exists() else ""
    data = parse_yaml(text, path) if text.startswith(HEAD) else {}
    blocks = split(text)
    if set(data) != {"schema", "stages"} or len(blocks) != len(data["stages"]):
        with modify_yaml(path, fs=fs) as everything:
            yield everything
        return
    known = dict(
        zip(data["stages"], zip(data["stages"].values(), blocks, strict=True), strict=True)
    )
    yield data
    lines = [HEAD]
    for name, entry in data["stages"].items():
        old, block = known.get(name, (None, ""))
        if entry is old:
            lines.append("  " + block)
        else:
            lines.append(dumps_yaml({"stages": {name: entry}}).removeprefix("stages:\n"))
    half = file.with_name(f".{DVC_LOCK}.{os.getpid()}")
    half.write_text("".join(lines))
    half.replace(file)
