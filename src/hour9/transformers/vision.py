"""The task `vision`: what does an image show?

Tables: `images` (case, height, width, colours, pixels) and `cases`, whose target is the name of a
class. Pixels are bytes from 0 to 255 in reading order, the colours of a pixel side by side.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from hour9.engine.settings import Source
from hour9.params import Refused
from hour9.sources.digits import BRIGHTEST, SIDE, choose_images, load_images
from hour9.sources.fingerprints import of_images
from hour9.sources.images import labelled_images
from hour9.task import Answer, Tables, Task

if TYPE_CHECKING:
    from great_expectations.expectations import Expectation

    from hour9.engine.run import Run

LARGEST = 512  # pixels a side
LOOSENESS = (0.1, 1.0, 10.0, 100.0)  # inverse penalties that the regression may choose from
NEIGHBOURS = (1, 3, 5, 10)
NOISE = 0.1  # of white, the standard deviation on a perturbed image
MOVED = 16  # a perturbed image moves by up to one part in so many of its height
ENOUGH = 5000  # training images that the baselines are fitted on, at most


def ingest(source: Source) -> Tables:
    """scikit-learn's digits, or the images of a folder; every class is a slice."""
    if source.kind not in ("embedded", "path"):
        raise Refused(f"source.kind is {source.kind}; vision reads embedded and path")
    table = digits(source) if source.kind == "embedded" else labelled_images(source)
    cases = table[["case", "split"]].assign(
        target=table["label"], **{"group.class": table["label"]}
    )
    return {"images": table.drop(columns=["split", "label"]), "cases": cases}


def digits(source: Source) -> pd.DataFrame:
    """`source.size` of them, as labelled images of bytes; they have no split of their own."""
    pixels, labels = load_images()
    numbers = choose_images(source, len(labels))
    grey = (pixels[numbers] * 255 / BRIGHTEST).round().astype(np.uint8)
    return pd.DataFrame(
        {
            "case": [f"digit-{number:04d}" for number in numbers],
            "split": "",
            "label": labels[numbers].astype(str),
            "height": SIDE,
            "width": SIDE,
            "colours": 1,
            "pixels": [image.tobytes() for image in grey],
        }
    )


def contract(tables: Tables) -> dict[str, list[Expectation]]:
    """One image a case, all of one shape; at least two classes, and none that train lacks."""
    from great_expectations import expectations as expect

    from hour9.sources.references import ExpectColumnValuesToStandIn
    from hour9.transformers.image_rules import ExpectColumnValuesToBeImages

    images, cases = tables["images"], tables["cases"]
    size = int(images[["height", "width", "colours"]].head(1).prod(axis=1).sum())
    known = cases.loc[cases["split"] == "train", "target"].dropna().unique().tolist()

    def whole(columns: list[str]) -> list[Expectation]:
        return [
            expect.ExpectTableRowCountToBeBetween(min_value=1),
            expect.ExpectTableColumnsToMatchSet(column_set=columns, exact_match=True),
            *(expect.ExpectColumnValuesToNotBeNull(column=column) for column in columns),
            expect.ExpectColumnValuesToBeUnique(column="case"),
        ]

    def alike(column: str, low: int, high: int) -> list[Expectation]:
        return [
            expect.ExpectColumnValuesToBeBetween(column=column, min_value=low, max_value=high),
            expect.ExpectColumnUniqueValueCountToBeBetween(column=column, max_value=1),
        ]

    return {
        "images": [
            *whole(["case", "height", "width", "colours", "pixels"]),
            *alike("height", 1, LARGEST),
            *alike("width", 1, LARGEST),
            *alike("colours", 1, 3),
            ExpectColumnValuesToBeImages(column="pixels", size=size),
        ],
        "cases": [
            *whole(["case", "split", "target", "group.class"]),
            ExpectColumnValuesToStandIn(column="case", place="images.case"),
            expect.ExpectColumnValuesToMatchRegex(column="target", regex=r"\S"),
            expect.ExpectColumnValuesToBeInSet(column="target", value_set=known),
            expect.ExpectColumnUniqueValueCountToBeBetween(column="target", min_value=2),
        ],
    }


def pixels_of(tables: Tables) -> tuple[pd.DataFrame, np.ndarray]:  # -> N rows, (N, X, Y, K)
    """The cases, and the image of each."""
    data = tables["cases"].merge(tables["images"], on="case", validate="1:1")
    shape = data[["height", "width", "colours"]].iloc[0]
    flat = np.frombuffer(b"".join(data["pixels"]), np.uint8)
    return data, flat.reshape(len(data), *shape)


def train(run: Run) -> None:
    """A vision Transformer, from scratch."""
    from hour9.transformers.vit import train_vit

    train_vit(run, *pixels_of(run.tables))


def score(folder: Path, tables: Tables) -> pd.DataFrame:
    """1 where the class is found, 0 elsewhere; confidence is the probability of the class given."""
    from hour9.transformers.vit import load_vit

    data, pixels = pixels_of(tables)
    found, confidence = load_vit(folder).answer(pixels)
    right = (found == data["target"].to_numpy()).astype(float)
    return pd.DataFrame({"case": data["case"], "score": right, "confidence": confidence})


def baseline(tables: Tables) -> pd.DataFrame:
    """Logistic regression on the pixels and, beside it, the nearest neighbours' vote.

    Fitted on at most ENOUGH training images; validation picks the penalty and the number.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier

    data, pixels = pixels_of(tables)
    x, target = pixels.reshape(len(data), -1) / 255, data["target"].to_numpy()
    train, held = (np.flatnonzero(data["split"] == split) for split in ("train", "validation"))
    train, held = (
        rows if len(rows) <= ENOUGH else np.random.default_rng(0).permutation(rows)[:ENOUGH]
        for rows in (train, held)
    )
    rivals = {
        "score": [LogisticRegression(C=loose, max_iter=1000) for loose in LOOSENESS],
        "baseline.neighbours": [
            KNeighborsClassifier(min(number, len(train))) for number in NEIGHBOURS
        ],
    }
    scores = {"case": data["case"]}
    for column, models in rivals.items():
        fitted = [model.fit(x[train], target[train]) for model in models]
        best = max(fitted, key=lambda model: model.score(x[held], target[held]))
        scores[column] = (best.predict(x) == target).astype(float)
    return pd.DataFrame(scores)


def fingerprint(tables: Tables) -> pd.DataFrame:
    """The same picture in another place of the image, or in another light, is the same case."""
    data, pixels = pixels_of(tables)
    return of_images(data["case"], pixels)


def perturb(tables: Tables, seed: int) -> Tables:
    """Each image moved a little to any side, and with noise on it."""
    from scipy.ndimage import shift

    random = np.random.default_rng(seed)
    data, pixels = pixels_of(tables)
    most = pixels.shape[1] / MOVED
    moves = random.uniform(-most, most, (len(pixels), 2))  # pixels down, and to the right
    moved = np.stack(
        [
            shift(image.astype(float), (*move, 0), order=1, mode="nearest")
            for image, move in zip(pixels, moves, strict=True)
        ]
    )
    noisy = moved + random.normal(0, NOISE * 255, moved.shape)
    worse = noisy.round().clip(0, 255).astype(np.uint8)
    images = data[["case", "height", "width", "colours"]]
    return {**tables, "images": images.assign(pixels=[image.tobytes() for image in worse])}


def answer(folder: Path) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Requests with a column `pixels`, a flat list of numbers in each -> label, confidence."""
    from hour9.transformers.vit import load_vit

    classifier = load_vit(folder)

    def respond(requests: pd.DataFrame) -> pd.DataFrame:
        label, confidence = classifier.answer(readable(requests, classifier.image))
        return pd.DataFrame({"label": label, "confidence": confidence}, index=requests.index)

    return respond


def readable(requests: pd.DataFrame, image: tuple[int, int, int]) -> np.ndarray:
    """The requests as images of the shape that the model reads, or why they are none."""
    height, width, colours = image
    if "pixels" not in requests:
        raise ValueError(f"a request needs the column 'pixels'; got {', '.join(requests.columns)}")
    wanted = f"{height * width * colours} whole numbers from 0 to 255 in one flat list"
    shape = f"{height} rows of {width} pixels" + (f" of {colours} colours" if colours > 1 else "")
    images = [as_bytes(pixels, height * width * colours) for pixels in requests["pixels"]]
    if wrong := [row for row, pixels in enumerate(images) if pixels is None]:
        raise ValueError(f"rows {wrong[:5]} hold no such image; send {wanted} ({shape})")
    return np.array(images, dtype=np.uint8).reshape(len(images), *image)


def as_bytes(pixels: object, size: int) -> np.ndarray | None:
    """So many bytes; None where it is anything else."""
    try:
        numbers = np.asarray(pixels, dtype=float)
    except (TypeError, ValueError):
        return None
    fits = numbers.shape == (size,) and ((numbers >= 0) & (numbers <= 255)).all()
    return numbers.astype(np.uint8) if fits and (numbers % 1 == 0).all() else None


def example(tables: Tables) -> pd.DataFrame:
    """Three images."""
    _, pixels = pixels_of({name: table.head(3) for name, table in tables.items()})
    return pd.DataFrame({"pixels": pixels.reshape(len(pixels), -1).astype(int).tolist()})


def draw(folder: Path, tables: Tables, pictures: Path) -> None:
    """What the class token looks at, and the worst mistakes."""
    from hour9.transformers.vit import load_vit
    from hour9.transformers.vit_pictures import draw_vit

    draw_vit(load_vit(folder), *pixels_of(tables), pictures)


def requests(tables: Tables, _: Answer | None = None) -> pd.DataFrame:
    """The images of the cases."""
    _, pixels = pixels_of(tables)
    return pd.DataFrame({"pixels": pixels.reshape(len(pixels), -1).astype(int).tolist()})


TASK = Task(
    name="vision",
    metric="accuracy",
    ingest=ingest,
    contract=contract,
    train=train,
    score=score,
    baseline=baseline,
    answer=answer,
    example=example,
    requests=requests,
    draw=draw,
    fingerprint=fingerprint,
    perturb=perturb,
)
