"""Labelled images as people keep them: MNIST's idx files, or a folder for each class.

`train-images-idx3-ubyte.gz` and its three siblings, as MNIST and Fashion-MNIST come, packed or
not; or PNG, JPEG and BMP files in `<class>/`, or in `<split>/<class>/`. Either gives a table with
the columns case, split, label, height, width, colours (1: grey, 3: red, green, blue) and pixels:
the bytes of an image in reading order, its colours side by side.
"""

import gzip
import math
import re
import struct
import zlib
from io import BufferedReader
from pathlib import Path

import numpy as np
import pandas as pd

from hour9.engine.settings import Source
from hour9.sources.splits import (
    SourceRefused,
    files_of,
    hidden,
    raw_of,
    split_of,
    tell_left_out,
    with_all_splits,
)
from hour9.wording import some

IDX = re.compile(r"-images.idx3-ubyte")
UNSIGNED_BYTE = 8  # idx's code of the only number format that images come in
LARGEST = 1 << 30  # bytes of an idx file's content
MOST_PIXELS = 1 << 24  # of one image: what is larger is no training image, or a bomb
PICTURES = (".png", ".jpg", ".jpeg", ".bmp")


class ImagesRefused(SourceRefused):
    """The images cannot be read; the message says where, and what to do."""


def labelled_images(source: Source) -> pd.DataFrame:
    """A row for each image below `source.root`. Raises SourceRefused."""
    root = Path(source.root)
    if not root.is_dir():
        raise ImagesRefused(f"'{root}' is no folder; set source.root to one that holds images")
    files = files_of(raw_of(root, IDX.search), IDX.search)
    table = of_idx(files) if files else of_class_folders(root)
    return with_all_splits(table, source.seed)


# MNIST's format


def of_idx(files: list[Path]) -> pd.DataFrame:
    """Each file of images with the file of labels that its name leads to."""
    parts = []
    for path in files:
        part = path.name.partition("-images")[0]
        images, labels = read_idx(path, 3), read_idx(labels_beside(path), 1)
        if len(images) != len(labels):
            raise ImagesRefused(f"{path} has {len(images)} images and {len(labels)} labels")
        frame = pd.DataFrame({"case": [f"{part}-{i:05d}" for i in range(len(images))]})
        parts.append(
            frame.assign(
                split="test" if part == "t10k" else split_of(part),
                label=labels.astype(str),
                height=images.shape[1],
                width=images.shape[2],
                colours=1,
                pixels=[image.tobytes() for image in images],
            )
        )
    return pd.concat(parts, ignore_index=True)


def labels_beside(images: Path) -> Path:
    """`train-labels-idx1-ubyte.gz` for `train-images-idx3-ubyte.gz`, packed or not."""
    name = images.name.replace("images", "labels").replace("idx3", "idx1").removesuffix(".gz")
    for path in (images.with_name(name), images.with_name(f"{name}.gz")):
        if path.exists():
            return path
    raise ImagesRefused(f"{images} has no labels beside it; put {name} or {name}.gz there")


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """The array in a file: two zeros, the number format, how many sizes, the sizes, the numbers.

    No more is unpacked than the sizes announce.
    """
    try:
        with opened(path) as file:
            magic, announced = file.read(4), file.read(4 * dimensions)
            if magic != bytes([0, 0, UNSIGNED_BYTE, dimensions]):
                raise ImagesRefused(
                    f"{path} begins with {magic.hex(' ')}; an idx file of bytes in {dimensions} "
                    f"dimensions begins with 00 00 08 {dimensions:02x}"
                )
            if len(announced) < 4 * dimensions:
                raise EOFError("it ends before its sizes do")
            shape = struct.unpack(f">{dimensions}I", announced)
            length = math.prod(shape)
            if length > LARGEST:
                raise ImagesRefused(f"{path} announces {shape}, more than {LARGEST:,} bytes")
            content = file.read(length + 1)
    except (EOFError, OSError, zlib.error) as error:
        raise ImagesRefused(f"{path} cannot be read ({error}); fetch it again") from None
    if len(content) != length:
        raise ImagesRefused(f"{path} announces {shape} but is shorter or longer; fetch it again")
    return np.frombuffer(content, np.uint8).reshape(shape)


def opened(path: Path) -> gzip.GzipFile | BufferedReader:
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path) if packed else path.open("rb")


# A folder for each class


def of_class_folders(root: Path) -> pd.DataFrame:
    """A file an image, in a folder that is its label. Every broken file is named at once."""
    from PIL.Image import DecompressionBombError

    rows, broken = [], []
    for path, split, label in pictures(root):
        try:
            rows.append((path.relative_to(root).as_posix(), split, label, *read_picture(path)))
        except (OSError, ValueError, SyntaxError, DecompressionBombError) as error:
            broken.append(f"{path} ({error})")
    if broken:
        raise ImagesRefused(f"no images: {some(broken, '; ')}; take them out")
    if not rows:
        raise ImagesRefused(
            f"'{root}' holds neither idx files (train-images-idx3-ubyte) nor folders of "
            f"{', '.join(PICTURES)} files; set source.root to a folder that does"
        )
    columns = ["case", "split", "label", "height", "width", "colours", "pixels"]
    return pd.DataFrame(rows, columns=columns)


def pictures(root: Path) -> list[tuple[Path, str, str]]:
    """Files with their split and label. What is no picture, or too deep, is left out, aloud.

    Folders are splits where the name of each says so, or where one that does holds folders of
    pictures.
    """
    folders = sorted(path for path in root.iterdir() if path.is_dir() and not hidden(path.name))
    splits = {path: split for path in folders if (split := split_of(path.name))}
    in_splits = len(splits) == len(folders) or any(pictures_in(folder) for folder in splits)
    found = [
        (path, split, path.parent.name)
        for folder, split in (splits if in_splits else {root: ""}).items()
        for path in pictures_in(folder)
    ]
    others = {path.relative_to(root) for path in root.rglob("*") if path.is_file()}
    others -= {path.relative_to(root) for path, _, _ in found}
    tell_left_out(
        root,
        [path.as_posix() for path in sorted(others) if not any(map(hidden, path.parts))],
        f"read are {', '.join(PICTURES)} in <class>/ or <split>/<class>/",
    )
    return found


def pictures_in(folder: Path) -> list[Path]:
    """The pictures in a folder's folders."""
    return sorted(
        path
        for path in folder.glob("*/*")
        if path.suffix.lower() in PICTURES and not (hidden(path.name) or hidden(path.parent.name))
    )


def read_picture(path: Path) -> tuple[int, int, int, bytes]:
    """Height, width, colours and pixels of one file."""
    from PIL import Image

    with Image.open(path, formats=("PNG", "JPEG", "BMP")) as image:
        if image.width * image.height > MOST_PIXELS:
            raise ValueError(f"{image.width} by {image.height} pixels; {MOST_PIXELS:,} at most")
        if image.mode.startswith("I"):  # 16 bits of grey, which convert would clip at 255
            plain = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        else:
            plain = image.convert("L" if image.mode in ("1", "L", "LA") else "RGB")
    return plain.height, plain.width, len(plain.getbands()), plain.tobytes()
