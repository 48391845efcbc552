"""The stage that brings pre-trained weights in: from a package, a folder or a hub.

Only files are taken, never code; safetensors and JSON, never pickle; and nothing is used
before its SHA-256 is the one in params.yaml.
"""

import hashlib
import shutil
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from hour9.params import WEIGHTS, UnknownName, read_params
from hour9.transformers.settings import WeightsConfig

MODEL = "model.safetensors"
TOKENIZER = ("tokenizer.json", "vocab.txt")  # either will do
OPTIONAL = ("tokenizer_config.json", "special_tokens_map.json")
WANTED = (MODEL, "config.json", *TOKENIZER, *OPTIONAL)


class WeightsRefused(Exception):  # noqa: N818 - reads as a sentence where it is raised
    """The weights are missing, incomplete, pickled, or not those that params.yaml names."""


def weights(name: str) -> None:
    """Write `data/weights/<name>/`, whole or not at all. Raises WeightsRefused, UnknownName."""
    known = read_params().get("weights", {})
    if name not in known:
        raise UnknownName(f"no weights '{name}' in params.yaml; there are {', '.join(known)}")
    config = WeightsConfig(**known[name])
    bring(find(name, config), WEIGHTS / name, config.sha256, name)


def find(name: str, config: WeightsConfig) -> dict[str, Path]:
    """The wanted files, by name."""
    if config.kind == "package":
        paths = of_package(config.name)
    elif config.kind == "path":
        paths = of_folder(Path(config.root))
    else:
        paths = of_hub(config.name)
    found = {path.name: path for path in paths if path.is_file()}
    lacks = [file for file in (MODEL, "config.json") if file not in found]
    if not any(file in found for file in TOKENIZER):
        lacks.append(" or ".join(TOKENIZER))
    if lacks:
        pickled = sorted(path for path in found if path.endswith((".bin", ".pt", ".pth", ".ckpt")))
        hint = f"; {pickled[0]} is pickled and never read: convert it to {MODEL}" * bool(pickled)
        raise WeightsRefused(f"weights.{name} ({config.kind}) has no {', '.join(lacks)}{hint}")
    return {file: found[file] for file in WANTED if file in found}


def of_package(package: str) -> Iterable[Path]:
    """The files beside the package's one model.safetensors; importing nothing of it."""
    try:
        files = distribution(package).files or []
    except PackageNotFoundError:
        raise WeightsRefused(
            f"package '{package}' is not installed; install requirements.lock, or set "
            "weights.<name>.kind to path or hub"
        ) from None
    models = sorted(str(file.locate()) for file in files if file.name == MODEL)
    if len(models) > 1:
        raise WeightsRefused(f"package '{package}' carries several {MODEL}: {models}")
    return of_folder(Path(models[0]).parent) if models else []


def of_folder(folder: Path) -> Iterable[Path]:
    """What lies in a local folder."""
    if not folder.is_dir():
        raise WeightsRefused(f"'{folder}' is no folder; weights.<name>.root must be one")
    return sorted(folder.iterdir())


def of_hub(name: str) -> Iterable[Path]:
    """The wanted files of a Hugging Face repository, `owner/model` or `owner/model@revision`."""
    from huggingface_hub import snapshot_download

    repository, _, revision = name.partition("@")
    folder = snapshot_download(repository, revision=revision or None, allow_patterns=list(WANTED))
    return of_folder(Path(folder))


def bring(files: dict[str, Path], folder: Path, sha256: str, name: str) -> None:
    """Copy beside the target, check the copy, then rename it into place."""
    scratch = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        for file, path in files.items():
            shutil.copyfile(path, scratch / file)
        found = digest(scratch / MODEL)
        if found != sha256:
            raise WeightsRefused(
                f"weights.{name}: {MODEL} has SHA-256 {found}, params.yaml wants {sha256}; "
                "nothing was written"
            )
        shutil.rmtree(folder, ignore_errors=True)
        scratch.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def digest(path: Path) -> str:
    """SHA-256 of a file, in lower-case hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
