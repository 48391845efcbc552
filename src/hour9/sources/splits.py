"""The files of a source, and the splits that their names speak of.

Where there is no validation file, a share of train becomes validation; where there is no test
file, the validation file becomes test, as is usual with GLUE; where there is but one split, it is
left empty and `validate` deals it.
"""

import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hour9.wording import some

SPLIT_WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("dev", "val", "valid", "validation"), "validation"),
    "test": "test",
}
CARVED = 0.1  # share of train that becomes validation where there is none
FOLDS = 10


class SourceRefused(ValueError):  # noqa: N818 - reads as a sentence where it is raised
    """The source cannot be read; the message says where, and what to do."""


def files_of(folder: Path, fits: Callable[[str], object]) -> list[Path]:
    """The files whose names fit, sorted, without what programs hide there.

    Raises SourceRefused where one lies there both packed and not, as `gunzip -k` leaves it: its
    cases would count twice.
    """
    fitting = (p for p in folder.iterdir() if fits(p.name) and not hidden(p.name))
    paths = sorted(path for path in fitting if path.is_file())
    names = {path.name for path in paths}
    if twins := sorted(name for name in names if f"{name}.gz" in names):
        raise SourceRefused(
            f"'{folder}' holds {', '.join(twins)} and the same with .gz; keep one of each"
        )
    return paths


def raw_of(folder: Path, fits: Callable[[str], object]) -> Path:
    """The folder or, where it holds no file whose name fits, the one called raw in it: there PyG
    and torchvision keep them."""
    raw = folder / "raw"
    here = folder.is_dir() and any(fits(path.name) for path in folder.iterdir())
    return raw if raw.is_dir() and not here else folder


def hidden(name: str) -> bool:
    """Whether a program keeps it for itself: .DS_Store, .ipynb_checkpoints, __MACOSX."""
    return name.startswith(".") or name == "__MACOSX"


def split_of(name: str) -> str:
    """The split that a name speaks of; empty where it speaks of none."""
    words = re.split(r"[^a-z]+", name.lower())
    return next((SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS), "")


class MissingFile(FileNotFoundError):  # noqa: N818 - reads as a sentence where it is raised
    """A file of the source is not there; the message says which."""


def splits_of(root: Path, names: Iterable[str]) -> dict[str, str]:
    """The split that each file's name speaks of, or none for all.

    Raises SourceRefused where some do and some do not: dealt by chance, an extract of train would
    be in test.
    """
    splits = {name: split_of(name) for name in names}
    if any(splits.values()) and (unnamed := [name for name, split in splits.items() if not split]):
        raise SourceRefused(
            f"'{root}': which split is {some(unnamed)}? Let the name begin with train, validation "
            "or test, or take it out of the folder"
        )
    return splits


def tell_splits(splits: Mapping[str, str]) -> None:
    """Say which files are named for which split, as several may make up one."""
    told = [
        f"named {split or 'for no split'}: {', '.join(files)}"
        for split in dict.fromkeys((*SPLIT_WORDS.values(), ""))
        if (files := [name for name, its in splits.items() if its == split])
    ]
    print("; ".join(told), file=sys.stderr)


def tell_left_out(root: Path, names: Sequence[str], why: str) -> None:
    """Say which files are not read, if there are any."""
    if names:
        print(f"'{root}': left out {some(names)} ({why})", file=sys.stderr)


def at_random(count: int, train: float, validation: float, seed: int) -> NDArray[np.object_]:
    """A split for each of so many: these shares of them, and test for the rest."""
    place = np.random.default_rng(seed).permutation(count) / max(count, 1)
    found = np.select(
        [place < train, place < train + validation], ["train", "validation"], default="test"
    )
    return found.astype(object)


def in_folds(
    target: pd.Series, fold: int, seed: int, group: NDArray[np.int64] | None = None
) -> NDArray[np.object_]:
    """A split for each case: of ten parts with equal shares of each class, part `fold` is for test,
    the next one for validation. The ten folds make a cross-validation. Cases of one `group` are in
    one part, as far as that goes with the shares.

    Raises SourceRefused where a class has too few cases, or the targets are no classes.
    """
    if pd.api.types.is_float_dtype(target):
        raise SourceRefused(
            "folds are dealt by class, but these targets are numbers; set fold to -1"
        )
    if scarce := [f"'{name}' has {n}" for name, n in target.value_counts().items() if n < FOLDS]:
        raise SourceRefused(
            f"{FOLDS} folds need as many cases of each class, but {some(scarce)}; set fold to -1"
        )
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    found = np.full(len(target), "train", dtype=object)
    kind = StratifiedKFold if group is None else StratifiedGroupKFold
    parts = kind(FOLDS, shuffle=True, random_state=seed).split(target, target, group)
    for number, (_, part) in enumerate(parts):
        if number == fold:
            found[part] = "test"
        elif number == (fold + 1) % FOLDS:
            found[part] = "validation"
    return found


def with_all_splits(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The table with a train, a validation and a test, or with none at all.

    Where there is but one, it is shared out anew. Raises SourceRefused where there is too little to
    share, or where of several none is for training, or one is for nothing.
    """
    splits = set(table["split"])
    if len(splits) <= 1:
        return table.assign(split="")
    if "train" not in splits:
        raise SourceRefused(
            f"of {some(sorted(splits))} none is named train; name one so, or give all the same name"
        )
    if "" in splits:
        raise SourceRefused("a part is neither train, validation nor test: say by its name which")
    table = table.copy()
    if "test" not in splits:
        table["split"] = table["split"].replace("validation", "test")
    if "validation" not in splits or "test" not in splits:
        train = np.flatnonzero(table["split"] == "train")
        if len(train) < 2:
            raise SourceRefused(
                "one case to train on leaves none for validation; add cases, or files for all of "
                "train, validation and test"
            )
        order = np.random.default_rng(seed).permutation(train)
        table.loc[order[: max(1, round(CARVED * len(train)))], "split"] = "validation"
    return table
