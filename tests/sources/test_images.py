import gzip
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hour9.engine.settings import Source
from hour9.sources.images import ImagesRefused, labelled_images, read_idx
from hour9.sources.splits import SourceRefused

MNIST = Path(__file__).parents[3] / "shared/data/images/MNIST/raw"
RED, BLUE = (255, 0, 0), (0, 0, 255)


def idx(array: np.ndarray, magic: bytes = b"\0\0\x08") -> bytes:
    """The format as its authors describe it."""
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    return magic + bytes([array.ndim]) + sizes + array.astype(np.uint8).tobytes()


def read(root: Path, seed: int = 0):
    return labelled_images(Source(kind="path", root=str(root), seed=seed))


@pytest.fixture
def digits(tmp_path):
    """Twenty images to train and three to test, two pixels high and three wide, half packed."""
    for part, count in (("train", 20), ("t10k", 3)):
        images = np.arange(count * 6).reshape(count, 2, 3) % 256
        content = idx(images), idx(np.arange(count) % 10)
        (tmp_path / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(content[0], mtime=0))
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(content[1])
    return tmp_path


def test_idx_files_give_a_row_for_each_image(digits):
    table = read(digits)
    assert table["split"].value_counts().to_dict() == {"train": 18, "validation": 2, "test": 3}
    row = table.set_index("case").loc["t10k-00001"]
    assert row[["split", "label", "height", "width", "colours"]].tolist() == ["test", "1", 2, 3, 1]
    assert list(row["pixels"]) == [6, 7, 8, 9, 10, 11]


def test_the_files_may_lie_in_a_folder_raw(digits, tmp_path):
    plain = read(digits)
    (digits / "raw").mkdir()
    for path in digits.glob("*ubyte*"):
        path.rename(digits / "raw" / path.name)
    assert read(digits).equals(plain)


def test_the_seed_deals_the_validation_images(digits):
    held = [set(t.loc[t["split"] == "validation", "case"]) for t in (read(digits), read(digits, 1))]
    assert held[0] != held[1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "begins with ; an idx file"),
        (b"\x89PNG and so on", "begins with 89 50 4e 47"),
        (idx(np.zeros((2, 2, 2)))[:-1], "shorter or longer"),
        (idx(np.zeros((2, 2, 2))) + b"x", "shorter or longer"),
        (idx(np.zeros((2, 2, 2)), magic=b"\0\0\x0d"), "begins with 00 00 0d 03"),  # floats
        (idx(np.zeros((2, 2))), "begins with 00 00 08 02"),
        (b"\0\0\x08\x03\0\0\0\x02\0\0\0\x02", "ends before its sizes do"),
        (b"\0\0\x08\x03\0\0\0\x02\0\0", "ends before its sizes do"),
        (b"\0\0\x08\x03" + struct.pack(">3I", 2**31, 28, 28), "more than 1,073,741,824 bytes"),
        (gzip.compress(idx(np.zeros((2, 2, 2))), mtime=0)[:-9], "cannot be read"),
        (gzip.compress(b"", mtime=0)[:10] + b"\xff" * 20, "cannot be read.*invalid"),
    ],
)
def test_a_broken_idx_file_is_refused(tmp_path, content, message):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(ImagesRefused, match=message):
        read_idx(tmp_path / "train-images-idx3-ubyte", 3)


def test_a_bomb_is_unpacked_no_further_than_it_announces(tmp_path):
    bomb = gzip.compress(idx(np.zeros((1, 2, 2))) + bytes(50_000_000))
    (tmp_path / "bomb").write_bytes(bomb)
    with pytest.raises(ImagesRefused, match="shorter or longer"):
        read_idx(tmp_path / "bomb", 3)


def test_a_file_that_lies_there_packed_and_unpacked_is_refused(digits):
    packed = digits / "train-images-idx3-ubyte.gz"
    packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
    with pytest.raises(SourceRefused, match="holds train-images-idx3-ubyte and the same"):
        read(digits)


def test_labels_that_are_missing_or_too_few_are_refused(digits):
    labels = digits / "train-labels-idx1-ubyte"
    labels.write_bytes(idx(np.zeros(19)))
    with pytest.raises(ImagesRefused, match="20 images and 19 labels"):
        read(digits)
    labels.unlink()
    with pytest.raises(ImagesRefused, match="no labels beside it; put train-labels-idx1-ubyte"):
        read(digits)


@pytest.mark.skipif(not MNIST.exists(), reason="needs MNIST in ../shared/data/images/MNIST/raw")
def test_mnist_is_read_as_published():
    test = read_idx(MNIST / "t10k-images-idx3-ubyte.gz", 3)
    labels = read_idx(MNIST / "t10k-labels-idx1-ubyte.gz", 1)
    assert test.shape == (10_000, 28, 28)
    assert labels[:5].tolist() == [7, 2, 1, 0, 4]  # as on the first page of every tutorial


def picture(path: Path, colour, size=(3, 2)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L" if isinstance(colour, int) else "RGB", size, colour).save(path)


def test_a_folder_for_each_class_is_read(tmp_path):
    picture(tmp_path / "dark/a.png", 3)
    picture(tmp_path / "light/b.PNG", 250)
    (tmp_path / "light/notes.txt").write_text("no image")
    table = read(tmp_path)
    assert table["case"].tolist() == ["dark/a.png", "light/b.PNG"]
    assert table["label"].tolist() == ["dark", "light"]
    assert table["split"].tolist() == ["", ""]
    assert table[["height", "width", "colours"]].iloc[0].tolist() == [2, 3, 1]
    assert list(table["pixels"][1]) == [250] * 6


def test_folders_of_splits_keep_their_splits_and_colours(tmp_path):
    for split in ("train", "val", "test"):
        picture(tmp_path / split / "fire/1.png", RED)
        picture(tmp_path / split / "water/1.jpg", BLUE)
    table = read(tmp_path).set_index("case")
    assert table.loc["val/fire/1.png", "split"] == "validation"
    assert table.loc["test/fire/1.png", "pixels"] == bytes(RED) * 6
    assert set(table["colours"]) == {3}


@pytest.mark.parametrize(
    ("mode", "name"), [("uint16", "a/1.png"), ("uint8", "a/1.png"), ("uint8", "a/1.bmp")]
)
def test_grey_of_any_depth_is_read_as_bytes(tmp_path, mode, name):
    grey = np.array([[0, 1, 128], [200, 254, 255]], np.uint8)
    (tmp_path / "a").mkdir()
    deep = grey.astype(np.uint16) * 257  # 65,535 is white
    Image.fromarray(deep if mode == "uint16" else grey).save(tmp_path / name)
    row = read(tmp_path).iloc[0]
    assert row["colours"] == 1
    assert row["pixels"] == grey.tobytes()


@pytest.mark.parametrize("prefix", ["", "train/"])
def test_what_is_not_read_is_named_and_what_programs_hide_is_not(tmp_path, capsys, prefix):
    for name in ("a/1.png", "b/1.png", "a/deeper/2.png"):
        picture(tmp_path / prefix / name, 3)
    for name in (".cache/1.png", "__MACOSX/1.png", f"{prefix}a/._1.png"):
        picture(tmp_path / name, 3)
    picture(tmp_path / "z/1.gif", 3)
    assert read(tmp_path)["case"].tolist() == [f"{prefix}a/1.png", f"{prefix}b/1.png"]
    assert f"left out {prefix}a/deeper/2.png, z/1.gif (read are" in capsys.readouterr().err


def test_broken_pictures_are_all_named(tmp_path):
    picture(tmp_path / "a/good.png", 3)
    (tmp_path / "a/bad.png").write_bytes(b"no picture")
    (tmp_path / "b").mkdir()
    whole = (tmp_path / "a/good.png").read_bytes()
    (tmp_path / "b/cut.png").write_bytes(whole[:45])
    with pytest.raises(ImagesRefused, match=r"bad\.png.*cut\.png"):
        read(tmp_path)


def test_a_picture_too_large_to_be_one_is_refused_unopened(tmp_path):
    picture(tmp_path / "a/huge.png", 0, size=(5000, 5000))
    with pytest.raises(ImagesRefused, match="5000 by 5000 pixels"):
        read(tmp_path)


def test_a_picture_that_says_it_is_larger_than_pillow_opens_is_refused_by_name(tmp_path):
    picture(tmp_path / "a/huge.png", 0)
    header = b"IHDR" + struct.pack(">IIBBBBB", 20_000, 20_000, 8, 0, 0, 0, 0)
    whole = (tmp_path / "a/huge.png").read_bytes()
    checked = header + struct.pack(">I", zlib.crc32(header))
    (tmp_path / "a/huge.png").write_bytes(whole[:12] + checked + whole[33:])
    with pytest.raises(ImagesRefused, match=r"huge\.png"):
        read(tmp_path)


def test_a_place_without_images_is_refused(tmp_path):
    with pytest.raises(ImagesRefused, match="is no folder"):
        read(tmp_path / "nowhere")
    with pytest.raises(ImagesRefused, match="neither idx files"):
        read(tmp_path)


@pytest.mark.parametrize("mode", ["1", "LA"])
def test_black_and_white_and_grey_that_is_seen_through_are_grey(tmp_path, mode):
    (tmp_path / "a").mkdir()
    Image.new("L", (3, 2), 255).convert(mode).save(tmp_path / "a/1.png")
    row = read(tmp_path).iloc[0]
    assert (row["colours"], row["pixels"]) == (1, b"\xff" * 6)


def test_idx_files_may_be_named_for_validation(digits):
    for kind, last in (("images-idx3", ".gz"), ("labels-idx1", "")):
        copy = (digits / f"t10k-{kind}-ubyte{last}").read_bytes()
        (digits / f"val-{kind}-ubyte{last}").write_bytes(copy)
    table = read(digits)
    assert table["split"].value_counts().to_dict() == {"train": 20, "validation": 3, "test": 3}
